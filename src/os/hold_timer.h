// SPDX-License-Identifier: MIT
// How long the locks of a data path are held. Only bench_realtime measures it: its own
// copy of the library is compiled with ESHM_TIME_LOCKS. Elsewhere the timer is an empty
// class whose functions do nothing.
#pragma once

namespace eshm::os {

enum class TimedLock { kNone = -1, kWrite, kRead };

}  // namespace eshm::os

#ifndef ESHM_TIME_LOCKS

namespace eshm::os {

class HoldTimer {
 public:
  void time_as(TimedLock) {}

 protected:
  void begin_hold() {}
  void end_hold() {}
};

}  // namespace eshm::os

#else

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "os/clock.h"

namespace eshm::os {

inline uint64_t ticks() {
#if defined(__x86_64__)
  unsigned processor;
  return __builtin_ia32_rdtscp(&processor);  // after all earlier instructions
#else
  return monotonic_ns();
#endif
}

// Any thread adds; relaxed, since each number stands for itself.
class HoldTimes {
 public:
  // 32 to each power of two: 3 % exact.
  static constexpr size_t kBuckets = 60 * 32;

  static size_t bucket_of(uint64_t held_ticks) {
    if (held_ticks < 32) return held_ticks;
    const int shift = 58 - __builtin_clzll(held_ticks);
    return size_t(shift) * 32 + (held_ticks >> shift);
  }
  static uint64_t least_ticks(size_t bucket) {
    if (bucket < 32) return bucket;
    return uint64_t(bucket % 32 + 32) << (bucket / 32 - 1);
  }

  void add(uint64_t held_ticks) {
    counts_[bucket_of(held_ticks)].fetch_add(1, std::memory_order_relaxed);
    uint64_t longest = longest_.load(std::memory_order_relaxed);
    while (longest < held_ticks &&
           !longest_.compare_exchange_weak(longest, held_ticks, std::memory_order_relaxed)) {
    }
  }
  void clear() {
    for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
    longest_.store(0, std::memory_order_relaxed);
  }
  uint64_t count(size_t bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }
  uint64_t longest_ticks() const { return longest_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> counts_[kBuckets] = {};
  std::atomic<uint64_t> longest_{0};
};

// Of all handles of the process, by TimedLock.
inline HoldTimes hold_times[2];

class HoldTimer {
 public:
  // Before the first hold.
  void time_as(TimedLock lock) { lock_ = lock; }

 protected:
  void begin_hold() {
    if (lock_ != TimedLock::kNone) began_ticks_ = ticks();
  }
  void end_hold() {
    if (lock_ != TimedLock::kNone) hold_times[int(lock_)].add(ticks() - began_ticks_);
  }

 private:
  TimedLock lock_ = TimedLock::kNone;
  uint64_t began_ticks_ = 0;  // under the lock
};

}  // namespace eshm::os

#endif
