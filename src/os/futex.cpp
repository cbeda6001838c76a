#include "os/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace eshm::os {
namespace {

long futex(const std::atomic<uint32_t>& word, int operation, bool shared, uint32_t value,
           const timespec* deadline, uint32_t bits) {
  return syscall(SYS_futex, &word, operation | (shared ? 0 : FUTEX_PRIVATE_FLAG), value, deadline,
                 nullptr, bits);
}

}  // namespace

FutexWait futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline deadline,
                     bool shared) {
  timespec at;
  if (!deadline.is_never()) {
    at.tv_sec = time_t(deadline.ns() / 1'000'000'000u);
    at.tv_nsec = long(deadline.ns() % 1'000'000'000u);
  }
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

}  // namespace eshm::os
