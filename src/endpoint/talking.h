// What every write and read passes through, inline: with the channel's own path
// a call becomes one function. What is rare stands in talking.cpp.
#pragma once

#include <mutex>

#include "channel/wakeup.h"
#include "endpoint/endpoint.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;

// ---- writing -------------------------------------------------------------------

inline uint64_t time_of_publication(const WriteEnd& out) {
  return out.is_stamped ? os::monotonic_ns() : 0;
}

// What keeps this end from writing now; SUCCESS: nothing.
inline int Endpoint::refuse_to_write() const {
  const int verdict = write_verdict_.load(memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  if (ends_.out.has_successor()) return ESHM_ERROR_SUPERSEDED;
  if (ends_.out.superseded->load(memory_order_relaxed) == 0) return ESHM_SUCCESS;
  return refuse_under_mark();
}

// Behind a publication and its full fence.
ESHM_ALWAYS_INLINE int Endpoint::finish_write() {
  if (os::rarely(channel::is_announced(*ends_.out.wake))) wake_reader();
  // W6 -> MK1, after the publication: whoever replaced this master before it
  // had published is seen here, and the message by nobody.
  const bool is_over = ends_.out.superseded->load(memory_order_acquire) != 0;
  return is_over && role_ == ESHM_ROLE_MASTER ? ESHM_ERROR_SUPERSEDED : ESHM_SUCCESS;
}

ESHM_ALWAYS_INLINE int Endpoint::write_locked(const void* data, size_t size) {
  WriteEnd& out = ends_.out;
  if (size > out.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
  const int refusal = refuse_to_write();
  if (refusal != ESHM_SUCCESS) return refusal;
  if (os::rarely(carried_segments_ != 0)) {
    const channel::WriteResult carried = carry_over();
    if (carried != channel::WriteResult::kDone) return code_of(carried);
  }
  const channel::WriteResult result = out.write(data, size, time_of_publication(out));
  if (result != channel::WriteResult::kDone) return code_of(result);
  return finish_write();
}

ESHM_ALWAYS_INLINE int Endpoint::write_now(const void* data, size_t size) {
  const std::lock_guard<os::WordLock> lock(write_lock_);
  return write_locked(data, size);
}

ESHM_ALWAYS_INLINE int Endpoint::write(const void* data, size_t size, uint32_t timeout_ms) {
  if (os::rarely(!settings_.use_threads)) tend_without_thread();
  const int code = write_now(data, size);
  if (code != ESHM_ERROR_BUFFER_FULL || timeout_ms == 0) return code;
  return write_waiting(data, size, timeout_ms);
}

// ---- reading -------------------------------------------------------------------
//
// Requests go by value, and what a rare path fills in is a variable of its own: what
// the usual path has in registers then stays there.

ESHM_ALWAYS_INLINE void Endpoint::note_message(const ReadEnd& in, Taken& taken) {
  if (taken.message.generation != sender_generation_ || in.incarnation != sender_segment_) {
    sender_generation_ = taken.message.generation;
    sender_segment_ = in.incarnation;
    ++sender_count_;
  }
  taken.sender = sender_count_;
  ++messages_read_;
  if (taken.missed != 0) messages_missed_ += taken.missed;
  in.read_count->store(in.read_count->load(memory_order_relaxed) + 1, memory_order_relaxed);
}

ESHM_ALWAYS_INLINE void Endpoint::tell(const Taken& taken, ESHMMessageInfo& info) const {
  info.generation = taken.sender;
  info.sequence = taken.message.number;
  info.direction = role_ == ESHM_ROLE_MASTER ? ESHM_S2M : ESHM_M2S;
  info.missed = taken.missed;
  info.size = taken.message.size;
  info.timestamp_ns = taken.message.timestamp_ns;
}

// One end, asked once. NO_DATA: nothing is there, or nothing that counts.
ESHM_ALWAYS_INLINE int Endpoint::take_from(ReadEnd& in, Request request, bool thorough,
                                           Taken& taken) {
  channel::ReadResult result;
  if (request.borrows()) {
    uint64_t missed = 0;
    result = in.borrow(request.borrowed(), missed, thorough);
    taken.message = request.borrowed().message;
    taken.missed = missed;
  } else {
    result = in.read(request.buffer(), request.bytes(), taken.message, taken.missed, thorough);
  }
  switch (result) {
    case channel::ReadResult::kMessage:
      note_message(in, taken);
      return ESHM_SUCCESS;
    case channel::ReadResult::kTooSmall:
      return ESHM_ERROR_BUFFER_TOO_SMALL;
    case channel::ReadResult::kTooMany:
      return ESHM_ERROR_BUFFER_FULL;
    case channel::ReadResult::kCorrupt:
      return ESHM_ERROR_CORRUPT;
    case channel::ReadResult::kSuperseded:
    case channel::ReadResult::kNothing:
      break;
  }
  return ESHM_ERROR_NO_DATA;
}

// What a read answers that finds nothing unread, in a segment without a mark.
inline int Endpoint::answer_without_message() const {
  const int verdict = read_verdict_.load(memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  return ends_.in.has_successor() ? ESHM_ERROR_SUPERSEDED : ESHM_ERROR_NO_DATA;
}

// What is unread comes first, then what keeps the call from waiting for more.
ESHM_ALWAYS_INLINE int Endpoint::take_message(Request request, bool thorough, Taken& taken) {
  ReadEnd& in = ends_.in;
  const bool has_left = has_left_.load(memory_order_relaxed);
  if (os::rarely(has_left || unread_segments_ != 0)) {
    Taken former;
    const int code =
        has_left ? take_after_leaving(request, former) : take_from_former(request, former);
    taken = former;
    if (has_left || code != ESHM_ERROR_NO_DATA) return code;
  }
  thorough = thorough || must_read_thoroughly_;
  const int code = take_from(in, request, thorough, taken);
  must_read_thoroughly_ = must_read_thoroughly_ && code != ESHM_SUCCESS;
  if (code == ESHM_ERROR_CORRUPT) found_corrupt_.store(true, memory_order_relaxed);
  if (code != ESHM_ERROR_NO_DATA) return code;
  if (in.superseded->load(memory_order_relaxed) == 0) return answer_without_message();
  Taken rest;
  const int last_code = take_under_mark(request, thorough, rest);
  taken = rest;
  return last_code;
}

ESHM_ALWAYS_INLINE int Endpoint::take_locked(Request request, bool thorough, Taken& taken) {
  const int code = take_message(request, thorough, taken);
  if (os::rarely(event_fd_.is_open())) settle_event_fd();
  return code;
}

ESHM_ALWAYS_INLINE int Endpoint::take_now(Request request, Taken& taken) {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  return take_locked(request, false, taken);
}

ESHM_ALWAYS_INLINE int Endpoint::take(Request request, uint32_t timeout_ms, Taken& taken) {
  if (os::rarely(!settings_.use_threads)) tend_without_thread();
  const int code = take_now(request, taken);
  if (code != ESHM_ERROR_NO_DATA || timeout_ms == 0) return code;
  Taken later;
  const int later_code = take_waiting(request, timeout_ms, later);
  taken = later;
  return later_code;
}

ESHM_ALWAYS_INLINE int Endpoint::read(void* buffer, size_t buffer_bytes, Taken& taken,
                                      uint32_t timeout_ms) {
  return take(Request::to_copy(buffer, buffer_bytes), timeout_ms, taken);
}

}  // namespace eshm::endpoint
