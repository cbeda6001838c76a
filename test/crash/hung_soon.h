// SPDX-License-Identifier: MIT
// Links whose master is soon taken for hung, since nobody beats but by a call.
#pragma once

#include <string>
#include <vector>

#include "support/link.h"

namespace test {

class HungSoon : public LinkTest {
 protected:
  ESHMConfig quiet(ESHMRole role, ESHMDelivery delivery) const {
    constexpr uint32_t kSoonHungMs = 5;
    ESHMConfig quiet = for_ever(config(role));
    quiet.use_threads = false;
    quiet.reconnect_retry_interval_ms = 1;
    quiet.stale_threshold_ms = role == ESHM_ROLE_MASTER ? kSoonHungMs : 600'000;
    for (ESHMChannelConfig* channel : {&quiet.m2s, &quiet.s2m}) {
      channel->delivery = delivery;
      channel->max_message_size = 48;
      channel->queue_capacity = 1024;
    }
    return quiet;
  }
  // A fault is a line here, so that a test can want one.
  void expect(bool condition, const std::string& what) {
    if (!condition) faults_.push_back(what);
  }

  std::vector<std::string> faults_;
};

}  // namespace test
