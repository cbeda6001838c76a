// SPDX-License-Identifier: MIT
// ESHM in C++17: two processes on one host, linked through shared memory.
//
//   eshm::Link link(eshm::Config("cam0").role(eshm::Role::kMaster));
//   if (auto sent = link.write("hello"sv); !sent) std::puts(sent.what());
//   std::array<char, 64> answer;
//   if (auto size = link.read(answer, 10ms)) use(answer.data(), *size);
//   else std::puts(size.what());
//
// Header only, over the C ABI of eshm.h; what that header says of a call holds
// here too. What holds for everything:
//  - Errors: constructors throw Error; all else answers a Status or a Result,
//    which is true when the call succeeded. Without exceptions
//    (-fno-exceptions) those constructors are not there: Link::open,
//    Sender<T>::open and Receiver<T>::open give a Result. RTTI is not used.
//  - Threads: any number may use one Link, Sender or Receiver at once. Moving
//    it, on_event, close and its end need it to themselves.
//  - Waiting: a call waits only if it takes a Timeout, and no longer than that;
//    opening a slave waits for its master by the retry policy.
//  - Lifetime: loans and borrows end before their link; so do senders and
//    receivers that refer to a Link, which is not moved meanwhile. In a forked
//    child all calls give kNotInitialized.
//  - The way of a message has no allocation and no virtual call.
#ifndef ESHM_HPP
#define ESHM_HPP

#include "eshm_macros_off.hpp"

#include <array>
#include <chrono>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#include "eshm.h"
#include "eshm_data.hpp"
#include "eshm_types.hpp"

namespace eshm {

// ---- what a link is opened with -------------------------------------------------

// One direction of a link; begins with the defaults of eshm_default_config.
class Channel {
 public:
  Channel() noexcept : c_(eshm_default_config("").m2s) {}

  // The newest value replaces an unread one (the default).
  Channel& latest() noexcept { return c_.delivery = ESHM_DELIVERY_LATEST, *this; }
  // Every message is kept, in order, until it is read.
  Channel& queue() noexcept { return c_.delivery = ESHM_DELIVERY_QUEUE, *this; }
  Channel& queue(std::uint64_t capacity_bytes) noexcept {
    return c_.queue_capacity = capacity_bytes, queue();
  }
  Channel& max_message_size(std::uint64_t bytes) noexcept {
    return c_.max_message_size = bytes, *this;
  }
  Channel& max_borrows(std::uint32_t count) noexcept { return c_.max_borrows = count, *this; }
  Channel& max_loans(std::uint32_t count) noexcept { return c_.max_loans = count, *this; }

  const ESHMChannelConfig& c() const noexcept { return c_; }

 private:
  ESHMChannelConfig c_;
};

// Begins with the defaults of eshm_default_config; eshm_data.h says what each
// field means. The setters answer the object itself, so that they can be chained.
class Config {
 public:
  using milliseconds = std::chrono::milliseconds;
  using microseconds = std::chrono::microseconds;

  explicit Config(std::string name) : name_(std::move(name)), c_(eshm_default_config("")) {}

  Config& role(Role role) noexcept { return c_.role = static_cast<ESHMRole>(role), *this; }
  Config& backend(Backend backend) noexcept {
    return c_.backend = static_cast<ESHMBackend>(backend), *this;
  }
  // Master to slave, and slave to master.
  Config& m2s(const Channel& channel) noexcept { return c_.m2s = channel.c(), *this; }
  Config& s2m(const Channel& channel) noexcept { return c_.s2m = channel.c(), *this; }

