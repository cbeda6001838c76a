// A move to another segment, prepared while calls still use the former one.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "endpoint/former_segments.h"

namespace eshm::endpoint {

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
  // What has been written to `next` already.
  uint64_t cursor = 0;           // QUEUE: how far the former queue is carried over
  uint64_t carried_count = 0;    // messages that count in `next`
  uint64_t carried_newest = 0;   // LATEST: number of the value that was carried over
};

}  // namespace eshm::endpoint
