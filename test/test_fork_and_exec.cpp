// SPDX-License-Identifier: MIT
// fork and exec in a process that has links: the child is a stranger to them.
// More of this in test_fork.cpp.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "support/counts.h"
#include "support/heir.h"
#include "support/player.h"

extern char** environ;

namespace {

using namespace test;

class ForkAndExec : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
};

#define CHILD_IS_REFUSED(call) CHILD_CHECK((call) == ESHM_ERROR_NOT_INITIALIZED)

void check_that_all_calls_are_refused(ESHMHandle* link) {
  char buffer[8];
  bool alive = false;
  ESHMPeerState state = ESHM_PEER_NEVER_SEEN;
  ESHMStats stats = {};
  ESHMStatsEx more = {};
  ESHMRole role = ESHM_ROLE_AUTO;
  ESHMChannelConfig channel = {};
  CHILD_IS_REFUSED(eshm_write(link, "x", 1));
  CHILD_CHECK(last_error_code() == ESHM_ERROR_NOT_INITIALIZED);
  CHILD_CHECK(last_error().find("fork") != std::string::npos);
  CHILD_IS_REFUSED(eshm_write_ex(link, "x", 1, UINT32_MAX));
  CHILD_IS_REFUSED(eshm_read(link, buffer, sizeof buffer));
  CHILD_IS_REFUSED(eshm_read_ex(link, buffer, sizeof buffer, nullptr, UINT32_MAX));
  CHILD_IS_REFUSED(eshm_read_msg(link, buffer, sizeof buffer, nullptr, UINT32_MAX));
  CHILD_IS_REFUSED(eshm_update_heartbeat(link));
  CHILD_IS_REFUSED(eshm_hold_heartbeat(link, true));
  CHILD_IS_REFUSED(eshm_check_remote_alive(link, &alive));
  CHILD_IS_REFUSED(eshm_get_remote_state(link, &state));
  CHILD_IS_REFUSED(eshm_get_stats(link, &stats));
  CHILD_IS_REFUSED(eshm_get_stats_ex(link, &more));
  CHILD_IS_REFUSED(eshm_get_role(link, &role));
  CHILD_IS_REFUSED(eshm_get_channel(link, ESHM_M2S, &channel));
  CHILD_IS_REFUSED(eshm_set_event_callback(link, nullptr, nullptr));
  CHILD_IS_REFUSED(eshm_destroy(link));
}

TEST_P(ForkAndExec, EachCallOfAChildIsRefusedAndTheParentFeelsNothing) {
  for (bool use_threads : {true, false}) {
    ESHMConfig config = patient(ESHM_ROLE_MASTER);
    config.use_threads = use_threads;
    const Link master = open_link(config);
    ASSERT_TRUE(master) << last_error();
    const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave) << last_error();
    Child child([&](Wire&) {
      check_that_all_calls_are_refused(master.get());
      check_that_all_calls_are_refused(slave.get());
      std::exit(0);  // with all that a process does at its end
      return 1;
    });
    EXPECT_EQ(child.join(), 0);
    ASSERT_EQ(write_text(master.get(), "unmoved"), ESHM_SUCCESS);
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "unmoved");
    EXPECT_EQ(remote_state(slave.get()), ESHM_PEER_ALIVE);
    wait_for_state(master.get(), ESHM_PEER_ALIVE);  // told at its next look
    EXPECT_FALSE(files_of(name()).empty());
  }
}

// What the child inherited must not keep the parent alive in the peer's eyes.
TEST_P(ForkAndExec, ParentsDeathIsToldThoughItsChildLivesAndHoldsAllItInherited) {
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    Heir heir;
    Child parent([&](Wire& wire) {
      const Link link = open_link(patient(role));
      wire.say(outcome(link));
      wire.hear();
      heir.be_born();
      wire.say("forked");
      wire.hear();
      return 0;
    });
    heir.is_anothers();
    if (role == ESHM_ROLE_MASTER) {
      ASSERT_EQ(parent.hear(), "open");
    }
    const Link link = open_link(
        patient(role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER));
    ASSERT_TRUE(link) << last_error();
    if (role == ESHM_ROLE_SLAVE) {
      ASSERT_EQ(parent.hear(), "open");
    }
    wait_for_state(link.get(), ESHM_PEER_ALIVE);
    ASSERT_EQ(ask(parent, "fork"), "forked");
    EXPECT_EQ(remote_state(link.get()), ESHM_PEER_ALIVE);
    parent.kill_now();
    wait_for_state(link.get(), ESHM_PEER_DEAD);
    Child next = obeying(patient(role));
    EXPECT_EQ(next.hear(), "open");
    leave(next);
    heir.end();
  }
}

