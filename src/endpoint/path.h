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

  // Before any call: from now on each call runs this upkeep first.
  void set_in_call_upkeep(InCallUpkeep* upkeep) {
    upkeep_ = upkeep;
    has_in_call_upkeep_ = true;
  }
  uint64_t parks() const { return parks_.load(std::memory_order_relaxed); }

 protected:
  Path(const Settings& settings, std::shared_ptr<Attachment> attachment)
      : settings_(settings), role_(attachment->role()), attachment_(std::move(attachment)) {}
  ~Path() = default;

  void run_upkeep_in_call() const {
    if (os::rarely(has_in_call_upkeep_)) call_upkeep();
  }

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

  // Out of the way of the calls that have a service thread.
  [[gnu::noinline, gnu::cold]] void call_upkeep() const { upkeep_->run_in_call(); }

  const Settings& settings_;
  const ESHMRole role_;
  bool has_in_call_upkeep_ = false;  // else the service thread does the upkeep
  InCallUpkeep* upkeep_ = nullptr;

  alignas(64) mutable os::WordLock lock_;
  std::shared_ptr<Attachment> attachment_;  // under the lock
  std::atomic<uint64_t> parks_{0};
};

template <class Poll, class PollThenPark>
int Path::wait(int nothing, uint32_t timeout_ms, uint64_t spin_end_ns, const Poll& poll,
               const PollThenPark& poll_then_park) {
  const uint64_t piece_ns = longest_park_ns(settings_);
  return wait_in_pieces(
      nothing, os::Deadline::after_ms(timeout_ms), settings_.interrupt,
      [&](uint64_t now, os::Deadline until, PieceEnd& end) {
        run_upkeep_in_call();
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
