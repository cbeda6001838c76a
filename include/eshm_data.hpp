// SPDX-License-Identifier: MIT
// ESHM in C++17: the values that eshm.hpp takes and gives: enums, outcomes of
// calls, time-outs, ranges of bytes. Included by eshm.hpp.
#ifndef ESHM_DATA_HPP
#define ESHM_DATA_HPP

#if __cplusplus < 201703L
#error "eshm.hpp needs C++17; eshm.h is there for less"
#endif

#include "eshm_macros_off.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>
#include <utility>

#include "eshm.h"

#if defined(__cpp_exceptions)
#define ESHM_HAS_EXCEPTIONS 1
#include <stdexcept>
#else
#define ESHM_HAS_EXCEPTIONS 0
#endif

#if __cplusplus >= 202002L
#include <span>
#endif

namespace eshm {

// ---- the enums of eshm_data.h, with its numbers ---------------------------------

enum class Role : int {
  kMaster = ESHM_ROLE_MASTER,
  kSlave = ESHM_ROLE_SLAVE,
  kAuto = ESHM_ROLE_AUTO,
  kObserver = ESHM_ROLE_OBSERVER
};
enum class OnDisconnect : int {
  kGiveUp = ESHM_DISCONNECT_IMMEDIATELY,
  kRetry = ESHM_DISCONNECT_ON_TIMEOUT,
  kRetryForEver = ESHM_DISCONNECT_NEVER
};
enum class Backend : int { kPosix = ESHM_BACKEND_POSIX, kSysV = ESHM_BACKEND_SYSV };
enum class PeerState : int {
  kNeverSeen = ESHM_PEER_NEVER_SEEN,
  kAlive = ESHM_PEER_ALIVE,
  kStale = ESHM_PEER_STALE,
  kDead = ESHM_PEER_DEAD,
  kLeft = ESHM_PEER_LEFT
};
enum class Event : int {
  kConnected = ESHM_EVENT_CONNECTED,
  kStale = ESHM_EVENT_STALE,
  kAlive = ESHM_EVENT_ALIVE,
  kDead = ESHM_EVENT_DEAD,
  kLeft = ESHM_EVENT_LEFT,
  kReconnected = ESHM_EVENT_RECONNECTED,
  kSuperseded = ESHM_EVENT_SUPERSEDED,
  kGaveUp = ESHM_EVENT_GAVE_UP,
  kRenewed = ESHM_EVENT_RENEWED
};
enum class Code : int {
  kSuccess = ESHM_SUCCESS,
  kInvalidParam = ESHM_ERROR_INVALID_PARAM,
  kShmCreate = ESHM_ERROR_SHM_CREATE,
  kShmAttach = ESHM_ERROR_SHM_ATTACH,
  kShmDetach = ESHM_ERROR_SHM_DETACH,
  kShmDelete = ESHM_ERROR_SHM_DELETE,
  kNoData = ESHM_ERROR_NO_DATA,
  kTimeout = ESHM_ERROR_TIMEOUT,
  kMasterStale = ESHM_ERROR_MASTER_STALE,
  kBufferFull = ESHM_ERROR_BUFFER_FULL,
  kBufferTooSmall = ESHM_ERROR_BUFFER_TOO_SMALL,
  kNotInitialized = ESHM_ERROR_NOT_INITIALIZED,
  kRoleMismatch = ESHM_ERROR_ROLE_MISMATCH,
  kCorrupt = ESHM_ERROR_CORRUPT,
  kSuperseded = ESHM_ERROR_SUPERSEDED,
  kInterrupted = ESHM_ERROR_INTERRUPTED,
  kTypeMismatch = ESHM_ERROR_TYPE_MISMATCH,
  kPermission = ESHM_ERROR_PERMISSION,
  kUnsupported = ESHM_ERROR_UNSUPPORTED
};
using MessageInfo = ESHMMessageInfo;
using Stats = ESHMStats;
using StatsEx = ESHMStatsEx;

// ---- how a call ended -----------------------------------------------------------

class [[nodiscard]] Status {
 public:
  constexpr Status() noexcept = default;
  // `reason`: static, for a failure that is found in this header.
  constexpr Status(Code code, const char* reason = nullptr) noexcept  // NOLINT: also implicit
      : code_(code), reason_(reason) {}
  static constexpr Status of(int code) noexcept { return static_cast<Code>(code); }

  constexpr Code code() const noexcept { return code_; }
  constexpr bool ok() const noexcept { return code_ == Code::kSuccess; }
  constexpr explicit operator bool() const noexcept { return ok(); }

  // The sentence that says why, if asked on the thread of the call and before
  // its next failure; else a general text for the code. Never NULL.
  const char* what() const noexcept {
    if (reason_ != nullptr) return reason_;
    int last = ESHM_SUCCESS;
    const char* sentence = eshm_last_error(&last);
    const int code = static_cast<int>(code_);
    return !ok() && last == code ? sentence : eshm_error_string(code);
  }

 private:
  Code code_ = Code::kSuccess;
  const char* reason_ = nullptr;
};

// For files in which Xlib's macro Status is defined.
using Outcome = Status;

// A Status, and with success a value. After a failure the value is T{}, but
// where a function says more.
template <class T>
class [[nodiscard]] Result : public Status {
 public:
  Result(T value) noexcept : value_(std::move(value)) {}  // NOLINT: return value;
  Result(Status failure) noexcept : Status(failure) {}    // NOLINT: return failure;
  Result(Status status, T value) noexcept : Status(status), value_(std::move(value)) {}

