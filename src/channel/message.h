// SPDX-License-Identifier: MIT
// What both kinds of channels speak of.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "layout/segment.h"

namespace eshm::channel {

// In place of MarkLine::superseded, for whom the mark does not count.
inline const std::atomic<uint32_t> kNoMark{0};

// Where a channel's shared bytes are mapped, with the geometry's private copy.
struct ChannelView {
  layout::ChannelGeometry geometry;
  std::byte* data;                          // the data area
  layout::PinLines* pins;                   // in the control page
  const std::atomic<uint32_t>* superseded;  // MarkLine::superseded
};

struct Message {
  uint64_t number = 0;
  uint64_t size = 0;
  uint64_t timestamp_ns = 0;
  uint32_t generation = 0;
};

// A message in place.
struct Borrowed {
  Message message;
  const std::byte* data = nullptr;
  // For release: what holds it, and which use of that this is.
  uint64_t token = 0;
  uint64_t serial = 0;
  uint64_t segment = 0;  // the caller's
};

enum class WriteResult {
  kDone,
  kFull,       // queue: no room now; nothing was changed
  kTooMany,    // max_loans are out
  kNotLoaned,  // no open loan has this address
  kTooLarge,   // more than was loaned; the loan stays open
  kCorrupt,    // what no healthy peer leaves
};

enum class ReadResult {
  kMessage,
  kNothing,     // no message that was not yet read
  kTooSmall,    // there is one, larger than the buffer; it stays unread
  kTooMany,     // as many messages are borrowed as the channel was made for
  kSuperseded,  // the segment's mark is set: nothing in it counts any more
  kCorrupt,     // a value that no healthy writer leaves
};

}  // namespace eshm::channel
