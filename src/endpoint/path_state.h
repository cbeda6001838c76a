// What upkeep and the calls of one direction tell each other without a lock.
#pragma once

#include <atomic>

#include "eshm_data.h"

namespace eshm::endpoint {

struct PathState {
  // What a call answers instead of its work; SUCCESS: it works. Upkeep stores it.
  std::atomic<int> verdict{ESHM_SUCCESS};
  // A call met what no healthy peer leaves. Upkeep fences the link then.
  std::atomic<bool> found_corrupt{false};

  // Answers the one before.
  int set_verdict(int code) { return verdict.exchange(code, std::memory_order_relaxed); }
};

}  // namespace eshm::endpoint
