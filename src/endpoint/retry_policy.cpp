// SPDX-License-Identifier: MIT
#include "endpoint/retry_policy.h"

#include <algorithm>

namespace eshm::endpoint {

void RetryPolicy::begin(uint64_t now_ns) {
  if (running_) return;
  running_ = true;
  elapsed_ns_ = 0;
  last_asked_ns_ = now_ns;
  next_attempt_ns_ = now_ns;
  attempts_ = 0;
}

// Adds the time since the last question.
void RetryPolicy::count(uint64_t now_ns) {
  if (now_ns <= last_asked_ns_) return;
  const uint64_t next_change = next_change_ns();
  const uint64_t planned_ns = next_change > last_asked_ns_ ? next_change - last_asked_ns_ : 0;
  const uint64_t longest_ns = std::max(limits_.longest_gap_ns, planned_ns + planned_ns / 2);
  elapsed_ns_ += std::min(now_ns - last_asked_ns_, longest_ns);
  last_asked_ns_ = now_ns;
}

RetryPolicy::Advice RetryPolicy::advise(uint64_t now_ns) {
  if (!running_) return Advice::kIdle;
  if (limits_.behavior == ESHM_DISCONNECT_IMMEDIATELY) return Advice::kGiveUp;
  const bool is_limited = limits_.behavior == ESHM_DISCONNECT_ON_TIMEOUT;
  count(now_ns);
  if (is_limited && limits_.total_ns != 0 && elapsed_ns_ >= limits_.total_ns) {
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
  if (!has_end || elapsed_ns_ >= limits_.total_ns) return next_attempt_ns_;
  return std::min(next_attempt_ns_, last_asked_ns_ + (limits_.total_ns - elapsed_ns_));
}

}  // namespace eshm::endpoint
