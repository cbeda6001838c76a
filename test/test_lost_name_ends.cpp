// SPDX-License-Identifier: MIT
// Ends that leave, die, hold messages or never retry, while their link is renewed.
#include <thread>
#include <vector>

#include "support/lost_name.h"

namespace {

using namespace test;

class LostNameEnds : public LostNameTest {
 protected:
  ESHMConfig newest(ESHMRole role) const {
    ESHMConfig config = lively(role);
    config.m2s = config.s2m = this->config(role).m2s;
    return config;
  }
  void lose_name(EventLog& events) const {
    const size_t before = events.count_of(ESHM_EVENT_RENEWED);
    unlink_name();
    events.wait_for(ESHM_EVENT_RENEWED, before + 1);
  }
};

TEST_P(LostNameEnds, MasterThatLeavesBeforeItsSlaveHasComeLeavesItsMessages) {
  EventLog events;
  Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  lose_name(events);
  write_numbers(master.get(), "m", 0, 3);
  master.reset();
  EXPECT_TRUE(has_name()) << "its slave may still come";
  slave.go_on();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
  leave(slave);
  EXPECT_FALSE(has_name());
}

TEST_P(LostNameEnds, SlaveThatNeverRetriesFollowsAHealthyMaster) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  ESHMConfig as_slave = lively(ESHM_ROLE_SLAVE);
  as_slave.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(as_slave);
  ASSERT_TRUE(slave) << last_error();
  lose_name(events);
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  write_numbers(master.get(), "m", 0, 1);
  EXPECT_EQ(read_text(slave.get(), kPatientMs), "m0") << last_error();
}

TEST_P(LostNameEnds, CleanEndOfAMasterShowsNothingAgain) {
  ESHMConfig as_master = lively(ESHM_ROLE_MASTER);
  as_master.use_threads = false;
  as_master.auto_cleanup = false;
  Link master = open_link(as_master);
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  write_numbers(slave.get(), "s", 0, 3);
  EXPECT_EQ(read_text(master.get(), 0), "s0");
  unlink_name();
  wait_until([&] { return remote_state(master.get()) == ESHM_PEER_ALIVE && has_name(); });
  EXPECT_EQ(read_text(master.get(), 0), "s1");
  wait_until([&] {
    return remote_state(master.get()) == ESHM_PEER_ALIVE && reconnects_of(slave.get()) == 1;
  });
  master.reset();
  master = open_link(as_master);
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(read_text(master.get(), 0), "s2");
  master.reset();
  unlink(path().c_str());
}

