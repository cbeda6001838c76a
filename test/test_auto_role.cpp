// SPDX-License-Identifier: MIT
// AUTO: a process that is master if there is none, slave if there is one.
#include <unistd.h>

#include <utility>
#include <vector>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

class AutoRole : public LinkTest {
 protected:
  ESHMConfig automatic() const { return for_ever(config(ESHM_ROLE_AUTO)); }

  static std::string role_of(const Link& link) {
    ESHMRole role = ESHM_ROLE_AUTO;
    EXPECT_EQ(eshm_get_role(link.get(), &role), ESHM_SUCCESS);
    return role == ESHM_ROLE_MASTER ? "master" : role == ESHM_ROLE_SLAVE ? "slave" : "neither";
  }

  // Says its role, or why it has none, then obeys.
  Child player(unsigned delay_us = 0) const {
    return Child([config = automatic(), delay_us](Wire& wire) {
      if (delay_us != 0) usleep(delay_us);
      const Link link = open_link(config);
      wire.say(link ? role_of(link) : outcome(link));
      return link ? obey(wire, link) : 0;
    });
  }
};

void expect_talk(Child& one, Child& other) {
  EXPECT_EQ(ask(one, "write to the other"), "0");
  EXPECT_EQ(ask(other, "wait"), "to the other");
  EXPECT_EQ(ask(other, "write and back"), "0");
  EXPECT_EQ(ask(one, "wait"), "and back");
}

TEST_P(AutoRole, FirstIsMasterSecondIsSlaveThirdIsRefused) {
  Child first = player();
  ASSERT_EQ(first.hear(), "master");
  Child second = player();
  ASSERT_EQ(second.hear(), "slave");
  EXPECT_FALSE(open_link(automatic()));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_TRUE(names_number(last_error(), first.pid()) || names_number(last_error(), second.pid()))
      << last_error();
  expect_talk(first, second);
  leave(second);
  leave(first);
}

TEST_P(AutoRole, TwoStartedTogetherShareTheRolesEachTime) {
  Random random;
  for (uint64_t round = 0; round < count(25, 500); ++round) {
    Child one = player(static_cast<unsigned>(random.up_to(300)));
    Child other = player(static_cast<unsigned>(random.up_to(300)));
    const std::string one_is = one.hear(), other_is = other.hear();
    ASSERT_TRUE((one_is == "master" && other_is == "slave") ||
                (one_is == "slave" && other_is == "master"))
        << one_is << ", " << other_is;
    expect_talk(one, other);
    leave(one_is == "slave" ? one : other);
    leave(one_is == "slave" ? other : one);
  }
}

TEST_P(AutoRole, NextAfterAKilledMasterIsItsSuccessorAndTheSlaveStaysSlave) {
  Child master = player();
  ASSERT_EQ(master.hear(), "master");
  const Link slave = open_link(automatic());
  ASSERT_TRUE(slave) << last_error();
  for (uint64_t round = 0; round < count(5, 300); ++round) {
    ASSERT_EQ(role_of(slave), "slave");
    master.kill_now();
    Child next = player();
    ASSERT_EQ(next.hear(), "master");
    EXPECT_EQ(role_of(slave), "slave");
    ASSERT_EQ(ask(next, "write " + std::to_string(round)), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), std::to_string(round));
    master = std::move(next);
  }
  leave(master);
}

TEST_P(AutoRole, SlaveIsNotPromotedWhenItsMasterDies) {
  Child master = player();
  ASSERT_EQ(master.hear(), "master");
  const Link slave = open_link(automatic());
  ASSERT_TRUE(slave) << last_error();
  master.kill_now();
  wait_for_state(slave.get(), ESHM_PEER_DEAD);
  pause_ms(300);
  EXPECT_EQ(role_of(slave), "slave");
  EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_TIMEOUT);
}

TEST_P(AutoRole, NextAfterAKilledSlaveIsSlave) {
  const Link master = open_link(automatic());
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(role_of(master), "master");
  for (uint64_t round = 0; round < count(5, 300); ++round) {
    Child slave = player();
    ASSERT_EQ(slave.hear(), "slave");
    slave.kill_now();
  }
}

TEST_P(AutoRole, NextAfterBothWereKilledIsMasterAndReadsNothingOld) {
  for (bool master_first : {true, false}) {
    Child master = player();
    ASSERT_EQ(master.hear(), "master");
    Child slave = player();
    ASSERT_EQ(slave.hear(), "slave");
    ASSERT_EQ(ask(master, "write old"), "0");
    ASSERT_EQ(ask(slave, "write old"), "0");
    (master_first ? master : slave).kill_now();
    (master_first ? slave : master).kill_now();
    Child next = player();
    ASSERT_EQ(next.hear(), "master");
    EXPECT_EQ(ask(next, "read"), error(ESHM_ERROR_NO_DATA));
    Child next_slave = player();
    ASSERT_EQ(next_slave.hear(), "slave");
    EXPECT_EQ(ask(next_slave, "read"), error(ESHM_ERROR_NO_DATA));
    expect_talk(next, next_slave);
    leave(next_slave);
    leave(next);
  }
}

TEST_P(AutoRole, HungMasterIsNotReplacedButGetsASlave) {
  ESHMConfig impatient = config(ESHM_ROLE_MASTER);
  impatient.stale_threshold_ms = 50;
  Child master = obeying(impatient);
  ASSERT_EQ(master.hear(), "open");
  master.stop();
  ESHMConfig newcomer = automatic();
  newcomer.stale_threshold_ms = 50;
  pause_ms(100);
  const Link slave = open_link(newcomer);
  ASSERT_TRUE(slave) << last_error();
  EXPECT_EQ(role_of(slave), "slave");
  // And one more finds both taken, though the master hangs.
  EXPECT_FALSE(open_link(newcomer));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  master.go_on();
  EXPECT_EQ(ask(master, "write still master"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "still master");
  leave(master);
}

TEST_P(AutoRole, HungSlaveIsNotReplaced) {
  const Link master = open_link(automatic());
  ASSERT_TRUE(master) << last_error();
  ESHMConfig impatient = automatic();
  impatient.stale_threshold_ms = 50;
  Child slave = obeying(impatient);
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  EXPECT_FALSE(open_link(impatient));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_TRUE(names_number(last_error(), slave.pid())) << last_error();
  EXPECT_NE(last_error().find("stale"), std::string::npos) << last_error();
  slave.go_on();
  leave(slave);
}

// Killed at random moments of eshm_init: whoever comes next has a role.
TEST_P(AutoRole, KilledInTheRaceForARoleTheNextTwoStillShareThem) {
  Random random;
  for (uint64_t round = 0; round < count(15, 500); ++round) {
    {
      Child one = player(), other = player();
      usleep(static_cast<useconds_t>(random.up_to(3000)));
      one.kill_now();
      usleep(static_cast<useconds_t>(random.up_to(500)));
      other.kill_now();
    }
    Child master = player();
    ASSERT_EQ(master.hear(), "master");
    Child slave = player();
    ASSERT_EQ(slave.hear(), "slave");
    expect_talk(master, slave);
    leave(slave);
    leave(master);
  }
}

ESHM_ON_BOTH_BACKENDS(AutoRole);

}  // namespace
