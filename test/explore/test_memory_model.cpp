// SPDX-License-Identifier: MIT
// The model that the explorer runs on: of well-known small programs exactly the
// results that the C++ standard allows are found.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "explore/atomic.h"
#include "explore/run.h"

namespace {

using explore::Atomic;
using explore::explorer;
using explore::fence;
using explore::Outcome;
using explore::Plan;
using std::memory_order_acq_rel;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

struct Words {
  Atomic<uint64_t> x, y, z;
  uint64_t plain;
  uint64_t got[4];
};

using Results = std::set<std::string>;
Results results;

// The last thread of each program notes what the others got.
template <int threads, int values>
void note(Words& words) {
  explorer().join((1 << threads) - 1);
  std::string text;
  for (int i = 0; i < values; ++i) text += std::to_string(words.got[i]);
  results.insert(text);
}

Results results_of(std::vector<void (*)(Words&)> threads) {
  results.clear();
  const Outcome outcome = explore::explore<Words>([](Words&) {}, threads);
  EXPECT_EQ(outcome.fault, "") << outcome.story;
  EXPECT_TRUE(outcome.is_complete);
  return results;
}

template <std::memory_order store_order>
void send(Words& w) {
  w.x.store(1, memory_order_relaxed);
  w.y.store(1, store_order);
}
template <std::memory_order load_order>
void receive(Words& w) {
  w.got[0] = w.y.load(load_order);
  w.got[1] = w.x.load(memory_order_relaxed);
}

TEST(MemoryModel, AMessageIsPassedByReleaseAndAcquireOnly) {
  const Results in_order = {"00", "01", "11"};
  const Results any = {"00", "01", "11", "10"};
  EXPECT_EQ(results_of({send<memory_order_release>, receive<memory_order_acquire>, note<2, 2>}),
            in_order);
  EXPECT_EQ(results_of({send<memory_order_relaxed>, receive<memory_order_acquire>, note<2, 2>}),
            any);
  EXPECT_EQ(results_of({send<memory_order_release>, receive<memory_order_relaxed>, note<2, 2>}),
            any);
}

template <std::memory_order order>
void send_by_fence(Words& w) {
  w.x.store(1, memory_order_relaxed);
  fence(order);
  w.y.store(1, memory_order_relaxed);
}
template <std::memory_order order>
void receive_by_fence(Words& w) {
  w.got[0] = w.y.load(memory_order_relaxed);
  fence(order);
  w.got[1] = w.x.load(memory_order_relaxed);
}

TEST(MemoryModel, FencesPassAMessageToo) {
  const Results in_order = {"00", "01", "11"};
  EXPECT_EQ(results_of({send_by_fence<memory_order_release>,
                        receive_by_fence<memory_order_acquire>, note<2, 2>}),
            in_order);
  EXPECT_EQ(results_of({send_by_fence<memory_order_acquire>,
                        receive_by_fence<memory_order_acquire>, note<2, 2>})
                .count("10"),
            1u);
  EXPECT_EQ(results_of({send_by_fence<memory_order_release>,
                        receive_by_fence<memory_order_release>, note<2, 2>})
                .count("10"),
            1u);
}

template <std::memory_order order, int mine>
void cross(Words& w) {
  (mine == 0 ? w.x : w.y).store(1, memory_order_relaxed);
  fence(order);
  w.got[mine] = (mine == 0 ? w.y : w.x).load(memory_order_relaxed);
}

TEST(MemoryModel, OnlyFullFencesStopTwoThreadsFromMissingEachOther) {
  EXPECT_EQ(results_of({cross<memory_order_seq_cst, 0>, cross<memory_order_seq_cst, 1>,
                        note<2, 2>}),
            (Results{"01", "10", "11"}));
  EXPECT_EQ(results_of({cross<memory_order_acq_rel, 0>, cross<memory_order_seq_cst, 1>,
                        note<2, 2>}),
            (Results{"00", "01", "10", "11"}));
}

// Two stores, seen in two orders by two threads.
template <int mine>
void put(Words& w) {
  (mine == 0 ? w.x : w.y).store(1, memory_order_release);
}
template <std::memory_order order, int mine>
void look(Words& w) {
  w.got[2 * mine] = (mine == 0 ? w.x : w.y).load(memory_order_acquire);
  fence(order);
  w.got[2 * mine + 1] = (mine == 0 ? w.y : w.x).load(memory_order_acquire);
}

TEST(MemoryModel, OnlyFullFencesShowAllThreadsOneOrder) {
  EXPECT_EQ(results_of({put<0>, put<1>, look<memory_order_acq_rel, 0>,
                        look<memory_order_acq_rel, 1>, note<4, 4>})
                .count("1010"),
            1u);
  EXPECT_EQ(results_of({put<0>, put<1>, look<memory_order_seq_cst, 0>,
                        look<memory_order_seq_cst, 1>, note<4, 4>})
                .count("1010"),
            0u);
}

// What was told to a thread in the middle is told on.
TEST(MemoryModel, WhatHappenedBeforeGoesOnFromThreadToThread) {
  const auto hand_on = [](Words& w) {
    w.got[0] = w.x.load(memory_order_acquire);
    w.y.store(w.got[0] + 1, memory_order_release);
  };
  const auto look_back = [](Words& w) {
    w.got[1] = w.y.load(memory_order_acquire);
    w.got[2] = w.x.load(memory_order_relaxed);
  };
  EXPECT_EQ(results_of({put<0>, hand_on, look_back, note<3, 3>}),
            (Results{"000", "001", "010", "011", "100", "101", "121"}));
}

TEST(MemoryModel, OneThreadSeesOnePlaceInItsOrder) {
  const auto count = [](Words& w) {
    w.x.store(1, memory_order_relaxed);
    w.x.store(2, memory_order_relaxed);
  };
  const auto look_twice = [](Words& w) {
    w.got[0] = w.x.load(memory_order_relaxed);
    w.got[1] = w.x.load(memory_order_relaxed);
  };
  EXPECT_EQ(results_of({count, look_twice, note<2, 2>}),
            (Results{"00", "01", "02", "11", "12", "22"}));
}

TEST(MemoryModel, ChangesAreNotLost) {
  const auto add = [](Words& w) { w.x.fetch_add(1, memory_order_relaxed); };
  const auto sum = [](Words& w) {
    explorer().join(7);
    results.insert(std::to_string(w.x.load(memory_order_relaxed)));
  };
  results.clear();
  EXPECT_TRUE(explore::explore<Words>([](Words&) {}, {add, add, add, sum}).is_complete);
  EXPECT_EQ(results, Results{"3"});
}

// A change goes on with the release that it found; a store does not.
template <bool changes>
void send_then_touch(Words& w) {
  w.z.store(1, memory_order_relaxed);
  w.y.store(1, memory_order_release);
  if (changes) {
    w.y.fetch_add(1, memory_order_relaxed);
  } else {
    w.y.store(2, memory_order_relaxed);
  }
}
void receive_second(Words& w) {
  w.got[0] = w.y.load(memory_order_acquire);
  w.got[1] = w.z.load(memory_order_relaxed);
}

TEST(MemoryModel, AReleaseSequenceGoesOnByChangesOnly) {
  EXPECT_EQ(results_of({send_then_touch<true>, receive_second, note<2, 2>}),
            (Results{"00", "01", "11", "21"}));
  EXPECT_EQ(results_of({send_then_touch<false>, receive_second, note<2, 2>}),
            (Results{"00", "01", "11", "20", "21"}));
}

// ---- accesses that are not atomic -------------------------------------------

template <std::memory_order order>
Outcome hand_over() {
  return explore::explore<Words>(
      [](Words&) {}, {[](Words& w) {
                        explorer().plain_store(&w.plain, 8, 7);
                        w.y.store(1, order);
                      },
                      [](Words& w) {
                        if (w.y.load(memory_order_acquire) == 0) return;
                        explorer().require(explorer().plain_load(&w.plain, 8) == 7, "it is 7");
                      }});
}

TEST(MemoryModel, ARaceIsTold) {
  EXPECT_EQ(hand_over<memory_order_release>().fault, "");
  EXPECT_EQ(hand_over<memory_order_relaxed>().fault, "read in place while it is stored");
}

template <std::memory_order order>
Outcome give_back() {
  return explore::explore<Words>(
      [](Words&) {}, {[](Words& w) {
                        explorer().plain_load(&w.plain, 8);
                        w.y.store(1, memory_order_release);
                      },
                      [](Words& w) {
                        if (w.y.load(order) != 0) explorer().plain_store(&w.plain, 8, 7);
                      }});
}

TEST(MemoryModel, ALoadThatIsOvertakenByAStoreIsARaceToo) {
  EXPECT_EQ(give_back<memory_order_acquire>().fault, "");
  EXPECT_NE(give_back<memory_order_relaxed>().fault, "");
}

// ---- the kernel -------------------------------------------------------------

TEST(MemoryModel, AThreadSleepsUntilItIsWoken) {
  const auto sleep = [](Words& w) {
    w.got[0] = explorer().futex_wait(reinterpret_cast<uint32_t*>(&w.x) + 1, 0);
  };
  const auto wake = [](Words& w) { explorer().futex_wake(reinterpret_cast<uint32_t*>(&w.x) + 1); };
  const Outcome outcome = explore::explore<Words>([](Words&) {}, {sleep, wake});
  EXPECT_EQ(outcome.fault, "a thread waits for ever") << "woken before it slept";
}

// ---- what the reduction leaves out ------------------------------------------

struct Step {
  int kind;  // 0, 1: load; 2, 3: store; 4: change; 5: fence
  int place;
  std::memory_order order;
};
std::vector<Step> programs[3];
uint64_t seed;

uint64_t dice(uint64_t sides) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % sides;
}

