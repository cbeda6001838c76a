// kill -9, over and over, at random moments: the other one is told the truth,
// and goes on.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "api/settings_of.h"
#include "endpoint/segment_file.h"
#include "layout/segment.h"
#include "os/process.h"
#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

class Kill : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
  ESHMRole other(ESHMRole role) const {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }

  // Talks all the time, and so dies anywhere.
  Child talker(ESHMRole role) const {
    return Child([config = patient(role)](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      wire.say("open");
      for (int i = 0;; ++i) {
        write_text(link.get(), std::to_string(i));
        read_text(link.get(), static_cast<uint32_t>(i % 3));
      }
      return 0;
    });
  }

  // Not in the library's words: does anybody hold the byte of that role?
  bool lock_is_held(ESHMRole role) const {
    const int fd = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct flock range = {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = role == ESHM_ROLE_MASTER ? eshm::layout::kMasterByte : eshm::layout::kSlaveByte;
    range.l_len = 1;
    const bool held = fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
    close(fd);
    return held;
  }
};

constexpr ESHMRole kBothRoles[] = {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE};

// One thread does nothing but ask for the state.
TEST_P(Kill, KilledAtRandomMomentsIsToldDeadAndNeverWhileItLives) {
  Random random;
  for (ESHMRole victims_role : kBothRoles) {
    Child victim = talker(victims_role);
    if (victims_role == ESHM_ROLE_MASTER) {
      ASSERT_EQ(victim.hear(), "open");
    }
    Link link = open_link(patient(other(victims_role)));
    ASSERT_TRUE(link) << last_error();
    if (victims_role == ESHM_ROLE_SLAVE) {
      ASSERT_EQ(victim.hear(), "open");
    }
    wait_for_state(link.get(), ESHM_PEER_ALIVE);

    std::atomic<uint64_t> phase{0};  // even: was seen alive, and is not yet killed
    std::atomic<bool> is_over{false};
    std::atomic<uint64_t> looks{0};
    std::thread watcher([&] {
      while (!is_over) {
        const uint64_t phase_before = phase;
        const ESHMPeerState state = remote_state(link.get());
        if (phase_before % 2 == 0 && phase == phase_before) {
          EXPECT_EQ(state, ESHM_PEER_ALIVE);
        }
        EXPECT_NE(state, ESHM_PEER_LEFT);
        EXPECT_NE(state, ESHM_PEER_NEVER_SEEN);
        ++looks;
      }
    });
    for (uint64_t round = 0; round < count(20, 1000); ++round) {
      usleep(static_cast<useconds_t>(random.up_to(4000)));
      ++phase;
      victim.kill_now();
      wait_for_state(link.get(), ESHM_PEER_DEAD);
      EXPECT_FALSE(lock_is_held(victims_role));
      victim = talker(victims_role);
      EXPECT_EQ(victim.hear(), "open");
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      ++phase;
    }
    is_over = true;
    watcher.join();
    EXPECT_GT(looks, 0u);
    victim.kill_now();
    wait_for_state(link.get(), ESHM_PEER_DEAD);
  }
}

// In eshm_init and in eshm_destroy, too.
TEST_P(Kill, KilledAtAnyMomentOfALinksLifeTheNextOneWorks) {
  Random random;
  for (ESHMRole victims_role : kBothRoles) {
    Link link;
    if (victims_role == ESHM_ROLE_SLAVE) link = open_link(patient(ESHM_ROLE_MASTER));
    for (uint64_t round = 0; round < count(30, 1000); ++round) {
      Child victim([config = patient(victims_role)](Wire&) {
        for (;;) {
          const Link mortal = open_link(config);
          CHILD_CHECK(mortal);
          write_text(mortal.get(), "old");
        }
        return 0;
      });
      usleep(static_cast<useconds_t>(random.up_to(4000)));
      victim.kill_now();

      Child next = obeying(patient(victims_role));
      ASSERT_EQ(next.hear(), "open");
      const std::string text = "round " + std::to_string(round);
      if (victims_role == ESHM_ROLE_MASTER && !link) {
        link = open_link(patient(ESHM_ROLE_SLAVE));
        ASSERT_TRUE(link) << last_error();
      }
      ASSERT_EQ(ask(next, "write " + text), "0");
      read_until(link.get(), text);
      if (round % 2 == 0) {
        leave(next);
      } else {
        next.kill_now();
      }
    }
  }
}

// A thread that reads numbers with all sorts of time-outs.
class ReaderForEver {
 public:
  explicit ReaderForEver(ESHMHandle* link) : thread_([this, link] { read(link); }) {}
  ~ReaderForEver() { end(); }
  int newest() const { return newest_; }
  void end() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void read(ESHMHandle* link) {
    for (uint32_t timeout_ms = 1; !is_over_; timeout_ms = timeout_ms % 40 + 1) {
      const std::string text = read_text(link, timeout_ms);
      if (text == error(ESHM_ERROR_TIMEOUT)) continue;
      ASSERT_EQ(text.find("error"), std::string::npos) << text << ": " << last_error();
      EXPECT_GT(std::stoi(text), newest_) << "read again";
      newest_ = std::stoi(text);
    }
  }

