// SPDX-License-Identifier: MIT
// Segments that this end left by a move, kept as long as something of them is
// wanted: unread messages, a queue's rest that is carried over, loans, borrows.
//
// One list a direction, each guarded by its direction's lock. A segment is
// unmapped when both lists have dropped it.
#pragma once

#include <cstdint>
#include <list>
#include <memory>

#include "endpoint/attachment.h"
#include "endpoint/ends.h"

namespace eshm::endpoint {

// How far a former channel's unread messages have been written to the next one.
struct Carried {
  uint64_t begin = 0;  // QUEUE: the reader's position when it began
  uint64_t cursor = channel::QueueWriter::kFromReader;  // QUEUE: how far it has been
  uint64_t count = 0;  // messages that count in the next segment
  uint64_t first = 0;  // number there of the first of them; 0: none
  uint64_t passed = 0;  // up to this number there, others have done it
};

struct FormerWriteEnd {
  std::shared_ptr<Attachment> attachment;
  WriteEnd end;
  bool is_carried = false;  // its queue's rest is being carried over
  Carried carried;
};

struct FormerReadEnd {
  std::shared_ptr<Attachment> attachment;
  ReadEnd end;
  bool is_unread = false;  // its queue is still to be read
};

// The outgoing ends. Under the write lock. Nothing here allocates or unmaps: list nodes
// are made before the lock is taken, and destroyed after it is free.
class FormerOutgoing {
 public:
  // Keeps the end in the only node of `room` if something of it is wanted.
  void keep(std::list<FormerWriteEnd>& room);

  bool is_empty() const { return segments_.empty(); }
  bool is_carrying() const { return carried_ != 0; }
  // Writes the rest of the former queues to `to`, in its order. kFull: there is
  // no room for all of it yet. `count`: messages that count in the new segment now.
  channel::WriteResult carry_over(WriteEnd& to, uint64_t& count);

  // Ends a loan that was made in a former segment. kNotLoaned: none of them has it.
  channel::WriteResult discard(const void* payload);

  // Moves what is not wanted any more to `dropped`.
  void drop_unwanted(std::list<FormerWriteEnd>& dropped);

 private:
  std::list<FormerWriteEnd> segments_;  // oldest first
  uint32_t carried_ = 0;                // how many of them are being carried over
};

// The incoming ends, likewise. Under the read lock.
class FormerIncoming {
 public:
  void keep(std::list<FormerReadEnd>& room);

  bool is_empty() const { return segments_.empty(); }
  bool have_unread() const { return unread_ != 0; }
  // Calls take(ReadEnd&), which answers an ESHMError, for the former queues,
  // oldest first, until one answers with a message or with why there is none for
  // this caller. Any other answer: that queue is empty, or corrupt, and done with.
  template <class Take>
  int take(const Take& take);

  // Gives back a borrow that was made in a former segment. False: it was not.
  bool release(const channel::Borrowed& borrowed);
  void drop_unwanted(std::list<FormerReadEnd>& dropped);

 private:
  std::list<FormerReadEnd> segments_;  // oldest first
  uint32_t unread_ = 0;                // how many of them are still to be read
};

// Writes one unread message after another to `to`, up to `end` in the former queue.
// kDone: that end is reached.
channel::WriteResult carry_messages(const channel::QueueWriter& from, Carried& carried,
                                    uint64_t end, WriteEnd& to);

template <class Take>
int FormerIncoming::take(const Take& take) {
  for (FormerReadEnd& former : segments_) {
    if (!former.is_unread) continue;
    const int code = take(former.end);
    if (code == ESHM_SUCCESS || code == ESHM_ERROR_BUFFER_TOO_SMALL ||
        code == ESHM_ERROR_BUFFER_FULL) {
      return code;
    }
    former.is_unread = false;
    --unread_;
  }
  return ESHM_ERROR_NO_DATA;
}

}  // namespace eshm::endpoint
