// SPDX-License-Identifier: MIT
// What upkeep and the calls of one direction exchange without a lock.
#pragma once

#include <atomic>

#include "eshm_data.h"

namespace eshm::endpoint {

struct PathState {
  // What a call answers instead of its work; SUCCESS: it works. Upkeep stores it.
  std::atomic<int> verdict{ESHM_SUCCESS};
  // A call found impossible bytes. Upkeep then fences the link.
  std::atomic<bool> found_corrupt{false};

  // Returns the former verdict.
  int set_verdict(int code) { return verdict.exchange(code, std::memory_order_relaxed); }
};

}  // namespace eshm::endpoint
