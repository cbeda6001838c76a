// SPDX-License-Identifier: MIT
// Sleeping on a 32-bit word that other processes map too.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "os/clock.h"

namespace eshm::os {

enum class FutexWait {
  kWoken,     // by a wake, or spuriously
  kChanged,   // the word was not `expected` any more
  kTimedOut,  // the deadline passed
  kSignal,    // a signal handler ran
  kUnsupported,  // this kernel cannot do it, or forbids it
};

// Waits while the word is `expected`, until a wake, a signal or the deadline.
// Works on a read-only mapping. `shared` false: the word is private to the
// process, which is cheaper.
FutexWait futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline deadline,
                     bool shared = true);

// Wakes everybody who waits on the word. One system call.
void futex_wake_all(const std::atomic<uint32_t>& word, bool shared = true);
void futex_wake_one(const std::atomic<uint32_t>& word, bool shared = true);

// A futex with priority inheritance, private to the process. The word is 0 or the
// owner's thread id (thread_id.h), with bits of the kernel's above it. While a thread
// waits for it, the kernel gives the owner the waiter's priority if that is higher.
enum class FutexLock {
  kLocked,    // the word is this thread's
  kTimedOut,  // the deadline passed
  kFailed,    // this kernel cannot do it or forbids it, or there is no such owner
};
constexpr uint32_t futex_owner(uint32_t word) { return word & 0x3FFF'FFFFu; }
// No system call where the word is 0. The deadline is a real one, not never().
FutexLock futex_lock_pi(std::atomic<uint32_t>& word, Deadline deadline);
// Gives the word to the waiter with the highest priority, or makes it 0. False: the
// word is not this thread's, or the kernel forbids it. No system call where the
// kernel has set no bit.
bool futex_unlock_pi(std::atomic<uint32_t>& word);

// One of many words to wait for: the kernel's struct futex_waitv.
struct FutexWaiter {
  FutexWaiter() = default;
  FutexWaiter(const std::atomic<uint32_t>& word, uint32_t expected, bool shared);

  uint64_t expected = 0;
  uint64_t address = 0;
  uint32_t flags = 0;
  uint32_t reserved = 0;
};
constexpr size_t kMostFutexes = 128;

// Waits while every word is as expected; needs Linux 5.16. After kWoken `woken`
// is the index of a word that was rung (not the only one, perhaps).
FutexWait futex_wait_any(const FutexWaiter* words, size_t count, Deadline deadline, size_t& woken);
// Asks the kernel, each time: one short system call.
bool has_futex_wait_any();

}  // namespace eshm::os
