#include "explore/explorer.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace explore {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr int kMain = -1;

}  // namespace

Explorer& explorer() {
  static Explorer one;
  return one;
}

// ---- runs -------------------------------------------------------------------

Outcome Explorer::explore(const Plan& plan) {
  plan_ = &plan;
  thread_count_ = int(plan.threads.size());
  const char* const memory = static_cast<const char*>(plan.memory);
  image_.assign(memory, memory + plan.bytes);
  model_.begin(plan.memory, plan.bytes);
  for (auto& calls : last_store_) calls.fill(-1);
  last_fence_.fill(-1);
  last_futex_.fill(-1);
  path_.clear();
  Outcome outcome;
  for (;;) {
    run_once();
    if (end_ == End::kFault) {
      outcome.fault = fault_;
      is_telling_ = true;
      story_.clear();
      run_once();
      is_telling_ = false;
      outcome.story = story_;
      break;
    }
    outcome.runs += end_ == End::kWhole;
    outcome.redundant += end_ == End::kRedundant;
    outcome.cut += end_ == End::kCut;
    if (has_learnt_) {
      has_learnt_ = false;
      path_.clear();
      outcome.runs = outcome.redundant = outcome.cut = 0;
      continue;
    }
    if (!has_next_path()) {
      outcome.is_complete = true;
      break;
    }
    if (outcome.runs + outcome.redundant + outcome.cut >= plan.most_runs) break;
  }
  return outcome;
}

void Explorer::run_once() {
  std::memcpy(plan_->memory, image_.data(), image_.size());
  model_.begin_run();
  depth_ = 0;
  sleeps_ = {};
  end_ = End::kWhole;
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = threads_[i];
    if (thread.stack == nullptr) thread.stack = std::make_unique<char[]>(kStackBytes);
    thread.pending = {};
    thread.call = thread.steps = 0;
    thread.tried = 0;
    thread.has_ended = false;
    thread.late.clear();
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStackBytes;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, &Explorer::enter, 0);
  }
  is_starting_ = true;  // each up to its first step that has to be put in order
  for (int i = 0; i < thread_count_ && end_ == End::kWhole; ++i) {
    self_ = i;
    swapcontext(&main_, &threads_[i].context);
  }
  is_starting_ = false;
  if (end_ == End::kWhole) {
    const int first = pick();
    if (first != kMain) {
      self_ = first;
      swapcontext(&main_, &threads_[first].context);
    }
  }
  self_ = kMain;
}

void Explorer::enter() {
  Explorer& self = explorer();
  self.plan_->threads[self.self_]();
  self.end_thread();
}

void Explorer::end_thread() {
  do_late_stores(nullptr);
  threads_[self_].has_ended = true;
  const int next = is_starting_ ? kMain : pick();
  switch_to(next);
  std::abort();
}

void Explorer::switch_to(int thread) {
  const int before = self_;
  self_ = thread;
  swapcontext(&threads_[before].context, thread == kMain ? &main_ : &threads_[thread].context);
}

void Explorer::leave() {
  switch_to(kMain);
  std::abort();
}

void Explorer::fail(const std::string& what) {
  fault_ = what;
  end_ = End::kFault;
  if (is_telling_) story_ += "  thread " + std::to_string(self_) + ": " + what + "\n";
  leave();
}

void Explorer::require(bool holds, const char* claim) {
  if (!holds) fail(claim);
}

// ---- choices ----------------------------------------------------------------

// The next path in the tree of choices, depth first.
bool Explorer::has_next_path() {
  while (!path_.empty()) {
    Node& node = path_.back();
    if (!node.is_order) {
      if (++node.taken < node.options) return true;
    } else {
      if (plan_->is_reduced) node.sleeps[node.taken] = {true, node.tried[node.taken]};
      node.options &= ~(1 << node.taken);
      if (node.options != 0) {
        node.taken = __builtin_ctz(unsigned(node.options));
        return true;
      }
    }
    path_.pop_back();
  }
  return false;
}

