// SPDX-License-Identifier: MIT
// The sentence about a queue without room.
#pragma once

#include <cstdint>
#include <string>

namespace eshm::endpoint {

struct FullQueue {
  uint64_t unread = 0;      // messages
  uint64_t in_hand = 0;     // that the reader has read or borrowed, and keeps
  uint64_t ring_bytes = 0;  // that both take up
  uint32_t loans_out = 0;
  bool was_taken_from = false;    // since this end was opened
  uint64_t taken_ms_ago = 0;
};

// "it holds 3 unread messages and 1 in the reader's hands (16448 bytes); the reader last took
// one 1200 ms ago".
std::string describe(const FullQueue& queue);

}  // namespace eshm::endpoint