  T& operator*() noexcept { return value_; }
  const T& operator*() const noexcept { return value_; }
  T* operator->() noexcept { return &value_; }
  const T* operator->() const noexcept { return &value_; }
  T value_or(T other) const { return ok() ? value_ : std::move(other); }

 private:
  T value_{};
};

#if ESHM_HAS_EXCEPTIONS
// What a constructor throws; what() is the sentence.
class Error : public std::runtime_error {
 public:
  explicit Error(const Status& status) : std::runtime_error(status.what()), code_(status.code()) {}
  Code code() const noexcept { return code_; }

 private:
  Code code_;
};
#endif

// ---- time and bytes -------------------------------------------------------------

// How long a call may wait. Any duration fits: what is no whole millisecond is
// rounded up, what is negative is 0, what is too long for the ABI (49 days) is
// the longest wait that ends.
class Timeout {
 public:
  template <class Rep, class Period>
  constexpr Timeout(std::chrono::duration<Rep, Period> wait) noexcept  // NOLINT: implicit
      : ms_(round_up(std::chrono::duration<double, std::milli>(wait).count())) {}
  static constexpr Timeout for_ever() noexcept { return Timeout(ESHM_WAIT_FOREVER); }
  constexpr std::uint32_t ms() const noexcept { return ms_; }

 private:
  constexpr explicit Timeout(std::uint32_t ms) noexcept : ms_(ms) {}
  static constexpr std::uint32_t round_up(double ms) noexcept {
    if (!(ms > 0)) return 0;
    if (ms >= ESHM_WAIT_FOREVER - 1.0) return ESHM_WAIT_FOREVER - 1;
    const auto whole = static_cast<std::uint32_t>(ms);
    return whole < ms ? whole + 1 : whole;
  }

  std::uint32_t ms_;
};
inline constexpr Timeout kNoWait{std::chrono::milliseconds(0)};
inline constexpr Timeout kForEver = Timeout::for_ever();
inline constexpr Timeout kOneSecond{std::chrono::seconds(1)};

#if __cplusplus >= 202002L
template <class T>
using span = std::span<T>;
#else
// As std::span of C++20, as far as this header needs it.
template <class T>
class span {
 public:
  constexpr span() noexcept = default;
  constexpr span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class Range,
            class = std::enable_if_t<std::is_convertible_v<
                std::remove_pointer_t<decltype(std::data(std::declval<Range&>()))> (*)[],
                T (*)[]>>>
  constexpr span(Range&& range) noexcept  // NOLINT: implicit
      : data_(std::data(range)), size_(std::size(range)) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T* begin() const noexcept { return data_; }
  constexpr T* end() const noexcept { return data_ + size_; }
  constexpr T& operator[](std::size_t index) const noexcept { return data_[index]; }
  constexpr span first(std::size_t count) const noexcept { return {data_, count}; }
  constexpr span subspan(std::size_t offset) const noexcept {
    return {data_ + offset, size_ - offset};
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};
#endif

namespace detail {

template <class Range>
using ElementOf = std::remove_pointer_t<decltype(std::data(std::declval<Range&>()))>;
template <class Range>
using IfContiguous = std::enable_if_t<std::is_trivially_copyable_v<ElementOf<Range>>>;
template <class Range>
using IfRoom = std::enable_if_t<std::is_trivially_copyable_v<ElementOf<Range>> &&
                                !std::is_const_v<ElementOf<Range>>>;

}  // namespace detail

// Bytes to send: address and size, or any contiguous range of plain elements
// (string, string_view, vector, array, span). A string literal is refused:
// whether its final zero is meant cannot be told; "text"sv says it.
class Bytes {
 public:
  constexpr Bytes(const void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class Range, class = detail::IfContiguous<const Range>>
  constexpr Bytes(const Range& range) noexcept  // NOLINT: implicit
      : data_(std::data(range)), size_(std::size(range) * sizeof(*std::data(range))) {}
  template <std::size_t size>
  Bytes(const char (&text)[size]) = delete;
  constexpr const void* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  const void* data_;
  std::size_t size_;
};

// Room for a message, likewise.
class Room {
 public:
  constexpr Room(void* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class Range, class = detail::IfRoom<Range>>
  constexpr Room(Range&& range) noexcept  // NOLINT: implicit
      : data_(std::data(range)), size_(std::size(range) * sizeof(*std::data(range))) {}
  constexpr void* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  void* data_;
  std::size_t size_;
};

// One plain object as bytes, or as room.
template <class T>
Bytes bytes_of(const T& object) noexcept {
  static_assert(std::is_trivially_copyable_v<T>, "only plain bytes can be sent");
  return {&object, sizeof object};
}
template <class T>
Room room_of(T& object) noexcept {
  static_assert(std::is_trivially_copyable_v<T>, "only plain bytes can be received");
  return {&object, sizeof object};
}

// How old a message is now; 0 where the channel carries no time stamps.
inline std::chrono::nanoseconds age(const MessageInfo& info) noexcept {
  using std::chrono::steady_clock;  // CLOCK_MONOTONIC, as the writer's
  if (info.timestamp_ns == 0) return {};
  return steady_clock::now().time_since_epoch() - std::chrono::nanoseconds(info.timestamp_ns);
}

}  // namespace eshm

#include "eshm_macros_on.hpp"

#endif  // ESHM_DATA_HPP