int Explorer::choose(int options) {
  if (options == 1) return 0;
  if (depth_ == path_.size()) path_.push_back({false, 0, options, {}, {}});
  return path_[depth_++].taken;
}

// Which thread does its pending step now; kMain: the run ends here.
int Explorer::pick() {
  int enabled = 0;
  int runnable = 0;
  bool is_over = true;
  for (int i = 0; i < thread_count_; ++i) {
    if (threads_[i].has_ended) continue;
    is_over = false;
    if (!is_enabled(i)) continue;
    enabled |= 1 << i;
    if (is_runnable(i)) runnable |= 1 << i;
  }
  if (is_over) return kMain;
  const bool is_new = depth_ == path_.size();
  if (is_new) {
    if (enabled == 0) {
      fault_ = "a thread waits for ever";
      end_ = End::kFault;
      return kMain;
    }
    if (runnable == 0) {
      end_ = End::kRedundant;
      return kMain;
    }
    Node node = {true, __builtin_ctz(unsigned(runnable)), runnable, sleeps_, {}};
    for (int i = 0; i < thread_count_; ++i) {
      const Pending& pending = threads_[i].pending;
      const bool is_load = pending.step == Step::kLoad || pending.step == Step::kNews;
      node.tried[i] = is_load ? model_.store_count(pending.at) : kAll;
    }
    path_.push_back(node);
  }
  const Node& node = path_[depth_++];
  const int thread = node.taken;
  sleeps_ = node.sleeps;
  threads_[thread].tried = sleeps_[thread].is_asleep ? sleeps_[thread].tried : 0;
  sleeps_[thread] = {};
  if (depth_ == path_.size() && is_hopeless()) {
    end_ = End::kRedundant;
    return kMain;
  }
  return thread;
}

bool Explorer::is_enabled(int thread) const {
  const Thread& it = threads_[thread];
  switch (it.pending.step) {
    case Step::kNews:
      return model_.store_count(it.pending.at) > model_.oldest_readable(thread, it.pending.at) + 1;
    case Step::kAsleep:
      return it.is_woken;
    case Step::kJoin:
      for (int i = 0; i < thread_count_; ++i) {
        if ((it.pending.joined >> i & 1) != 0 && !threads_[i].has_ended) return false;
      }
      return true;
    default:
      return true;
  }
}

bool Explorer::is_runnable(int thread) const {
  const Sleep& sleep = sleeps_[thread];
  if (!sleep.is_asleep) return true;
  return sleep.tried != kAll && model_.store_count(threads_[thread].pending.at) > sleep.tried;
}

// A thread that nothing will wake any more would be missing at the end.
bool Explorer::is_hopeless() const {
  for (int i = 0; i < thread_count_; ++i) {
    if (threads_[i].has_ended || is_runnable(i)) continue;
    bool has_hope = false;
    for (int j = 0; j < thread_count_; ++j) has_hope |= j != i && may_wake(j, i);
    if (!has_hope) return true;
  }
  return false;
}

bool Explorer::may_wake(int waker, int sleeper) const {
  const Thread& it = threads_[waker];
  if (it.has_ended) return false;
  const Pending& pending = threads_[sleeper].pending;
  const bool may_store = last_store_[pending.at][waker] >= it.call;
  const bool may_call = last_futex_[waker] >= it.call;
  switch (pending.step) {
    case Step::kLoad:
    case Step::kNews:
    case Step::kStore:
    case Step::kChange:
      return may_store;
    case Step::kFence:
      return last_fence_[waker] >= it.call;
    case Step::kWait:
      return may_store || may_call;
    case Step::kWake:
      return may_call;
    default:
      return false;
  }
}

