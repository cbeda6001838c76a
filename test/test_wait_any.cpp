// SPDX-License-Identifier: MIT
// One thread that waits for many handles.
#include <pthread.h>
#include <time.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "support/counts.h"
#include "support/crowd.h"
#include "support/player.h"

namespace {

using namespace test;

class WaitAny : public CrowdTest {};

TEST_P(WaitAny, OneOfTwoIsFound) {
  Crowd links = crowd(2);
  each_is_found(links, 200);
}

TEST_P(WaitAny, OneOfAHundredIsFound) {
  Crowd links = crowd(100);
  each_is_found(links, 300);
}

TEST_P(WaitAny, OneOfAThousandIsFoundAndTheThreadsGoWithTheHandles) {
  {
    Crowd links = crowd(kMany);
    each_is_found(links, 300);
    all_are_listened_to(links, (kMany + 126) / 127);
  }
  wait_until([] { return threads_named("eshm-wait") == 0; });
}

TEST_P(WaitAny, OneMoreThanTheCallerCanSleepForIsFound) {
  for (size_t size : {128, 129}) {
    Crowd links = crowd(size);
    each_is_found(links, 100);
    if (size > 128) all_are_listened_to(links, 2);
    EXPECT_EQ(threads_named("eshm-wait"), size > 128 ? 2u : 0u);
  }
}

TEST_P(WaitAny, WhatIsUnreadIsFoundAtOnceAndStaysUnread) {
  Crowd links = crowd(3);
  ASSERT_TRUE(links.is_open()) << last_error();
  ASSERT_EQ(write_text(links.writers[1].get(), "x"), ESHM_SUCCESS);
  for (int again = 0; again < 3; ++again) EXPECT_EQ(links.wait(0), 1);
  EXPECT_EQ(links.wait(UINT32_MAX), 1);
  EXPECT_EQ(read_text(links.handles[1], 0), "x");
  EXPECT_EQ(links.wait(0), ESHM_ERROR_NO_DATA);
}

TEST_P(WaitAny, BusyHandlesDoNotHideTheOthers) {
  Crowd links = crowd(5);
  ASSERT_TRUE(links.is_open()) << last_error();
  for (const Link& writer : links.writers) ASSERT_EQ(write_text(writer.get(), "x"), ESHM_SUCCESS);
  std::vector<int> times(5);
  for (int i = 0; i < 50; ++i) {
    const int found = links.wait(0);
    ASSERT_GE(found, 0);
    ++times[size_t(found)];
  }
  for (int each : times) EXPECT_EQ(each, 10);
}

TEST_P(WaitAny, NullEntriesKeepTheirIndexAndDoubleOnesAreTaken) {
  Crowd links = crowd(2);
  ASSERT_TRUE(links.is_open()) << last_error();
  ESHMHandle* const handles[] = {nullptr, links.handles[0], nullptr, links.handles[1],
                                 links.handles[1], nullptr};
  EXPECT_EQ(eshm_wait_any(handles, 6, 0), ESHM_ERROR_NO_DATA);
  EXPECT_EQ(eshm_wait_any(handles, 6, 5), ESHM_ERROR_TIMEOUT);
  std::thread writer([&] {
    pause_ms(20);
    write_text(links.writers[1].get(), "x");
  });
  const int found = eshm_wait_any(handles, 6, UINT32_MAX);
  EXPECT_TRUE(found == 3 || found == 4) << found;
  writer.join();
}

TEST_P(WaitAny, RefusesWhatCannotBeWaitedFor) {
  const Link link = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(link) << last_error();
  std::vector<ESHMHandle*> handles(ESHM_MAX_WAIT + 1, link.get());
  EXPECT_EQ(eshm_wait_any(nullptr, 1, 0), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_wait_any(handles.data(), 0, 0), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_wait_any(handles.data(), ESHM_MAX_WAIT + 1, 0), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_wait_any(handles.data(), ESHM_MAX_WAIT, 5), ESHM_ERROR_TIMEOUT);
  ESHMHandle* const nobody[] = {nullptr, nullptr};
  EXPECT_EQ(eshm_wait_any(nobody, 2, UINT32_MAX), ESHM_ERROR_INVALID_PARAM);
}

TEST_P(WaitAny, WaitsNotShorterThanAsked) {
  for (size_t size : {1, 2, 130}) {
    Crowd links = crowd(size);
    ASSERT_TRUE(links.is_open()) << last_error();
    const uint64_t began = now_ms();
    EXPECT_EQ(links.wait(50), ESHM_ERROR_TIMEOUT);
    EXPECT_GE(now_ms() - began, 49u) << size;
    EXPECT_NE(last_error().find("50 ms"), std::string::npos);
  }
}

TEST_P(WaitAny, ManyThreadsWaitForTheSameHandles) {
  Crowd links = crowd(200);
  ASSERT_TRUE(links.is_open()) << last_error();
  std::atomic<int> read{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      for (;;) {
        const int found = links.wait(UINT32_MAX);
        EXPECT_GE(found, 0);
        if (found == 0) return;  // stays unread: for all
        if (read_text(links.handles[size_t(found)], 0) == "x") ++read;
      }
    });
  }
  const int rounds = 100;
  for (int i = 0; i < rounds; ++i) {
    const int before = read;
    write_text(links.writers[size_t(1 + i)].get(), "x");
    wait_until([&] { return read > before; });
  }
  write_text(links.writers[0].get(), "end");
  for (std::thread& waiter : waiters) waiter.join();
  EXPECT_EQ(read, rounds);
}

