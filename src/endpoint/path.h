// SPDX-License-Identifier: MIT
// What both directions of a handle have: a lock between this process's threads,
// the segment, and the way a call waits.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "channel/wakeup.h"
#include "endpoint/attachment.h"
#include "endpoint/waiting.h"
#include "os/word_lock.h"

namespace eshm::endpoint {

class Path {
 public:
  // Guards the direction's end of the channel and what is left of it in former
  // segments. Upkeep takes the write lock, then the read lock, to exchange both.
  os::WordLock& lock() const { return lock_; }

  // Before any call: from now on every `interval`-th call, a power of two, runs this
  // upkeep first.
  void set_in_call_upkeep(InCallUpkeep* upkeep, uint32_t interval) {
    upkeep_ = upkeep;
    upkeep_mask_ = interval - 1;
  }
  // Under the lock: calls show no life any more, since the role is over.
  void end_calls() {
    are_calls_over_ = true;
    show_life_in(lives_in_);
  }
  // Whether calls hide from the peer that this process lives. Takes the lock.
  void hold_calls(bool is_held) {
    const std::lock_guard<os::WordLock> lock(lock_);
    are_calls_held_ = is_held;
    show_life_in(lives_in_);
  }
  uint64_t parks() const { return parks_.load(std::memory_order_relaxed); }

 protected:
  Path(const Settings& settings, std::shared_ptr<Attachment> attachment, layout::CallKind kind)
      : settings_(settings),
        role_(attachment->role()),
        kind_(kind),
        attachment_(std::move(attachment)) {
    lock_.time_as(kind == layout::kWriting ? os::TimedLock::kWrite : os::TimedLock::kRead);
    show_life_in(attachment_);
  }
  ~Path() = default;

  // At the beginning of each call, without the lock. Threads may lose each other's
  // counts: then the upkeep comes a few calls later.
  ESHM_ALWAYS_INLINE void run_upkeep_in_call() {
    const uint32_t count = upkeep_count_.load(std::memory_order_relaxed) + 1;
    upkeep_count_.store(count, std::memory_order_relaxed);
    if (os::rarely((count & upkeep_mask_) == 0)) call_upkeep();
  }

  // L1: this process lives. Under the lock, and only while the role is this process's:
  // otherwise the word is its successor's. (A process that is stopped between that check
  // and the store marks once more when it goes on; that puts a stale report off by one
  // threshold, and can happen once a direction.)
  ESHM_ALWAYS_INLINE void mark_call(bool has_successor) {
    if (os::rarely(has_successor)) return;
    calls_->store(calls_->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // Under the lock. The segment where this end has its role: the attachment, but for a
  // master that reads in the former one until its slave has come over.
  void show_life_in(const std::shared_ptr<Attachment>& segment) {
    lives_in_ = segment;
    const bool is_seen = !are_calls_held_ && !are_calls_over_;
    calls_ = is_seen ? &lives_in_->own_calls(kind_) : &unseen_calls_;
  }
  bool are_calls_over() const { return are_calls_over_; }

  // Spins until `spin_end_ns`, then parks, in pieces no longer than a park may be.
  // poll() answers `nothing` as long as the wait continues; poll_then_park(until,
  // end) parks if it finds nothing either.
  template <class Poll, class PollThenPark>
  int wait(int nothing, uint32_t timeout_ms, uint64_t spin_end_ns, const Poll& poll,
           const PollThenPark& poll_then_park);

  // Announces on `line`, polls once more under the lock, parks. The key is taken
  // under the lock that guards the attachment: whoever exchanges it rings later.
  template <class Poll>
  int announce_and_park(int nothing, layout::WakeLine* const& line, const uint32_t& announcer,
                        os::Deadline until, PieceEnd& end, const Poll& poll);

  [[gnu::noinline]] void call_upkeep() { upkeep_->run_in_call(); }

  const Settings& settings_;
  const ESHMRole role_;
  const layout::CallKind kind_;
  InCallUpkeep* upkeep_ = nullptr;

  alignas(64) mutable os::WordLock lock_;
  std::atomic<uint32_t> upkeep_count_{0};
  uint32_t upkeep_mask_ = 0;
  std::atomic<uint64_t>* calls_ = nullptr;  // under the lock, as what follows
  std::shared_ptr<Attachment> attachment_;
  std::shared_ptr<Attachment> lives_in_;
  bool are_calls_held_ = false;
  bool are_calls_over_ = false;
  std::atomic<uint64_t> unseen_calls_{0};
  std::atomic<uint64_t> parks_{0};
};

template <class Poll, class PollThenPark>
int Path::wait(int nothing, uint32_t timeout_ms, uint64_t spin_end_ns, const Poll& poll,
               const PollThenPark& poll_then_park) {
  const uint64_t piece_ns = longest_park_ns(settings_);
  return wait_in_pieces(
      nothing, os::Deadline::after_ms(timeout_ms), settings_.interrupt,
      [&](uint64_t now, os::Deadline until, PieceEnd& end) {
        call_upkeep();
        until = until.or_earlier(os::Deadline::at(now + piece_ns));
        const int code =
            now < spin_end_ns
                ? spin(nothing, until.or_earlier(os::Deadline::at(spin_end_ns)), poll)
                : poll_then_park(until, end);
        return code == nothing ? poll() : code;
      });
}

template <class Poll>
int Path::announce_and_park(int nothing, layout::WakeLine* const& line, const uint32_t& announcer,
                            os::Deadline until, PieceEnd& end, const Poll& poll) {
  std::shared_ptr<Attachment> mapped;  // keeps the doorbell mapped
  layout::WakeLine* wake;
  uint32_t key;
  {
    const std::lock_guard<os::WordLock> lock(lock_);
    mapped = attachment_;
    wake = line;
    key = channel::announce(*wake, announcer);
    const int code = poll();
    if (code != nothing) return code;
  }
  parks_.fetch_add(1, std::memory_order_relaxed);
  const os::FutexWait woken = channel::park(*wake, key, until);
  if (woken == os::FutexWait::kSignal) end = PieceEnd::kSignal;
  return nothing;
}

}  // namespace eshm::endpoint