TEST_P(LostNameEnds, UnreadValueOfASlaveThatLeftIsStillRead) {
  EventLog events;
  const Link master = open_link(newest(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  {
    const Link slave = open_link(newest(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(write_text(slave.get(), "last words"), ESHM_SUCCESS);
  }
  lose_name(events);
  EXPECT_EQ(read_text(master.get(), 0), "last words");
  EXPECT_EQ(read_text(master.get(), 0), error(ESHM_ERROR_NO_DATA));
}

TEST_P(LostNameEnds, ManyBorrowsKeepTheirMemoryAndCountOn) {
  EventLog events;
  ESHMConfig many = lively(ESHM_ROLE_MASTER);
  many.m2s.queue_capacity = 1 << 20;
  many.m2s.max_borrows = ESHM_MAX_BORROWS;
  const Link master = open_link(many);
  many.role = ESHM_ROLE_SLAVE;
  const Link slave = open_link(many);
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  const int most = ESHM_MAX_BORROWS;
  write_numbers(master.get(), "m", 0, 2 * most + 1);
  std::vector<ESHMView> views(size_t(2 * most));
  for (int i = 0; i < most - 1; ++i) {
    ASSERT_EQ(eshm_borrow(slave.get(), &views[size_t(i)], 0), ESHM_SUCCESS) << last_error();
  }
  lose_name(events);
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  std::thread([&] {  // other hands
    ASSERT_EQ(eshm_borrow(slave.get(), &views[size_t(most - 1)], 0), ESHM_SUCCESS) << last_error();
    EXPECT_EQ(eshm_borrow(slave.get(), &views[size_t(most)], 0), ESHM_ERROR_BUFFER_FULL);
  }).join();
  for (int i = 0; i < most; ++i) {
    ESHMView& view = views[size_t(i)];
    EXPECT_EQ(std::string(static_cast<const char*>(view.data), view.size), numbered("m", i));
    EXPECT_EQ(eshm_release(slave.get(), &view), ESHM_SUCCESS) << i;
  }
  for (int i = most; i < 2 * most; ++i) {
    ASSERT_EQ(eshm_borrow(slave.get(), &views[size_t(i)], 0), ESHM_SUCCESS) << last_error();
  }
  for (int i = most; i < 2 * most; ++i) {
    EXPECT_EQ(eshm_release(slave.get(), &views[size_t(i)]), ESHM_SUCCESS);
  }
  EXPECT_EQ(read_text(slave.get(), 0), numbered("m", 2 * most));
}

TEST_P(LostNameEnds, LastOneOutRemovesWhatItsDeadMasterHadNamed) {
  Child master = obeying(lively(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  unlink_name();
  wait_until([&] { return has_name(); });
  master.kill_now();
  slave.go_on();
  leave(slave);
  EXPECT_FALSE(has_name());
}

// The slave stands before it takes its seat.
TEST_P(LostNameEnds, MessagesBehindAnOpenLoanOfADeadSlaveAreRead) {
  for (const bool is_renewed : {false, true}) {
    EventLog events;
    const Link master = open_link(lively(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    events.listen_to(master.get());
    Child slave([config = lively(ESHM_ROLE_SLAVE)](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      CHILD_CHECK(write_text(link.get(), "s0") == ESHM_SUCCESS);
      void* loan = nullptr;
      CHILD_CHECK(eshm_loan(link.get(), 8, &loan) == ESHM_SUCCESS);
      CHILD_CHECK(write_text(link.get(), "s1") == ESHM_SUCCESS);
      wire.say("wrote");
      wire.hear();
      return 0;
    });
    ASSERT_EQ(slave.hear(), "wrote");
    slave.stop();
    if (is_renewed) lose_name(events);
    slave.kill_now();
    wait_for_state(master.get(), ESHM_PEER_DEAD);
    const Link next = open_link(lively(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(next) << last_error();
    EXPECT_EQ(read_text(master.get(), kPatientMs), "s0");
    EXPECT_EQ(read_text(master.get(), kPatientMs), "s1");
    write_numbers(next.get(), "s", 2, 3);
    EXPECT_EQ(read_text(master.get(), kPatientMs), "s2");
  }
}

TEST_P(LostNameEnds, WhatWasReleasedDoesNotComeAgain) {
  for (const bool is_renewed : {false, true}) {
    EventLog events;
    const Link master = open_link(lively(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    events.listen_to(master.get());
    write_numbers(master.get(), "m", 0, 6);
    Child slave([config = lively(ESHM_ROLE_SLAVE)](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      ESHMView views[4] = {};
      for (ESHMView& view : views) CHILD_CHECK(eshm_borrow(link.get(), &view, 0) == ESHM_SUCCESS);
      wire.say("borrowed");
      wire.hear();
      for (ESHMView& view : views) CHILD_CHECK(eshm_release(link.get(), &view) == ESHM_SUCCESS);
      CHILD_CHECK(read_text(link.get(), 0) == "m4");
      wire.say("released");
      wire.hear();
      return 0;
    });
    ASSERT_EQ(slave.hear(), "borrowed");
    if (is_renewed) {
      lose_name(events);
      wait_until([&] { return reconnects_of(master.get()) == 1; });
    }
    slave.say("release");
    ASSERT_EQ(slave.hear(), "released");
    slave.kill_now();
    wait_for_state(master.get(), ESHM_PEER_DEAD);
    const Link next = open_link(lively(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(next) << last_error();
    EXPECT_EQ(read_text(next.get(), kPatientMs), "m4") << "it was in hand";
    EXPECT_EQ(read_text(next.get(), kPatientMs), "m5");
  }
}

// Kept by a master that replaced a hung one, for the slave of that.
TEST_P(LostNameEnds, SeatThatIsKeptIsKeptOn) {
  ESHMConfig hung = lively(ESHM_ROLE_MASTER);
  hung.stale_threshold_ms = kHungMs;
  Child first = obeying(hung);
  ASSERT_EQ(first.hear(), "open");
  ESHMConfig as_slave = lively(ESHM_ROLE_SLAVE);
  as_slave.stale_threshold_ms = kHungMs;
  Child slave = obeying(as_slave);
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  first.stop();
  EventLog events;
  const Link master = open_link(hung);
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  write_numbers(master.get(), "m", 0, 2);
  lose_name(events);
  EXPECT_FALSE(open_link(at_once(lively(ESHM_ROLE_SLAVE))));
  EXPECT_TRUE(names_number(last_error(), slave.pid())) << last_error();
  slave.go_on();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
  leave(slave);
  first.kill_now();
}

ESHM_ON_BOTH_BACKENDS(LostNameEnds);

}  // namespace
