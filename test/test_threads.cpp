// SPDX-License-Identifier: MIT
// The library's threads: their names, signals, policies, CPUs and stacks, and what
// eshm_init says if it cannot start them as requested.
#include <alloca.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "support/child.h"
#include "support/player.h"
#include "support/possessions.h"
#include "support/threads.h"

namespace {

using namespace test;

// An application with large thread-local variables: glibc takes them out of each
// thread's stack.
constexpr size_t kThreadLocalBytes = 300 << 10;
thread_local volatile char large_variable[kThreadLocalBytes];

constexpr size_t kMostStack = 256 << 10;
constexpr size_t kStackOfCallbacks = 128 << 10;

const char* const kService = "eshm";
const char* const kWaiter = "eshm-wait";

// The one thread of this process with that name.
pid_t thread_named(const std::string& name) {
  pid_t found = 0;
  for_each_entry("/proc/self/task", [&](const char* id) {
    std::ifstream file("/proc/self/task/" + std::string(id) + "/comm");
    std::string comm;
    if (std::getline(file, comm) && comm == name) found = std::atoi(id);
  });
  return found;
}

std::string status_of(pid_t thread, const std::string& field) {
  std::ifstream lines("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(lines, line);) {
    if (line.compare(0, field.size() + 1, field + ":") != 0) continue;
    return line.substr(line.find_first_not_of(" \t", field.size() + 1));
  }
  return "";
}

// Policy, priority and CPUs, as "1 50 on 0-3".
std::string scheduling_of(pid_t thread) {
  sched_param parameters = {};
  sched_getparam(thread, &parameters);
  return std::to_string(sched_getscheduler(thread)) + " " +
         std::to_string(parameters.sched_priority) + " on " +
         status_of(thread, "Cpus_allowed_list");
}
std::string scheduling_of(const std::string& name) { return scheduling_of(thread_named(name)); }

std::string own_cpus() { return status_of(gettid(), "Cpus_allowed_list"); }

std::vector<int> cpus_of_this_thread() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

bool pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

bool become(int policy, int priority) {
  sched_param parameters = {};
  parameters.sched_priority = priority;
  return sched_setscheduler(0, policy, &parameters) == 0;
}

// Whether this process may use SCHED_FIFO with that priority.
bool may_use_fifo(int priority) {
  Child child([&](Wire&) { return become(SCHED_FIFO, priority) ? 0 : 1; });
  return child.join() == 0;
}

using Resource = decltype(RLIMIT_NPROC);

// In a child.
void limit(Resource resource, rlim_t value) {
  const rlimit both = {value, value};
  CHILD_CHECK(setrlimit(resource, &both) == 0);
}

// In a child without capabilities: from here on all that is mapped is locked, and at most
// `most` bytes can be.
void lock_all_memory(rlim_t most) {
  rlimit memory = {4096, most};
  CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &memory) == 0);
  CHILD_CHECK(mlockall(MCL_FUTURE) == 0);
  // The C library keeps the stacks of ended threads: they are used up, until a thread
  // needs one that is mapped for it.
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  for (size_t bytes = kMostStack / 4; bytes <= 8 << 20; bytes *= 2) {
    pthread_attr_setstacksize(&attributes, bytes + kThreadLocalBytes);
    const auto wait_for_ever = [](void*) -> void* {
      for (;;) pause();
    };
    pthread_t thread;
    while (pthread_create(&thread, &attributes, wait_for_ever, nullptr) == 0) {
    }
  }
  memory.rlim_cur = most;
  CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &memory) == 0);
  (void)mlockall(MCL_CURRENT | MCL_FUTURE);  // what is there can be more than the limit
}

// Whether limit() may set that value: to raise a limit takes CAP_SYS_RESOURCE.
bool may_limit(Resource resource, rlim_t value) {
  Child child([=](Wire&) {
    const rlimit both = {value, value};
    return setrlimit(resource, &both) == 0 ? 0 : 1;
  });
  return child.join() == 0;
}