  Config& stale_threshold(milliseconds time) noexcept {
    return c_.stale_threshold_ms = clamp(time.count()), *this;
  }
  // What a slave does that has no master: how long in all (0: no limit), how
  // often, how many times (0: no limit).
  Config& on_disconnect(OnDisconnect behavior) noexcept {
    return c_.disconnect_behavior = static_cast<ESHMDisconnectBehavior>(behavior), *this;
  }
  Config& reconnect_wait(milliseconds time) noexcept {
    return c_.reconnect_wait_ms = clamp(time.count()), *this;
  }
  Config& reconnect_retry_interval(milliseconds time) noexcept {
    return c_.reconnect_retry_interval_ms = clamp(time.count()), *this;
  }
  Config& max_reconnect_attempts(std::uint32_t count) noexcept {
    return c_.max_reconnect_attempts = count, *this;
  }

  Config& auto_cleanup(bool on) noexcept { return c_.auto_cleanup = on, *this; }
  Config& use_threads(bool on) noexcept { return c_.use_threads = on, *this; }
  // How the library's threads run: CPUs as "2,4-7" (empty: those of the thread that opens
  // the link); SCHED_FIFO or SCHED_RR of <sched.h> with a priority of 1 to 99, or
  // SCHED_OTHER with 0.
  Config& thread_cpus(std::string list) noexcept {
    return thread_cpus_ = std::move(list), *this;
  }
  Config& thread_policy(int policy, int priority) noexcept {
    return c_.thread_policy = policy, c_.thread_priority = priority, *this;
  }
  // Polls for so long before a wait parks; the default adapts.
  Config& spin(microseconds time) noexcept { return c_.spin_us = clamp(time.count()), *this; }
  Config& permissions(std::uint32_t mode) noexcept { return c_.permissions = mode, *this; }
  Config& flags(std::uint32_t flags) noexcept { return c_.flags = flags, *this; }  // ESHM_FLAG_...
  // What a master does with unread queue messages of before that do not fit.
  Config& unread_policy(ESHMUnread policy) noexcept { return c_.unread_policy = policy, *this; }
  Config& interrupt(int (*asked)(void*), void* context) noexcept {
    return c_.interrupt = asked, c_.interrupt_context = context, *this;
  }

  // The type of the messages that this end sends, or receives. It becomes the
  // type of the direction that belongs to the role, and the largest message of
  // that direction: sizeof(T).
  template <class T>
  Config& sends() noexcept {
    return sends_ = typed<T>(), *this;
  }
  template <class T>
  Config& receives() noexcept {
    return receives_ = typed<T>(), *this;
  }
  std::uint64_t sent_fingerprint() const noexcept { return sends_.type.fingerprint; }
  std::uint64_t received_fingerprint() const noexcept { return receives_.type.fingerprint; }

  // For eshm_init; points into this object. kInvalidParam where a type stands
  // for a direction that the role leaves open.
  Result<ESHMConfig> c_config() const noexcept {
    ESHMConfig config = c_;
    config.shm_name = name_.c_str();
    config.thread_cpus = thread_cpus_.empty() ? nullptr : thread_cpus_.c_str();
    if (sends_.size == 0 && receives_.size == 0) return config;
    if (c_.role == ESHM_ROLE_OBSERVER) {
      if (sends_.size == 0) return config;  // a Receiver compares the types
      return Status(Code::kInvalidParam, "an observer sends nothing");
    }
    const bool is_symmetric = sends_.type.fingerprint == receives_.type.fingerprint;
    const bool is_master = c_.role == ESHM_ROLE_MASTER;
    if (!is_master && c_.role != ESHM_ROLE_SLAVE && !(c_.role == ESHM_ROLE_AUTO && is_symmetric)) {
      return Status(Code::kInvalidParam,
                    "typed messages need Role::kMaster or Role::kSlave (or Role::kAuto with the "
                    "same type both ways): the role says which direction is meant");
    }
    sends_.put_into(is_master ? config.m2s : config.s2m);
    receives_.put_into(is_master ? config.s2m : config.m2s);
    config.flags |= sends_.flags | receives_.flags;
    return config;
  }

