// SPDX-License-Identifier: MIT
// What is unread in the queues of a segment that a fresh one replaces, and how it gets
// there. docs/PROTOCOL.md, section "What outlives its processes". Under the succession lock
// of the former segment.
#pragma once

#include <string>

#include "channel/queue_remains.h"
#include "endpoint/attachment.h"

namespace eshm::endpoint {

class Inheritance {
 public:
  // Maps the queues of `former`, and counts. One whose System V memory is gone with the
  // processes that had it holds nothing.
  Inheritance(const Settings& settings, const SegmentFile& former);

  // Why a queue cannot be looked at.
  const Failure& failure() const { return failure_; }
  // What stands in a queue is not what healthy processes leave.
  bool is_corrupt() const { return is_corrupt_; }
  bool is_empty() const;
  // Whether all of it can be in a segment of these settings.
  bool fits() const;
  // Why not.
  Failure refuse() const;

  // Writes to `fresh`, which has no name yet, all that fits. The former segment is marked
  // first, so that no more comes. Its slave finds by `slave` (0: none lives) what it has not
  // to read there, nor to write again. Afterwards `fresh` must assume its role again.
  void carry_to(Attachment& fresh, uint64_t slave);

  // What became of it, for the log; "": there was nothing.
  enum class Way { kStays, kIsCarried };
  std::string report(Way way) const;

 private:
  struct Queue {
    bool is_there = false;
    bool is_writer_dead = false;
    DataMapping data;
    channel::QueueView view;
    uint64_t messages = 0;
    uint64_t bytes = 0;
    uint64_t unfit = 0;    // by their size, or because the queue, or its type, is another
    uint64_t carried = 0;
    uint64_t first = 0;    // number of the first that was carried, or would have been
    uint64_t last = 0;     // of the last that was
    bool is_complete = false;
  };

  void count(layout::Direction direction);
  void carry(layout::Direction direction, Attachment& fresh);
  bool carry_all(layout::Direction direction, channel::QueueWriter& to, uint64_t largest,
                 bool is_stamped);
  uint64_t end_of(layout::Direction direction) const;

  const Settings& settings_;
  const SegmentFile& former_;
  const bool is_orphan_;  // no slave lives there
  Failure failure_;
  bool is_corrupt_ = false;
  Queue queues_[2];
};

// The number of the first message to the slave that it has not consumed in a segment that was
// replaced; UINT64_MAX: it has consumed all. 0: that cannot be seen any more.
uint64_t first_unread(const Settings& settings, const SegmentFile& replaced);

}  // namespace eshm::endpoint
