// SPDX-License-Identifier: MIT
// The outgoing direction of a handle: what a call does between its arguments and
// the channel. The usual way is inline, so that a write compiles to one function.
#pragma once

#include "endpoint/move.h"
#include "endpoint/path.h"
#include "endpoint/path_state.h"

namespace eshm::endpoint {

// Calls answer an ESHMError; Endpoint::explain has the sentence for each.
class OutgoingPath final : public Path {
 public:
  OutgoingPath(const Settings& settings, std::shared_ptr<Attachment> attachment,
               const WriteEnd& end)
      : Path(settings, std::move(attachment), layout::kWriting), end_(end) {}

  int write(const void* data, size_t size, uint32_t timeout_ms);
  int loan(size_t size, void*& data);
  int publish(void* data, size_t size);
  int discard(void* data);

  PathState& state() { return state_; }  // not under the lock
  const PathState& state() const { return state_; }
  uint64_t messages_written() const;  // takes the lock
  uint64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }

  // What of a queue is unread, for the sentence about a full one. Takes the lock.
  struct Backlog {
    channel::QueueWriter::Backlog held;
    uint32_t loans_out = 0;
    uint64_t taken_ns = 0;  // when the reader was last seen to have taken one; 0: never
  };
  Backlog backlog() const;
  // Upkeep's: sees whether the reader goes on.
  void watch_reader(uint64_t now_ns);

  // Writes to the move's segment what this one holds for the former peer. Takes the lock
  // for moments only: no caller waits while a queue or a large value is copied.
  void prepare_move(Move& move);

  // ---- for the exchange of segments, under the lock ----

  const WriteEnd& end() const { return end_; }
  // Leaves the segment for the move's. What was written since prepare_move() is
  // written again there, the newest value or the rest of a queue.
  void finish_move(Move& move);
  // The seat of a reader that died in the segment before is free: what it had consumed
  // there, since `begin`, is not shown to the next one. Takes the lock.
  void pass_consumed(const channel::QueueWriter& before, uint64_t begin);
  // The same of a segment that this one has replaced, up to that number.
  void pass_carried(uint64_t number);
  // Continues what a move has left to do.
  int carry_over();
  // The same, taking the lock.
  void carry_over_now();
  FormerOutgoing& former() { return former_; }

 private:
  int refuse_to_write();
  int refuse_under_mark() const;
  int write_locked(const void* data, size_t size);
  int write_now(const void* data, size_t size);
  int write_waiting(const void* data, size_t size, uint32_t timeout_ms);
  int finish_write();
  void wake_reader();
  void copy_newest(Move& move);
  void carry_committed(Move& move);
  void note_first_carried(const FormerWriteEnd& former, const Move& move) const;
  int code_of(channel::WriteResult result);

  PathState state_;
  WriteEnd end_;
  FormerOutgoing former_;
  uint64_t written_elsewhere_ = 0;  // messages, in segments before this one
  std::atomic<uint64_t> wakes_{0};
  const layout::ReaderLine* watched_reader_ = nullptr;
  uint64_t taken_ = 0;  // messages, when upkeep last looked
  std::atomic<uint64_t> taken_ns_{0};
};

inline uint64_t time_of_publication(const WriteEnd& end) {
  return end.is_stamped ? os::monotonic_ns() : 0;
}

// Marks the call, and answers what keeps this end from writing now; SUCCESS: nothing.
inline int OutgoingPath::refuse_to_write() {
  const bool has_successor = end_.has_successor();
  mark_call(has_successor);
  const int verdict = state_.verdict.load(std::memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  if (has_successor) return ESHM_ERROR_SUPERSEDED;
  if (end_.superseded->load(std::memory_order_relaxed) == 0) return ESHM_SUCCESS;
  return refuse_under_mark();
}

// After a publication and its full fence.
ESHM_ALWAYS_INLINE int OutgoingPath::finish_write() {
  if (os::rarely(channel::is_announced(*end_.wake))) wake_reader();
  // W6 -> MK1, after the publication: a master that was replaced before it
  // published sees the mark here, and no reader takes the message.
  const bool is_over = end_.superseded->load(std::memory_order_acquire) != 0;
  return is_over && role_ == ESHM_ROLE_MASTER ? ESHM_ERROR_SUPERSEDED : ESHM_SUCCESS;
}

ESHM_ALWAYS_INLINE int OutgoingPath::write_locked(const void* data, size_t size) {
  const int refusal = refuse_to_write();
  if (os::rarely(size > end_.largest)) return ESHM_ERROR_BUFFER_TOO_SMALL;
  if (refusal != ESHM_SUCCESS) return refusal;
  if (os::rarely(former_.is_carrying())) {
    const int carried = carry_over();
    if (carried != ESHM_SUCCESS) return carried;
  }
  const channel::WriteResult result = end_.write(data, size, time_of_publication(end_));
  if (result != channel::WriteResult::kDone) return code_of(result);
  return finish_write();
}

ESHM_ALWAYS_INLINE int OutgoingPath::write_now(const void* data, size_t size) {
  const std::lock_guard<os::WordLock> lock(lock_);
  return write_locked(data, size);
}

ESHM_ALWAYS_INLINE int OutgoingPath::write(const void* data, size_t size, uint32_t timeout_ms) {
  run_upkeep_in_call();
  const int code = write_now(data, size);
  if (code != ESHM_ERROR_BUFFER_FULL || timeout_ms == 0) return code;
  return write_waiting(data, size, timeout_ms);
}

}  // namespace eshm::endpoint
