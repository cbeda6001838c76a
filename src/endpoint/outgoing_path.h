// The outgoing direction of a handle: what a call does between its arguments and
// the channel. The usual way is inline, so that a write compiles to one function.
#pragma once

#include "endpoint/former_segments.h"
#include "endpoint/path.h"
#include "endpoint/path_state.h"

namespace eshm::endpoint {

// Calls answer an ESHMError; Endpoint::explain has the sentence for each.
class OutgoingPath final : public Path {
 public:
  OutgoingPath(const Settings& settings, std::shared_ptr<Attachment> attachment,
               const WriteEnd& end)
      : Path(settings, std::move(attachment)), end_(end) {}

  int write(const void* data, size_t size, uint32_t timeout_ms);
  int loan(size_t size, void*& data);
  int publish(void* data, size_t size);
  int discard(void* data);

  PathState& state() { return state_; }  // not under the lock
  const PathState& state() const { return state_; }
  uint64_t messages_written() const;  // takes the lock
  uint64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }

  // ---- for the exchange of segments, under the lock ----

  const WriteEnd& end() const { return end_; }
  void reserve_former() { former_.reserve_one(); }
  // Leaves the segment for `next`: the newest value is written again there, a
  // queue's rest carried over.
  void move_to(const std::shared_ptr<Attachment>& next, const WriteEnd& end);
  // Continues what a move has left to do.
  int carry_over();
  const FormerOutgoing& former() const { return former_; }
  void drop_unwanted(Dropped& dropped) { former_.drop_unwanted(dropped); }

 private:
  int refuse_to_write() const;
  int refuse_under_mark() const;
  int write_locked(const void* data, size_t size);
  int write_now(const void* data, size_t size);
  int write_waiting(const void* data, size_t size, uint32_t timeout_ms);
  int finish_write();
  void wake_reader();
  int code_of(channel::WriteResult result);

  PathState state_;
  WriteEnd end_;
  FormerOutgoing former_;
  uint64_t written_elsewhere_ = 0;  // messages, in segments before this one
  std::atomic<uint64_t> wakes_{0};
};

inline uint64_t time_of_publication(const WriteEnd& end) {
  return end.is_stamped ? os::monotonic_ns() : 0;
}

// What keeps this end from writing now; SUCCESS: nothing.
inline int OutgoingPath::refuse_to_write() const {
  const int verdict = state_.verdict.load(std::memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  if (end_.has_successor()) return ESHM_ERROR_SUPERSEDED;
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
  if (size > end_.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
  const int refusal = refuse_to_write();
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
