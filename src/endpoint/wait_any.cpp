// SPDX-License-Identifier: MIT
#include "endpoint/wait_any.h"

#include <algorithm>
#include <atomic>

#include "endpoint/waiters.h"
#include "endpoint/waiting.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/futex.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;

namespace {

// Each wait polls another handle first: a busy one does not hide the rest.
std::atomic<size_t> next_start{0};

void note_end(os::FutexWait how, PieceEnd& end) {
  if (how == os::FutexWait::kSignal) end = PieceEnd::kSignal;
}

class Wait {
 public:
  Wait(IncomingPath* const* handles, size_t count);
  int run(uint32_t timeout_ms);

 private:
  int poll(size_t first) const;
  void prepare() const;
  bool is_interrupted() const;
  int spin(os::Deadline until) const;
  int announce_then_sleep(os::Deadline until, PieceEnd& end);
  int announce_then_sleep_for_few(os::Deadline until, PieceEnd& end);
  int announce_then_sleep_for_many(os::Deadline until, PieceEnd& end);
  void learn(int ready, uint64_t waited_ns) const;

  IncomingPath* const* const handles_;
  const size_t count_;
  size_t first_;  // the handle that is polled first
  uint64_t piece_ns_ = UINT64_MAX;
  uint64_t spin_ns_ = 0;
  bool has_hook_ = false;
};

Wait::Wait(IncomingPath* const* handles, size_t count)
    : handles_(handles),
      count_(count),
      first_(next_start.fetch_add(1, memory_order_relaxed) % count) {
  for (size_t i = 0; i < count; ++i) {
    const Settings& settings = handles[i]->settings();
    piece_ns_ = std::min(piece_ns_, longest_park_ns(settings));
    spin_ns_ = std::max(spin_ns_, handles[i]->spin_time().budget_ns());
    has_hook_ |= settings.interrupt.is_set();
  }
}

// The index of a ready one, or NO_DATA.
int Wait::poll(size_t first) const {
  for (size_t i = 0; i < count_; ++i) {
    const size_t index = first + i < count_ ? first + i : first + i - count_;
    if (handles_[index]->is_ready(false)) return int(index);
  }
  return ESHM_ERROR_NO_DATA;
}

void Wait::prepare() const {
  const uint64_t now = os::monotonic_ns();
  for (size_t i = 0; i < count_; ++i) handles_[i]->prepare_to_wait(now);
}

bool Wait::is_interrupted() const {
  bool any = false;
  for (size_t i = 0; i < count_; ++i) any |= handles_[i]->settings().interrupt.requested();
  return any;
}

int Wait::run(uint32_t timeout_ms) {
  prepare();
  int found = poll(first_);
  if (found != ESHM_ERROR_NO_DATA || timeout_ms == 0) return found;
  const uint64_t began = os::monotonic_ns();
  const uint64_t spin_end_ns = began + spin_ns_;
  found = wait_in_pieces(
      ESHM_ERROR_NO_DATA, os::Deadline::after_ms(timeout_ms), has_hook_,
      [this] { return is_interrupted(); },
      [&](uint64_t now, os::Deadline until, PieceEnd& end) {
        prepare();
        until = until.or_earlier(os::Deadline::at(now + piece_ns_));
        const int ready = now < spin_end_ns
                              ? spin(until.or_earlier(os::Deadline::at(spin_end_ns)))
                              : announce_then_sleep(until, end);
        return ready == ESHM_ERROR_NO_DATA ? poll(first_) : ready;
      });
  if (found != ESHM_ERROR_INTERRUPTED) learn(found, os::monotonic_ns() - began);
  return found;
}

int Wait::spin(os::Deadline until) const {
  for (size_t polls = 0;; polls += count_) {
    const int found = poll(first_);
    if (found != ESHM_ERROR_NO_DATA) return found;
    if (polls % kPollsPerClock < count_ && until.has_passed()) return found;
    os::relax();
  }
}

int Wait::announce_then_sleep(os::Deadline until, PieceEnd& end) {
  return count_ <= os::kMostFutexes ? announce_then_sleep_for_few(until, end)
                                    : announce_then_sleep_for_many(until, end);
}

// On the doorbells themselves. A link that moves meanwhile rings its doorbell, and may
// then unmap it. Only the kernel reads the word here: it answers that the word is gone,
// or sleeps for one piece, in vain, on whatever is mapped there now.
int Wait::announce_then_sleep_for_few(os::Deadline until, PieceEnd& end) {
  os::FutexWaiter words[os::kMostFutexes];
  const std::atomic<uint32_t>* word = nullptr;
  uint32_t key = 0;
  for (size_t i = 0; i < count_; ++i) {
    if (handles_[i]->announce(word, key)) return int(i);
    words[i] = os::FutexWaiter(*word, key, true);
  }
  if (count_ == 1) {
    note_end(os::futex_wait(*word, key, until), end);
    return ESHM_ERROR_NO_DATA;
  }
  size_t woken = first_;
  const os::FutexWait how = os::futex_wait_any(words, count_, until, woken);
  note_end(how, end);
  if (how == os::FutexWait::kUnsupported) {
    os::sleep_until(until.or_earlier(os::Deadline::after_ns(kPollIntervalNs)));
  }
  first_ = woken;
  return ESHM_ERROR_NO_DATA;
}

// Waiter threads sleep on the doorbells, and hand each ring on.
int Wait::announce_then_sleep_for_many(os::Deadline until, PieceEnd& end) {
  Waiters::Listened* listened[ESHM_MAX_WAIT];
  std::copy(handles_, handles_ + count_, listened);
  Waiters::Caller self{listened, count_, {}, {}};
  bool is_listened_to = os::has_futex_wait_any();
  const Waiters::Presence presence(self);
  const std::atomic<uint32_t>* word = nullptr;
  uint32_t key = 0;
  for (size_t i = 0; i < count_; ++i) {
    is_listened_to = is_listened_to && Waiters::listen_to(*listened[i]) == 0;
    handles_[i]->place_in_wait().store(uint32_t(i), memory_order_relaxed);
    if (handles_[i]->announce(word, key)) return int(i);
  }
  if (!is_listened_to) until = until.or_earlier(os::Deadline::after_ns(kPollIntervalNs));
  note_end(os::futex_wait(self.rings, 0, until, false), end);
  if (self.rings.load(memory_order_acquire) != 0) {
    first_ = self.last_rung.load(memory_order_relaxed);
  }
  return ESHM_ERROR_NO_DATA;
}

// The ready handle was waited for. If the wait was longer than it spun, no handle is
// worth that spinning.
void Wait::learn(int ready, uint64_t waited_ns) const {
  if (ready >= 0) handles_[ready]->spin_time().learn(waited_ns);
  if (spin_ns_ == 0 || waited_ns <= spin_ns_) return;
  for (size_t i = 0; i < count_; ++i) {
    if (int(i) != ready && handles_[i]->spin_time().budget_ns() != 0) {
      handles_[i]->spin_time().learn(waited_ns);
    }
  }
}

}  // namespace

int wait_any(IncomingPath* const* handles, size_t count, uint32_t timeout_ms) {
  return Wait(handles, count).run(timeout_ms);
}

}  // namespace eshm::endpoint
