// SPDX-License-Identifier: MIT
// How long something has been silent, by the clock of the process that watches it. Time in
// which the watcher itself did not check hardly counts: a process that was stopped, or
// kept from a core, must not take its own absence for another's silence.
#pragma once

#include <algorithm>
#include <cstdint>

namespace eshm::endpoint {

class Silence {
 public:
  Silence() : Silence(UINT64_MAX, false) {}  // all time counts
  // At most `longest_gap_ns` counts between two checks. A watcher that checks rarely by
  // design is `is_adaptive`: 1.5 times the interval that it usually keeps counts.
  Silence(uint64_t longest_gap_ns, bool is_adaptive)
      : longest_gap_ns_(longest_gap_ns),
        is_adaptive_(is_adaptive),
        usual_gap_ns_(is_adaptive ? longest_gap_ns / 2 : 0) {}

  // A check that found a sign of life, or the first one.
  void end(uint64_t now_ns) {
    count(now_ns);
    silent_ns_ = 0;
    was_checked_ = true;
    last_check_ns_ = now_ns;
  }
  // A check that found none: how long the silence has lasted.
  uint64_t lasted_ns(uint64_t now_ns) {
    silent_ns_ += count(now_ns);
    was_checked_ = true;
    last_check_ns_ = now_ns;
    return silent_ns_;
  }

 private:
  uint64_t count(uint64_t now_ns) {
    if (!was_checked_ || now_ns <= last_check_ns_) return 0;
    const uint64_t gap_ns = now_ns - last_check_ns_;
    const uint64_t counted_ns =
        std::min(gap_ns, std::max(longest_gap_ns_, usual_gap_ns_ + usual_gap_ns_ / 2));
    // A moving average, in which a single long absence hardly shows.
    if (is_adaptive_) usual_gap_ns_ += std::min(gap_ns, 4 * usual_gap_ns_) / 8 - usual_gap_ns_ / 8;
    return counted_ns;
  }

  uint64_t longest_gap_ns_;
  bool is_adaptive_;
  uint64_t usual_gap_ns_;
  bool was_checked_ = false;
  uint64_t last_check_ns_ = 0;
  uint64_t silent_ns_ = 0;
};

}  // namespace eshm::endpoint
