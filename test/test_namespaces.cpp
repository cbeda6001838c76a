// SPDX-License-Identifier: MIT
// Peers that do not see each other's PIDs, or live by another clock.
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>

#include "support/counts.h"
#include "support/may_unshare.h"
#include "support/player.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

namespace {

using namespace test;

const std::string kAlive = std::to_string(ESHM_PEER_ALIVE);

// A process in a namespace of its own, the child of a Child. `kind` is what
// unshare() is told; `prepare` runs between that and the fork.
class Foreigner {
 public:
  Foreigner(int kind, const std::function<int(Wire&)>& body,
            const std::function<void()>& prepare = [] {})
      : gate_([kind, body, prepare](Wire& wire) {
          CHILD_CHECK(unshare(kind) == 0);
          prepare();
          const pid_t pid = fork();
          CHILD_CHECK(pid >= 0);
          if (pid == 0) {
            arm_watchdog();
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(body(wire));
          }
          wire.say("pid " + std::to_string(pid));
          int status = 0;
          waitpid(pid, &status, 0);
          return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        }) {
    // Both speak on one wire, in either order.
    for (int i = 0; i < 2; ++i) {
      const std::string text = gate_.hear();
      if (text.compare(0, 4, "pid ") == 0) {
        pid_ = std::stoi(text.substr(4));
      } else {
        opened_ = text;
      }
    }
    remember_process(pid_);
  }

  const std::string& opened() const { return opened_; }  // what it said first
  pid_t pid() const { return pid_; }  // in our namespace
  Child& wire() { return gate_; }
  void signal(int number) { EXPECT_EQ(kill(pid_, number), 0); }
  // Returns when it stands still: until its first thread has dealt with the
  // signal, the others go on. Only its parent could wait for that.
  void stop() {
    signal(SIGSTOP);
    wait_until([this] { return states_of_threads().find_first_not_of('T') == std::string::npos; });
  }
  int join() { return gate_.join(); }

 private:
  // A letter each, as in /proc/PID/stat.
  std::string states_of_threads() const {
    const std::string tasks = "/proc/" + std::to_string(pid_) + "/task/";
    std::string states;
    DIR* const directory = opendir(tasks.c_str());
    while (const dirent* entry = readdir(directory)) {
      std::string stat;
      std::getline(std::ifstream(tasks + entry->d_name + "/stat"), stat);
      const size_t name_end = stat.rfind(')');
      if (name_end != std::string::npos) states += stat[name_end + 2];
    }
    closedir(directory);
    return states;
  }

  Child gate_;
  pid_t pid_ = 0;
  std::string opened_;
};

// PIDs that this process has a pidfd of.
std::vector<long> watched_pids() {
  std::vector<long> found;
  DIR* const directory = opendir("/proc/self/fdinfo");
  while (const dirent* entry = readdir(directory)) {
    std::ifstream info(std::string("/proc/self/fdinfo/") + entry->d_name);
    for (std::string line; std::getline(info, line);) {
      if (line.compare(0, 4, "Pid:") == 0) found.push_back(std::stol(line.substr(4)));
    }
  }
  closedir(directory);
  return found;
}

class Namespaces : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
  static ESHMRole other(ESHMRole role) {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }
  static std::function<int(Wire&)> player(const ESHMConfig& config) {
    return [config](Wire& wire) {
      const Link link = open_link(config);
      wire.say(outcome(link));
      return link ? obey(wire, link) : 0;
    };
  }
};

class PidNamespace : public Namespaces {
 protected:
  void SetUp() override {
    Namespaces::SetUp();
    if (!may_unshare(CLONE_NEWPID)) GTEST_SKIP() << "may not unshare the PID namespace";
  }
};

TEST_P(PidNamespace, StrangersTalkAreHungKilledAndLeaveLikeAnyOther) {
  for (ESHMRole role : {ESHM_ROLE_SLAVE, ESHM_ROLE_MASTER}) {
    for (bool is_killed : {true, false}) {
      ESHMConfig impatient = patient(other(role));
      impatient.stale_threshold_ms = kHungMs;
      Link link;
      if (role == ESHM_ROLE_SLAVE) link = open_link(impatient);
      Foreigner foreigner(CLONE_NEWPID, player(patient(role)));
      ASSERT_EQ(foreigner.opened(), "open");
      if (role == ESHM_ROLE_MASTER) link = open_link(impatient);
      ASSERT_TRUE(link) << last_error();
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      wait_until([&] { return ask(foreigner.wire(), "state") == kAlive; });
      ASSERT_EQ(write_text(link.get(), "there"), ESHM_SUCCESS);
      EXPECT_EQ(ask(foreigner.wire(), "wait"), "there");
      ASSERT_EQ(ask(foreigner.wire(), "write back"), "0");
      EXPECT_EQ(read_text(link.get(), UINT32_MAX), "back");

      foreigner.stop();
      wait_for_state(link.get(), ESHM_PEER_STALE);
      foreigner.signal(SIGCONT);
      wait_for_state(link.get(), ESHM_PEER_ALIVE);

      if (is_killed) {
        foreigner.signal(SIGKILL);
        wait_for_state(link.get(), ESHM_PEER_DEAD);
        foreigner.join();
      } else {
        foreigner.wire().say("leave");
        EXPECT_EQ(foreigner.join(), 0);
        wait_for_state(link.get(), ESHM_PEER_LEFT);
      }
    }
  }
}

