// Segments that this end left by a move, kept as long as something of them is
// wanted: unread messages, a queue's rest that is carried over, loans, borrows.
//
// One list a direction, each guarded by its direction's lock. A segment is
// unmapped when both lists have dropped it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "endpoint/attachment.h"
#include "endpoint/ends.h"

namespace eshm::endpoint {

// Attachments whose last reference goes after the caller has left its locks:
// unmapping takes long.
using Dropped = std::vector<std::shared_ptr<Attachment>>;

// The outgoing ends. Under the write lock.
class FormerOutgoing {
 public:
  // Room for one more, so that keep() cannot fail. Throws bad_alloc.
  void reserve_one() { segments_.reserve(segments_.size() + 1); }
  // Keeps an end if something of it is wanted. `is_carried`: the messages of its
  // queue that the former master did not consume are carried over.
  void keep(const std::shared_ptr<Attachment>& attachment, const WriteEnd& end, bool is_carried);

  bool is_empty() const { return segments_.empty(); }
  size_t count() const { return segments_.size(); }
  bool is_carrying() const { return carried_ != 0; }
  // Writes the rest of the former queues to `to`, in its order. kFull: there is
  // no room for all of it yet. `count`: messages that count in the new segment now.
  channel::WriteResult carry_over(WriteEnd& to, uint64_t& count);

  // Ends a loan that was made in a former segment. kNotLoaned: none of them has it.
  channel::WriteResult discard(const void* payload);

  // Moves what is not wanted any more to `dropped`, which has room for count().
  void drop_unwanted(Dropped& dropped);

 private:
  struct Former {
    std::shared_ptr<Attachment> attachment;
    WriteEnd end;
    bool is_carried;
    uint64_t cursor = 0;  // how far it has been carried
  };

  channel::WriteResult carry_one(Former& former, WriteEnd& to, uint64_t& count);

  std::vector<Former> segments_;  // oldest first
  uint32_t carried_ = 0;          // how many of them are being carried over
};

// The incoming ends. Under the read lock.
class FormerIncoming {
 public:
  void reserve_one() { segments_.reserve(segments_.size() + 1); }
  void keep(const std::shared_ptr<Attachment>& attachment, const ReadEnd& end, bool is_unread);

  bool is_empty() const { return segments_.empty(); }
  size_t count() const { return segments_.size(); }
  bool have_unread() const { return unread_ != 0; }
  // Calls take(ReadEnd&), which answers an ESHMError, for the former queues,
  // oldest first, until one answers with a message or with why there is none for
  // this caller. Any other answer: that queue is empty, or corrupt, and done with.
  template <class Take>
  int take(const Take& take);

  // Gives back a borrow that was made in a former segment. False: it was not.
  bool release(const channel::Borrowed& borrowed);
  void drop_unwanted(Dropped& dropped);

 private:
  struct Former {
    std::shared_ptr<Attachment> attachment;
    ReadEnd end;
    bool is_unread;  // its queue is still to be read
  };

  std::vector<Former> segments_;  // oldest first
  uint32_t unread_ = 0;           // how many of them are still to be read
};

template <class Take>
int FormerIncoming::take(const Take& take) {
  for (Former& former : segments_) {
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
