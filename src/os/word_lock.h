// SPDX-License-Identifier: MIT
// A lock between the threads of one process. A thread that waits for it lends its
// priority to the thread that holds it.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/clock.h"
#include "os/cpu.h"
#include "os/hold_timer.h"
#include "os/thread_id.h"

namespace eshm::os {

// Sixteen bytes. An uncontended lock is one locked instruction, an unlock none: a
// thread that has to sleep makes the stores of the others visible instead
// (membarrier), so only threads that wait pay for it. (std::mutex costs three times
// that.) docs/PROTOCOL.md, section "Locks between the threads of one process".
class WordLock : public HoldTimer {
 public:
  WordLock() { prepare(); }
  WordLock(const WordLock&) = delete;
  WordLock& operator=(const WordLock&) = delete;

  void lock() {
    if (!try_lock()) lock_contended(Deadline::never());
  }
  // Waits, and boosts the holder, at most until then. False: it is still held.
  bool try_lock_until(Deadline deadline) { return try_lock() || lock_contended(deadline); }
  bool try_lock() {
    uint32_t expected = kFree;
    // WL1, acquire <- WL2.
    const bool is_taken = word_.compare_exchange_strong(
        expected, thread_id(), std::memory_order_acquire, std::memory_order_relaxed);
    if (is_taken) begin_hold();
    return is_taken;
  }
  void unlock() {
    end_hold();
    // WL2, release -> WL1: the next holder sees what was done under the lock.
    word_.store(kFree, std::memory_order_release);
    // WL6, relaxed: no fence before this load, a waiter's membarrier (WLF) replaces it.
    // (The compiler must not exchange the two.)
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_relaxed) != 0) unlock_contended();
  }

 private:
  static constexpr uint32_t kFree = 0;

  static void prepare();
  [[gnu::noinline, gnu::cold]] bool lock_contended(Deadline deadline);
  void give_up(bool owns_queue);
  [[gnu::noinline, gnu::cold]] void unlock_contended();
  void sleep_unboosted(uint32_t holder);

  std::atomic<uint32_t> word_{kFree};  // the holder's thread id
  // Threads in lock_contended(), and the owner of queue_.
  std::atomic<uint32_t> sleepers_{0};
  // Priority-inheriting futexes: 0 or the owner's thread id, and a bit of the kernel's.
  std::atomic<uint32_t> queue_{0};  // owner: the one thread that may wait for the holder
  std::atomic<uint32_t> boost_{0};  // owner: the holder that it waits for
};

}  // namespace eshm::os