 private:
  struct Typed {
    ESHMType type;  // all 0: untyped
    std::size_t size;
    std::uint32_t flags;
    void put_into(ESHMChannelConfig& channel) const noexcept {
      if (size == 0) return;
      channel.type = type;
      channel.max_message_size = size;
    }
  };
  template <class T>
  static Typed typed() noexcept {
    static_assert(std::is_trivially_copyable_v<T> && !std::is_pointer_v<T>,
                  "only plain bytes can be sent");
    static_assert(alignof(T) <= 64, "no payload is aligned to more than a cache line");
    return {{type_text<T>.data(), type_fingerprint<T>},
            sizeof(T),
            alignof(T) > alignof(std::uint64_t) ? ESHM_FLAG_ALIGN_PAYLOAD : 0};
  }
  static constexpr std::uint32_t clamp(std::int64_t count) noexcept {
    return count < 0                ? 0
           : count > UINT32_MAX - 1 ? UINT32_MAX - 1
                                    : static_cast<std::uint32_t>(count);
  }

  std::string name_;
  std::string thread_cpus_;
  ESHMConfig c_;
  Typed sends_ = {}, receives_ = {};
};

// ---- messages without a copy ----------------------------------------------------

// Room for one message in the segment, or the reason why there is none (it is
// a Status). Given back unpublished at its end. For one thread at a time.
class [[nodiscard]] Loan : public Status {
 public:
  Loan(ESHMHandle* handle, std::size_t size) noexcept : handle_(handle), size_(size) {
    Status::operator=(of(eshm_loan(handle, size, &data_)));
    if (!ok()) data_ = nullptr;
  }
  Loan(Loan&& other) noexcept
      : Status(other),
        handle_(other.handle_),
        data_(std::exchange(other.data_, nullptr)),
        size_(other.size_) {}
  Loan& operator=(Loan&& other) noexcept {
    if (this == &other) return *this;
    if (data_ != nullptr) (void)discard();
    Status::operator=(other);
    handle_ = other.handle_;
    data_ = std::exchange(other.data_, nullptr);
    size_ = other.size_;
    return *this;
  }
  ~Loan() {
    if (data_ != nullptr) (void)discard();
  }

  span<std::byte> bytes() const noexcept {
    if (data_ == nullptr) return {};
    return {static_cast<std::byte*>(data_), size_};
  }
  // The whole room, or its first `size` bytes. The loan is over with success
  // and with kSuperseded; after another error it can be tried again. One that
  // is over answers kInvalidParam.
  Status publish() noexcept { return publish(size_); }
  Status publish(std::size_t size) noexcept {
    const Status status = of(eshm_publish(handle_, data_, size));
    if (status || status.code() == Code::kSuperseded) data_ = nullptr;
    return status;
  }
  Status discard() noexcept { return of(eshm_discard(handle_, std::exchange(data_, nullptr))); }

 protected:
  void* data() const noexcept { return data_; }
  void refuse(Status reason) noexcept {
    (void)discard();
    Status::operator=(reason);
  }

 private:
  ESHMHandle* handle_;
  void* data_ = nullptr;
  std::size_t size_;
};

// One message read in place, or the reason why there is none (it is a Status).
// Nothing overwrites it until its end. For one thread at a time.
class [[nodiscard]] Borrow : public Status {
 public:
  Borrow(ESHMHandle* handle, Timeout timeout) noexcept : handle_(handle) {
    view_.struct_size = sizeof view_;
    Status::operator=(of(eshm_borrow(handle, &view_, timeout.ms())));
    is_held_ = ok();
  }
  Borrow(Borrow&& other) noexcept
      : Status(other),
        view_(other.view_),
        handle_(other.handle_),
        is_held_(std::exchange(other.is_held_, false)) {}
  Borrow& operator=(Borrow&& other) noexcept {
    if (this == &other) return *this;
    if (is_held_) (void)release();
    Status::operator=(other);
    view_ = other.view_;
    handle_ = other.handle_;
    is_held_ = std::exchange(other.is_held_, false);
    return *this;
  }
  ~Borrow() {
    if (is_held_) (void)release();
  }

