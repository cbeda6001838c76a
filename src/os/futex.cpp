// SPDX-License-Identifier: MIT
#include "os/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "os/thread_id.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
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

FutexLock futex_lock_pi(std::atomic<uint32_t>& word, Deadline deadline) {
  uint32_t expected = 0;
  if (word.compare_exchange_strong(expected, thread_id(), std::memory_order_acquire,
                                   std::memory_order_relaxed)) {
    return FutexLock::kLocked;
  }
  timespec at = to_timespec(deadline.ns());
  if (futex(word, FUTEX_LOCK_PI2, false, 0, &at, 0) == 0) return FutexLock::kLocked;
  if (errno == ENOSYS) {  // before Linux 5.14: only FUTEX_LOCK_PI, which takes CLOCK_REALTIME
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t monotonic_now_ns = monotonic_ns();
    const uint64_t left_ns = deadline.ns() - std::min(deadline.ns(), monotonic_now_ns);
    at = to_timespec(uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec) + left_ns);
    if (futex(word, FUTEX_LOCK_PI, false, 0, &at, 0) == 0) return FutexLock::kLocked;
  }
  return errno == ETIMEDOUT ? FutexLock::kTimedOut : FutexLock::kFailed;
}

bool futex_unlock_pi(std::atomic<uint32_t>& word) {
  uint32_t expected = thread_id();
  if (word.compare_exchange_strong(expected, 0, std::memory_order_release,
                                   std::memory_order_relaxed)) {
    return true;
  }
  // EAGAIN: the kernel changed its bits meanwhile.
  long result;
  do {
    result = futex(word, FUTEX_UNLOCK_PI, false, 0, nullptr, 0);
  } while (result != 0 && errno == EAGAIN);
  return result == 0;
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
