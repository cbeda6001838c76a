// SPDX-License-Identifier: MIT
#include "endpoint/incoming_path.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

// Where ESHMView::internal keeps what release() needs.
enum ViewField { kToken, kSerial, kSegment };

}  // namespace

int IncomingPath::take_waiting(Request request, uint32_t timeout_ms, Taken& taken) {
  constexpr int kNothing = ESHM_ERROR_NO_DATA;
  const uint64_t began = os::monotonic_ns();
  const int code = wait(
      kNothing, timeout_ms, began + spin_time_.budget_ns(),
      [&] { return take_now(request, taken); },
      [&](os::Deadline until, PieceEnd& end) {
        return announce_and_park(kNothing, inbox_.end().wake, inbox_.end().announcer, until, end,
                                 [&] { return take_locked(request, true, taken); });
      });
  if (code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT) {
    spin_time_.learn(os::monotonic_ns() - began);
  }
  if (has_event_fd()) clear_event_fd();
  return code;
}

int IncomingPath::borrow(ESHMView& view, uint32_t timeout_ms) {
  channel::Borrowed borrowed;
  Taken taken;
  const int code = take(Request::to_borrow(borrowed), timeout_ms, taken);
  if (code != ESHM_SUCCESS) return code;
  fill_info(taken, view.info);
  view.data = borrowed.data;
  view.size = borrowed.message.size;
  view.internal[kToken] = borrowed.token;
  view.internal[kSerial] = borrowed.serial;
  view.internal[kSegment] = borrowed.segment;
  return code;
}

int IncomingPath::release(const ESHMView& view) {
  if (view.internal[kToken] > UINT32_MAX) return ESHM_ERROR_INVALID_PARAM;
  channel::Borrowed borrowed;
  borrowed.data = static_cast<const std::byte*>(view.data);
  borrowed.token = view.internal[kToken];
  borrowed.serial = view.internal[kSerial];
  borrowed.segment = view.internal[kSegment];
  const std::lock_guard<os::WordLock> lock(lock_);
  mark_call(inbox_.end().has_successor());
  const bool was_borrowed = inbox_.release(borrowed);
  return was_borrowed ? ESHM_SUCCESS : ESHM_ERROR_INVALID_PARAM;
}

Inbox::Counts IncomingPath::counts() const {
  const std::lock_guard<os::WordLock> lock(lock_);
  return inbox_.counts();
}

void IncomingPath::finish_move(Move& move) {
  const std::shared_ptr<Attachment> former = std::exchange(attachment_, move.next);
  inbox_.finish_move(move, former, *attachment_);
  show_life_in(attachment_);
}

void IncomingPath::stay(const std::shared_ptr<Attachment>& next) {
  inbox_.ignore_mark();
  show_life_in(next);
}

void IncomingPath::prepare_to_wait(uint64_t now_ns) {
  run_upkeep_in_call();
  if (now_ns < last_wait_mark_ns_.load(memory_order_relaxed) + kHeartbeatIntervalNs) return;
  call_upkeep();
  last_wait_mark_ns_.store(now_ns, memory_order_relaxed);
  mark_call_now();
}

void IncomingPath::mark_call_now() {
  const std::lock_guard<os::WordLock> lock(lock_);
  mark_call(inbox_.end().has_successor());
}

// ---- polling without reading -----------------------------------------------------

bool IncomingPath::is_ready(bool thorough) {
  const std::lock_guard<os::WordLock> lock(lock_);
  return is_ready_locked(thorough);
}

Waiters::Doorbell IncomingPath::doorbell() const {
  const std::lock_guard<os::WordLock> lock(lock_);
  const std::atomic<uint32_t>& word = inbox_.end().wake->doorbell;
  return {attachment_, &word, word.load(memory_order_acquire)};
}

// Answers the key from before the announcement.
uint32_t IncomingPath::announce_locked() {
  return channel::announce(*inbox_.end().wake, inbox_.end().announcer);
}

bool IncomingPath::announce_then_poll() {
  const std::lock_guard<os::WordLock> lock(lock_);
  announce_locked();
  return is_ready_locked(true);
}

bool IncomingPath::announce(const std::atomic<uint32_t>*& word, uint32_t& key) {
  const std::lock_guard<os::WordLock> lock(lock_);
  word = &inbox_.end().wake->doorbell;
  key = announce_locked();
  return is_ready_locked(true);
}

// ---- the event descriptor --------------------------------------------------------

// The waiter thread sets it at each ring, and a writer rings only for an
// announcement. So the read that leaves nothing unread announces, and polls once
// more: either that poll finds the next message, or its writer rings.
[[gnu::noinline]] void IncomingPath::clear_event_fd() {
  const std::lock_guard<os::WordLock> clearing(event_fd_lock_);
  if (!event_fd_.may_be_set() || is_ready(false)) return;
  event_fd_.clear();
  if (announce_then_poll()) event_fd_.set();
}

int IncomingPath::open_event_fd(int& descriptor) {
  const std::lock_guard<os::WordLock> clearing(event_fd_lock_);
  if (!event_fd_.is_open() || !event_fd_.is_still_ours()) {
    const int failure = event_fd_.open();
    if (failure != 0) return failure;
    has_event_fd_.store(true, memory_order_release);
    if (announce_then_poll()) event_fd_.set();
  }
  descriptor = event_fd_.get();
  return 0;
}

}  // namespace eshm::endpoint
