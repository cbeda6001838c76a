// Sleeping on a 32-bit word that other processes map too.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/clock.h"

namespace eshm::os {

enum class FutexWait {
  kWoken,     // by a wake, or spuriously
  kChanged,   // the word was not `expected` any more
  kTimedOut,  // the deadline passed
  kSignal,    // a signal handler ran
};

// Waits while the word is `expected`, until a wake, a signal or the deadline.
// Works on a read-only mapping. `shared` false: the word is private to the
// process, which is cheaper.
FutexWait futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline deadline,
                     bool shared = true);

// Wakes everybody who waits on the word. One system call.
void futex_wake_all(const std::atomic<uint32_t>& word, bool shared = true);
void futex_wake_one(const std::atomic<uint32_t>& word, bool shared = true);

}  // namespace eshm::os