// What was tried before counts no more once something happened that it depends on.
void Explorer::wake_sleepers(Step step, Location at) {
  const bool is_store = step == Step::kStore || step == Step::kChange;
  const bool is_futex = step == Step::kWait || step == Step::kWake;
  for (int i = 0; i < thread_count_; ++i) {
    if (i == self_ || !sleeps_[i].is_asleep) continue;
    const Pending& pending = threads_[i].pending;
    bool depends = false;
    switch (pending.step) {
      case Step::kStore:
      case Step::kChange:
        depends = is_store && pending.at == at;
        break;
      case Step::kFence:
        depends = step == Step::kFence;
        break;
      case Step::kWait:
        depends = is_futex || (is_store && pending.at == at);
        break;
      case Step::kWake:
        depends = is_futex;
        break;
      default:
        break;  // loads take what is new
    }
    if (depends) sleeps_[i] = {};
  }
}

void Explorer::take_turn(Pending pending) {
  threads_[self_].pending = pending;
  threads_[self_].tried = 0;
  const int next = is_starting_ ? kMain : pick();
  if (next != self_) switch_to(next);
}

bool Explorer::others_may_store(Location at) const { return others_may(last_store_[at]); }

bool Explorer::others_may(const std::array<int, kMostThreads>& last_call) const {
  for (int i = 0; i < thread_count_; ++i) {
    if (i == self_ || threads_[i].has_ended) continue;
    if (last_call[i] >= threads_[i].call || !plan_->is_reduced) return true;
  }
  return false;
}

void Explorer::note(std::array<int, kMostThreads>& last_call) {
  if (last_call[self_] >= threads_[self_].call) return;
  last_call[self_] = threads_[self_].call;
  has_learnt_ = true;
}

// ---- steps ------------------------------------------------------------------

void Explorer::begin_call() {
  if (!is_running()) return;
  ++threads_[self_].call;
  threads_[self_].steps = 0;
  if (is_telling_) story_ += "  thread " + std::to_string(self_) + ": ---- next call\n";
}

void Explorer::count_step() {
  if (++threads_[self_].steps <= plan_->most_steps) return;
  end_ = End::kCut;
  leave();
}

StoreIndex Explorer::choose_store(Location at, StoreIndex oldest) {
  Thread& self = threads_[self_];
  oldest = std::max(oldest, self.tried);
  self.tried = 0;
  const StoreIndex count = model_.store_count(at);
  return StoreIndex(count - 1 - choose(count - oldest));
}

uint64_t Explorer::load(const void* address, size_t bytes, std::memory_order order,
                        const Where& where) {
  const Site& site = sites_.at(where);
  count_step();
  const Location at = model_.location(address, bytes);
  Thread& self = threads_[self_];
  self.last_loaded = at;
  const Weakening weakening = site.change == nullptr ? Weakening::kNone : site.change->weakening;
  if (weakening == Weakening::kZero) return 0;
  if (weakening == Weakening::kRepeated) return model_.value(at, model_.last_loaded(self_, at));
  if (weakening == Weakening::kRelaxed) order = std::memory_order_relaxed;
  uint64_t value = 0;
  if (site.is_copy && plan_->copies_are_plain) {
    if (!model_.plain_load(self_, at, value)) fail("a payload is copied while it is stored");
  } else {
    if (others_may_store(at)) take_turn({Step::kLoad, at, 0});
    value = model_.load(self_, at, choose_store(at, model_.oldest_readable(self_, at)), order);
  }
  tell("loads", &site, at, value);
  do_late_stores(&site);
  return value;
}

void Explorer::store(void* address, size_t bytes, uint64_t value, std::memory_order order,
                     const Where& where) {
  const Site& site = sites_.at(where);
  count_step();
  may_die();
  const Weakening weakening = site.change == nullptr ? Weakening::kNone : site.change->weakening;
  if (weakening == Weakening::kLeftOut) return;
  const Location at = model_.location(address, bytes);
  if (weakening == Weakening::kRelaxed) order = std::memory_order_relaxed;
  if (weakening == Weakening::kLate) {
    threads_[self_].late.push_back({at, value, order, site.change});
    return;
  }
  if (site.is_copy && plan_->copies_are_plain) {
    note(last_store_[at]);
    if (!model_.plain_store(self_, at, value)) fail("a payload is stored while it is copied");
  } else {
    do_store(at, value, order);
  }
  tell("stores", &site, at, value);
  do_late_stores(&site);
}

