// SPDX-License-Identifier: MIT
// What a program that must keep its rhythm counts on: no system call and no
// allocation on the way of a message, and memory as it was asked for.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <thread>

#include "support/allocations.h"
#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

class RealTime : public LinkTest {
 protected:
  ESHMConfig kind(ESHMRole role, ESHMDelivery delivery) const {
    ESHMConfig link = config(role);
    link.m2s.delivery = link.s2m.delivery = delivery;
    link.flags = ESHM_FLAG_TIMESTAMPS;
    return link;
  }
};

// A message there by each way, and one back. Answers how many calls failed.
int exchange(ESHMHandle* master, ESHMHandle* slave) {
  char buffer[256] = {};
  size_t size = 0;
  int failures = 0;
  failures += eshm_write(master, buffer, 64) != ESHM_SUCCESS;
  failures += eshm_read_ex(slave, buffer, sizeof buffer, &size, 0) != ESHM_SUCCESS || size != 64;
  failures += eshm_read_ex(slave, buffer, sizeof buffer, &size, 0) != ESHM_ERROR_NO_DATA;
  void* loan = nullptr;
  failures += eshm_loan(slave, 200, &loan) != ESHM_SUCCESS;
  failures += eshm_publish(slave, loan, 100) != ESHM_SUCCESS;
  ESHMView view = {};
  failures += eshm_borrow(master, &view, 1000) != ESHM_SUCCESS || view.size != 100;
  failures += eshm_release(master, &view) != ESHM_SUCCESS;
  return failures;
}

// From here on the kernel kills this process when this thread makes any system
// call but write and exit.
bool forbid_system_calls() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof rules / sizeof rules[0], rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_P(RealTime, AMillionMessagesMakeNoSystemCall) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    for (const bool is_counter_proof : {false, true}) {
      Child child([&](Wire& wire) {
        const Link master = open_link(kind(ESHM_ROLE_MASTER, delivery));
        const Link slave = open_link(kind(ESHM_ROLE_SLAVE, delivery));
        CHILD_CHECK(master && slave);
        CHILD_CHECK(exchange(master.get(), slave.get()) == 0);
        int out[2];
        CHILD_CHECK(pipe(out) == 0);
        std::thread strict([&] {
          if (!forbid_system_calls()) return;
          int failures = 0;
          for (uint64_t i = 0; i < count(100000, 1000000) / 2; ++i) {
            failures += exchange(master.get(), slave.get());
          }
          if (is_counter_proof) syscall(SYS_getpid);
          const char answer = failures == 0 ? 'y' : 'n';
          if (write(out[1], &answer, 1) == 1) syscall(SYS_exit, 0);
        });
        char answer = '-';
        CHILD_CHECK(read(out[0], &answer, 1) == 1);
        wire.say(std::string(1, answer));
        _exit(0);  // the thread ended past all destructors
        return 0;
      });
      EXPECT_EQ(child.hear(), is_counter_proof ? "" : "y") << "delivery " << delivery;
      child.join();
      remove_name_of_the_killed();
    }
  }
}

TEST_P(RealTime, AMillionMessagesMakeNoAllocation) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    const Link master = open_link(kind(ESHM_ROLE_MASTER, delivery));
    const Link slave = open_link(kind(ESHM_ROLE_SLAVE, delivery));
    ASSERT_TRUE(master && slave) << last_error();
    ASSERT_EQ(exchange(master.get(), slave.get()), 0);
    int failures = 0;
    const uint64_t before = allocations();
    for (uint64_t i = 0; i < count(100000, 1000000) / 2; ++i) {
      failures += exchange(master.get(), slave.get());
    }
    EXPECT_EQ(allocations() - before, 0u);
    EXPECT_EQ(failures, 0);
  }
}

// ---- memory as asked for ---------------------------------------------------------

uint64_t field_of(const std::string& file, const std::string& name) {
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, name.size(), name) == 0) return std::stoull(line.substr(name.size() + 1));
  }
  return 0;
}

TEST_P(RealTime, LockedMemoryIsLocked) {
  const uint64_t before_kib = field_of("/proc/self/status", "VmLck");
  ESHMConfig locked = config(ESHM_ROLE_MASTER);
  locked.flags = ESHM_FLAG_LOCK_MEMORY;
  const Link master = open_link(locked);
  ASSERT_TRUE(master) << last_error();
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(master.get(), &stats), ESHM_SUCCESS);
  EXPECT_GE(field_of("/proc/self/status", "VmLck") - before_kib,
            (stats.segment_bytes - 4096) / 1024);
}

