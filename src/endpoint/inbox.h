// SPDX-License-Identifier: MIT
// What is unread for a handle: in its segment, and in those that it left. Takes one
// message at a time, or says why there is none.
//
// All of it is under the read lock, which the caller holds. Requests go by value, and a
// rare path fills in a variable of its own, so that the usual path keeps `taken` in
// registers: without any one of these copies a read takes 16 instructions more (195
// with them).
#pragma once

#include <atomic>

#include "channel/wakeup.h"
#include "endpoint/move.h"
#include "endpoint/path_state.h"
#include "os/cpu.h"

namespace eshm::endpoint {

// A message that was read or borrowed. Of one that was too large: its size alone.
struct Taken {
  channel::Message message;
  uint64_t missed = 0;  // since the one before
  uint32_t sender = 0;  // grows with each sender that this end has read from
};

// What a read does with the message: copies it, or borrows it in place. Two
// words, which pass in registers.
class Request {
 public:
  static Request to_copy(void* buffer, size_t bytes) {
    return Request(buffer, bytes < kBorrows ? bytes : kBorrows - 1);
  }
  static Request to_borrow(channel::Borrowed& borrowed) { return Request(&borrowed, kBorrows); }

  bool borrows() const { return bytes_ == kBorrows; }
  channel::Borrowed& borrowed() const { return *static_cast<channel::Borrowed*>(to_); }
  void* buffer() const { return to_; }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kBorrows = SIZE_MAX;
  Request(void* to, size_t bytes) : to_(to), bytes_(bytes) {}

  void* to_;
  size_t bytes_;
};

class Inbox {
 public:
  Inbox(ESHMRole role, const ReadEnd& end) : role_(role), end_(end) {}

  // What is unread comes first, then what keeps the call from waiting for more;
  // NO_DATA: nothing is unread, and more may come.
  // `thorough` as in LatestReader::read.
  int take(Request request, bool thorough, Taken& taken);
  // Whether take() would answer something other than NO_DATA.
  bool is_ready(bool thorough);
  bool release(const channel::Borrowed& borrowed) {
    if (end_.release(borrowed)) return true;
    if (!former_.release(borrowed)) return false;
    end_.release_taken_over(borrowed);
    return true;
  }

  const ReadEnd& end() const { return end_; }
  PathState& state() { return state_; }  // not under the lock
  const PathState& state() const { return state_; }
  struct Counts {
    uint32_t senders = 0;
    uint64_t read = 0;
    uint64_t missed = 0;
  };
  const Counts& counts() const { return counts_; }

  // A clean end: nothing that was handed out is shown again.
  void consume_handed_out() { end_.consume_handed_out(); }
  // The role is over for good. In a superseded segment no other process will read what
  // is left of a queue, so this one still may.
  void leave(bool is_superseded);
  bool has_left() const { return has_left_; }

  // ---- for the exchange of segments ----

  // Leaves the segment for the move's. What is unread in its queue is still read first:
  // up to the mark, or to its end if the segment has no mark.
  void finish_move(Move& move, const std::shared_ptr<Attachment>& former, const Attachment& next);
  // The mark of this segment does not count: see ReadEnd::ignore_mark.
  void ignore_mark() { end_.ignore_mark(); }
  FormerIncoming& former() { return former_; }

 private:
  int take_from(ReadEnd& end, Request request, bool thorough, Taken& taken);
  int take_elsewhere(Request request, Taken& taken);
  int take_from_former(Request request, Taken& taken);
  int take_after_leaving(Request request, Taken& taken);
  int take_under_mark(Request request, bool thorough, Taken& taken);
  int answer_without_message() const;
  int answer_under_mark() const;
  void note_message(const ReadEnd& end, Taken& taken);
  static void keep_unread(FormerReadEnd& kept, bool is_writer_dead);

  const ESHMRole role_;
  PathState state_;
  bool reads_elsewhere_ = false;  // has_left_, or former segments have unread messages
  bool has_left_ = false;
  bool drains_ = false;  // left a segment that was superseded before
  bool must_read_thoroughly_ = false;  // a message was seen that a quick poll does not find
  ReadEnd end_;
  FormerIncoming former_;
  Counts counts_;
  // Of the last sender that was read from, in the segment of that incarnation.
  uint32_t sender_generation_ = 0;
  uint64_t sender_segment_ = 0;
};

ESHM_ALWAYS_INLINE void Inbox::note_message(const ReadEnd& end, Taken& taken) {
  if (taken.message.generation != sender_generation_ || end.incarnation != sender_segment_) {
    sender_generation_ = taken.message.generation;
    sender_segment_ = end.incarnation;
    ++counts_.senders;
  }
  taken.sender = counts_.senders;
  ++counts_.read;
  if (taken.missed != 0) counts_.missed += taken.missed;
  end.read_count->store(end.read_count->load(std::memory_order_relaxed) + 1,
                        std::memory_order_relaxed);
}

// One end, asked once. NO_DATA: nothing is there, or nothing that counts.
ESHM_ALWAYS_INLINE int Inbox::take_from(ReadEnd& end, Request request, bool thorough,
                                        Taken& taken) {
  channel::ReadResult result;
  if (request.borrows()) {
    uint64_t missed = 0;
    result = end.borrow(request.borrowed(), missed, thorough);
    taken.message = request.borrowed().message;
    taken.missed = missed;
  } else {
    result = end.read(request.buffer(), request.bytes(), taken.message, taken.missed, thorough);
  }
  switch (result) {
    case channel::ReadResult::kMessage:
      note_message(end, taken);
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

// When nothing is unread in a segment without a mark.
inline int Inbox::answer_without_message() const {
  const int verdict = state_.verdict.load(std::memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  return end_.has_successor() ? ESHM_ERROR_SUPERSEDED : ESHM_ERROR_NO_DATA;
}

ESHM_ALWAYS_INLINE int Inbox::take(Request request, bool thorough, Taken& taken) {
  if (os::rarely(reads_elsewhere_)) {
    Taken former;
    const int code = take_elsewhere(request, former);
    taken = former;
    if (has_left_ || code != ESHM_ERROR_NO_DATA) return code;
  }
  thorough = thorough || must_read_thoroughly_;
  const int code = take_from(end_, request, thorough, taken);
  must_read_thoroughly_ = must_read_thoroughly_ && code != ESHM_SUCCESS;
  if (code == ESHM_ERROR_CORRUPT) state_.found_corrupt.store(true, std::memory_order_relaxed);
  if (code != ESHM_ERROR_NO_DATA) return code;
  if (end_.superseded->load(std::memory_order_relaxed) == 0) {
    return answer_without_message();
  }
  Taken rest;
  const int last_code = take_under_mark(request, thorough, rest);
  taken = rest;
  return last_code;
}

}  // namespace eshm::endpoint
