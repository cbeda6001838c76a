// The newest value wins: a ring of slots, each guarded by a sequence number.
// Diagrams, crash points and orders: docs/PROTOCOL.md, section "LATEST".
//
// Both ends keep their state in private memory and believe nothing that they
// read without a bound. Neither is safe for two threads at once: the caller
// holds a lock of its own process.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/segment.h"

namespace eshm::channel {

// Where a channel's shared bytes are mapped, with the geometry's private copy.
struct ChannelView {
  layout::ChannelGeometry geometry;
  std::byte* data;                       // the data area
  layout::PinLines* pins;                // in the control page
  const std::atomic<uint32_t>* superseded;  // MarkLine::superseded
};

struct Message {
  uint64_t number = 0;
  uint64_t size = 0;
  uint64_t timestamp_ns = 0;
  uint32_t generation = 0;
};

class LatestWriter {
 public:
  // Takes the channel over from whoever wrote it before, dead at any point:
  // finds the newest complete message, clears unfinished slots, goes on above
  // every number there. An all-zero channel is a valid start.
  void adopt(const ChannelView& view, uint32_t generation);

  // Publishes. `size` is at most max_message_bytes (the caller has checked).
  // Ends with a full fence: the caller may look for announcements right after.
  void write(const void* data, size_t size, uint64_t timestamp_ns);

  // The newest message, in place; null where there is none. Only this process
  // writes there.
  const std::byte* newest(size_t& size) const;

 private:
  layout::Slot& slot(uint32_t index) const;
  bool is_pinned(uint32_t index) const;
  void prepare_next();

  ChannelView view_ = {};
  uint64_t newest_number_ = 0;
  uint32_t newest_slot_ = 0;
  uint32_t next_slot_ = 0;  // marked as being written, and pinned by nobody
  uint32_t next_home_ = 0;  // of the next message: its number modulo slot_count
  uint32_t generation_ = 0;
};

enum class ReadResult {
  kMessage,
  kNothing,     // no message that was not yet read
  kTooSmall,    // there is one, larger than the buffer; it stays unread
  kSuperseded,  // the segment's mark is set: nothing in it counts any more
  kCorrupt,     // a value that no healthy writer leaves
};

class LatestReader {
 public:
  // Begins with the newest message as unread. Clears the pins of the reader before.
  void attach(const ChannelView& view);

  // The newest message not yet read. Never waits for the writer: a writer that
  // laps it again and again makes it pin the slot. `thorough` also finds a
  // message whose writer died between its publication and its hint, at the
  // price of a look at every slot.
  ReadResult read(void* buffer, size_t buffer_bytes, Message& message, bool thorough);

  uint64_t last_read() const { return last_read_; }

 private:
  struct Candidate {
    uint64_t number;
    uint32_t slot;
  };
  enum class Copy { kDone, kLapped, kTooSmall, kCorrupt };

  const layout::Slot& slot(uint64_t index) const;
  bool find(Candidate& candidate, bool thorough, bool& corrupt) const;
  Copy copy_out(const Candidate& candidate, void* buffer, size_t buffer_bytes,
                Message& message) const;
  Copy copy_pinned(const Candidate& candidate, void* buffer, size_t buffer_bytes,
                   Message& message) const;

  ChannelView view_ = {};
  void remember(uint64_t number);

  uint64_t last_read_ = 0;
  uint32_t next_home_ = 0;  // of message last_read_ + 1
};

}  // namespace eshm::channel
