// SPDX-License-Identifier: MIT
// The incoming direction of a handle: what a call does between its arguments and
// the inbox. The usual way is inline, so that a read compiles to one function.
#pragma once

#include "endpoint/inbox.h"
#include "endpoint/path.h"
#include "endpoint/waiters.h"
#include "os/event_fd.h"

namespace eshm::endpoint {

// Calls answer an ESHMError; Endpoint::explain has the sentence for each.
class IncomingPath final : public Path, public Waiters::Listened {
 public:
  IncomingPath(const Settings& settings, std::shared_ptr<Attachment> attachment,
               const ReadEnd& end)
      : Path(settings, std::move(attachment), layout::kReading),
        inbox_(role_, end),
        spin_time_(settings.spin_us) {}

  int read(void* buffer, size_t buffer_bytes, Taken& taken, uint32_t timeout_ms);
  int borrow(ESHMView& view, uint32_t timeout_ms);
  int release(const ESHMView& view);
  void fill_info(const Taken& taken, ESHMMessageInfo& info) const;
  Inbox::Counts counts() const;  // takes the lock

  // ---- waiting for many ----

  // A read would answer something other than NO_DATA. What only a thorough poll
  // finds, the next read finds, too.
  bool is_ready(bool thorough) final;
  // Announces, then polls once more. True: it is ready. `word` is for the kernel
  // alone: after a ring it may be unmapped, when the link moves.
  bool announce(const std::atomic<uint32_t>*& word, uint32_t& key);
  const Settings& settings() const final { return settings_; }
  SpinTime& spin_time() { return spin_time_; }
  // Before a wait for many, and in each piece of it: upkeep, and a sign of life, at most
  // one each millisecond.
  void prepare_to_wait(uint64_t now_ns);
  // A sign of life from a call that has another reason to take the lock.
  void mark_call_now();

  // ---- for the waiter threads ----

  Waiters::Doorbell doorbell() const final;
  uint64_t longest_wait_ns() const final { return longest_park_ns(settings_); }
  bool has_event_fd() const final { return has_event_fd_.load(std::memory_order_acquire); }
  int open_event_fd(int& descriptor) final;
  void set_event_fd() final { event_fd_.set(); }

  // ---- for upkeep, under the lock ----

  Inbox& inbox() { return inbox_; }
  const Inbox& inbox() const { return inbox_; }
  void finish_move(Move& move);
  // This end has its role in `next` from now on, and still reads here.
  void stay(const std::shared_ptr<Attachment>& next);
  layout::WakeLine& wake() const { return attachment_->incoming_wake(); }  // upkeep's, no lock

 private:
  int take(Request request, uint32_t timeout_ms, Taken& taken);
  int take_now(Request request, Taken& taken);
  int take_locked(Request request, bool thorough, Taken& taken);
  int take_waiting(Request request, uint32_t timeout_ms, Taken& taken);
  bool is_ready_locked(bool thorough) { return inbox_.is_ready(thorough); }
  uint32_t announce_locked();
  bool announce_then_poll();
  void clear_event_fd();

  std::atomic<bool> has_event_fd_{false};  // in the lock's line: each read loads it
  Inbox inbox_;
  SpinTime spin_time_;
  std::atomic<uint64_t> last_wait_mark_ns_{0};
  // Changes under its own lock and the waiters' mutex, used under either. A read takes
  // its lock after the read lock is free: no system call is made under that.
  os::WordLock event_fd_lock_;
  os::EventFd event_fd_;
};

ESHM_ALWAYS_INLINE void IncomingPath::fill_info(const Taken& taken, ESHMMessageInfo& info) const {
  info.generation = taken.sender;
  info.sequence = taken.message.number;
  info.direction = role_ == ESHM_ROLE_MASTER ? ESHM_S2M : ESHM_M2S;
  info.missed = taken.missed;
  info.size = taken.message.size;
  info.timestamp_ns = taken.message.timestamp_ns;
}

ESHM_ALWAYS_INLINE int IncomingPath::take_locked(Request request, bool thorough, Taken& taken) {
  mark_call(inbox_.end().has_successor());
  const int code = inbox_.take(request, thorough, taken);
  return code;
}

ESHM_ALWAYS_INLINE int IncomingPath::take_now(Request request, Taken& taken) {
  const std::lock_guard<os::WordLock> lock(lock_);
  return take_locked(request, false, taken);
}

ESHM_ALWAYS_INLINE int IncomingPath::take(Request request, uint32_t timeout_ms, Taken& taken) {
  run_upkeep_in_call();
  const int code = take_now(request, taken);
  if (os::rarely(has_event_fd_.load(std::memory_order_relaxed))) clear_event_fd();
  if (code != ESHM_ERROR_NO_DATA || timeout_ms == 0) return code;
  Taken later;
  const int later_code = take_waiting(request, timeout_ms, later);
  taken = later;
  return later_code;
}

ESHM_ALWAYS_INLINE int IncomingPath::read(void* buffer, size_t buffer_bytes, Taken& taken,
                                          uint32_t timeout_ms) {
  return take(Request::to_copy(buffer, buffer_bytes), timeout_ms, taken);
}

}  // namespace eshm::endpoint