template <int mine>
void follow(Words& w) {
  uint64_t got = 0;
  int stored = 0;
  for (const Step& step : programs[mine]) {
    Atomic<uint64_t>& place = step.place == 0 ? w.x : w.y;
    const uint64_t value = uint64_t(mine * 3 + ++stored);
    switch (step.kind) {
      case 0:
      case 1:
        got = got * 10 + place.load(step.order == memory_order_release ? memory_order_acquire
                                                                       : step.order);
        break;
      case 2:
      case 3:
        place.store(value, step.order == memory_order_acquire ? memory_order_release : step.order);
        break;
      case 4:
        got = got * 10 + place.fetch_add(1, memory_order_acq_rel) % 10;
        break;
      default:
        fence(step.order == memory_order_relaxed ? memory_order_seq_cst : step.order);
    }
    explorer().begin_call();
  }
  w.got[mine] = got;
}

void note_all(Words& w) {
  explorer().join(7);
  results.insert(std::to_string(w.got[0]) + " " + std::to_string(w.got[1]) + " " +
                 std::to_string(w.got[2]) + " " + std::to_string(w.x.load(memory_order_relaxed)) +
                 " " + std::to_string(w.y.load(memory_order_relaxed)));
}

TEST(Explorer, FindsWithFewRunsWhatAllOrdersOfAllStepsCanGive) {
  constexpr std::memory_order kOrders[] = {memory_order_relaxed, memory_order_acquire,
                                           memory_order_release};
  long reduced = 0;
  long all = 0;
  for (int round = 0; round < 300; ++round) {
    seed = uint64_t(round) + 1;
    const uint64_t sizes[] = {3, 3, dice(3)};
    for (int i = 0; i < 3; ++i) {
      programs[i].clear();
      for (uint64_t n = 0; n < sizes[i]; ++n) {
        programs[i].push_back({int(dice(6)), int(dice(2)), kOrders[dice(3)]});
      }
    }
    const std::vector<void (*)(Words&)> threads = {follow<0>, follow<1>, follow<2>, note_all};
    results.clear();
    const Outcome few = explore::explore<Words>([](Words&) {}, threads);
    const Results found = std::move(results);
    results.clear();
    Plan plan;
    plan.is_reduced = false;
    const Outcome many = explore::explore<Words>([](Words&) {}, threads, plan);
    ASSERT_TRUE(few.is_complete && many.is_complete);
    ASSERT_EQ(found, results) << "program " << round;
    reduced += few.runs;
    all += many.runs;
  }
  std::printf("%ld runs instead of %ld\n", reduced, all);
  EXPECT_LT(reduced, all);
}

}  // namespace