  span<const std::byte> bytes() const noexcept {
    if (!is_held_) return {};
    return {static_cast<const std::byte*>(view_.data), view_.size};
  }
  const MessageInfo& info() const noexcept { return view_.info; }
  // A second one answers kInvalidParam.
  Status release() noexcept {
    if (!is_held_) return {Code::kInvalidParam, "the borrow is over"};
    is_held_ = false;
    return of(eshm_release(handle_, &view_));
  }

 protected:
  void refuse(Status reason) noexcept {
    (void)release();
    Status::operator=(reason);
  }

 private:
  ESHMView view_ = {};
  ESHMHandle* handle_;
  bool is_held_ = false;
};

// ---- the link -------------------------------------------------------------------

namespace detail {

// Event callbacks that run on this thread.
inline thread_local int callbacks_running = 0;

// A callable of any type, owned, without a virtual call.
struct Delete {
  void (*destroy)(void*) = nullptr;
  void operator()(void* callable) const noexcept { destroy(callable); }
};
using Listener = std::unique_ptr<void, Delete>;

template <class Callable>
void deliver(ESHMHandle*, ESHMEvent event, void* callable) noexcept {
  ++callbacks_running;
  (*static_cast<Callable*>(callable))(static_cast<Event>(event));
  --callbacks_running;
}

}  // namespace detail

// One end of a link; move-only. An empty one (default-constructed, closed or
// moved from) answers kInvalidParam. Its end leaves the link; it must not be
// inside an event callback.
class Link {
 public:
  Link() noexcept = default;
  static Result<Link> open(const Config& config) noexcept {
    const Result<ESHMConfig> c = config.c_config();
    if (!c) return Status(c);
    Link link;
    link.handle_ = eshm_init(&*c);
    if (link.handle_ == nullptr) return of_last_error();
    link.sent_ = config.sent_fingerprint();
    link.received_ = config.received_fingerprint();
    return link;
  }
#if ESHM_HAS_EXCEPTIONS
  explicit Link(const Config& config) : Link(or_throw(open(config))) {}
#endif
  Link(Link&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)),
        listener_(std::move(other.listener_)),
        sent_(other.sent_),
        received_(other.received_) {}
  Link& operator=(Link&& other) noexcept {
    if (this == &other) return *this;
    close_quietly();
    handle_ = std::exchange(other.handle_, nullptr);
    listener_ = std::move(other.listener_);
    sent_ = other.sent_;
    received_ = other.received_;
    return *this;
  }
  ~Link() { close_quietly(); }

  explicit operator bool() const noexcept { return handle_ != nullptr; }
  ESHMHandle* handle() const noexcept { return handle_; }
  // Leaves the link, and says whether that went well. Inside an event callback
  // it is refused (kInvalidParam), and the link stays.
  Status close() noexcept {
    const Status status = Status::of(eshm_destroy(handle_));
    if (status.code() == Code::kInvalidParam) return status;
    handle_ = nullptr;
    listener_.reset();
    return status;
  }

  // Publishes one message; waits up to the time-out for room in a queue.
  Status write(Bytes message, Timeout timeout = kNoWait) noexcept {
    return Status::of(eshm_write_ex(handle_, message.data(), message.size(), timeout.ms()));
  }
  Status write(const void* data, std::size_t size, Timeout timeout = kNoWait) noexcept {
    return write(Bytes(data, size), timeout);
  }
  // The newest unread message (of a queue: the next), and its size; with
  // kBufferTooSmall the size that is needed.
  Result<std::size_t> read(Room room, Timeout timeout = kOneSecond) noexcept {
    std::size_t size = 0;
    const int code = eshm_read_ex(handle_, room.data(), room.size(), &size, timeout.ms());
    return {Status::of(code), size};
  }
  // The same, and all that is known of the message; with kBufferTooSmall too.
  Result<MessageInfo> read_msg(Room room, Timeout timeout = kOneSecond) noexcept {
    MessageInfo info = {};
    info.struct_size = sizeof info;
    const int code = eshm_read_msg(handle_, room.data(), room.size(), &info, timeout.ms());
    return {Status::of(code), info};
  }
  Loan loan(std::size_t size) noexcept { return {handle_, size}; }
  Borrow borrow(Timeout timeout = kOneSecond) noexcept { return {handle_, timeout}; }

