// SPDX-License-Identifier: MIT
#include "endpoint/turn.h"

#include <algorithm>

namespace eshm::endpoint {

using std::memory_order_relaxed;

namespace {

// How long a call lends its priority to a turn that lasts, each time that it comes by.
constexpr uint64_t kBoostNs = 500'000;

}  // namespace

Turn::Turn(const Settings& settings)
    : late_ns_(std::max(settings.stale_threshold_ms * os::kNsPerMs / 2,
                        2 * kHeartbeatIntervalNs)) {}

void Turn::set_served(bool may_run_in_calls) {
  is_served_ = true;
  may_run_in_calls_ = may_run_in_calls;
  served_ns_.store(os::monotonic_ns(), memory_order_relaxed);
}

bool Turn::is_calls_turn() const {
  if (!is_served_) return true;
  return may_run_in_calls_ && is_late(served_ns_.load(memory_order_relaxed));
}

// The times are of the same clock, read exactly; here it may be read a timer tick (1 to
// 10 ms) late, and costs a fraction.
bool Turn::is_late(uint64_t since_ns) const {
  return os::coarse_monotonic_ns() >= since_ns + late_ns_;
}

// Only tried, but while a turn lasts: its thread is starved, or moves to a segment of
// gigabytes. A moment's wait gives that thread this one's priority, and this one's core.
Turn::Lock Turn::take_in_call() {
  Lock lock(mutex_, std::try_to_lock);
  if (lock.owns_lock()) return lock;
  const uint64_t began_ns = began_ns_.load(memory_order_relaxed);
  if (began_ns == 0 || !is_late(began_ns)) return lock;
  if (!mutex_.try_lock_until(os::Deadline::after_ns(kBoostNs))) return lock;
  return Lock(mutex_, std::adopt_lock);
}

}  // namespace eshm::endpoint
