// SPDX-License-Identifier: MIT
// The kernel's part of parking, as a step of the explorer. Waits have no end
// here: a wake that was lost is a thread that waits for ever.
#include "os/futex.h"

#include "explore/explorer.h"

namespace eshm::os {

FutexWait futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, Deadline, bool) {
  return explore::explorer().futex_wait(&word, expected) ? FutexWait::kWoken : FutexWait::kChanged;
}

void futex_wake_all(const std::atomic<uint32_t>& word, bool) {
  explore::explorer().futex_wake(&word);
}

}  // namespace eshm::os