  // A descriptor that polls readable while there is something to read. The
  // link's own: never close it.
  Result<int> fd() const noexcept {
    const int fd = eshm_get_fd(handle_);
    return fd < 0 ? Result<int>(Status::of(fd)) : Result<int>(fd);
  }
  Status beat() noexcept { return Status::of(eshm_update_heartbeat(handle_)); }
  // Hides from the peer that this process lives, or shows it again; beat() is seen all
  // the same.
  Status hold_heartbeat(bool hold) noexcept {
    return Status::of(eshm_hold_heartbeat(handle_, hold));
  }
  bool peer_is_alive() const noexcept {
    bool is_alive = false;
    return eshm_check_remote_alive(handle_, &is_alive) == ESHM_SUCCESS && is_alive;
  }
  Result<PeerState> state() const noexcept {
    ESHMPeerState state = ESHM_PEER_NEVER_SEEN;
    const int code = eshm_get_remote_state(handle_, &state);
    return {Status::of(code), static_cast<PeerState>(state)};
  }
  Result<Role> role() const noexcept {
    ESHMRole role = ESHM_ROLE_AUTO;
    const int code = eshm_get_role(handle_, &role);
    return {Status::of(code), static_cast<Role>(role)};
  }
  Result<Stats> stats() const noexcept {
    Stats stats = {};
    const int code = eshm_get_stats(handle_, &stats);
    return {Status::of(code), stats};
  }
  Result<StatsEx> stats_ex() const noexcept {
    StatsEx stats = {};
    stats.struct_size = sizeof stats;
    const int code = eshm_get_stats_ex(handle_, &stats);
    return {Status::of(code), stats};
  }

  // Calls listener(Event) for each event, on the library's service thread (with
  // use_threads(false): inside the call that noticed). The link keeps the
  // listener, in place of the former one, and through a move. It should be
  // short, and must not throw, nor close or move the link; it has at least 128 KiB
  // of stack. Not to be called inside a listener (kInvalidParam).
  template <class F>
  Status on_event(F&& listener) {
    using Callable = std::decay_t<F>;
    // Taken away first: after that no call of the former one is running.
    if (const Status taken = no_events(); !taken) return taken;
    detail::Listener fresh(new Callable(std::forward<F>(listener)),
                           {[](void* callable) { delete static_cast<Callable*>(callable); }});
    const int code = eshm_set_event_callback(handle_, detail::deliver<Callable>, fresh.get());
    if (code == ESHM_SUCCESS) listener_ = std::move(fresh);
    return Status::of(code);
  }
  Status no_events() noexcept {
    if (detail::callbacks_running > 0) {
      return {Code::kInvalidParam, "a listener cannot be exchanged inside a listener"};
    }
    const Status status = Status::of(eshm_set_event_callback(handle_, nullptr, nullptr));
    if (status) listener_.reset();
    return status;
  }

  // Fingerprints of what Config::sends and receives said; 0: untyped.
  std::uint64_t sent_fingerprint() const noexcept { return sent_; }
  std::uint64_t received_fingerprint() const noexcept { return received_; }

 private:
  static Status of_last_error() noexcept {
    int code = ESHM_SUCCESS;
    eshm_last_error(&code);
    return Status::of(code);
  }
#if ESHM_HAS_EXCEPTIONS
  static Link or_throw(Result<Link> opened) {
    if (!opened) throw Error(opened);
    return std::move(*opened);
  }
#endif
  void close_quietly() noexcept {
    // Refused: the library may still call the listener, so that must stay.
    if (handle_ != nullptr && !close() && handle_ != nullptr) (void)listener_.release();
    handle_ = nullptr;
  }

