// SPDX-License-Identifier: MIT
// One object for each process, also for one that forked off.
#pragma once

#include <atomic>

#include "os/fd.h"

namespace eshm::os {

// The parent's is left as it is in a child: its threads are not there, and its
// mutexes may be held for ever. Never freed: threads may outlive main.
template <class T>
T& per_process() {
  struct Current {
    uint32_t epoch;
    T value;
  };
  static std::atomic<Current*> current{nullptr};
  Current* known = current.load(std::memory_order_acquire);
  while (known == nullptr || known->epoch != fork_epoch()) {
    auto* const fresh = new Current{fork_epoch(), {}};
    if (current.compare_exchange_strong(known, fresh, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
      known = fresh;
    } else {
      delete fresh;
    }
  }
  return known->value;
}

}  // namespace eshm::os
