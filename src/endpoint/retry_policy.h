// SPDX-License-Identifier: MIT
// When a slave that lost its master tries to reconnect, and when it gives up: a
// state machine free of clocks, locks and memory. Its diagram is in
// docs/RECONNECTION_GUIDE.md.
#pragma once

#include <cstdint>

#include "endpoint/settings.h"
#include "eshm_data.h"

namespace eshm::endpoint {

class RetryPolicy {
 public:
  struct Limits {
    ESHMDisconnectBehavior behavior;
    uint64_t interval_ns;
    uint64_t total_ns;  // 0: no limit
    uint32_t attempts;  // 0: no limit
    // Most of the time between two calls of advise() that counts, unless a longer one was
    // planned: time in which this process did not run is not the master's delay.
    uint64_t longest_gap_ns = UINT64_MAX;
  };
  enum class Advice { kIdle, kWait, kAttempt, kGiveUp };

  explicit RetryPolicy(const Limits& limits) : limits_(limits) {}

  // Starts the clock: the first attempt is due at once. No effect while it runs.
  void begin(uint64_t now_ns);
  void end() { running_ = false; }

  // kIdle: not running. kAttempt counts one attempt; an attempt for another
  // reason (a wake) is free.
  Advice advise(uint64_t now_ns);

  bool is_running() const { return running_; }
  // The earliest time at which advise() can answer something other than kWait.
  uint64_t next_change_ns() const;

 private:
  void count(uint64_t now_ns);

  Limits limits_;
  bool running_ = false;
  uint64_t elapsed_ns_ = 0;
  uint64_t last_asked_ns_ = 0;
  uint64_t next_attempt_ns_ = 0;
  uint32_t attempts_ = 0;
};

// The limits of a link's configuration, with another behaviour perhaps.
inline RetryPolicy::Limits retry_limits(const Settings& settings,
                                        ESHMDisconnectBehavior behavior) {
  return {behavior, settings.reconnect_retry_interval_ms * os::kNsPerMs,
          settings.reconnect_wait_ms * os::kNsPerMs, settings.max_reconnect_attempts,
          longest_gap_ns(check_interval_ns(settings), settings.reconnect_wait_ms * os::kNsPerMs)};
}

}  // namespace eshm::endpoint
