// SPDX-License-Identifier: MIT
// Processes stopped or killed between two system calls of eshm_init: whoever
// waits for them is told, the next start heals, nothing is left behind.
#include <sys/stat.h>
#include <unistd.h>

#include "support/counts.h"
#include "support/player.h"
#include "support/traced_opener.h"

#if defined(__x86_64__)

namespace {

using namespace test;

constexpr int kMasterByte = 0, kSlaveByte = 1, kSuccessionByte = 2;

class HalfWay : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
  ESHMConfig watchful(ESHMRole role) const {
    ESHMConfig config = patient(role);
    config.stale_threshold_ms = kHungMs;
    return config;
  }
  std::string successor_path() const { return "/dev/shm/.eshm-next_" + name(); }

  void expect_refused(const ESHMConfig& config, pid_t holder) const {
    EXPECT_FALSE(open_link(config));
    EXPECT_TRUE(names_number(last_error(), holder)) << last_error() << " of " << holder;
  }
};

TEST_P(HalfWay, AdopterThatHangsIsNamedAndItsSlaveIsTold) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  const Link slave = open_link(watchful(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(ask(first, "write last words"), "0");
  first.kill_now();
  TracedOpener adopter(config(ESHM_ROLE_MASTER));
  adopter.stop_at([](const SystemCall& call) { return call.locked(kMasterByte); });
  wait_for_state(slave.get(), ESHM_PEER_STALE);
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE, ESHM_ROLE_AUTO}) {
    expect_refused(watchful(role), adopter.child().pid());
  }
  adopter.child().go_on();
  ASSERT_EQ(adopter.child().hear(), "open");
  wait_for_state(slave.get(), ESHM_PEER_ALIVE);
  EXPECT_EQ(reconnects_of(slave.get()), 1u);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "last words");
  ASSERT_EQ(ask(adopter.child(), "write next"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "next");
  leave(adopter.child());
}

