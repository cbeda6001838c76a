// SPDX-License-Identifier: MIT
// Looking on at a queue, beside its reader, from a mapping that cannot be
// written. Follows the records, and is lapped where it cannot keep up.
// docs/PROTOCOL.md, section "Observers".
#pragma once

#include <cstddef>
#include <cstdint>

#include "channel/message.h"
#include "channel/queue.h"

namespace eshm::channel {

class QueueObserver {
 public:
  // Begins with what the queue's reader has not consumed; with `from_birth` at
  // the ring's first message, where that is still there.
  void attach(const QueueView& view, bool from_birth);

  // The next message; `missed` is told with one. Whatever stands in the ring is
  // judged only after it is known to be whole.
  ReadResult read(void* buffer, size_t buffer_bytes, Message& message, uint64_t& missed);

 private:
  bool is_overwritten() const;
  bool jump();
  ReadResult take(const Ring::Record& record, bool fits, Message& message, uint64_t& missed);

  QueueView view_ = {};
  Ring ring_;
  Ring::Place next_ = {};
  uint64_t next_number_ = 0;  // 0: not known before the first message
  bool is_from_birth_ = false;
  bool has_jumped_ = false;   // since the last message
};

}  // namespace eshm::channel
