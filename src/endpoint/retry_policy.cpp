#include "endpoint/retry_policy.h"

#include <algorithm>

namespace eshm::endpoint {

void RetryPolicy::begin(uint64_t now_ns) {
  if (running_) return;
  running_ = true;
  began_ns_ = now_ns;
  next_attempt_ns_ = now_ns;
  attempts_ = 0;
}

RetryPolicy::Advice RetryPolicy::advise(uint64_t now_ns) {
  if (!running_) return Advice::kIdle;
  if (limits_.behavior == ESHM_DISCONNECT_IMMEDIATELY) return Advice::kGiveUp;
  const bool is_limited = limits_.behavior == ESHM_DISCONNECT_ON_TIMEOUT;
  if (is_limited && limits_.total_ns != 0 && now_ns - began_ns_ >= limits_.total_ns) {
    return Advice::kGiveUp;
  }
  // Asked again after the last attempt: it has failed.
  if (is_limited && limits_.attempts != 0 && attempts_ >= limits_.attempts) return Advice::kGiveUp;
  if (now_ns < next_attempt_ns_) return Advice::kWait;
  ++attempts_;
  next_attempt_ns_ = now_ns + limits_.interval_ns;
  return Advice::kAttempt;
}

uint64_t RetryPolicy::next_change_ns() const {
  if (!running_) return UINT64_MAX;
  const bool has_end = limits_.behavior == ESHM_DISCONNECT_ON_TIMEOUT && limits_.total_ns != 0;
  return has_end ? std::min(next_attempt_ns_, began_ns_ + limits_.total_ns) : next_attempt_ns_;
}

}  // namespace eshm::endpoint
