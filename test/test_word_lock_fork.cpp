// SPDX-License-Identifier: MIT
// os::WordLock in a forked child: the one thread that is there has another id.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "os/word_lock.h"
#include "support/child.h"
#include "support/scheduling.h"

namespace {

using namespace test;

using eshm::os::WordLock;
using Guard = std::lock_guard<WordLock>;

TEST(WordLockFork, ForkedThreadKnowsItsNewId) {
  EXPECT_EQ(int(eshm::os::thread_id()), own_thread_id());
  Child child([](Wire&) {
    CHILD_CHECK(int(eshm::os::thread_id()) == own_thread_id());
    Child grandchild([](Wire&) {
      CHILD_CHECK(int(eshm::os::thread_id()) == own_thread_id());
      return 0;
    });
    return grandchild.join();
  });
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(int(eshm::os::thread_id()), own_thread_id());
}

// The lock is free at the fork, or the forking thread's own.
TEST(WordLockFork, ThreadsOfAChildShareALockOfItsParent) {
  for (const bool is_held : {false, true}) {
    WordLock lock;
    if (is_held) lock.lock();
    Child child([&](Wire&) {
      std::atomic<bool> are_started{false};
      uint64_t entries = 0;
      std::vector<std::thread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
          are_started = true;
          for (int round = 0; round < 20'000; ++round) {
            const Guard guard(lock);
            ++entries;
          }
        });
      }
      while (!are_started) sched_yield();
      if (is_held) {
        CHILD_CHECK(!lock.try_lock());
        lock.unlock();
      }
      for (std::thread& thread : threads) thread.join();
      CHILD_CHECK(entries == 80'000);
      return 0;
    });
    EXPECT_EQ(child.join(), 0);
    if (is_held) lock.unlock();
  }
}

TEST(WordLockFork, ChildsHolderIsBoosted) {
  if (!has_real_time(30)) GTEST_SKIP() << "SCHED_FIFO is not permitted";
  WordLock lock;
  { const Guard guard(lock); }
  Child child([&](Wire&) {
    lock.lock();
    std::thread waiter([&] {
      set_priority(30);
      const Guard guard(lock);
    });
    while (effective_priority(own_thread_id()) != 30) sched_yield();
    lock.unlock();
    waiter.join();
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// The child has its own word, queue and waiters.
TEST(WordLockFork, ParentsContentionDoesNotReachTheChild) {
  WordLock lock;
  std::atomic<bool> is_over{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!is_over) {
        const Guard guard(lock);
        sched_yield();
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    Child child([](Wire&) {
      WordLock own;
      std::thread other([&] {
        for (int i = 0; i < 1000; ++i) const Guard guard(own);
      });
      for (int i = 0; i < 1000; ++i) const Guard guard(own);
      other.join();
      return 0;
    });
    EXPECT_EQ(child.join(), 0);
    const Guard guard(lock);
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
