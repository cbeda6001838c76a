// SPDX-License-Identifier: MIT
#include "explore/explorer.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace explore {
namespace {

constexpr size_t kStackBytes = 128 * 1024;

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
  for (LastCalls& calls : learnt_.store) calls.fill(-1);
  learnt_.fence.fill(-1);
  learnt_.futex.fill(-1);
  assumed_ = learnt_;
  has_learnt_ = false;
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
    if (!has_next_path()) {
      outcome.is_complete = !has_learnt_;
      if (outcome.is_complete) break;
      assumed_ = learnt_;
      has_learnt_ = false;
      outcome.runs = outcome.redundant = outcome.cut = 0;
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
      return model_.store_count(it.pending.at) > model_.last_loaded(thread, it.pending.at) + 1;
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
  const bool may_store = assumed_.store[pending.at][waker] >= it.call;
  const bool may_call = assumed_.futex[waker] >= it.call;
  switch (pending.step) {
    case Step::kLoad:
    case Step::kNews:
    case Step::kStore:
    case Step::kChange:
      return may_store;
    case Step::kFence:
      return assumed_.fence[waker] >= it.call;
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

bool Explorer::others_may_store(Location at) const { return others_may(assumed_.store[at]); }

bool Explorer::others_may(const LastCalls& last_call) const {
  for (int i = 0; i < thread_count_; ++i) {
    if (i == self_ || threads_[i].has_ended) continue;
    if (last_call[i] >= threads_[i].call || !plan_->is_reduced) return true;
  }
  return false;
}

void Explorer::note(LastCalls& last_call) {
  if (last_call[self_] >= threads_[self_].call) return;
  last_call[self_] = threads_[self_].call;
  has_learnt_ = true;
}

}  // namespace explore
