// SPDX-License-Identifier: MIT
// Processes that the kernel takes long to tear down: they are waited for, neither
// replaced nor called hung.
#include <sched.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "api/settings_of.h"
#include "endpoint/segment_file.h"
#include "os/process.h"
#include "support/counts.h"
#include "support/kill_test.h"

namespace {

using namespace test;

// ---- memory gone, lock still held ---------------------------------------------------

// The kernel takes a dying process's memory before its files. Here a second
// process shares the files alone, so that the state in between lasts. (Memory in
// a file stays: that is System V's alone.)
class HalfExited : public KillTest {
 protected:
  static void detach_all() {
    std::ifstream maps("/proc/self/maps");
    std::vector<uintptr_t> areas;
    for (std::string line; std::getline(maps, line);) {
      if (line.find("/SYSV") != std::string::npos) areas.push_back(std::stoull(line, nullptr, 16));
    }
    for (const uintptr_t area : areas) CHILD_CHECK(shmdt(reinterpret_cast<void*>(area)) == 0);
  }
  // Answers "open", and the PID of who will keep its files.
  Child sharing_its_files(ESHMRole role) const {
    return Child([config = patient(role)](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      return share_files(wire);
    });
  }
  // The same of one that is changing the roles.
  Child sharing_the_succession() const {
    return Child([config = patient(ESHM_ROLE_SLAVE)](Wire& wire) {
      eshm::endpoint::Settings settings = {};
      CHILD_CHECK(!eshm::api::settings_of(config, settings));
      std::shared_ptr<eshm::endpoint::SegmentFile> segment;
      CHILD_CHECK(!eshm::endpoint::SegmentFile::open(
          settings, eshm::endpoint::inspect_name(settings), segment));
      eshm::endpoint::Succession succession(segment);
      CHILD_CHECK(succession.try_take());
      return share_files(wire);
    });
  }
  static int share_files(Wire& wire) {
    wire.say("open");
    if (syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr) == 0) {
      arm_watchdog();
      detach_all();
      wire.say(std::to_string(getpid()));
      for (;;) pause();
    }
    for (;;) pause();
    return 0;
  }
  // Dead, but not reaped.
  static void kill_without_reaping(const Child& child) {
    kill(child.pid(), SIGKILL);
    siginfo_t info;
    ASSERT_EQ(waitid(P_PID, id_t(child.pid()), &info, WEXITED | WNOWAIT), 0);
  }
  // Waits until the lock falls, then has a peer and works.
  void expect_waits_for(pid_t keeper, ESHMRole role) {
    std::atomic<bool> is_back{false};
    Link link;
    std::thread opener([&] {
      link = open_link(patient(role));
      EXPECT_TRUE(link) << last_error();
      is_back = true;
    });
    pause_ms(30);
    EXPECT_FALSE(is_back);
    EXPECT_TRUE(lock_is_held(other(role)));
    kill(keeper, SIGKILL);
    Child next = obeying(patient(other(role)));
    EXPECT_EQ(next.hear(), "open");
    opener.join();
    ASSERT_TRUE(link);
    EXPECT_EQ(ask(next, "write works"), "0");
    read_until(link.get(), "works");
    leave(next);
  }
};

TEST_P(HalfExited, MasterWithoutMemoryIsWaitedForByASlave) {
  Child master = sharing_its_files(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  const pid_t keeper = pid_t(std::stol(master.hear()));
  kill_without_reaping(master);
  expect_waits_for(keeper, ESHM_ROLE_SLAVE);
  remove_name_of_the_killed();
}

TEST_P(HalfExited, SlaveWithoutMemoryIsWaitedForByTheNextMaster) {
  Child master = talker(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  Child slave = sharing_its_files(ESHM_ROLE_SLAVE);
  ASSERT_EQ(slave.hear(), "open");
  const pid_t keeper = pid_t(std::stol(slave.hear()));
  master.kill_now();
  kill_without_reaping(slave);
  expect_waits_for(keeper, ESHM_ROLE_MASTER);
}

// Longer than the others wait for one that hangs.
TEST_P(HalfExited, WhoDiedChangingTheRolesIsWaitedFor) {
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  Child changer = sharing_the_succession();
  ASSERT_EQ(changer.hear(), "open");
  const pid_t keeper = pid_t(std::stol(changer.hear()));
  kill_without_reaping(changer);
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  pause_ms(1300);
  EXPECT_FALSE(slave.has_news());
  kill(keeper, SIGKILL);
  ASSERT_EQ(slave.hear(), "open");
  ASSERT_EQ(write_text(master.get(), "works"), ESHM_SUCCESS);
  EXPECT_EQ(ask(slave, "wait"), "works");
  leave(slave);
}

// ---- a process that takes the kernel long to tear down ----------------------------

uint64_t available_mib() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    uint64_t kib = 0;
    if (word == "MemAvailable:" && file >> kib) return kib / 1024;
  }
  return 0;
}