TEST_P(ForkAndExec, ChildsOwnLinksBeatDieAndLeaveLikeAnyOther) {
  const std::string another = unique_name();
  const Link parents = open_link(patient(ESHM_ROLE_MASTER));  // so a service thread was there
  ASSERT_TRUE(parents) << last_error();
  ESHMConfig quick = for_ever(config_of(another, ESHM_ROLE_SLAVE, GetParam()));
  quick.stale_threshold_ms = 2000;
  const Link master = open_link(config_of(another, ESHM_ROLE_MASTER, GetParam()));
  ASSERT_TRUE(master) << last_error();
  for (bool is_killed : {true, false}) {
    Child child = obeying(quick);
    ASSERT_EQ(child.hear(), "open");
    wait_for_state(master.get(), ESHM_PEER_ALIVE);
    ESHMStats stats = {};
    ASSERT_EQ(eshm_get_stats(master.get(), &stats), ESHM_SUCCESS);
    const uint64_t before = stats.slave_heartbeat;
    wait_until([&] {  // by the child's own service thread
      return eshm_get_stats(master.get(), &stats) == ESHM_SUCCESS &&
             stats.slave_heartbeat > before + 5;
    });
    if (is_killed) {
      child.kill_now();
      wait_for_state(master.get(), ESHM_PEER_DEAD);
    } else {
      leave(child);
      wait_for_state(master.get(), ESHM_PEER_LEFT);
    }
  }
}

// A generation further.
TEST_P(ForkAndExec, ChildOfAChildIsAStrangerToBoth) {
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const std::string another = unique_name();
  Child child([&](Wire&) {
    const Link own = open_link(config_of(another, ESHM_ROLE_MASTER, GetParam()));
    CHILD_CHECK(own);
    Child grandchild([&](Wire&) {
      check_that_all_calls_are_refused(master.get());
      check_that_all_calls_are_refused(own.get());
      const Link slave = open_link(at_once(config_of(another, ESHM_ROLE_SLAVE, GetParam())));
      CHILD_CHECK(slave);
      CHILD_CHECK(write_text(slave.get(), "grandchild") == ESHM_SUCCESS);
      return 0;
    });
    CHILD_CHECK(grandchild.join() == 0);
    CHILD_CHECK(read_text(own.get(), 0) == "grandchild");
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// Forks fall into every step of two threads that talk, and of the service.
TEST_P(ForkAndExec, ForksInTheMiddleOfTalkDisturbNobody) {
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  std::atomic<bool> over{false};
  std::atomic<uint64_t> heard{0};
  std::thread writer([&] {
    for (uint64_t i = 1; !over; ++i) {
      ASSERT_EQ(write_text(master.get(), std::to_string(i)), ESHM_SUCCESS) << last_error();
    }
  });
  std::thread reader([&] {
    uint64_t last = 0;
    while (!over) {
      const std::string text = read_text(slave.get(), 10);
      if (text == error(ESHM_ERROR_TIMEOUT)) continue;
      ASSERT_EQ(text.find("error"), std::string::npos) << text;
      ASSERT_GT(std::stoull(text), last);
      last = std::stoull(text);
      ++heard;
    }
  });
  for (uint64_t i = 0; i < count(60, 3000) || heard == 0; ++i) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      arm_watchdog();
      _exit(eshm_write(master.get(), "x", 1) == ESHM_ERROR_NOT_INITIALIZED ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }
  over = true;
  writer.join();
  reader.join();
  EXPECT_EQ(remote_state(slave.get()), ESHM_PEER_ALIVE);
}

// No at-fork handler runs for a program that is spawned; the descriptors close
// by themselves.
TEST_P(ForkAndExec, SpawnedProgramInheritsNoDescriptor) {
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));  // so that there is an exit watch, too
  ASSERT_EQ(slave.hear(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  std::string look = "ls -l /proc/self/fd | grep -c -e eshm_ -e pidfd -e inotify -e '/dev/shm'";
  look = "ls -l /proc/" + std::to_string(getpid()) + "/fd | grep -q -e eshm_ -e '/dev/shm' || exit 9; " +
         "test \"$(" + look + ")\" = 0";
  std::string shell = "/bin/sh", option = "-c";
  char* arguments[] = {shell.data(), option.data(), look.data(), nullptr};
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, "/bin/sh", nullptr, nullptr, arguments, environ), 0);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << "9 in the second byte: the parent has none itself";
  leave(slave);
}

ESHM_ON_BOTH_BACKENDS(ForkAndExec);

}  // namespace