void Explorer::do_store(Location at, uint64_t value, std::memory_order order) {
  note(last_store_[at]);
  if (others_may_store(at)) take_turn({Step::kStore, at, 0});
  if (!model_.store(self_, at, value, order)) fail("stored while another thread reads it");
  wake_sleepers(Step::kStore, at);
}

// Those that wait for this operation; null: all.
void Explorer::do_late_stores(const Site* behind) {
  std::vector<LateStore>& late = threads_[self_].late;
  for (size_t i = 0; i < late.size();) {
    if (behind != nullptr && !behind->has_label(late[i].change->until)) {
      ++i;
      continue;
    }
    const LateStore store = late[i];
    late.erase(late.begin() + long(i));
    do_store(store.at, store.value, store.order);
    tell("stores late", nullptr, store.at, store.value);
  }
}

void Explorer::may_die() {
  if ((plan_->mortals >> self_ & 1) == 0 || choose(2) == 0) return;
  if (is_telling_) story_ += "  thread " + std::to_string(self_) + " dies\n";
  threads_[self_].late.clear();
  end_thread();
}

uint64_t Explorer::add(void* address, size_t bytes, uint64_t value, std::memory_order order,
                       const Where& where) {
  const Site& site = sites_.at(where);
  count_step();
  may_die();
  const Weakening weakening = site.change == nullptr ? Weakening::kNone : site.change->weakening;
  const Location at = model_.location(address, bytes);
  if (weakening == Weakening::kLeftOut) return model_.value(at, model_.last_loaded(self_, at));
  if (weakening == Weakening::kRelaxed) order = std::memory_order_relaxed;
  note(last_store_[at]);
  if (others_may_store(at)) take_turn({Step::kChange, at, 0});
  const uint64_t before = model_.value(at, StoreIndex(model_.store_count(at) - 1));
  const uint64_t after = bytes == 4 ? uint32_t(before + value) : before + value;
  if (!model_.read_modify_write(self_, at, after, order)) fail("changed while it is read");
  wake_sleepers(Step::kChange, at);
  tell("changes to", &site, at, after);
  do_late_stores(&site);
  return before;
}

bool Explorer::compare_exchange(void* address, size_t bytes, uint64_t& expected, uint64_t value,
                                std::memory_order success, std::memory_order failure,
                                const Where& where) {
  const Site& site = sites_.at(where);
  count_step();
  may_die();
  const Weakening weakening = site.change == nullptr ? Weakening::kNone : site.change->weakening;
  const Location at = model_.location(address, bytes);
  if (weakening == Weakening::kLeftOut) return true;
  if (weakening == Weakening::kRelaxed) success = failure = std::memory_order_relaxed;
  note(last_store_[at]);
  if (others_may_store(at)) take_turn({Step::kChange, at, 0});
  const StoreIndex last = StoreIndex(model_.store_count(at) - 1);
  const uint64_t found = model_.value(at, last);
  const bool is_equal = found == expected;
  if (is_equal) {
    if (!model_.read_modify_write(self_, at, value, success)) fail("changed while it is read");
    wake_sleepers(Step::kChange, at);
  } else {
    expected = model_.load(self_, at, last, failure);
  }
  tell(is_equal ? "changes to" : "does not change", &site, at, is_equal ? value : found);
  do_late_stores(&site);
  return is_equal;
}