class LargeProcess : public KillTest {
 protected:
  static constexpr uint32_t kThresholdMs = 20;

  void SetUp() override {
    KillTest::SetUp();
    if (available_mib() < 2 * mib()) GTEST_SKIP() << "needs " << mib() << " MiB";
  }

  static uint64_t mib() { return count(384, 2048); }

  // Its service thread is not to be starved: from kill to death only the
  // kernel's work may keep its heart still.
  Child large(ESHMRole role) const {
    ESHMConfig config = patient(role);
    config.stale_threshold_ms = kThresholdMs;
    return Child([config](Wire& wire) {
      const size_t bytes = mib() << 20;
      void* const memory =
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      CHILD_CHECK(memory != MAP_FAILED);
      madvise(memory, bytes, MADV_NOHUGEPAGE);
      for (size_t at = 0; at < bytes; at += 4096) static_cast<char*>(memory)[at] = 1;
      sched_param priority = {};
      priority.sched_priority = 1;
      sched_setscheduler(0, SCHED_RR, &priority);  // as far as we may
      const Link link = open_link(config);
      wire.say(outcome(link));
      return link ? obey(wire, link) : 0;
    });
  }

  // Before it has felt the signal it cannot be told from one that hangs.
  static void begin_to_kill(const Child& victim) {
    kill(victim.pid(), SIGKILL);
    wait_until([&] { return eshm::os::is_exiting(victim.pid()); });
  }
};

TEST_P(LargeProcess, IsStaleUntilItsLockIsFreeThenDead) {
  uint64_t stale_seen = 0;
  for (uint64_t round = 0; round < count(2, 10); ++round) {
    Child master = large(ESHM_ROLE_MASTER);
    ASSERT_EQ(master.hear(), "open");
    ESHMConfig config = patient(ESHM_ROLE_SLAVE);
    config.stale_threshold_ms = kThresholdMs;
    const Link slave = open_link(config);
    ASSERT_TRUE(slave) << last_error();
    wait_for_state(slave.get(), ESHM_PEER_ALIVE);
    kill(master.pid(), SIGKILL);
    for (ESHMPeerState state = ESHM_PEER_ALIVE; state != ESHM_PEER_DEAD;) {
      state = remote_state(slave.get());
      ASSERT_TRUE(state == ESHM_PEER_ALIVE || state == ESHM_PEER_STALE || state == ESHM_PEER_DEAD);
      stale_seen += state == ESHM_PEER_STALE;
    }
    EXPECT_FALSE(lock_is_held(ESHM_ROLE_MASTER)) << "told dead while the kernel held its lock";
    master.kill_now();
  }
  std::printf("          looks that found it stale: %llu\n",
              static_cast<unsigned long long>(stale_seen));
  RecordProperty("stale_looks", std::to_string(stale_seen));
  // Two gigabytes take the kernel longer than the threshold; less may not.
  if (soak()) {
    EXPECT_GT(stale_seen, 0u);
  }
}

TEST_P(LargeProcess, IsAdoptedByAStandbyMasterAndNeverReplaced) {
  for (uint64_t round = 0; round < count(2, 10); ++round) {
    Child master = large(ESHM_ROLE_MASTER);
    ASSERT_EQ(master.hear(), "open");
    EventLog events;
    const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave) << last_error();
    events.listen_to(slave.get());
    ASSERT_EQ(ask(master, "write last words"), "0");
    struct stat before;
    ASSERT_EQ(stat(path().c_str(), &before), 0);
    ESHMConfig impatient = patient(ESHM_ROLE_MASTER);
    impatient.stale_threshold_ms = kThresholdMs;
    Child standby = standing_by(impatient);
    begin_to_kill(master);
    ASSERT_EQ(ask(standby, "open"), "open");
    struct stat after;
    ASSERT_EQ(stat(path().c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino) << "replaced";
    EXPECT_EQ(read_text(slave.get(), 0), "last words");
    ASSERT_EQ(ask(standby, "write next"), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "next");
    master.kill_now();
    leave(standby);
  }
}

// Within its retry policy; a slave that is merely stopped is refused at once.
TEST_P(LargeProcess, ItsSeatIsWaitedForByTheNextSlave) {
  for (uint64_t round = 0; round < count(2, 10); ++round) {
    const Link master = open_link(patient(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    Child dying = large(ESHM_ROLE_SLAVE);
    ASSERT_EQ(dying.hear(), "open");
    ESHMConfig impatient = patient(ESHM_ROLE_SLAVE);
    impatient.stale_threshold_ms = kThresholdMs;
    begin_to_kill(dying);
    const Link next = open_link(impatient);
    EXPECT_TRUE(next) << last_error();
    dying.kill_now();
  }
}

ESHM_ON_BACKEND_ALONE(HalfExited, ESHM_BACKEND_SYSV);
ESHM_ON_BOTH_BACKENDS(LargeProcess);

}  // namespace
