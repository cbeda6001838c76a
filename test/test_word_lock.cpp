// SPDX-License-Identifier: MIT
// os::WordLock: one thread inside at a time, each waiter gets in, and the holder runs
// with the priority of the highest waiter.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "os/clock.h"
#include "os/mutex.h"
#include "os/word_lock.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/scheduling.h"

namespace {

using namespace test;

using eshm::os::WordLock;
using Guard = std::lock_guard<WordLock>;

void pause_briefly() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

template <class Condition>
void wait_until(const Condition& condition) {
  while (!condition()) pause_briefly();
}

class WordLockTest : public testing::Test {
 protected:
  void SetUp() override { arm_watchdog(); }
  void TearDown() override { alarm(0); }
};

// ---- one thread at a time ---------------------------------------------------------

// The words are no atomics: a thread sanitizer sees each access without the lock.
struct Guarded {
  WordLock lock;
  uint64_t entries = 0;
  uint64_t copy = 0;

  bool enter(bool is_slow) {
    const Guard guard(lock);
    const bool is_whole = entries == copy;
    ++entries;
    if (is_slow) sched_yield();
    ++copy;
    return is_whole;
  }
};

// As many threads as there are preparations, which each thread runs first.
void expect_exclusion(const std::vector<bool (*)()>& preparations, uint64_t rounds) {
  Guarded guarded;
  std::atomic<uint64_t> faults{0};
  std::atomic<size_t> ready{0};
  std::vector<std::thread> threads;
  for (bool (*const prepare)() : preparations) {
    threads.emplace_back([&, prepare] {
      if (!prepare()) ++faults;
      ++ready;
      wait_until([&] { return ready == preparations.size(); });
      for (uint64_t i = 0; i < rounds; ++i) {
        if (!guarded.enter(mix(i) % 16 == 0)) ++faults;
        if (mix(i) % 64 == 1) sched_yield();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(faults, 0u);
  EXPECT_EQ(guarded.entries, rounds * preparations.size());
  EXPECT_EQ(guarded.copy, guarded.entries);
}

bool ordinary() { return true; }
bool real_time_low() { return set_priority(10); }
bool real_time_high() { return set_priority(30); }

TEST_F(WordLockTest, OneThreadIsInsideAtATime) {
  expect_exclusion(std::vector<bool (*)()>(8, ordinary), count(20'000, 2'000'000));
}

TEST_F(WordLockTest, OneThreadIsInsideAtATimeWithSeveralPriorities) {
  if (!has_real_time(30)) GTEST_SKIP() << "SCHED_FIFO is not permitted";
  expect_exclusion({ordinary, real_time_low, ordinary, real_time_high, ordinary, real_time_low},
                   count(20'000, 2'000'000));
}

TEST_F(WordLockTest, TryLockTakesAFreeLockOnly) {
  WordLock lock;
  ASSERT_TRUE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock());
  std::thread([&] { EXPECT_FALSE(lock.try_lock()); }).join();
  lock.unlock();
  std::thread([&] {
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
  }).join();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_F(WordLockTest, ThreadKnowsItsId) {
  EXPECT_EQ(int(eshm::os::thread_id()), own_thread_id());
  std::thread([] { EXPECT_EQ(int(eshm::os::thread_id()), own_thread_id()); }).join();
}

// ---- conditions -------------------------------------------------------------------

// Two threads in turn: a lost notification stops both.
TEST_F(WordLockTest, ConditionWakesAWaitersPredicate) {
  eshm::os::Mutex mutex;
  eshm::os::Condition changed;
  const uint64_t last = 2 * count(10'000, 1'000'000);
  uint64_t turn = 0;
  const auto take_turns = [&](uint64_t own) {
    std::unique_lock<eshm::os::Mutex> lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return turn % 2 == own || turn >= last; });
      if (turn >= last) break;
      ++turn;
      changed.notify_all();
    }
  };
  std::thread other(take_turns, 1);
  take_turns(0);
  other.join();
  EXPECT_EQ(turn, last);
}

// ---- priorities -------------------------------------------------------------------

// A thread that takes the lock with a priority of its own, and returns it when told.
class Contender {
 public:
  Contender(WordLock& lock, int priority)
      : thread_([this, &lock, priority] { run(lock, priority); }) {}
  ~Contender() {
    let_go();
    thread_.join();
  }

  void let_go() { may_let_go_ = true; }
  bool has_lock() const { return has_lock_; }
  int priority() const { return effective_priority(id_); }
  void wait_until_asleep() const {
    wait_until([&] { return id_ != 0 && state() == 'S' && !has_lock_; });
  }

 private:
  void run(WordLock& lock, int priority) {
    EXPECT_TRUE(set_priority(priority));
    id_ = own_thread_id();
    const Guard guard(lock);
    has_lock_ = true;
    wait_until([&] { return may_let_go_.load(); });
    has_lock_ = false;
  }
  char state() const {
    std::ifstream file("/proc/self/task/" + std::to_string(id_) + "/stat");
    file.ignore(std::numeric_limits<std::streamsize>::max(), ')');
    char state = '?';
    file >> state;
    return state;
  }

  std::atomic<int> id_{0};
  std::atomic<bool> has_lock_{false};
  std::atomic<bool> may_let_go_{false};
  std::thread thread_;
};

TEST_F(WordLockTest, HolderRunsWithThePriorityOfTheHighestWaiter) {
  if (!has_real_time(40)) GTEST_SKIP() << "SCHED_FIFO is not permitted";
  WordLock lock;
  Contender holder(lock, 0);
  wait_until([&] { return holder.has_lock(); });
  EXPECT_EQ(holder.priority(), 0);
  Contender ordinary(lock, 0);  // waits for the holder; the others wait for it
  ordinary.wait_until_asleep();
  Contender middle(lock, 30);
  wait_until([&] { return holder.priority() == 30; });
  Contender high(lock, 40);
  wait_until([&] { return holder.priority() == 40; });
  EXPECT_EQ(ordinary.priority(), 40);

  holder.let_go();
  wait_until([&] { return ordinary.has_lock(); });
  wait_until([&] { return holder.priority() == 0; });
  wait_until([&] { return ordinary.priority() == 40; });
  ordinary.let_go();
  wait_until([&] { return high.has_lock(); });
  EXPECT_FALSE(middle.has_lock());
  EXPECT_EQ(high.priority(), 40);
  high.let_go();
  wait_until([&] { return middle.has_lock(); });
  EXPECT_EQ(middle.priority(), 30);
}

// A thread that takes the lock before the waiter that was woken for it.
TEST_F(WordLockTest, NextHolderIsBoostedToo) {
  if (!has_real_time(30)) GTEST_SKIP() << "SCHED_FIFO is not permitted";
  WordLock lock;
  const int id = own_thread_id();
  bool was_first = false;
  for (int round = 0; round < 1000 && !was_first; ++round) {
    lock.lock();
    Contender waiter(lock, 30);  // returns the lock when it goes out of scope
    wait_until([&] { return effective_priority(id) == 30; });
    lock.unlock();
    was_first = lock.try_lock();
    if (!was_first) continue;
    wait_until([&] { return effective_priority(id) == 30; });
    lock.unlock();
    wait_until([&] { return effective_priority(id) == 0; });
  }
  if (!was_first) GTEST_SKIP() << "the waiter was always first";
}

// On one processor: the holder cannot run because of the hog, which never sleeps, and
// the waiter is above both. Relaxed: a thread sanitizer locks the other orders, and its
// locks inherit nothing.
TEST_F(WordLockTest, HogBelowTheWaiterDoesNotRunWhileItWaits) {
  constexpr int kHog = 20;
  constexpr int kWaiter = 30;
  constexpr int kDirector = 40;
  if (!has_real_time(kDirector)) GTEST_SKIP() << "SCHED_FIFO is not permitted";
  WordLock lock;
  std::atomic<bool> is_held{false};
  std::atomic<bool> is_waiting{false};
  std::atomic<bool> is_over{false};
  std::atomic<uint64_t> progress{0};
  uint64_t progress_meanwhile = 0;
  ASSERT_TRUE(set_priority(kDirector));

  std::thread holder([&] {
    EXPECT_TRUE(stay_on_one_processor() && set_priority(0));
    const Guard guard(lock);
    is_held = true;
    while (!is_waiting.load(std::memory_order_relaxed)) {
    }
  });
  wait_until([&] { return is_held.load(); });
  std::thread hog([&] {
    EXPECT_TRUE(stay_on_one_processor() && set_priority(kHog));
    const uint64_t end_ns = eshm::os::monotonic_ns() + 10'000 * eshm::os::kNsPerMs;
    while (!is_over && eshm::os::monotonic_ns() < end_ns) {
      progress.fetch_add(1, std::memory_order_relaxed);
    }
  });
  wait_until([&] { return progress > 0; });
  const uint64_t progress_before = progress;
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const uint64_t progress_in_50_ms = progress - progress_before;
  std::thread waiter([&] {
    EXPECT_TRUE(stay_on_one_processor() && set_priority(kWaiter));
    const uint64_t before = progress.load(std::memory_order_relaxed);
    is_waiting.store(true, std::memory_order_relaxed);
    const Guard guard(lock);
    progress_meanwhile = progress.load(std::memory_order_relaxed) - before;
  });
  waiter.join();
  is_over = true;
  hog.join();
  holder.join();
  set_priority(0);
  // Without a boost the kernel lets the holder run once in a second or never.
  EXPECT_LT(progress_meanwhile, progress_in_50_ms);
}

// ---- where the kernel forbids it ------------------------------------------------------

// From here on these system calls of this thread fail with `error`.
bool forbid(std::initializer_list<sock_filter> rules) {
  std::vector<sock_filter> all = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
  };
  all.insert(all.end(), rules);
  all.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program = {static_cast<unsigned short>(all.size()), all.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

template <int Error>
bool forbid_priority_inheritance() {
  constexpr uint32_t kLockPi2 = 13;
  return forbid({
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, uint32_t(FUTEX_CMD_MASK)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_LOCK_PI, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FUTEX_UNLOCK_PI, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLockPi2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | uint32_t(Error)),
  });
}

bool forbid_membarrier() {
  return forbid({
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | uint32_t(ENOSYS)),
  });
}

bool forbid_the_newer_call() {
  constexpr uint32_t kLockPi2 = 13;
  return forbid({
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, uint32_t(FUTEX_CMD_MASK)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kLockPi2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | uint32_t(ENOSYS)),
  });
}

constexpr auto forbid_with_eperm = forbid_priority_inheritance<EPERM>;
constexpr auto forbid_with_enosys = forbid_priority_inheritance<ENOSYS>;

TEST_F(WordLockTest, WorksWhereNoThreadMayInheritPriority) {
  for (bool (*const prepare)() : {+forbid_with_eperm, +forbid_with_enosys}) {
    expect_exclusion(std::vector<bool (*)()>(4, prepare), count(5'000, 500'000));
  }
}

TEST_F(WordLockTest, WorksWhereSomeThreadsMayNotInheritPriority) {
  expect_exclusion({ordinary, forbid_with_eperm, ordinary, forbid_with_enosys},
                   count(5'000, 500'000));
}

TEST_F(WordLockTest, WorksWithoutMembarrier) {
  expect_exclusion(std::vector<bool (*)()>(4, forbid_membarrier), count(5'000, 500'000));
}

TEST_F(WordLockTest, WorksOnAKernelBeforeFutexLockPi2) {
  expect_exclusion(std::vector<bool (*)()>(4, forbid_the_newer_call), count(5'000, 500'000));
}

// The waiters sleep for a holder that cannot wake them.
TEST_F(WordLockTest, WaitersOfAForbiddenHolderGetTheLock) {
  WordLock lock;
  std::atomic<bool> is_held{false};
  std::atomic<bool> may_let_go{false};
  std::atomic<bool> may_end{false};
  std::thread holder([&] {
    EXPECT_TRUE(forbid_with_eperm());
    lock.lock();
    is_held = true;
    wait_until([&] { return may_let_go.load(); });
    lock.unlock();
    wait_until([&] { return may_end.load(); });  // the kernel wakes waiters of a thread that ends
  });
  wait_until([&] { return is_held.load(); });
  {
    Contender first(lock, 0);
    first.wait_until_asleep();
    Contender second(lock, 0);
    second.wait_until_asleep();
    may_let_go = true;
    wait_until([&] { return first.has_lock() || second.has_lock(); });
    first.let_go();
    second.let_go();
    wait_until([&] { return !first.has_lock() && !second.has_lock(); });
  }
  may_end = true;
  holder.join();
  const Guard guard(lock);
}

}  // namespace