// In a child: a user without capabilities and without other processes.
void lose_capabilities() {
  CHILD_CHECK(geteuid() != 0 || (setgid(1000000) == 0 && setuid(1000000 + uid_t(getpid())) == 0));
  prctl(PR_SET_DUMPABLE, 1);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

class Threads : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    large_variable[0] = 1;
  }
  ESHMConfig with(const char* cpus, int policy, int priority) const {
    ESHMConfig requested = config(ESHM_ROLE_MASTER);
    requested.thread_cpus = cpus;
    requested.thread_policy = policy;
    requested.thread_priority = priority;
    return requested;
  }
  // A second link of the same process.
  ESHMConfig other_with(const std::string& other_name, const char* cpus, int policy,
                        int priority) const {
    ESHMConfig requested = with(cpus, policy, priority);
    requested.shm_name = other_name.c_str();
    return requested;
  }
  // Opens the link in a child that `prepare` has changed: its outcome.
  std::string outcome_in_child(const ESHMConfig& requested,
                               const std::function<void()>& prepare) const {
    Child child([&](Wire& wire) {
      prepare();
      wire.say(outcome(open_link(requested)));
      wire.hear();
      // Nothing is left: neither the name nor the role.
      CHILD_CHECK(files_of(name()).empty());
      return 0;
    });
    const std::string told = child.hear();
    child.say("go");
    EXPECT_EQ(child.join(), 0) << told;
    return told;
  }
};

void expect_all_in(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" in: " << text;
  }
}

// ---- as they are by default ----------------------------------------------------

TEST_P(Threads, HaveTheirNamesAndBlockAllSignals) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_GE(eshm_get_fd(master.get()), 0) << last_error();
  // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
  const uint64_t unblockable =
      (1ull << (SIGKILL - 1)) | (1ull << (SIGSTOP - 1)) | (1ull << 31) | (1ull << 32);
  for (const char* const name : {kService, kWaiter}) {
    ASSERT_EQ(threads_named(name), 1u) << name;
    // Before its first instruction the C library blocks all signals of any thread.
    const pid_t thread = thread_named(name);
    wait_until([=] { return std::stoull(status_of(thread, "voluntary_ctxt_switches")) > 0; });
    const uint64_t blocked = std::stoull(status_of(thread, "SigBlk"), nullptr, 16);
    EXPECT_EQ(blocked | unblockable, UINT64_MAX) << name;
  }
}

