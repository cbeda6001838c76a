// SPDX-License-Identifier: MIT
#include "os/word_lock.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/futex.h"

namespace eshm::os {
namespace {

constexpr int kSpins = 100;
// A wake may be lost where the kernel has no membarrier or the holder may not use
// the futexes below. No sleep is longer then.
constexpr uint64_t kBlindSleepNs = kNsPerMs;
// With priority inheritance no wake is lost, unless a system call filter forbids the
// holder, but not the waiter, these futexes.
constexpr uint64_t kLongestSleepNs = 100 * kNsPerMs;

bool membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0) == 0; }

// Every thread of this process has executed a full fence when this returns
// true. False on a kernel without it (before 4.14), or where it is forbidden.
bool fence_all_threads() { return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED); }

bool is_own(const std::atomic<uint32_t>& word) {
  return futex_owner(word.load(std::memory_order_relaxed)) == thread_id();
}

}  // namespace

// Once in a process, before there is anything to lock: in a process with several
// threads the registration takes milliseconds (an RCU grace period), and a waiter that
// slept for it would not boost the holder meanwhile. Forked children inherit it.
void WordLock::prepare() {
  static const bool once = [] {
    thread_id();
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
  }();
  (void)once;
}

// First the thread becomes the owner of queue_, alone or by the kernel's order of
// priority; those that wait for queue_ boost its owner. The owner alone waits for the
// holder: it stores the holder's id in boost_ and sleeps on that, so the kernel boosts
// the holder as the owner of boost_. It keeps queue_ until it unlocks, so the others
// boost it as the holder.
//
// The holder stores `free`, then looks at sleepers_ and boost_, without a fence
// between. After the barrier here either that store is visible, and the lock is
// tried again, or the holder has not looked yet and will see that it owns boost_.
bool WordLock::lock_contended(Deadline deadline) {
  for (int spin = 0; spin < kSpins; ++spin) {
    relax();
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return true;
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);  // WL3 -> WL6
  bool owns_queue = false;
  while (!try_lock()) {
    if (deadline.has_passed()) {
      give_up(owns_queue);
      return false;
    }
    const uint32_t holder = word_.load(std::memory_order_relaxed);
    if (holder == kFree) continue;
    const Deadline until = Deadline::after_ns(kLongestSleepNs).or_earlier(deadline);
    if (!owns_queue) {
      const FutexLock result = futex_lock_pi(queue_, until);
      owns_queue = result == FutexLock::kLocked;
      if (result == FutexLock::kFailed) sleep_unboosted(holder);
      continue;
    }
    // The kernel keeps no state of boost_ while this thread does not sleep on it, so
    // it may be overwritten, whatever it holds.
    boost_.store(holder, std::memory_order_relaxed);  // WL4 -> WL6, by the fence
    if (fence_all_threads()) {                        // WLF
      // WL5 <- WL2, by the fence.
      if (word_.load(std::memory_order_relaxed) != holder) continue;
      if (futex_lock_pi(boost_, until) != FutexLock::kFailed) continue;
    }
    boost_.store(0, std::memory_order_relaxed);
    sleep_unboosted(holder);
  }
  if (owns_queue) {
    boost_.store(0, std::memory_order_relaxed);
  } else {
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }
  return true;
}

// The holder may have seen that it owns boost_: then it finds that it does not any more,
// and wakes word_, on which nobody need sleep. The next owner of queue_ stores its own.
void WordLock::give_up(bool owns_queue) {
  if (owns_queue) {
    boost_.store(0, std::memory_order_relaxed);
    futex_unlock_pi(queue_);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

// Without priority inheritance. The holder wakes word_ if neither futex is its own.
void WordLock::sleep_unboosted(uint32_t holder) {
  fence_all_threads();
  futex_wait(word_, holder, Deadline::after_ns(kBlindSleepNs), false);
}

// The rest of WL6. The lock is free already, and may have its next holder.
void WordLock::unlock_contended() {
  if (is_own(queue_)) {
    if (futex_unlock_pi(queue_)) {
      sleepers_.fetch_sub(1, std::memory_order_relaxed);
      return;
    }
  } else if (is_own(boost_)) {
    // Does nothing where boost_ is not this thread's any more.
    if (futex_unlock_pi(boost_)) return;
  }
  futex_wake_one(word_, false);
}

}  // namespace eshm::os
