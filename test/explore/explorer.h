// SPDX-License-Identifier: MIT
// Runs threads on the memory model in every way that makes a difference: which
// thread goes first, and which store each load takes. A run is repeated from its
// beginning with another choice until none is left.
//
// What need not be tried. A store to a place that no other thread stores to is
// done as soon as its thread gets there: whoever loads may still take an older
// one. So only loads of what others still store, seq_cst fences, read-modify-
// writes and the kernel's calls are put in order, and of orders that come to the
// same one is run (sleep sets: what was tried here stays asleep until something
// that it depends on happens; a load that wakes takes only stores that are new).
// Who may still store to a place is learnt from the runs: when they have shown that
// too little was known, all begins anew with what is known now.
#pragma once

#include <ucontext.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "explore/memory_model.h"
#include "explore/sites.h"

namespace explore {

struct Plan {
  void* memory = nullptr;  // all that the threads change; put back before each run
  size_t bytes = 0;
  std::vector<std::function<void()>> threads;
  uint32_t mortals = 0;            // threads, as bits, that may die before any store
  int most_steps = 400;            // of a call; one that takes more is cut off
  bool copies_are_plain = false;   // payloads are never copied while they are stored
  bool is_reduced = true;          // no: every order of every two steps is tried
  long most_runs = 20'000'000;
};

struct Outcome {
  std::string fault;  // empty: none
  std::string story;  // the run that shows it
  long runs = 0;      // to the end
  long redundant = 0;  // given up: the same as another
  long cut = 0;        // given up: a call that took too many steps
  bool is_complete = false;
};

class Explorer {
 public:
  Outcome explore(const Plan& plan);
  Sites& sites() { return sites_; }

  // For the threads of a plan, instead of what the library does.
  bool is_running() const { return self_ >= 0; }
  uint64_t load(const void* at, size_t bytes, std::memory_order order, const Where& where);
  void store(void* at, size_t bytes, uint64_t value, std::memory_order order, const Where& where);
  uint64_t add(void* at, size_t bytes, uint64_t value, std::memory_order order,
               const Where& where);
  bool compare_exchange(void* at, size_t bytes, uint64_t& expected, uint64_t value,
                        std::memory_order success, std::memory_order failure, const Where& where);
  void fence(std::memory_order order, const Where& where);
  uint64_t plain_load(const void* at, size_t bytes);
  void plain_store(void* at, size_t bytes, uint64_t value);
  bool futex_wait(const void* word, uint32_t expected);  // false: it was another
  void futex_wake(const void* word);

  // A call of the library begins.
  void begin_call();
  // Goes on when every other of these threads has ended or died.
  void join(uint32_t threads);
  // Goes on when there is a newer store where this thread loaded last, and takes it.
  void await_news();
  // A claim of the test.
  void require(bool holds, const char* claim);

 private:
  static constexpr int kMain = -1;  // no thread: between runs
  enum class Step { kNone, kLoad, kNews, kStore, kChange, kFence, kWait, kWake, kAsleep, kJoin };
  struct Pending {
    Step step = Step::kNone;
    Location at = 0;
    uint32_t joined = 0;
  };
  static constexpr StoreIndex kAll = UINT16_MAX;
  struct Sleep {
    bool is_asleep = false;
    StoreIndex tried = 0;  // stores that a load has taken; kAll: any step
  };
  using Sleeps = std::array<Sleep, kMostThreads>;
  struct Node {
    bool is_order;
    int taken;    // the thread, or the value
    int options;  // threads left, as bits; or how many values
    Sleeps sleeps;
    std::array<StoreIndex, kMostThreads> tried;
  };
  // The last call of each thread that stores to a place, fences, or asks the
  // kernel; -1: none.
  using LastCalls = std::array<int, kMostThreads>;
  struct Knowledge {
    std::array<LastCalls, kMostLocations> store;
    LastCalls fence;
    LastCalls futex;
  };
  struct LateStore {
    Location at;
    uint64_t value;
    std::memory_order order;
    const Change* change;
  };
  struct Thread {
    std::unique_ptr<char[]> stack;
    ucontext_t context;
    Pending pending;
    int call = 0;
    int steps = 0;
    bool has_ended = false;
    bool is_woken = false;
    StoreIndex tried = 0;  // by runs before this one, of the load that it is at
    Location last_loaded = 0;
    std::vector<LateStore> late;
  };

  static void enter();
  void run_once();
  bool has_next_path();
  int pick();
  bool is_enabled(int thread) const;
  bool is_runnable(int thread) const;
  bool is_hopeless() const;
  bool may_wake(int waker, int sleeper) const;
  void switch_to(int thread);
  void take_turn(Pending pending);
  [[noreturn]] void leave();
  [[noreturn]] void end_thread();
  [[noreturn]] void fail(const std::string& what);
  int choose(int options);
  void count_step();
  bool others_may_store(Location at) const;
  bool others_may(const LastCalls& last_call) const;
  void note(LastCalls& last_call);
  void may_die();
  void do_store(Location at, uint64_t value, std::memory_order order);
  void do_late_stores(const Site* behind);
  void wake_sleepers(Step step, Location at);
  StoreIndex choose_store(Location at, StoreIndex oldest);
  void tell(const char* what, const Site* site, Location at, uint64_t value);

  MemoryModel model_;
  Sites sites_;
  const Plan* plan_ = nullptr;
  std::vector<char> image_;
  std::array<Thread, kMostThreads> threads_;
  int thread_count_ = 0;
  ucontext_t main_;
  int self_ = kMain;
  bool is_starting_ = false;

  std::vector<Node> path_;
  size_t depth_ = 0;
  Sleeps sleeps_;
  Knowledge assumed_;
  Knowledge learnt_;
  bool has_learnt_ = false;

  enum class End { kWhole, kRedundant, kCut, kFault } end_ = End::kWhole;
  std::string fault_;
  bool is_telling_ = false;
  std::string story_;
};

Explorer& explorer();

}  // namespace explore