  ESHMHandle* handle_ = nullptr;
  detail::Listener listener_;
  std::uint64_t sent_ = 0, received_ = 0;
};

// ---- waiting for many -----------------------------------------------------------

// Waits until one of the handles has something to read; answers its index.
inline Result<std::size_t> wait_any(span<ESHMHandle* const> handles, Timeout timeout) noexcept {
  const int index = eshm_wait_any(handles.data(), handles.size(), timeout.ms());
  if (index < 0) return Status::of(index);
  return static_cast<std::size_t>(index);
}
// wait_any({poses.link().handle(), log.handle()}, 10ms)
inline Result<std::size_t> wait_any(std::initializer_list<ESHMHandle*> handles,
                                    Timeout timeout) noexcept {
  return wait_any(span<ESHMHandle* const>(handles.begin(), handles.size()), timeout);
}
// Most links that one call waits for.
inline constexpr std::size_t kMaxLinks = ESHM_MAX_WAIT;
inline Result<std::size_t> wait_any(span<const Link> links, Timeout timeout) noexcept {
  std::array<ESHMHandle*, kMaxLinks> handles;
  static_assert(kMaxLinks == 1000, "the text below names it");
  if (links.size() > kMaxLinks) {
    return Status(Code::kInvalidParam, "more links than ESHM_MAX_WAIT, which is 1000");
  }
  for (std::size_t i = 0; i < links.size(); ++i) handles[i] = links[i].handle();
  return wait_any(span<ESHMHandle* const>(handles.data(), links.size()), timeout);
}

// ---- links from outside ---------------------------------------------------------

using LinkInfo = ESHMLinkInfo;

// What is at a link's name, whatever became of its processes. `name` ends with 0.
inline Result<LinkInfo> inspect_link(const char* name) noexcept {
  LinkInfo info = {};
  info.struct_size = sizeof info;
  const int code = eshm_inspect(name, &info);
  return {Status::of(code), info};
}
// Calls visit(const LinkInfo&) for each link of the host; answers their number. `visit`
// must not throw.
template <class Visit>
Result<std::size_t> for_each_link(Visit&& visit) noexcept {
  using Plain = std::remove_reference_t<Visit>;
  Plain* const target = &visit;
  const int calls = eshm_list(
      [](const ESHMLinkInfo* link, void* context) {
        (**static_cast<Plain* const*>(context))(*link);
        return 0;
      },
      const_cast<void*>(static_cast<const void*>(&target)));
  if (calls < 0) return Status::of(calls);
  return static_cast<std::size_t>(calls);
}
// Removes a link that no process uses; with `force` any.
inline Status remove_link(const char* name, bool force = false) noexcept {
  return Status::of(eshm_remove(name, force ? ESHM_REMOVE_FORCE : 0));
}

// ---- typed ends -----------------------------------------------------------------
//
// Each either owns a link, or refers to one that was opened with
// Config::sends<T>() and receives<U>() and so can serve one of each.

namespace detail {

inline constexpr Status kNotOfThisType{Code::kTypeMismatch,
                                       "the message is not of the type that is expected"};
inline constexpr Status kMisaligned{Code::kTypeMismatch,
                                    "the type needs ESHM_FLAG_ALIGN_PAYLOAD, which the creator "
                                    "of the segment did not set"};

template <class T>
bool is_aligned_for(const void* data) noexcept {
  return reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0;
}

class TypedEnd {
 public:
  Link& link() noexcept { return shared_ != nullptr ? *shared_ : own_; }
  const Link& link() const noexcept { return shared_ != nullptr ? *shared_ : own_; }

 protected:
  TypedEnd() noexcept = default;
  explicit TypedEnd(Link&& link) noexcept : own_(std::move(link)) {}
  explicit TypedEnd(Link* link) noexcept : shared_(link) {}

