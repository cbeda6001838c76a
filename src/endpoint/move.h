// SPDX-License-Identifier: MIT
// A move to another segment, prepared while calls still use the former one.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "endpoint/former_segments.h"

namespace eshm::endpoint {

// What the reader's next segment holds of its former one.
enum class Copies {
  kNone,      // what is unread there is still to be read there
  kPart,      // some copies and nothing else: they are passed, and the former one is read
  kComplete,  // all that was unread, before anything new
};

struct Move {
  Move() : outgoing(1), incoming(1) {}
  void start(std::shared_ptr<Attachment> to) {
    next = std::move(to);
    ends = next->take_ends();
  }

  std::shared_ptr<Attachment> next;  // after the exchange: the former one
  Ends ends;                         // of `next`
  // Nodes for what is kept of the former segment; what is left here is not wanted.
  std::list<FormerWriteEnd> outgoing;
  std::list<FormerReadEnd> incoming;
  // What has been written to `next` already. LATEST: `first` is the number of the value.
  Carried carried;
  // For this end's reader.
  Copies copies = Copies::kNone;
  bool is_writer_dead = false;  // of the former segment, and no other will adopt that
};

}  // namespace eshm::endpoint