void Explorer::fence(std::memory_order order, const Where& where) {
  const Site& site = sites_.at(where);
  count_step();
  const Weakening weakening = site.change == nullptr ? Weakening::kNone : site.change->weakening;
  if (weakening == Weakening::kRelaxed) return;
  if (weakening == Weakening::kNotSeqCst) order = std::memory_order_acq_rel;
  if (order == std::memory_order_seq_cst) {
    note(last_fence_);
    if (others_may(last_fence_)) take_turn({Step::kFence, 0, 0});
    wake_sleepers(Step::kFence, 0);
  }
  model_.fence(self_, order);
  tell("fence", &site, -1, 0);
  do_late_stores(&site);
}

uint64_t Explorer::plain_load(const void* address, size_t bytes) {
  count_step();
  const Location at = model_.location(address, bytes);
  uint64_t value;
  if (!model_.plain_load(self_, at, value)) fail("read in place while it is stored");
  tell("reads in place", nullptr, at, value);
  return value;
}

void Explorer::plain_store(void* address, size_t bytes, uint64_t value) {
  count_step();
  may_die();
  const Location at = model_.location(address, bytes);
  note(last_store_[at]);
  if (!model_.plain_store(self_, at, value)) fail("stored in place while it is read or stored");
  tell("stores in place", nullptr, at, value);
}

// ---- the kernel -------------------------------------------------------------

bool Explorer::futex_wait(const void* word, uint32_t expected) {
  count_step();
  const Location at = model_.location(word, 4);
  note(last_futex_);
  take_turn({Step::kWait, at, 0});
  model_.pass_kernel(self_);
  wake_sleepers(Step::kWait, at);
  const StoreIndex index = choose_store(at, model_.oldest_readable(self_, at));
  const uint64_t value = model_.load(self_, at, index, std::memory_order_relaxed);
  tell("futex wait, finds", nullptr, at, value);
  if (value != expected) return false;
  threads_[self_].is_woken = false;
  take_turn({Step::kAsleep, at, 0});
  tell("is woken", nullptr, -1, 0);
  return true;
}

void Explorer::futex_wake(const void* word) {
  count_step();
  const Location at = model_.location(word, 4);
  note(last_futex_);
  take_turn({Step::kWake, at, 0});
  model_.pass_kernel(self_);
  wake_sleepers(Step::kWake, at);
  tell("futex wake", nullptr, -1, 0);
  for (int i = 0; i < thread_count_; ++i) {
    Thread& thread = threads_[i];
    if (thread.has_ended || thread.pending.step != Step::kAsleep || thread.pending.at != at) {
      continue;
    }
    thread.is_woken = true;
    model_.pass_kernel(i);
  }
}

// ---- waiting ----------------------------------------------------------------

void Explorer::join(uint32_t threads) {
  take_turn({Step::kJoin, 0, threads});
  for (int i = 0; i < thread_count_; ++i) {
    if ((threads >> i & 1) != 0) model_.join_thread(self_, i);
  }
}

void Explorer::await_news() {
  const Location at = threads_[self_].last_loaded;
  take_turn({Step::kNews, at, 0});
  const StoreIndex newer = StoreIndex(model_.oldest_readable(self_, at) + 1);
  const StoreIndex index = choose_store(at, newer);
  const uint64_t value = model_.load(self_, at, index, std::memory_order_relaxed);
  tell("sees, waiting,", nullptr, at, value);
}

void Explorer::tell(const char* what, const Site* site, Location at, uint64_t value) {
  if (!is_telling_) return;
  char text[160];
  if (at >= 0) {
    const int last = model_.store_count(at) - 1;
    std::snprintf(text, sizeof text, "  thread %d %s %llx at %d (its store %d of %d)", self_, what,
                  static_cast<unsigned long long>(value), at, model_.last_loaded(self_, at), last);
  } else {
    std::snprintf(text, sizeof text, "  thread %d %s", self_, what);
  }
  story_ += text;
  if (site != nullptr) story_ += "   " + site->name();
  story_ += "\n";
}

}  // namespace explore
