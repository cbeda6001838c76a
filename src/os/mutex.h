// SPDX-License-Identifier: MIT
// A mutex whose holder runs with the priority of its highest waiter, and the condition
// variable that goes with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "os/futex.h"
#include "os/word_lock.h"

namespace eshm::os {

// For std::lock_guard and std::unique_lock. Not a POSIX mutex with
// PTHREAD_PRIO_INHERIT: glibc ends the process if a thread has to wait for one where a
// system call filter forbids FUTEX_LOCK_PI.
using Mutex = WordLock;

// std::condition_variable takes std::mutex alone; std::condition_variable_any has a
// mutex of its own, whose holder inherits nothing.
class Condition {
 public:
  // Waits until the predicate is true. The caller has the lock again then; the thread
  // that changes what the predicate reads has it meanwhile, and notifies afterwards.
  template <class Predicate>
  void wait(std::unique_lock<Mutex>& lock, const Predicate& predicate) {
    while (!predicate()) {
      // Loaded under the lock: the notification of every later change is another number.
      const uint32_t seen = notifications_.load(std::memory_order_relaxed);
      lock.unlock();
      futex_wait(notifications_, seen, Deadline::never(), false);
      lock.lock();
    }
  }
  void notify_all() {
    // Relaxed: the lock orders what the predicate reads.
    notifications_.fetch_add(1, std::memory_order_relaxed);
    futex_wake_all(notifications_, false);
  }

 private:
  std::atomic<uint32_t> notifications_{0};
};

}  // namespace eshm::os