TEST_P(Threads, InheritTheCpusOfTheCallerOfInitButNotItsPolicy) {
  if (!may_use_fifo(10)) GTEST_SKIP() << "SCHED_FIFO is not permitted here";
  Child child([&](Wire&) {
    const int cpu = cpus_of_this_thread().back();
    CHILD_CHECK(pin_to(cpu) && become(SCHED_FIFO, 10));
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(master);
    CHILD_CHECK(eshm_get_fd(master.get()) >= 0);
    const std::string expected = "0 0 on " + std::to_string(cpu);
    CHILD_CHECK(scheduling_of(kService) == expected);
    CHILD_CHECK(scheduling_of(kWaiter) == expected);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(Threads, OfADescriptorHaveTheCpusOfTheCallerOfInit) {
  if (cpus_of_this_thread().size() < 2) GTEST_SKIP() << "there is one CPU";
  Child child([&](Wire&) {
    const std::string all = own_cpus();
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(master);
    CHILD_CHECK(pin_to(cpus_of_this_thread().back()));
    CHILD_CHECK(eshm_get_fd(master.get()) >= 0);
    CHILD_CHECK(scheduling_of(kWaiter) == "0 0 on " + all);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// Such a process may not leave SCHED_IDLE, not even in a new thread.
TEST_P(Threads, StartInAnUnprivilegedProcessWithSchedIdle) {
  EXPECT_EQ(outcome_in_child(config(ESHM_ROLE_MASTER),
                             [] {
                               limit(RLIMIT_NICE, 0);
                               lose_capabilities();
                               CHILD_CHECK(become(SCHED_IDLE, 0));
                             }),
            "open");
}

// ---- as requested -------------------------------------------------------------------

TEST_P(Threads, RunOnTheRequestedCpus) {
  const std::string cpu = std::to_string(cpus_of_this_thread().back());
  const Link master = open_link(with(cpu.c_str(), 0, 0));
  ASSERT_TRUE(master) << last_error();
  ASSERT_GE(eshm_get_fd(master.get()), 0) << last_error();
  EXPECT_EQ(scheduling_of(kService), "0 0 on " + cpu);
  EXPECT_EQ(scheduling_of(kWaiter), "0 0 on " + cpu);
}

TEST_P(Threads, RunOnThoseOfTheRequestedCpusThatTheProcessMayUse) {
  const Link master = open_link(with("0-2,3-31,40,40", 0, 0));
  ASSERT_TRUE(master) << last_error();
  const Link none = open_link(other_with(name() + "-empty", "", 0, 0));
  EXPECT_TRUE(none) << last_error();  // an empty list is the default
}

TEST_P(Threads, RunWithTheRequestedPolicyAndPriority) {
  if (!may_use_fifo(99)) GTEST_SKIP() << "SCHED_FIFO is not permitted here";
  for (const auto& [policy, priority] : {std::pair(SCHED_FIFO, 7), std::pair(SCHED_RR, 1)}) {
    const std::string cpu = std::to_string(cpus_of_this_thread().front());
    const Link master = open_link(with(cpu.c_str(), policy, priority));
    ASSERT_TRUE(master) << last_error();
    ASSERT_GE(eshm_get_fd(master.get()), 0) << last_error();
    const std::string expected =
        std::to_string(policy) + " " + std::to_string(priority) + " on " + cpu;
    EXPECT_EQ(scheduling_of(kService), expected);
    EXPECT_EQ(scheduling_of(kWaiter), expected);
  }
}

TEST_P(Threads, NeedNoCapabilityWithinTheLimitOfPriorities) {
  if (!may_limit(RLIMIT_RTPRIO, 20)) GTEST_SKIP() << "raising the limit is not permitted here";
  EXPECT_EQ(outcome_in_child(with(nullptr, SCHED_FIFO, 20),
                             [] {
                               limit(RLIMIT_RTPRIO, 20);
                               lose_capabilities();
                             }),
            "open");
}

// ---- one thread for all handles ----------------------------------------------------

TEST_P(Threads, RunAsTheFirstHandleRequested) {
  const std::string cpu = std::to_string(cpus_of_this_thread().back());
  const std::string second_name = name() + "-2", third_name = name() + "-3";
  {
    const Link first = open_link(with(cpu.c_str(), 0, 0));
    ASSERT_TRUE(first) << last_error();
    const std::string list = cpu + "," + cpu + "-" + cpu;  // the same CPU
    const Link same = open_link(other_with(second_name, list.c_str(), 0, 0));
    ASSERT_TRUE(same) << last_error();
    const Link nothing = open_link(other_with(third_name, nullptr, 0, 0));
    ASSERT_TRUE(nothing) << last_error();
    ASSERT_GE(eshm_get_fd(nothing.get()), 0) << last_error();
    EXPECT_EQ(scheduling_of(kWaiter), "0 0 on " + cpu);
  }
  // The last handle is gone: the next one decides.
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(scheduling_of(kService), "0 0 on " + own_cpus());
}

TEST_P(Threads, RefuseAnotherRequestOfALaterHandleBeforeThePeerNoticesIt) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ESHMConfig slave = config(ESHM_ROLE_SLAVE);
  slave.thread_cpus = "0";
  slave.thread_policy = SCHED_FIFO;
  slave.thread_priority = 42;
  EXPECT_FALSE(open_link(slave));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
  expect_all_in(last_error(),
                {"request SCHED_FIFO 42 on CPUs 0,", "has SCHED_OTHER on the default CPUs"});
  EXPECT_EQ(remote_state(master.get()), ESHM_PEER_NEVER_SEEN);
  slave.use_threads = false;  // needs no service thread
  EXPECT_TRUE(open_link(slave)) << last_error();
}

// ---- what cannot be -------------------------------------------------------------

TEST_P(Threads, WithImpossibleFieldsAreRefusedInWords) {
  const auto refuses = [&](const char* cpus, int policy, int priority,
                           const std::vector<std::string>& parts) {
    EXPECT_FALSE(open_link(with(cpus, policy, priority)));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM) << last_error();
    expect_all_in(last_error(), parts);
  };
  for (const char* const list :
       {"x", " ", ",", "0,", ",0", "0,,1", "-", "-1", "0-", "1-0", "0-1-2", "0 ", " 0", "0;1",
        "0x1", "+1", "0-1:2", "all"}) {
    refuses(list, 0, 0, {"thread_cpus is \"" + std::string(list) + "\"", "\"2,4-7\""});
  }
  for (const char* const list : {"65535", "0,99999999999999999999999", "0-4000000000"}) {
    refuses(list, 0, 0, {"thread_cpus is \"" + std::string(list) + "\"", "from 0 to "});
  }
  for (const int policy : {-1, 3, 5, 6, 7}) {
    refuses(nullptr, policy, 0, {"thread_policy is " + std::to_string(policy), "1 (SCHED_FIFO)"});
  }
  for (const int priority : {-1, 0, 100}) {
    const std::string is = "thread_priority is " + std::to_string(priority);
    refuses(nullptr, SCHED_FIFO, priority, {is, "with SCHED_FIFO it can be 1 to 99"});
    refuses(nullptr, SCHED_RR, priority, {is, "with SCHED_RR it can be 1 to 99"});
  }
  refuses(nullptr, SCHED_OTHER, 1, {"thread_priority is 1", "with SCHED_OTHER it can be 0"});
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(Threads, OnCpusThatTheProcessMayNotUseAreRefused) {
  // The largest number that the kernel takes.
  unsigned long words[1024];
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof words, words);
  ASSERT_GT(bytes, 0);
  const std::string cpu = std::to_string(bytes * 8 - 1);
  if (access(("/sys/devices/system/cpu/cpu" + cpu).c_str(), F_OK) == 0) {
    GTEST_SKIP() << "the machine has all CPUs that its kernel can have";
  }
  const std::string all = own_cpus();
  const std::string told = outcome_in_child(
      with(cpu.c_str(), 0, 0), [] { CHILD_CHECK(pin_to(cpus_of_this_thread().front())); });
  expect_all_in(told, {std::to_string(ESHM_ERROR_INVALID_PARAM) + " ", "none of the CPUs " + cpu});
  if (all.find(',') == std::string::npos) expect_all_in(told, {"leave it "});
}

TEST_P(Threads, WithoutPermissionAreRefusedWithTheLimitAndTheCapability) {
  const std::string told = outcome_in_child(with(nullptr, SCHED_FIFO, 50), [] {
    limit(RLIMIT_RTPRIO, 0);
    lose_capabilities();
  });
  expect_all_in(told, {std::to_string(ESHM_ERROR_PERMISSION) + " ", "SCHED_FIFO with priority 50",
                       "CAP_SYS_NICE",
                       "RLIMIT_RTPRIO of 50 or more; RLIMIT_RTPRIO is 0"});
}

TEST_P(Threads, BeyondTheLimitOfProcessesAreRefusedWithTheLimit) {
  if (geteuid() != 0) GTEST_SKIP() << "a user without other processes takes root";
  const std::string told = outcome_in_child(config(ESHM_ROLE_MASTER), [] {
    limit(RLIMIT_NPROC, 1);
    lose_capabilities();
  });
  expect_all_in(told, {std::to_string(ESHM_ERROR_SHM_CREATE) + " ", "RLIMIT_NPROC is 1;"});
}

// sched_setattr(2), for which the C library has no function.
struct DeadlineAttributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns, deadline_ns, period_ns;
};

TEST_P(Threads, OfACallerWithSchedDeadlineAreRefusedWithThatReason) {
  const auto become_deadline = [] {
    constexpr uint64_t kMs = 1'000'000;
    constexpr uint32_t kSchedDeadline = 6;
    const DeadlineAttributes attributes = {
        sizeof attributes, kSchedDeadline, 0, 0, 0, 10 * kMs, 100 * kMs, 100 * kMs};
    return syscall(SYS_sched_setattr, 0, &attributes, 0) == 0;
  };
  Child attempt([&](Wire&) { return become_deadline() ? 0 : 1; });
  if (attempt.join() != 0) GTEST_SKIP() << "SCHED_DEADLINE is not permitted here";
  const std::string told =
      outcome_in_child(config(ESHM_ROLE_MASTER), [&] { CHILD_CHECK(become_deadline()); });
  expect_all_in(told, {std::to_string(ESHM_ERROR_SHM_CREATE) + " ", "SCHED_DEADLINE"});
}

// ---- stacks ----------------------------------------------------------------------

TEST_P(Threads, HaveSmallStacksWithRoomForCallbacks) {
  struct Stack {
    std::atomic<size_t> bytes{0}, left{0};
  } stack;
  const auto measure = [](ESHMHandle*, ESHMEvent, void* context) {
    auto& measured = *static_cast<Stack*>(context);
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    void* begin;
    size_t bytes;
    pthread_attr_getstack(&attributes, &begin, &bytes);
    pthread_attr_destroy(&attributes);
    measured.left =
        size_t(static_cast<char*>(__builtin_frame_address(0)) - static_cast<char*>(begin));
    if (measured.left < kStackOfCallbacks) return;
    std::memset(alloca(kStackOfCallbacks - 4096), 1, kStackOfCallbacks - 4096);
    measured.bytes = bytes;
  };
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(eshm_set_event_callback(master.get(), measure, &stack), ESHM_SUCCESS);
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  wait_until([&] {
    return stack.bytes != 0 || (stack.left != 0 && stack.left < kStackOfCallbacks);
  });
  EXPECT_GE(stack.left, kStackOfCallbacks);
  const size_t few_pages = 16 * 4096;  // thread-local variables of libraries, rounding
  EXPECT_LE(stack.bytes, kMostStack + kThreadLocalBytes + few_pages);
}

ESHM_ON_BACKEND_ALONE(Threads, ESHM_BACKEND_POSIX);

// ---- in a process that locks all its memory ----------------------------------------

class LockedThreads : public Threads {
 protected:
  // Opens the link in a process that may lock that much and locks what it can.
  std::string outcome_within(rlim_t bytes) const {
    return outcome_in_child(config(ESHM_ROLE_MASTER), [=] {
      limit(RLIMIT_MEMLOCK, bytes);
      lose_capabilities();
      lock_all_memory(bytes);
    });
  }
  void expect_fit_into(rlim_t mib) const {
    if (!may_limit(RLIMIT_MEMLOCK, mib << 20)) {
      GTEST_SKIP() << "raising RLIMIT_MEMLOCK to " << mib << " MiB is not permitted here";
    }
    EXPECT_EQ(outcome_within(mib << 20), "open");
  }
};

TEST_P(LockedThreads, FitIntoEightMebibytes) { expect_fit_into(8); }

TEST_P(LockedThreads, FitIntoSixtyFourMebibytes) { expect_fit_into(64); }

TEST_P(LockedThreads, FitOrNameTheLimit) {
  for (const rlim_t bytes : {4096, 65536, 1 << 20}) {
    const std::string told = outcome_within(bytes);
    if (told == "open") continue;
    EXPECT_LT(bytes, 1u << 20) << told;  // a link of default size fits into that
    expect_all_in(told,
                  {"must be locked", "RLIMIT_MEMLOCK is " + std::to_string(bytes) + " bytes"});
  }
}

TEST_P(LockedThreads, NameTheStackThatDoesNotFit) {
  uint64_t segment_bytes = 0;
  {
    const Link sample = open_link(config(ESHM_ROLE_MASTER));
    ESHMStatsEx stats = {};
    ASSERT_EQ(eshm_get_stats_ex(sample.get(), &stats), ESHM_SUCCESS);
    segment_bytes = stats.segment_bytes;
  }
  const std::string told = outcome_in_child(config(ESHM_ROLE_MASTER), [=] {
    lose_capabilities();
    lock_all_memory(segment_bytes + kThreadLocalBytes);  // less than the stack has
  });
  expect_all_in(told, {std::to_string(ESHM_ERROR_SHM_CREATE) + " ",
                       "no service thread: its stack of ", "must be locked", "RLIMIT_MEMLOCK is ",
                       "CAP_IPC_LOCK"});
}

ESHM_ON_BOTH_BACKENDS(LockedThreads);

}  // namespace