  template <class End>
  static Result<End> owning(const Config& config) noexcept {
    Result<Link> link = Link::open(config);
    if (!link) return Status(link);
    return End(std::move(*link));
  }
  template <class End>
  static Result<End> referring(Link& link, bool fits) noexcept {
    if (!fits) return Status(Code::kTypeMismatch, "the link was opened for another type");
    return End(&link);
  }
#if ESHM_HAS_EXCEPTIONS
  template <class End>
  static End or_throw(Result<End> end) {
    if (!end) throw Error(end);
    return std::move(*end);
  }
#endif

 private:
  Link own_;
  Link* shared_ = nullptr;
};

inline constexpr Status kNotCarried{Code::kTypeMismatch,
                                    "neither direction carries this type, which the observer was "
                                    "to read"};

// Whether each direction of an observer's link carries messages of this type.
struct Carried {
  bool is_known = false;  // there is a segment
  bool by[2] = {false, false};

  Carried(ESHMHandle* handle, std::uint64_t fingerprint) noexcept {
    for (const ESHMDirection direction : {ESHM_M2S, ESHM_S2M}) {
      ESHMChannelConfig channel = {};
      is_known = eshm_get_channel(handle, direction, &channel) == ESHM_SUCCESS;
      by[direction] = is_known && channel.type.fingerprint == fingerprint;
    }
  }
  bool by_none() const noexcept { return is_known && !by[ESHM_M2S] && !by[ESHM_S2M]; }
};

}  // namespace detail

// A Loan that holds a T, made as `T object;` makes it. There is no T where it
// failed, or is over.
template <class T>
class [[nodiscard]] LoanOf : public Loan {
 public:
  explicit LoanOf(ESHMHandle* handle) noexcept : Loan(handle, sizeof(T)) {
    if (!ok()) return;
    if (detail::is_aligned_for<T>(data())) {
      ::new (data()) T;
    } else {
      refuse(detail::kMisaligned);
    }
  }
  T& operator*() const noexcept { return *operator->(); }
  T* operator->() const noexcept { return std::launder(static_cast<T*>(data())); }
  Status publish() noexcept { return Loan::publish(); }
};

// A Borrow of a T.

template <class T>
class [[nodiscard]] BorrowOf : public Borrow {
 public:
  BorrowOf(ESHMHandle* handle, Timeout timeout) noexcept : Borrow(handle, timeout) {
    if (!ok()) return;
    if (bytes().size() != sizeof(T)) {
      refuse(detail::kNotOfThisType);
    } else if (!detail::is_aligned_for<T>(bytes().data())) {
      refuse(detail::kMisaligned);
    }
  }
  const T& operator*() const noexcept { return *operator->(); }
  const T* operator->() const noexcept { return reinterpret_cast<const T*>(bytes().data()); }
};

// Sends objects of type T; calls as those of Link.
template <class T>
class Sender : public detail::TypedEnd {
 public:
  Sender() noexcept = default;
  static Result<Sender> open(Config config) noexcept {
    return owning<Sender>(config.template sends<T>());
  }
  static Result<Sender> on(Link& link) noexcept {
    return referring<Sender>(link, link.sent_fingerprint() == type_fingerprint<T>);
  }
#if ESHM_HAS_EXCEPTIONS
  explicit Sender(Config config) : Sender(or_throw(open(std::move(config)))) {}
  explicit Sender(Link& link) : Sender(or_throw(on(link))) {}
#endif

  Status write(const T& object, Timeout timeout = kNoWait) noexcept {
    return link().write(&object, sizeof object, timeout);
  }
  LoanOf<T> loan() noexcept { return LoanOf<T>(link().handle()); }

 private:
  friend class detail::TypedEnd;
  using TypedEnd::TypedEnd;
};