  std::atomic<bool> is_over_{false};
  std::atomic<int> newest_{0};
  std::thread thread_;
};

// Masters are killed in their eshm_init, in their first write and after it.
TEST_P(Kill, BlockedReadsOverManyMastersFailWithNothingButTimeout) {
  Random random;
  Child master = obeying(patient(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ReaderForEver reader(slave.get());
  const int lives = static_cast<int>(count(20, 1000));
  for (int life = 1; life <= lives; ++life) {
    master.kill_now();
    // One that may not come far.
    Child hasty = obeying(patient(ESHM_ROLE_MASTER));
    usleep(static_cast<useconds_t>(random.up_to(2500)));
    hasty.kill_now();
    master = obeying(patient(ESHM_ROLE_MASTER));
    EXPECT_EQ(master.hear(), "open");
    EXPECT_EQ(ask(master, "write " + std::to_string(life)), "0");
    wait_until([&] { return reader.newest() == life; });
  }
  reader.end();
  leave(master);
}

TEST_P(Kill, MastersBlockedReadsOverManySlavesFailWithNothingButTimeout) {
  Random random;
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ReaderForEver reader(master.get());
  const int lives = static_cast<int>(count(20, 1000));
  for (int life = 1; life <= lives; ++life) {
    Child hasty = obeying(patient(ESHM_ROLE_SLAVE));
    usleep(static_cast<useconds_t>(random.up_to(2500)));
    hasty.kill_now();
    Child slave = obeying(patient(ESHM_ROLE_SLAVE));
    EXPECT_EQ(slave.hear(), "open");
    EXPECT_EQ(write_text(master.get(), "to " + std::to_string(life)), ESHM_SUCCESS);
    EXPECT_EQ(ask(slave, "wait"), "to " + std::to_string(life));
    EXPECT_EQ(ask(slave, "write " + std::to_string(life)), "0");
    wait_until([&] { return reader.newest() == life; });
    slave.kill_now();
  }
}

TEST_P(Kill, BothKilledAndStartedInAnyOrderNeverReadAnOldValue) {
  Random random;
  const auto start = [&](ESHMRole role, uint64_t life) {
    return Child([config = patient(role), life](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      const std::string ours = "life " + std::to_string(life);
      for (bool heard = false;;) {
        const int code = write_text(link.get(), ours);
        CHILD_CHECK(code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT);  // its master was killed
        const std::string text = read_text(link.get(), 1);
        CHILD_CHECK(text == ours || text == error(ESHM_ERROR_TIMEOUT));
        if (!heard && text == ours) wire.say("heard");
        heard |= text == ours;
      }
      return 0;
    });
  };
  for (uint64_t life = 1; life <= count(25, 1000); ++life) {
    const ESHMRole first_role = kBothRoles[random.up_to(1)];
    Child first = start(first_role, life);
    usleep(static_cast<useconds_t>(random.up_to(3000)));
    Child second = start(other(first_role), life);
    ASSERT_EQ(first.hear(), "heard") << "life " << life;
    ASSERT_EQ(second.hear(), "heard") << "life " << life;
    Child* const order[] = {&first, &second};
    const uint64_t victim = random.up_to(1);
    for (Child* child : {order[victim], order[1 - victim]}) {
      EXPECT_FALSE(child->has_news()) << "it has ended by itself";
      child->kill_now();
    }
  }
  remove_name_of_the_killed();
}

TEST_P(Kill, BlockedReadOfOneThatGivesUpImmediatelyIsEndedByTheKill) {
  Child master = talker(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  std::thread reader([&] {
    std::string text;
    while ((text = read_text(slave.get(), UINT32_MAX)).find("error") != 0) {
    }
    EXPECT_EQ(text, error(ESHM_ERROR_MASTER_STALE));
  });
  pause_ms(20);
  master.kill_now();
  reader.join();
  remove_name_of_the_killed();
}

// ---- other ways to end ----------------------------------------------------------

TEST_P(Kill, ExecInTheHolderIsDeath) {
  for (ESHMRole victims_role : kBothRoles) {
    const auto start = [&] {
      return Child([config = patient(victims_role)](Wire& wire) {
        const Link link = open_link(config);
        wire.say(outcome(link));
        wire.hear();
        execlp("sleep", "sleep", "1000", static_cast<char*>(nullptr));
        return 1;
      });
    };
    Child victim = start();
    if (victims_role == ESHM_ROLE_MASTER) {
      ASSERT_EQ(victim.hear(), "open");
    }
    const Link link = open_link(patient(other(victims_role)));
    ASSERT_TRUE(link) << last_error();
    if (victims_role == ESHM_ROLE_SLAVE) {
      ASSERT_EQ(victim.hear(), "open");
    }
    wait_for_state(link.get(), ESHM_PEER_ALIVE);
    victim.say("exec");
    wait_for_state(link.get(), ESHM_PEER_DEAD);
    EXPECT_EQ(kill(victim.pid(), 0), 0) << "the process is another program, but has not ended";
    // Its seat is free, though it lives on.
    Child next = obeying(patient(victims_role));
    ASSERT_EQ(next.hear(), "open");
    ASSERT_EQ(ask(next, "write after exec"), "0");
    EXPECT_EQ(read_text(link.get(), UINT32_MAX), "after exec");
    leave(next);
  }
}

TEST_P(Kill, EndWithoutDestroyIsDeathAndDestroyIsLeaving) {
  enum class End { kDestroy, kUnderscoreExit, kExit, kAbort };
  for (ESHMRole role : kBothRoles) {
    for (End end : {End::kDestroy, End::kUnderscoreExit, End::kExit, End::kAbort}) {
      Child peer([config = patient(role), end](Wire& wire) {
        Link link = open_link(config);
        wire.say(outcome(link));
        wire.hear();
        if (end == End::kDestroy) link.reset();
        if (end == End::kUnderscoreExit) _exit(0);
        if (end == End::kExit) std::exit(0);
        if (end == End::kAbort) raise(SIGTERM);
        return 0;
      });
      if (role == ESHM_ROLE_MASTER) {
        ASSERT_EQ(peer.hear(), "open");
      }
      const Link link = open_link(patient(other(role)));
      ASSERT_TRUE(link) << last_error();
      if (role == ESHM_ROLE_SLAVE) {
        ASSERT_EQ(peer.hear(), "open");
      }
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      peer.say("end");
      peer.join();
      wait_until([&] { return !remote_is_alive(link.get()); });
      EXPECT_EQ(remote_state(link.get()), end == End::kDestroy ? ESHM_PEER_LEFT : ESHM_PEER_DEAD);
    }
  }
}

// ---- memory gone, lock still held ---------------------------------------------------

// The kernel takes a dying process's memory before its files. Here a second
// process shares the files alone, so that the state in between lasts. (Memory in
// a file stays: that is System V's alone.)
// Bells of several peers in one process: one may hang for several links.
TEST_P(Kill, EachLinkIsToldOfItsOwnPeersDeathAlone) {
  std::vector<Link> masters;
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) {
    names.push_back(unique_name());
    masters.push_back(open_link(config_of(names.back(), ESHM_ROLE_MASTER, GetParam())));
    ASSERT_TRUE(masters.back()) << last_error();
  }
  const auto slave_of = [&](int i) {
    return for_ever(config_of(names[size_t(i)], ESHM_ROLE_SLAVE, GetParam()));
  };
  Child of_two([&](Wire& wire) {
    const Link one = open_link(slave_of(0));
    const Link other = open_link(slave_of(1));
    CHILD_CHECK(one && other);
    wire.say("open");
    wire.hear();
    return 0;
  });
  Child of_one = obeying(slave_of(2));
  ASSERT_EQ(of_two.hear(), "open");
  ASSERT_EQ(of_one.hear(), "open");
  for (const Link& master : masters) wait_for_state(master.get(), ESHM_PEER_ALIVE);
  pause_ms(5);  // the bells hang
  of_one.kill_now();
  wait_for_state(masters[2].get(), ESHM_PEER_DEAD);
  for (int i = 0; i < 2; ++i) EXPECT_NE(remote_state(masters[size_t(i)].get()), ESHM_PEER_DEAD);
  of_two.kill_now();
  for (int i = 0; i < 2; ++i) wait_for_state(masters[size_t(i)].get(), ESHM_PEER_DEAD);
}

class HalfExited : public Kill {
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
      eshm::endpoint::Settings settings;
      CHILD_CHECK(!eshm::api::settings_of(config, settings));
      std::shared_ptr<eshm::endpoint::SegmentFile> segment;
      CHILD_CHECK(!eshm::endpoint::SegmentFile::open(
          settings, eshm::endpoint::look_at_name(settings), segment));
      eshm::endpoint::Succession succession(segment);
      CHILD_CHECK(succession.try_take());
      return share_files(wire);
    });
  }
  static int share_files(Wire& wire) {
    wire.say("open");
    if (syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr) == 0) {
      alarm(watchdog_seconds());
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

class LargeProcess : public Kill {
 protected:
  static constexpr uint32_t kThresholdMs = 20;

  void SetUp() override {
    Kill::SetUp();
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

ESHM_ON_BOTH_BACKENDS(Kill);
ESHM_ON_BACKEND_ALONE(HalfExited, ESHM_BACKEND_SYSV);
ESHM_ON_BOTH_BACKENDS(LargeProcess);

}  // namespace
