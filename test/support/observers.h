// SPDX-License-Identifier: MIT
// Observers of a link of each kind, and what they see.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "support/counts.h"
#include "support/player.h"

namespace test {

struct Kind {
  ESHMBackend backend;
  ESHMDelivery delivery;
};

class ObserverTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    remember_process(getpid());
    arm_watchdog();
  }
  void TearDown() override {
    alarm(0);
    EXPECT_EQ(files_of(name_), std::vector<std::string>{});
    EXPECT_EQ(sysv_segments_of_ours(), std::vector<int>{});
  }

  bool is_queue() const { return GetParam().delivery == ESHM_DELIVERY_QUEUE; }
  const std::string& name() const { return name_; }
  ESHMConfig config(ESHMRole role) const {
    ESHMConfig config = config_of(name_, role, GetParam().backend);
    config.m2s.delivery = config.s2m.delivery = GetParam().delivery;
    return config;
  }
  Link open_observer() const {
    Link link = open_link(config(ESHM_ROLE_OBSERVER));
    EXPECT_TRUE(link) << last_error();
    return link;
  }

 private:
  const std::string name_ = unique_name();
};

// What only every message can show.
class QueueObserverTest : public ObserverTest {};

struct Seen {
  int code = ESHM_SUCCESS;
  std::string text;
  ESHMMessageInfo info = {};
};

inline Seen look(ESHMHandle* observer, uint32_t timeout_ms = kPatientMs) {
  Seen seen;
  char buffer[ESHM_MAX_DATA_SIZE];
  seen.code = eshm_read_msg(observer, buffer, sizeof buffer, &seen.info, timeout_ms);
  if (seen.code == ESHM_SUCCESS) seen.text.assign(buffer, seen.info.size);
  return seen;
}

// Reads what comes until that text does; of others there may be any.
inline Seen look_for(ESHMHandle* observer, const std::string& text) {
  Seen seen;
  do {
    seen = look(observer);
    EXPECT_TRUE(seen.code == ESHM_SUCCESS || seen.code == ESHM_ERROR_TIMEOUT) << last_error();
  } while (seen.text != text);
  return seen;
}

inline ESHMStats stats_of(ESHMHandle* link) {
  ESHMStats stats = {};
  EXPECT_EQ(eshm_get_stats(link, &stats), ESHM_SUCCESS) << last_error();
  return stats;
}

inline std::string kind_name(const testing::TestParamInfo<Kind>& info) {
  return std::string(info.param.backend == ESHM_BACKEND_POSIX ? "Posix" : "Sysv") +
         (info.param.delivery == ESHM_DELIVERY_QUEUE ? "Queue" : "Latest");
}

}  // namespace test