// Receives objects of type T; calls as those of Link. A peer that writes
// without a type can send what is no T: kTypeMismatch, or kBufferTooSmall (then
// it stays, and link() can read it). With Role::kObserver it reads the messages of
// those directions that carry the type, and skips the others; kTypeMismatch where
// neither carries it. An observer cannot borrow.
template <class T>
class Receiver : public detail::TypedEnd {
 public:
  Receiver() noexcept = default;
  static Result<Receiver> open(Config config) noexcept {
    Result<Receiver> end = owning<Receiver>(config.template receives<T>());
    if (!end) return end;
    const Status checked = end->check_observed();
    if (!checked) return checked;
    return end;
  }
  static Result<Receiver> on(Link& link) noexcept {
    const bool fits =
        is_observed(link) || link.received_fingerprint() == type_fingerprint<T>;
    Result<Receiver> end = referring<Receiver>(link, fits);
    if (!end) return end;
    const Status checked = end->check_observed();
    if (!checked) return checked;
    return end;
  }
#if ESHM_HAS_EXCEPTIONS
  explicit Receiver(Config config) : Receiver(or_throw(open(std::move(config)))) {}
  explicit Receiver(Link& link) : Receiver(or_throw(on(link))) {}
#endif

  Result<T> read(Timeout timeout = kOneSecond) noexcept {
    Result<T> result{T{}};
    static_cast<Status&>(result) = read_into(*result, timeout);
    return result;
  }
  // For a T that is large. After kTypeMismatch it is partly overwritten.
  Status read_into(T& object, Timeout timeout = kOneSecond) noexcept {
    if (observes_) {
      MessageInfo info = {};
      return observe(object, info, timeout);
    }
    return fitting(link().read(room_of(object), timeout));
  }
  // The same, and all that is known of the message.
  Status read_into(T& object, MessageInfo& info, Timeout timeout = kOneSecond) noexcept {
    if (observes_) return observe(object, info, timeout);
    const Result<MessageInfo> read = link().read_msg(room_of(object), timeout);
    info = *read;
    return fitting({read, info.size});
  }
  BorrowOf<T> borrow(Timeout timeout = kOneSecond) noexcept {
    return BorrowOf<T>(link().handle(), timeout);
  }

 private:
  friend class detail::TypedEnd;
  using TypedEnd::TypedEnd;
  static bool is_observed(Link& link) noexcept {
    const Result<Role> role = link.role();
    return role && *role == Role::kObserver;
  }
  Status check_observed() noexcept {
    observes_ = is_observed(link());
    const bool is_missing =
        observes_ && detail::Carried(link().handle(), type_fingerprint<T>).by_none();
    return is_missing ? detail::kNotCarried : Status();
  }
  // The next message of a direction that carries the type.
  Status observe(T& object, MessageInfo& info, Timeout timeout) noexcept {
    using std::chrono::steady_clock;
    const auto end = steady_clock::now() + std::chrono::milliseconds(timeout.ms());
    while (true) {
      const Result<MessageInfo> read = link().read_msg(room_of(object), timeout);
      info = *read;
      std::unique_ptr<char[]> large;  // a message of the other direction may be
      if (read.code() == Code::kBufferTooSmall) {
        large.reset(new (std::nothrow) char[info.size]);
        if (large == nullptr) return read;
        const Result<MessageInfo> taken = link().read_msg({large.get(), info.size}, kNoWait);
        if (!taken) continue;  // a newer one has taken its place
        info = *taken;
      } else if (!read) {
        return read;
      }
      const detail::Carried carried(link().handle(), type_fingerprint<T>);
      if (carried.by_none()) return detail::kNotCarried;
      if (carried.by[info.direction == ESHM_S2M ? 1 : 0]) {
        return large ? detail::kNotOfThisType : fitting({read, info.size});
      }
      if (timeout.ms() != kForEver.ms()) timeout = end - steady_clock::now();
    }
  }
  bool observes_ = false;
  static Status fitting(const Result<std::size_t>& size) noexcept {
    return size && *size != sizeof(T) ? detail::kNotOfThisType : Status(size);
  }
};

}  // namespace eshm

#include "eshm_macros_on.hpp"

#endif  // ESHM_HPP
