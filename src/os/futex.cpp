#include "os/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace eshm::os {
namespace {

// Not in the headers of every distribution that this compiles on.
constexpr uint32_t kFutex32Bits = 2;
static_assert(sizeof(FutexWaiter) == 24, "the kernel's struct futex_waitv");

long futex(const std::atomic<uint32_t>& word, int operation, bool shared, uint32_t value,
           const timespec* deadline, uint32_t bits) {
  return syscall(SYS_futex, &word, operation | (shared ? 0 : FUTEX_PRIVATE_FLAG), value, deadline,
                 nullptr, bits);
}

}  // namespace

FutexWait futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline deadline,
                     bool shared) {
  const timespec at = to_timespec(deadline.ns());
  // FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time; plain FUTEX_WAIT
  // a relative one, which each EINTR would start anew.
  if (futex(word, FUTEX_WAIT_BITSET, shared, expected, deadline.is_never() ? nullptr : &at,
            FUTEX_BITSET_MATCH_ANY) == 0) {
    return FutexWait::kWoken;
  }
  switch (errno) {
    case ETIMEDOUT:
      return FutexWait::kTimedOut;
    case EINTR:
      return FutexWait::kSignal;
    case EAGAIN:
      return FutexWait::kChanged;
    default:
      return FutexWait::kWoken;  // the caller looks again and finds what is wrong
  }
}

void futex_wake_all(const std::atomic<uint32_t>& word, bool shared) {
  futex(word, FUTEX_WAKE, shared, INT_MAX, nullptr, 0);
}

void futex_wake_one(const std::atomic<uint32_t>& word, bool shared) {
  futex(word, FUTEX_WAKE, shared, 1, nullptr, 0);
}

FutexWaiter::FutexWaiter(const std::atomic<uint32_t>& word, uint32_t value, bool shared)
    : expected(value),
      address(reinterpret_cast<uintptr_t>(&word)),
      flags(kFutex32Bits | (shared ? 0 : FUTEX_PRIVATE_FLAG)) {}

FutexWait futex_wait_any(const FutexWaiter* words, size_t count, Deadline deadline, size_t& woken) {
  static_assert(sizeof(timespec) == 16, "the kernel's struct __kernel_timespec");
  const timespec at = to_timespec(deadline.ns());
  const long result = syscall(SYS_futex_waitv, words, unsigned(count), 0u,
                              deadline.is_never() ? nullptr : &at, CLOCK_MONOTONIC);
  if (result >= 0) {
    woken = size_t(result);
    return FutexWait::kWoken;
  }
  switch (errno) {
    case ETIMEDOUT:
      return FutexWait::kTimedOut;
    case EINTR:
      return FutexWait::kSignal;
    case ENOSYS:
    case EPERM:  // a sandbox
      return FutexWait::kUnsupported;
    default:
      return FutexWait::kChanged;
  }
}

bool has_futex_wait_any() {
  size_t woken;
  return futex_wait_any(nullptr, 0, Deadline::never(), woken) != FutexWait::kUnsupported;
}

}  // namespace eshm::os
