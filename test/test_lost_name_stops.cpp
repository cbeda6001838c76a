// SPDX-License-Identifier: MIT
// Ends that stand still, are large or die at a bad moment, while their
// link is renewed.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "support/counts.h"
#include "support/pattern.h"
#include "support/lost_name.h"

namespace {

// What linkat() does in this process when it has given a name, once.
std::atomic<bool> stops_when_named{false};
std::atomic<unsigned> pauses_when_named_ms{0};
// How long each step of making a file lasts.
std::atomic<unsigned> pauses_in_steps_ms{0};

}  // namespace

// In place of the C library's.
extern "C" int linkat(int from_directory, const char* from, int to_directory, const char* to,
                      int flags) noexcept {
  using Function = int (*)(int, const char*, int, const char*, int);
  static const auto original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "linkat"));
  const int result = original(from_directory, from, to_directory, to, flags);
  if (result == 0 && stops_when_named.exchange(false)) raise(SIGSTOP);
  const unsigned pause = result == 0 ? pauses_when_named_ms.exchange(0) : 0;
  if (pause != 0) usleep(pause * 1000);
  return result;
}

extern "C" int posix_fallocate(int file, off_t offset, off_t length) {
  using Function = int (*)(int, off_t, off_t);
  static const auto original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "posix_fallocate"));
  if (const unsigned pause = pauses_in_steps_ms) usleep(pause * 1000);
  return original(file, offset, length);
}

namespace {

using namespace test;

class LostNameStops : public LostNameTest {};

// Its slave takes it for hung, and finds the fresh segment before it is told of it.
TEST_P(LostNameStops, MasterThatStandsStillWhenItHasGivenTheNameGoesOn) {
  Child master([config = lively(ESHM_ROLE_MASTER, kHungMs)](Wire& wire) {
    const Link link = open_link(config);
    wire.say(outcome(link));
    CHILD_CHECK(link);
    wire.hear();
    stops_when_named = true;
    wire.say("will stop");
    return obey(wire, link);
  });
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE, kHungMs));
  ASSERT_TRUE(slave) << last_error();
  EventLog events;
  events.listen_to(slave.get());
  master.say("stop");
  ASSERT_EQ(master.hear(), "will stop");
  lose_name();
  events.wait_for(ESHM_EVENT_STALE);
  pause_ms(300);  // the slave tries again each 100 ms
  ASSERT_EQ(kill(master.pid(), SIGCONT), 0);
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  EXPECT_EQ(ask(master, "write m0"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "m0") << last_error();
  leave(master);
}

