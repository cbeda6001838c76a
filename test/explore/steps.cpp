// SPDX-License-Identifier: MIT
// What a thread does: loads, stores, fences, the kernel's calls.
#include <algorithm>
#include <cstdio>

#include "explore/explorer.h"

namespace explore {

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
    note(learnt_.store[at]);
    if (!model_.plain_store(self_, at, value)) fail("a payload is stored while it is copied");
  } else {
    do_store(at, value, order);
  }
  tell("stores", &site, at, value);
  do_late_stores(&site);
}

void Explorer::do_store(Location at, uint64_t value, std::memory_order order) {
  note(learnt_.store[at]);
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
  note(learnt_.store[at]);
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
  note(learnt_.store[at]);
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
    note(learnt_.fence);
    if (others_may(assumed_.fence)) take_turn({Step::kFence, 0, 0});
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
  note(learnt_.store[at]);
  if (!model_.plain_store(self_, at, value)) fail("stored in place while it is read or stored");
  tell("stores in place", nullptr, at, value);
}

// ---- the kernel -------------------------------------------------------------

bool Explorer::futex_wait(const void* word, uint32_t expected) {
  count_step();
  const Location at = model_.location(word, 4);
  note(learnt_.futex);
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
  note(learnt_.futex);
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
  const StoreIndex newer = StoreIndex(model_.last_loaded(self_, at) + 1);
  const StoreIndex index = choose_store(at, std::max(newer, model_.oldest_readable(self_, at)));
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
