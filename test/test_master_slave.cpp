// SPDX-License-Identifier: MIT
// Two processes on one link.
#include <unistd.h>

#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"

namespace {

using namespace test;

class MasterSlave : public LinkTest {
 protected:
  // A slave in a process of its own that says back all it reads.
  Child echo_slave() const {
    return Child([this](Wire& wire) {
      const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      CHILD_CHECK(link);
      wire.say("attached");
      std::string text;
      do {
        text = read_text(link.get(), UINT32_MAX);
        CHILD_CHECK(write_text(link.get(), text) == ESHM_SUCCESS);
      } while (text != "end");
      wire.hear();  // stays until told
      return 0;
    });
  }
};

TEST_P(MasterSlave, EachAnswersTheOther) {
  Child slave = echo_slave();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(slave.hear(), "attached");
  for (uint64_t round = 1; round <= count(2000, 200000); ++round) {
    const std::string text = "message " + std::to_string(round);
    ASSERT_EQ(write_text(master.get(), text), ESHM_SUCCESS);
    ASSERT_EQ(read_text(master.get(), UINT32_MAX), text);
  }
  ASSERT_EQ(write_text(master.get(), "end"), ESHM_SUCCESS);
  ASSERT_EQ(read_text(master.get(), UINT32_MAX), "end");
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

TEST_P(MasterSlave, EachAnswersTheOtherWithoutThreadsToo) {
  Child slave([this](Wire& wire) {
    ESHMConfig alone = for_ever(config(ESHM_ROLE_SLAVE));
    alone.use_threads = false;
    const Link link = open_link(alone);
    CHILD_CHECK(link);
    for (std::string text; text != "100";) {
      text = read_text(link.get(), UINT32_MAX);
      CHILD_CHECK(write_text(link.get(), text) == ESHM_SUCCESS);
    }
    wire.hear();
    return 0;
  });
  ESHMConfig alone = config(ESHM_ROLE_MASTER);
  alone.use_threads = false;
  const Link master = open_link(alone);
  ASSERT_TRUE(master) << last_error();
  for (int round = 1; round <= 100; ++round) {
    const std::string text = std::to_string(round);
    ASSERT_EQ(write_text(master.get(), text), ESHM_SUCCESS);
    ASSERT_EQ(read_text(master.get(), UINT32_MAX), text);
  }
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

TEST_P(MasterSlave, StatsNameBothProcesses) {
  Child slave = echo_slave();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(slave.hear(), "attached");
  wait_until([&] { return remote_is_alive(master.get()); });
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(master.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.master_pid, getpid());
  EXPECT_EQ(stats.slave_pid, slave.pid());
  EXPECT_TRUE(stats.slave_alive);
  const uint64_t before = stats.slave_heartbeat;
  wait_until([&] {
    EXPECT_EQ(eshm_get_stats(master.get(), &stats), ESHM_SUCCESS);
    return stats.slave_heartbeat > before;
  });
  ASSERT_EQ(write_text(master.get(), "end"), ESHM_SUCCESS);
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

TEST_P(MasterSlave, SlaveStartsFirstAndGetsItsMaster) {
  Child slave = echo_slave();
  pause_ms(150);
  EXPECT_FALSE(slave.has_news()) << "attached to nothing";
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(slave.hear(), "attached");
  ASSERT_EQ(write_text(master.get(), "end"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(master.get(), UINT32_MAX), "end");
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

TEST_P(MasterSlave, SlaveAdoptsTheMastersSizes) {
  const size_t frame = (1 << 20) + 3, command = 16;
  Child slave([=](Wire& wire) {
    const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(link);
    std::vector<char> buffer(frame);
    for (uint64_t number = 1; number <= 20; ++number) {
      CHILD_CHECK(eshm_read_ex(link.get(), buffer.data(), frame, nullptr, UINT32_MAX) == 0);
      CHILD_CHECK(is_pattern(buffer.data(), frame, number));
      CHILD_CHECK(eshm_write(link.get(), buffer.data(), command + 1) ==
                  ESHM_ERROR_BUFFER_TOO_SMALL);
      CHILD_CHECK(eshm_write(link.get(), buffer.data(), command) == ESHM_SUCCESS);
    }
    wire.hear();
    return 0;
  });
  ESHMConfig wide = config(ESHM_ROLE_MASTER);
  wide.m2s.max_message_size = frame;
  wide.s2m.max_message_size = command;
  const Link master = open_link(wide);
  ASSERT_TRUE(master) << last_error();
  std::vector<char> buffer(frame), answer(command);
  for (uint64_t number = 1; number <= 20; ++number) {
    fill_pattern(buffer.data(), frame, number);
    ASSERT_EQ(eshm_write(master.get(), buffer.data(), frame), ESHM_SUCCESS);
    ASSERT_EQ(eshm_read_ex(master.get(), answer.data(), command, nullptr, UINT32_MAX), 0);
    EXPECT_TRUE(is_pattern(answer.data(), command, number));
  }
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

TEST_P(MasterSlave, TwoThatAskForAutoShareTheRoles) {
  const auto body = [this](Wire& wire) {
    const Link link = open_link(for_ever(config(ESHM_ROLE_AUTO)));
    CHILD_CHECK(link);
    ESHMRole role = ESHM_ROLE_AUTO;
    CHILD_CHECK(eshm_get_role(link.get(), &role) == ESHM_SUCCESS);
    const bool master = role == ESHM_ROLE_MASTER;
    CHILD_CHECK(write_text(link.get(), master ? "from the master" : "from the slave") == 0);
    const std::string heard = read_text(link.get(), UINT32_MAX);
    CHILD_CHECK(heard == (master ? "from the slave" : "from the master"));
    wire.say(master ? "master" : "slave");
    wire.hear();
    return 0;
  };
  Child first(body), second(body);
  const std::string one = first.hear(), other = second.hear();
  EXPECT_NE(one, other);
  for (Child* child : {&first, &second}) {
    child->say("leave");
    EXPECT_EQ(child->join(), 0);
  }
}

TEST_P(MasterSlave, ParkedReadersAreWokenByEachMessage) {
  // Without spinning, and with a threshold so large that only the writer's wake
  // can end a wait in time: a lost one ends in the watchdog.
  const auto parking = [this](ESHMRole role) {
    ESHMConfig config = for_ever(this->config(role));
    config.stale_threshold_ms = 3600000;
    config.spin_us = 0;
    return config;
  };
  const uint64_t rounds = count(3000, 300000);
  Child slave([=](Wire& wire) {
    const Link link = open_link(parking(ESHM_ROLE_SLAVE));
    CHILD_CHECK(link);
    for (uint64_t round = 1; round <= rounds; ++round) {
      CHILD_CHECK(read_text(link.get(), UINT32_MAX) == std::to_string(round));
      CHILD_CHECK(write_text(link.get(), std::to_string(round)) == ESHM_SUCCESS);
    }
    wire.hear();
    return 0;
  });
  const Link master = open_link(parking(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (uint64_t round = 1; round <= rounds; ++round) {
    ASSERT_EQ(write_text(master.get(), std::to_string(round)), ESHM_SUCCESS);
    ASSERT_EQ(read_text(master.get(), UINT32_MAX), std::to_string(round));
  }
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(master.get(), &stats), ESHM_SUCCESS);
  EXPECT_GT(stats.parks, 0u);
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

ESHM_ON_BOTH_BACKENDS(MasterSlave);

}  // namespace