TEST_P(RealTime, LimitThatForbidsLockingIsToldInNumbersAndNothingStays) {
  Child child([&](Wire& wire) {
    const rlimit little = {4096, 4096};
    CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &little) == 0);
    // Root may lock whatever it likes.
    CHILD_CHECK(geteuid() != 0 || (setgid(1000000) == 0 && setuid(1000000 + uid_t(getpid())) == 0));
    prctl(PR_SET_DUMPABLE, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ESHMConfig locked = config(ESHM_ROLE_MASTER);
    locked.flags = ESHM_FLAG_LOCK_MEMORY;
    wire.say(outcome(open_link(locked)));
    return 0;
  });
  const std::string told = child.hear();
  EXPECT_NE(told.find("RLIMIT_MEMLOCK is 4096"), std::string::npos) << told;
  EXPECT_EQ(child.join(), 0);
}

// KiB of the link's areas in this process, of one kind: a line of smaps.
uint64_t area_kib(const std::string& kind) {
  std::ifstream maps("/proc/self/smaps");
  uint64_t kib = 0;
  bool is_ours = false;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ') && line.find(':') > line.find(' ')) {
      is_ours = line.find("/dev/shm/") != std::string::npos || line.find("/SYSV") != std::string::npos;
    }
    if (is_ours && line.compare(0, kind.size() + 1, kind + ":") == 0) {
      kib += std::stoull(line.substr(kind.size() + 1));
    }
  }
  return kib;
}
uint64_t resident_kib() { return area_kib("Rss"); }
uint64_t huge_kib() {
  return area_kib("ShmemPmdMapped") + area_kib("Shared_Hugetlb") + area_kib("Private_Hugetlb");
}

TEST_P(RealTime, PrefaultedMemoryIsThereBeforeTheFirstMessage) {
  ESHMConfig large = config(ESHM_ROLE_MASTER);
  large.m2s.max_message_size = large.s2m.max_message_size = 1 << 20;
  uint64_t plain_kib = 0;
  {
    const Link master = open_link(large);
    ASSERT_TRUE(master) << last_error();
    plain_kib = resident_kib();
  }
  large.flags = ESHM_FLAG_PREFAULT;
  const Link master = open_link(large);
  ASSERT_TRUE(master) << last_error();
  EXPECT_LT(plain_kib, 1024u);
  EXPECT_GE(resident_kib(), 2u * 6 * 1024) << "six slots of 1 MiB in each direction";
}

// System V takes them from a pool, which a machine has to be given first.
TEST_P(RealTime, HugePagesAreGivenOrTheTextSaysWhyNot) {
  ESHMConfig huge = config(ESHM_ROLE_MASTER);
  huge.m2s.max_message_size = 8 << 20;
  EXPECT_EQ(huge_kib(), 0u);
  huge.flags = ESHM_FLAG_HUGE_PAGES;
  {
    const Link master = open_link(huge);
    if (!master) {
      EXPECT_NE(last_error().find("huge pages"), std::string::npos) << last_error();
      EXPECT_TRUE(files_of(name()).empty());
      return;
    }
    std::vector<char> frame(8 << 20, 'f');
    for (int i = 0; i < 6; ++i) {  // every slot: System V enters a page when it is touched
      ASSERT_EQ(eshm_write(master.get(), frame.data(), frame.size()), ESHM_SUCCESS);
    }
    const uint64_t of_master = huge_kib();
    EXPECT_GE(of_master, 5u * (8 << 10)) << "six slots of 8 MiB, but for the ends";
    huge.role = ESHM_ROLE_SLAVE;
    const Link slave = open_link(huge);
    ASSERT_TRUE(slave) << last_error();
    EXPECT_EQ(eshm_read(slave.get(), frame.data(), int(frame.size())), int(frame.size()));
    EXPECT_EQ(frame.back(), 'f');
    EXPECT_GT(huge_kib(), of_master) << "the same memory, seen by the slave";
  }
}

// Huge pages would be other pages: what the master has locked stays as it is.
TEST_P(RealTime, LockedMemoryStaysLockedWhoeverComesForHugePages) {
  ESHMConfig locked = config(ESHM_ROLE_MASTER);
  locked.m2s.max_message_size = 2 << 20;
  locked.flags = ESHM_FLAG_LOCK_MEMORY;
  const Link master = open_link(locked);
  if (!master) GTEST_SKIP() << last_error();
  const uint64_t before = area_kib("Locked");
  EXPECT_GE(before, 6u * (2 << 10)) << "six slots of 2 MiB";
  for (const ESHMRole role : {ESHM_ROLE_SLAVE, ESHM_ROLE_OBSERVER}) {
    Child visitor([huge = config(role)](Wire& wire) mutable {
      huge.flags = ESHM_FLAG_HUGE_PAGES;
      const Link link = open_link(huge);
      CHILD_CHECK(link);
      wire.say("open");
      return 0;
    });
    EXPECT_EQ(visitor.hear(), "open");
    EXPECT_EQ(visitor.join(), 0);
    EXPECT_EQ(area_kib("Locked"), before);
  }
}

ESHM_ON_BOTH_BACKENDS(RealTime);

}  // namespace