TEST_P(LostNameStops, MasterThatBeatsByHandIsNotReplaced) {
  Child master([config = lively(ESHM_ROLE_MASTER, kHungMs)](Wire& wire) {
    const Link link = open_link(config);
    wire.say(outcome(link));
    CHILD_CHECK(link);
    eshm_hold_heartbeat(link.get(), true);
    while (!wire.has_news()) {
      eshm_update_heartbeat(link.get());
      pause_ms(2);
    }
    return obey(wire, link);
  });
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(lively(ESHM_ROLE_SLAVE, kHungMs));
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();  // so the two stay in the former segment
  lose_name();
  EXPECT_FALSE(open_link(lively(ESHM_ROLE_MASTER, kHungMs)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  slave.kill_now();
  leave(master);
}

// Making its fresh segment takes longer than the threshold.
TEST_P(LostNameStops, LargeLinkBeatsWhileItsSegmentIsMade) {
  if (GetParam() == ESHM_BACKEND_SYSV) GTEST_SKIP() << "its areas are made in one step";
  ESHMConfig large = lively(ESHM_ROLE_MASTER, 1000);
  large.m2s.queue_capacity = large.s2m.queue_capacity = uint64_t(10) << 20;
  Child master([large](Wire& wire) {
    const Link link = open_link(large);
    pauses_in_steps_ms = 100;  // twenty steps
    wire.say(outcome(link));
    return link ? obey(wire, link) : 0;
  });
  ASSERT_EQ(master.hear(), "open");
  large.role = ESHM_ROLE_SLAVE;
  const Link slave = open_link(large);
  ASSERT_TRUE(slave) << last_error();
  const uint64_t before = stale_reports_of(slave.get());
  lose_name();
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  EXPECT_EQ(stale_reports_of(slave.get()), before);
  leave(master);
}

TEST_P(LostNameStops, OwnFormerFileThatComesBackIsNoOtherMaster) {
  const std::string other = name() + "o";
  ESHMConfig dead = lively(ESHM_ROLE_MASTER);
  dead.shm_name = other.c_str();
  dead.auto_cleanup = false;
  open_link(dead).reset();
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  const std::string away = path() + ".away";
  ASSERT_EQ(rename(path().c_str(), away.c_str()), 0);
  ASSERT_EQ(rename(path_of(other).c_str(), path().c_str()), 0);
  events.wait_for(ESHM_EVENT_RENEWED);
  ASSERT_EQ(rename(away.c_str(), path().c_str()), 0);
  pause_ms(1600);  // a renewal's pause, and two looks
  EXPECT_EQ(write_text(master.get(), "m0"), ESHM_SUCCESS) << last_error();
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED, 2);
  slave.go_on();
  EXPECT_EQ(ask(slave, "wait"), "m0");
  leave(slave);
}

TEST_P(LostNameStops, MessagesBehindAnOpenLoanOfADeadMasterAreRead) {
  Child master([config = lively(ESHM_ROLE_MASTER)](Wire& wire) {
    const Link link = open_link(config);
    wire.say(outcome(link));
    CHILD_CHECK(link);
    wire.hear();
    CHILD_CHECK(write_text(link.get(), "m0") == ESHM_SUCCESS);
    void* loan = nullptr;
    CHILD_CHECK(eshm_loan(link.get(), 8, &loan) == ESHM_SUCCESS);
    CHILD_CHECK(write_text(link.get(), "m1") == ESHM_SUCCESS);
    wire.say("wrote");
    wire.hear();
    return 0;
  });
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  master.say("write");
  ASSERT_EQ(master.hear(), "wrote");
  slave.stop();
  lose_name();
  master.kill_now();
  const Link next = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(next) << last_error();
  slave.go_on();
  ASSERT_EQ(write_text(next.get(), "m2"), ESHM_SUCCESS);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
  leave(slave);
}

// Replaced while its slave has not sat down, sits down, or has come over.
TEST_P(LostNameStops, MasterThatHangsInARenewalIsReplaced) {
  for (const bool slave_stands : {true, false}) {
    for (const unsigned after_ms : {0u, 100u}) {
      Child first = obeying(lively(ESHM_ROLE_MASTER, kHungMs));
      ASSERT_EQ(first.hear(), "open");
      Child slave = obeying(lively(ESHM_ROLE_SLAVE, kHungMs));
      ASSERT_EQ(slave.hear(), "open");
      for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(first, "write " + numbered("m", i)), "0");
      for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(slave, "write " + numbered("s", i)), "0");
      if (slave_stands) slave.stop();
      lose_name();
      pause_ms(after_ms);
      first.stop();
      const Link next = open_link(lively(ESHM_ROLE_MASTER, kHungMs));
      ASSERT_TRUE(next) << last_error();
      first.go_on();
      if (slave_stands) slave.go_on();
      ASSERT_EQ(write_text(next.get(), "m3"), ESHM_SUCCESS);
      for (int i = 0; i < 4; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
      for (int i = 0; i < 3; ++i) EXPECT_EQ(read_text(next.get(), UINT32_MAX), numbered("s", i));
      EXPECT_EQ(ask(first, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
      leave(slave);
      leave(first);
    }
  }
}

// Within the milliseconds in which both move, and a little later.
TEST_P(LostNameStops, EndThatIsKilledAtAnyMomentLosesNothing) {
  uint64_t random = seed();
  for (uint64_t round = 0; round < count(8, 400); ++round) {
    SCOPED_TRACE("round " + std::to_string(round) + ", ESHM_SEED=" + std::to_string(seed()));
    random = mix(random);
    const bool slave_dies = random % 2 == 0;
    Child master = obeying(lively(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    Child slave = obeying(lively(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    for (int i = 0; i < 4; ++i) ASSERT_EQ(ask(master, "write " + numbered("m", i)), "0");
    for (int i = 0; i < 4; ++i) ASSERT_EQ(ask(slave, "write " + numbered("s", i)), "0");
    ASSERT_EQ(ask(slave, "read"), "m0");
    ASSERT_EQ(ask(master, "read"), "s0");
    unlink_name();
    while (!has_name()) usleep(20);
    usleep(unsigned(random / 2 % 4000));
    // What was in the hands of the dead one comes again.
    (slave_dies ? slave : master).kill_now();
    ESHMConfig successor = lively(slave_dies ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER);
    Link next;
    wait_until([&] { return (next = open_link(successor)) != nullptr; });
    Child& other = slave_dies ? master : slave;
    const char* const words[] = {slave_dies ? "m" : "s", slave_dies ? "s" : "m"};
    ASSERT_EQ(ask(other, "write " + numbered(words[0], 4)), "0");
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(read_text(next.get(), kPatientMs), numbered(words[0], i)) << last_error();
    }
    ASSERT_EQ(write_text(next.get(), numbered(words[1], 4)), ESHM_SUCCESS);
    for (int i = 1; i < 5; ++i) ASSERT_EQ(ask(other, "wait"), numbered(words[1], i));
    if (slave_dies) next.reset();
    leave(other);
  }
}

TEST_P(LostNameStops, StoppedSlaveFollowsLaterAndSegmentsDoNotPileUp) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  ASSERT_EQ(ask(slave, "write s0"), "0");
  write_numbers(master.get(), "m", 0, 2);
  ASSERT_EQ(ask(slave, "read"), "m0");
  slave.stop();
  for (size_t times = 1; times <= 3; ++times) {
    unlink_name();
    events.wait_for(ESHM_EVENT_RENEWED, times);
    EXPECT_LE(segments_mapped(), 2u);
    write_numbers(master.get(), "m", int(2 * times), int(2 * times) + 2);
  }
  // It was written before, and needs no slave to be read.
  EXPECT_EQ(read_text(master.get(), 0), "s0");
  slave.go_on();
  for (int i = 1; i < 8; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
  ASSERT_EQ(ask(slave, "write s1"), "0");
  EXPECT_EQ(read_text(master.get(), kPatientMs), "s1");
  wait_until([] { return segments_mapped() == 1; });
  expect_one_master();
  leave(slave);
}

TEST_P(LostNameStops, SlaveThatDiesBeforeItFollowsLeavesWhatIsUnread) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  for (int i = 0; i < 5; ++i) ASSERT_EQ(ask(slave, "write " + numbered("s", i)), "0");
  write_numbers(master.get(), "m", 0, 5);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(slave, "read"), numbered("m", i));
  slave.stop();
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED);
  EXPECT_EQ(read_text(master.get(), 0), "s0");
  slave.kill_now();
  wait_for_state(master.get(), ESHM_PEER_DEAD);
  Link next = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(next) << last_error();
  write_numbers(master.get(), "m", 5, 7);
  // The one in the hands of the dead slave comes again, and no other.
  expect_numbers(next.get(), "m", 2, 7);
  write_numbers(next.get(), "s", 5, 7);
  expect_numbers(master.get(), "s", 1, 7);
}

// Its seat is kept for the dead one until the master has seen that death.
TEST_P(LostNameStops, SlaveThatComesBeforeItsMasterKnowsOfTheDeathOfTheFormerOneIsLetIn) {
  Child master = obeying(lively(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  unlink_name();
  wait_until([&] { return inode() != 0; });
  master.stop();
  slave.kill_now();
  Child next = standing_by(lively(ESHM_ROLE_SLAVE));
  next.say("open");
  pause_ms(100);
  EXPECT_FALSE(next.has_news()) << next.hear();
  master.go_on();
  EXPECT_EQ(next.hear(), "open");
  leave(next);
  leave(master);
}

TEST_P(LostNameStops, MasterThatDiesBeforeItsSlaveFollowsLosesNothing) {
  Child master = obeying(lively(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(master, "write " + numbered("m", i)), "0");
  slave.stop();
  const uint64_t before = inode();
  unlink_name();
  wait_until([&] { return inode() != 0; });
  EXPECT_NE(inode(), before);
  // New messages: the slave has not taken its new seat.
  for (int i = 3; i < 6; ++i) ASSERT_EQ(ask(master, "write " + numbered("m", i)), "0");
  master.kill_now();
  Child next = standing_by(lively(ESHM_ROLE_MASTER));
  next.say("open");
  slave.go_on();
  ASSERT_EQ(next.hear(), "open");
  for (int i = 0; i < 6; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
  ASSERT_EQ(ask(next, "write m6"), "0");
  EXPECT_EQ(ask(slave, "wait"), "m6");
  leave(slave);
  leave(next);
}

TEST_P(LostNameStops, SlaveThatSitsDownAtOnceIsReported) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  pauses_when_named_ms = 100;
  unlink_name();
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  events.wait_for(ESHM_EVENT_RENEWED);
  events.wait_for(ESHM_EVENT_CONNECTED);
}

ESHM_ON_BOTH_BACKENDS(LostNameStops);

}  // namespace
