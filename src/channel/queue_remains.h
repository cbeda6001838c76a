// SPDX-License-Identifier: MIT
// What the reader of a queue has not consumed, for a process that is neither of its ends:
// a master that replaces the segment carries it over. docs/PROTOCOL.md, section "Another
// segment".
#pragma once

#include "channel/queue.h"

namespace eshm::channel {

class QueueRemains {
 public:
  // Up to that position; kToItsEnd: as far as a dead writer has come.
  static constexpr uint64_t kToItsEnd = UINT64_MAX;
  QueueRemains(const QueueView& view, uint64_t end);

  // The next message, in order; those, too, that a dead writer had complete behind an open
  // loan. False: there is none, or what follows is not what a healthy writer leaves.
  bool next();

  // Behind the last one.
  uint64_t position() const { return next_; }
  uint64_t size() const { return record_.size; }
  // 0: it was behind an open loan, and has none.
  uint64_t number() const;
  uint64_t timestamp_ns() const { return ring_.timestamp_ns(place_); }

  // Where this stands, a writer that is not dead has stored over what the reader consumed
  // meanwhile: begin again.
  bool is_overwritten() const;
  // Copies the message's payload. False: it is overwritten.
  bool copy(void* to) const;

 private:
  QueueView view_;
  Ring ring_;
  uint64_t begin_;
  uint64_t end_;
  uint64_t next_;
  Ring::Place place_ = {};
  Ring::Record record_;
};

}  // namespace eshm::channel
