// A lock between the threads of one process.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/futex.h"

namespace eshm::os {

// Four bytes; an uncontended lock and unlock are one locked instruction each
// (std::mutex costs three times that, and is as large as a cache line).
class WordLock {
 public:
  void lock() {
    uint32_t expected = kFree;
    // Pairs with the release in unlock(): what was done under the lock is seen.
    if (!word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      lock_contended();
    }
  }
  void unlock() {
    if (word_.exchange(kFree, std::memory_order_release) == kHeldAndWanted) {
      futex_wake_one(word_, false);
    }
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kHeld = 1;
  static constexpr uint32_t kHeldAndWanted = 2;

  void lock_contended() {
    while (word_.exchange(kHeldAndWanted, std::memory_order_acquire) != kFree) {
      futex_wait(word_, kHeldAndWanted, Deadline::never(), false);
    }
  }

  std::atomic<uint32_t> word_{kFree};
};

}  // namespace eshm::os