TEST_P(HalfWay, SlaveThatHangsOnTheWayToItsSeatIsNamedAndItsMasterIsTold) {
  EventLog events;
  const Link master = open_link(watchful(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  TracedOpener slave(patient(ESHM_ROLE_SLAVE));
  slave.stop_at([](const SystemCall& call) { return call.locked(kSlaveByte); });
  wait_for_state(master.get(), ESHM_PEER_STALE);
  expect_refused(watchful(ESHM_ROLE_SLAVE), slave.child().pid());
  slave.child().go_on();
  ASSERT_EQ(slave.child().hear(), "open");
  events.wait_for(ESHM_EVENT_CONNECTED);
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  EXPECT_EQ(events.count_of(ESHM_EVENT_RECONNECTED), 0u);
  leave(slave.child());
  wait_for_state(master.get(), ESHM_PEER_LEFT);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(HalfWay, SlaveKilledOnTheWayToItsSeatIsToldDeadAndTheSeatIsFree) {
  const Link master = open_link(watchful(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  TracedOpener slave(patient(ESHM_ROLE_SLAVE));
  slave.stop_at([](const SystemCall& call) { return call.locked(kSlaveByte); });
  wait_for_state(master.get(), ESHM_PEER_STALE);
  slave.child().kill_now();
  wait_for_state(master.get(), ESHM_PEER_DEAD);
  const Link next = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(next) << last_error();
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
}

TEST_P(HalfWay, ProcessThatHangsWithTheSuccessionLockAndNoRecordIsTold) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  first.kill_now();
  TracedOpener hung(config(ESHM_ROLE_MASTER));
  hung.stop_at([](const SystemCall& call) { return call.locked(kSuccessionByte); });
  EXPECT_FALSE(open_link(config(ESHM_ROLE_MASTER)));
  EXPECT_NE(last_error().find("hangs while it changes the roles"), std::string::npos)
      << last_error();
  hung.child().go_on();
  ASSERT_EQ(hung.child().hear(), "open");
  leave(hung.child());
}

// Dead, or gone, between the slave's seat and its first look.
TEST_P(HalfWay, MasterGoneBeforeTheSlavesFirstLookIsToldAndReplaced) {
  for (bool is_killed : {true, false}) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    TracedOpener slave(patient(ESHM_ROLE_SLAVE));
    slave.stop_at([](const SystemCall& call) { return call.unlocked(kSuccessionByte); });
    if (is_killed) {
      master.kill_now();
    } else {
      leave(master);
    }
    slave.child().go_on();
    ASSERT_EQ(slave.child().hear(), "open");
    const std::string gone = std::to_string(is_killed ? ESHM_PEER_DEAD : ESHM_PEER_LEFT);
    EXPECT_EQ(ask(slave.child(), "state"), gone);
    Child next = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(next.hear(), "open");
    ASSERT_EQ(ask(next, "write next"), "0");
    EXPECT_EQ(ask(slave.child(), "wait"), "next");
    leave(slave.child());
    leave(next);
  }
}

// ---- killed with a successor that has no name yet

TEST_P(HalfWay, SuccessorOfAKilledReplacerGoesWithTheOldMaster) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  old_master.stop();
  TracedOpener replacer(watchful(ESHM_ROLE_MASTER));
  replacer.stop_at([&](const SystemCall& call) { return call.linked(successor_path()); });
  replacer.child().kill_now();
  EXPECT_EQ(access(successor_path().c_str(), F_OK), 0);
  old_master.go_on();
  EXPECT_EQ(ask(old_master, "write still here"), "0");
  leave(old_master);
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(HalfWay, SuccessorOfAKilledReplacerGoesWhenTheOldSegmentIsAdopted) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  old_master.stop();
  TracedOpener replacer(watchful(ESHM_ROLE_MASTER));
  replacer.stop_at([&](const SystemCall& call) { return call.linked(successor_path()); });
  replacer.child().kill_now();
  old_master.kill_now();
  Child adopter = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(adopter.hear(), "open");
  EXPECT_EQ(files_of(name()).size(), 1u);
  ASSERT_EQ(ask(adopter, "write next"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "next");
  leave(adopter);
}

TEST_P(HalfWay, SuccessorOfAKilledReplacerGoesWhenTheNameIsBornAgain) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  old_master.stop();
  TracedOpener replacer(watchful(ESHM_ROLE_MASTER));
  replacer.stop_at([&](const SystemCall& call) { return call.linked(successor_path()); });
  replacer.child().kill_now();
  old_master.kill_now();
  unlink(path().c_str());  // as somebody tidies up by hand
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(files_of(name()).size(), 1u);
}

// Killed behind the mark: the name means a segment that counts no more, whether its
// old master still hangs or is gone.
TEST_P(HalfWay, SlaveOfAMarkedSegmentRemovesItWhenItGivesUp) {
  ESHMConfig hasty = config(ESHM_ROLE_SLAVE);
  hasty.max_reconnect_attempts = 3;
  hasty.reconnect_retry_interval_ms = 10;
  for (bool old_master_hangs : {true, false}) {
    Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
    ASSERT_EQ(old_master.hear(), "open");
    const Link slave = open_link(hasty);
    ASSERT_TRUE(slave) << last_error();
    old_master.stop();
    TracedOpener replacer(watchful(ESHM_ROLE_MASTER));
    replacer.kill_at([](const SystemCall& call) { return call.will_rename(); });
    if (!old_master_hangs) old_master.kill_now();
    while (write_text(slave.get(), "x") != ESHM_ERROR_MASTER_STALE) pause_ms(1);
    wait_until([&] { return files_of(name()).empty(); });
    if (!old_master_hangs) continue;
    old_master.go_on();
    EXPECT_EQ(ask(old_master, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
    leave(old_master);
  }
}

// What it judged has lost its name, and a living link was moved there.
TEST_P(HalfWay, ReplacerDoesNotTakeTheNameFromWhatItHasNotJudged) {
  Child hung = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(hung.hear(), "open");
  hung.stop();
  Child other = obeying(config_of(name() + "o", ESHM_ROLE_MASTER, GetParam()));
  ASSERT_EQ(other.hear(), "open");
  TracedOpener replacer(watchful(ESHM_ROLE_MASTER));
  do {
    ASSERT_TRUE(replacer.to_next_stop());
  } while (!replacer.call().will_rename());
  struct stat before;
  ASSERT_EQ(stat(path_of(name() + "o").c_str(), &before), 0);
  ASSERT_EQ(rename(path_of(name() + "o").c_str(), path().c_str()), 0);
  while (replacer.to_next_stop()) {
  }
  const std::string outcome = replacer.child().hear();
  EXPECT_TRUE(names_number(outcome, other.pid())) << outcome;
  struct stat after;
  ASSERT_EQ(stat(path().c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino);
  ASSERT_EQ(unlink(path().c_str()), 0);
  hung.kill_now();
  leave(other);
}

// The slave was to come over: nobody else gets its seat from the one who heals.
TEST_P(HalfWay, SeatIsKeptByTheOneThatRenewsAMarkedSegment) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  old_master.stop();
  slave.stop();
  TracedOpener replacer(watchful(ESHM_ROLE_MASTER));
  replacer.kill_at([](const SystemCall& call) { return call.will_rename(); });
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  expect_refused(at_once(config(ESHM_ROLE_SLAVE)), slave.pid());
  slave.go_on();
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  ASSERT_EQ(write_text(master.get(), "next"), ESHM_SUCCESS);
  EXPECT_EQ(ask(slave, "wait"), "next");
  old_master.go_on();
  EXPECT_EQ(ask(old_master, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
  leave(old_master);
  leave(slave);
}

ESHM_ON_BOTH_BACKENDS(HalfWay);

}  // namespace

#endif
