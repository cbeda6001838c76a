// A lock between the threads of one process.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/futex.h"

namespace eshm::os {

// Eight bytes. An uncontended lock is one locked instruction, an unlock none:
// who has to sleep makes the others' stores visible instead (membarrier), so
// that nobody pays who does not wait. (std::mutex costs three times that.)
class WordLock {
 public:
  void lock() {
    if (!try_lock()) lock_contended();
  }
  bool try_lock() {
    uint32_t expected = kFree;
    return word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire,
                                         std::memory_order_relaxed);
  }
  void unlock() {
    // Release: whoever takes the lock next sees what was done under it.
    word_.store(kFree, std::memory_order_release);
    // No fence before this look: a sleeper's barrier stands for it. (The
    // compiler must not exchange the two.)
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_relaxed) != 0) futex_wake_one(word_, false);
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kHeld = 1;

  void lock_contended();

  std::atomic<uint32_t> word_{kFree};
  std::atomic<uint32_t> sleepers_{0};
};

}  // namespace eshm::os