// An exit watch is a pidfd; the foreigner's number is another process's here.
TEST_P(PidNamespace, OnlyAPeerOfOurOwnNamespaceHasAnExitWatch) {
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  Child resident = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(resident.hear(), "open");
  wait_until([&] { return watched_pids() == std::vector<long>{resident.pid()}; });
  leave(resident);
  wait_until([&] { return watched_pids().empty(); });
  Foreigner foreigner(CLONE_NEWPID, player(patient(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(foreigner.opened(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(watched_pids(), std::vector<long>());
    pause_ms(1);
  }
  foreigner.wire().say("leave");
  EXPECT_EQ(foreigner.join(), 0);
}

// The foreigner has, in its namespace, the number of a process of ours that
// dies: nobody takes that for its death.
TEST_P(PidNamespace, DeathOfAStrangerWithThePeersNumberMeansNothing) {
  Child stranger([](Wire& wire) {
    wire.hear();
    return 0;
  });
  const pid_t number = stranger.pid();
  const ESHMConfig config = patient(ESHM_ROLE_MASTER);
  Foreigner init(CLONE_NEWPID, [config, number](Wire& wire) {
    std::ofstream("/proc/sys/kernel/ns_last_pid") << number - 1;
    const pid_t pid = fork();
    if (pid == 0) {
      arm_watchdog();
      if (getpid() != number) {
        wire.say("no such number to be had");
        _exit(0);
      }
      const Link link = open_link(config);
      wire.say(outcome(link));
      _exit(link ? obey(wire, link) : 0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return 0;
  });
  if (init.opened() == "no such number to be had") {
    GTEST_SKIP() << "no choice of a PID in this kernel, or not by us";
  }
  ASSERT_EQ(init.opened(), "open");
  EventLog events;
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  events.listen_to(slave.get());
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(slave.get(), &stats), ESHM_SUCCESS);
  ASSERT_EQ(stats.master_pid, number);
  stranger.kill_now();
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(remote_state(slave.get()), ESHM_PEER_ALIVE);
    pause_ms(1);
  }
  ASSERT_EQ(ask(init.wire(), "write still here"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "still here");
  // Nor is a second master let in.
  EXPECT_FALSE(open_link(at_once(this->config(ESHM_ROLE_MASTER))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  init.wire().say("leave");
  EXPECT_EQ(init.join(), 0);
  eshm_set_event_callback(slave.get(), nullptr, nullptr);
  EXPECT_EQ(events.count_of(ESHM_EVENT_DEAD), 0u);
}

TEST_P(PidNamespace, RefusalSaysThatThePidIsOfAnotherNamespace) {
  Foreigner master(CLONE_NEWPID, player(patient(ESHM_ROLE_MASTER)));
  ASSERT_EQ(master.opened(), "open");
  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_MASTER))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_NE(last_error().find("namespace"), std::string::npos) << last_error();
  Foreigner slave(CLONE_NEWPID, player(patient(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.opened(), "open");
  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_NE(last_error().find("namespace"), std::string::npos) << last_error();
  slave.wire().say("leave");
  EXPECT_EQ(slave.join(), 0);
  master.wire().say("leave");
  EXPECT_EQ(master.join(), 0);
}

// Both are number 1, each in a namespace of its own: the child is not its parent.
TEST_P(PidNamespace, ForkedChildWithItsParentsNumberIsSomebodyElse) {
  Foreigner parent(CLONE_NEWPID, [this](Wire& wire) {
    const Link link = open_link(patient(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    CHILD_CHECK(getpid() == 1);
    CHILD_CHECK(unshare(CLONE_NEWPID) == 0);
    const pid_t child = fork();
    CHILD_CHECK(child >= 0);
    if (child == 0) {
      CHILD_CHECK(getpid() == 1);
      CHILD_CHECK(!open_link(config(ESHM_ROLE_MASTER)));
      CHILD_CHECK(last_error().find("PID 1 of another PID namespace") != std::string::npos);
      _exit(0);
    }
    int status = 0;
    CHILD_CHECK(waitpid(child, &status, 0) == child && status == 0);
    wire.say("told apart");
    return 0;
  });
  EXPECT_EQ(parent.opened(), "told apart");
  EXPECT_EQ(parent.join(), 0);
}

TEST_P(PidNamespace, HungForeignMasterIsReplacedAndADeadOneAdopted) {
  ESHMConfig impatient = config(ESHM_ROLE_MASTER);
  impatient.stale_threshold_ms = kHungMs;
  for (uint64_t round = 0; round < count(2, 50); ++round) {
    Foreigner old_master(CLONE_NEWPID, player(impatient));
    ASSERT_EQ(old_master.opened(), "open");
    const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave) << last_error();
    old_master.stop();
    Foreigner next(CLONE_NEWPID, player(impatient));
    ASSERT_EQ(next.opened(), "open");
    old_master.signal(SIGCONT);
    EXPECT_EQ(ask(old_master.wire(), "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
    ASSERT_EQ(ask(next.wire(), "write new"), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "new");
    old_master.wire().say("leave");
    EXPECT_EQ(old_master.join(), 0);

    next.signal(SIGKILL);
    Foreigner third(CLONE_NEWPID, player(impatient));
    ASSERT_EQ(third.opened(), "open");
    ASSERT_EQ(ask(third.wire(), "write third"), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "third");
    third.wire().say("leave");
    EXPECT_EQ(third.join(), 0);
    next.join();
  }
}

TEST_P(PidNamespace, ForeignMastersKilledAndRestartedAreReadFrom) {
  Foreigner first(CLONE_NEWPID, player(patient(ESHM_ROLE_MASTER)));
  ASSERT_EQ(first.opened(), "open");
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  first.signal(SIGKILL);
  first.join();
  for (uint64_t round = 0; round < count(8, 300); ++round) {
    Foreigner next(CLONE_NEWPID, player(patient(ESHM_ROLE_MASTER)));
    ASSERT_EQ(next.opened(), "open");
    ASSERT_EQ(ask(next.wire(), "write " + std::to_string(round)), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), std::to_string(round));
    next.signal(SIGKILL);
    next.join();
  }
}

// ---- time ---------------------------------------------------------------------------

class TimeNamespace : public Namespaces {
 protected:
  void SetUp() override {
    Namespaces::SetUp();
    if (!may_unshare(CLONE_NEWTIME)) GTEST_SKIP() << "may not unshare the time namespace";
  }

  // Its monotonic clock and its start times are a million seconds ahead.
  static void a_million_seconds_ahead() {
    std::ofstream offsets("/proc/self/timens_offsets");
    offsets << "monotonic 1000000 0\nboottime 1000000 0\n" << std::flush;
    CHILD_CHECK(offsets.good());
  }

  Foreigner foreigner(const ESHMConfig& config) const {
    const uint64_t here = now_ms();
    return Foreigner(
        CLONE_NEWTIME,
        [config, here](Wire& wire) {
          CHILD_CHECK(now_ms() > here + 500'000'000);
          return player(config)(wire);
        },
        a_million_seconds_ahead);
  }
};

TEST_P(TimeNamespace, PeersOfAnotherClockTalkAreHungKilledAndReplacedLikeAnyOther) {
  ESHMConfig impatient = config(ESHM_ROLE_MASTER);
  impatient.stale_threshold_ms = 5 * kHungMs;  // it is to be found healthy first
  Foreigner master = foreigner(impatient);
  ASSERT_EQ(master.opened(), "open");
  ESHMConfig watching = patient(ESHM_ROLE_SLAVE);
  watching.stale_threshold_ms = 2000;
  EventLog events;
  const Link slave = open_link(watching);
  ASSERT_TRUE(slave) << last_error();
  events.listen_to(slave.get());
  wait_until([&] { return ask(master.wire(), "state") == kAlive; });
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(remote_state(slave.get()), ESHM_PEER_ALIVE);
    EXPECT_EQ(ask(master.wire(), "state"), kAlive);
    pause_ms(3);
  }
  // A healthy one is not taken over, from whichever clock it is looked at.
  EXPECT_FALSE(open_link(impatient));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_EQ(foreigner(impatient).opened().find(std::to_string(ESHM_ERROR_ROLE_MISMATCH)), 0u);
  ASSERT_EQ(ask(master.wire(), "write a"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "a");
  EXPECT_EQ(events.count_of(ESHM_EVENT_STALE), 0u);

  master.stop();
  Child next = obeying(impatient);
  ASSERT_EQ(next.hear(), "open");
  master.signal(SIGCONT);
  EXPECT_EQ(ask(master.wire(), "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
  ASSERT_EQ(ask(next, "write b"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "b");
  master.wire().say("leave");
  EXPECT_EQ(master.join(), 0);
  next.kill_now();

  Foreigner third = foreigner(impatient);
  ASSERT_EQ(third.opened(), "open");
  ASSERT_EQ(ask(third.wire(), "write c"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "c");
  // Messages are read before a new master is met: until then, dead means the last one.
  wait_for_state(slave.get(), ESHM_PEER_ALIVE);
  third.signal(SIGKILL);
  wait_for_state(slave.get(), ESHM_PEER_DEAD);
  eshm_set_event_callback(slave.get(), nullptr, nullptr);
}

ESHM_ON_BOTH_BACKENDS(PidNamespace);
ESHM_ON_BOTH_BACKENDS(TimeNamespace);

}  // namespace
