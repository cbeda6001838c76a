// SPDX-License-Identifier: MIT
#include "endpoint/waiting.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "endpoint/segment_file.h"
#include "os/process.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;

namespace {

constexpr uint64_t kNsPerUs = 1'000;
// The adaptive spin: waits that are usually shorter than this are spun through.
constexpr uint64_t kSpinWorthwhileNs = 50 * kNsPerUs;
constexpr uint64_t kSpinFirstNs = 5 * kNsPerUs;

}  // namespace

void pause_out_of_step() {
  const uint64_t pause_ns = 50 * kNsPerUs + os::random_nonzero() % (450 * kNsPerUs);
  os::sleep_until(os::Deadline::after_ns(pause_ns));
}

Failure interrupted(const Settings& settings) {
  return fail(ESHM_ERROR_INTERRUPTED, about(settings) + "the wait was interrupted", EINTR);
}

uint64_t SpinTime::budget_ns() const {
  static const bool has_other_cores = sysconf(_SC_NPROCESSORS_ONLN) > 1;
  if (spin_us_ != ESHM_SPIN_ADAPTIVE) return spin_us_ * kNsPerUs;
  const uint64_t usual = usual_wait_ns_.load(memory_order_relaxed);
  if (!has_other_cores || usual > kSpinWorthwhileNs) return 0;
  return kSpinFirstNs + 2 * usual;
}

uint64_t SpinTime::first_budget_ns() const {
  return spin_us_ == ESHM_SPIN_ADAPTIVE ? kSpinFirstNs : spin_us_ * kNsPerUs;
}

// A moving average, an eighth of each new value.
void SpinTime::learn(uint64_t waited_ns) {
  const uint64_t usual = usual_wait_ns_.load(memory_order_relaxed);
  usual_wait_ns_.store(usual - usual / 8 + std::min(waited_ns, 8 * kSpinWorthwhileNs) / 8,
                       memory_order_relaxed);
}

}  // namespace eshm::endpoint