// ---- the host

std::atomic<int> hook_calls{0};
std::atomic<int> hook_answer{0};
int hook(void*) {
  ++hook_calls;
  return hook_answer;
}

TEST_P(WaitAny, HookOfAnyHandleEndsTheWaitAlsoOnASignal) {
  for (size_t others : {1, 140}) {
    Crowd links = crowd(others);
    ASSERT_TRUE(links.is_open()) << last_error();
    ESHMConfig hooked = config(ESHM_ROLE_MASTER);
    hooked.interrupt = hook;
    hook_answer = 0;
    const Link link = open_link(hooked);
    ASSERT_TRUE(link) << last_error();
    links.handles.push_back(link.get());
    struct sigaction action = {};
    action.sa_handler = [](int) { hook_answer = 1; };
    sigaction(SIGUSR1, &action, nullptr);
    hook_calls = 0;
    const pthread_t self = pthread_self();
    std::thread other([&] {
      wait_until([] { return hook_calls >= 3; });  // by time alone
      pthread_kill(self, SIGUSR1);
    });
    EXPECT_EQ(links.wait(UINT32_MAX), ESHM_ERROR_INTERRUPTED);
    EXPECT_EQ(last_error_code(), ESHM_ERROR_INTERRUPTED);
    other.join();
    signal(SIGUSR1, SIG_DFL);
  }
}

// A handle that is no longer waited for with many others costs no thread's wake.
TEST_P(WaitAny, ThreadForgetsWhomNobodyWaitsForAnyMore) {
  Crowd links = crowd(129);
  all_are_listened_to(links, 2);
  // Rings that a single reader asked for.
  std::atomic<bool> over{false};
  std::vector<std::thread> readers;
  for (size_t i = 127; i < 129; ++i) {  // those of the second thread
    readers.emplace_back([&, i] {
      while (!over) read_text(links.handles[i], 10);
    });
  }
  std::thread writer([&] {
    while (!over) {
      for (size_t i = 127; i < 129; ++i) write_text(links.writers[i].get(), "x");
      pause_ms(1);
    }
  });
  wait_until([] { return threads_named("eshm-wait") == 1; });
  over = true;
  writer.join();
  for (std::thread& reader : readers) reader.join();
  each_is_found(links, 20);
  all_are_listened_to(links, 2);
}

// ---- the spin

uint64_t cpu_ms_of_this_thread() {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return uint64_t(used.tv_sec) * 1000 + uint64_t(used.tv_nsec) / 1000000;
}

// With the default spin: it is over before the first sleep, and never comes again.
TEST_P(WaitAny, HandlesWithoutThreadsBeatWhileTheyAreWaitedFor) {
  ESHMConfig unthreaded = config(ESHM_ROLE_MASTER);
  unthreaded.use_threads = false;
  const Link master = open_link(unthreaded);
  ASSERT_TRUE(master) << last_error();
  ESHMHandle* const handles[] = {master.get()};
  ESHMStats before = {};
  ESHMStats after = {};
  ASSERT_EQ(eshm_get_stats(master.get(), &before), ESHM_SUCCESS);
  do {
    EXPECT_EQ(eshm_wait_any(handles, 1, 20), ESHM_ERROR_TIMEOUT);
    ASSERT_EQ(eshm_get_stats(master.get(), &after), ESHM_SUCCESS);
  } while (after.master_heartbeat < before.master_heartbeat + 10);
}

TEST_P(WaitAny, LongWaitIsSleptThrough) {
  const uint32_t wait_ms = uint32_t(count(1000, 10000));
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  ESHMHandle* const handles[] = {reader.get(), writer.get()};
  const uint64_t before = cpu_ms_of_this_thread();
  EXPECT_EQ(read_text(reader.get(), wait_ms), error(ESHM_ERROR_TIMEOUT));
  EXPECT_EQ(eshm_wait_any(handles, 2, wait_ms), ESHM_ERROR_TIMEOUT);
  EXPECT_LT(cpu_ms_of_this_thread() - before, wait_ms / 50);
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(reader.get(), &stats), ESHM_SUCCESS);
  EXPECT_GE(stats.parks, 1u);
  EXPECT_LE(stats.parks, wait_ms / 500 + 10);  // a look each half second; the peer's coming
}

ESHM_ON_BOTH_BACKENDS(WaitAny);

}  // namespace
