// SPDX-License-Identifier: MIT
// The newest value wins: a ring of slots, each guarded by a sequence number.
// Diagrams, crash points and orders: docs/PROTOCOL.md, section "LATEST".
//
// Both ends keep their state in private memory and believe nothing that they
// read without a bound. Neither is safe for two threads at once: the caller
// holds a lock of its own process.
#pragma once

#include <cstddef>
#include <cstdint>

#include "channel/message.h"
#include "layout/segment.h"

namespace eshm::channel {

// The slots of a channel in memory, with what is asked of them all the time.
struct SlotRing {
  SlotRing() = default;
  explicit SlotRing(const ChannelView& view);

  layout::Slot& slot(uint32_t index) const {
    return *reinterpret_cast<layout::Slot*>(slots + index * stride);
  }
  std::byte* payload(layout::Slot& slot) const {
    return reinterpret_cast<std::byte*>(&slot) + payload_offset;
  }
  std::byte* payload(uint32_t index) const { return payload(slot(index)); }
  // A slot and its number, carried along: no multiplication a message.
  struct Place {
    layout::Slot* slot = nullptr;
    uint32_t index = 0;
  };
  Place at(uint32_t index) const { return {&slot(index), index}; }
  Place after(const Place& place) const {
    if (place.index + 1 == count) return at(0);
    return {reinterpret_cast<layout::Slot*>(reinterpret_cast<std::byte*>(place.slot) + stride),
            place.index + 1};
  }
  uint32_t next(uint32_t index) const { return index + 1 == count ? 0 : index + 1; }
  // Where message `number` goes, unless that slot is in use. A division: the
  // channel's ends step on from home to home instead.
  uint32_t home_of(uint64_t number) const { return uint32_t(number % count); }

  std::byte* slots = nullptr;
  uint64_t stride = 0;
  uint32_t count = 0;
  uint32_t payload_offset = 0;
  uint64_t largest = 0;  // message, bytes
  std::atomic<uint64_t>* hint = nullptr;
  std::atomic<uint32_t>* pins = nullptr;
  uint32_t pin_count = 0;
  bool is_stamped = false;
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

  // Memory for a message of up to `size` bytes (checked as above). kTooMany
  // when max_loans are out.
  WriteResult loan(size_t size, void** payload);
  // Both end the loan, but for kTooLarge. A publication ends with a full fence,
  // as write does.
  WriteResult publish(const void* payload, size_t size, uint64_t timestamp_ns);
  WriteResult discard(const void* payload);
  uint32_t loans_out() const { return loans_out_; }

  // How many messages this writer has published.
  uint64_t written() const { return newest_number_ - adopted_number_; }
  uint64_t newest_number() const { return newest_number_; }

  // The newest message, in place; null where there is none. Only this process
  // writes there.
  const std::byte* newest(size_t& size) const;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  bool is_in_use(uint32_t index) const;
  bool note_pins(const std::atomic<uint32_t>* pins, uint32_t pin_count, uint32_t index);
  uint32_t note_pin(uint32_t slot);
  void renew_note(uint32_t index);
  bool prepare(uint32_t index, uint64_t sequence);
  uint32_t take_slot(uint32_t first, uint64_t sequence);
  uint32_t take_another_slot(uint32_t first, uint64_t sequence);
  void publish_slot(layout::Slot& target, uint32_t index, size_t size, uint64_t timestamp_ns);
  void retract(uint32_t index);
  void leave_loaned_slot();
  uint32_t loaned_slot(const void* payload) const;

  SlotRing ring_;
  uint64_t newest_number_ = 0;
  uint64_t adopted_number_ = 0;  // of the newest message that another one left
  uint32_t newest_slot_ = kNone;
  // Slots of the next two messages: prepared for their numbers, not pinned.
  uint32_t next_slot_[2] = {kNone, kNone};
  uint32_t after_home_ = 0;  // of the message after the next: its number modulo the slots
  uint32_t generation_ = 0;
  uint32_t loans_out_ = 0;
  uint32_t max_loans_ = 0;
  // Why a slot is left alone: on loan here, or pinned when it was last looked at
  // (W2). A slot that was seen pinned is not prepared before it was seen free.
  static constexpr uint16_t kLoaned = 1, kPinned = 2;
  bool is_loaned(uint32_t index) const { return (kept_[index] & kLoaned) != 0; }
  uint16_t kept_[layout::kMaxSlots] = {};
  uint64_t loaned_bytes_[layout::kMaxSlots] = {};
};

// Finding and copying the newest message, which changes nothing shared.
class LatestView {
 public:
  uint64_t last_read() const { return last_read_; }
  // No message up to that number is new any more.
  void pass(uint64_t number) {
    if (number > last_read_) remember(number);
  }
  // For the master that has renewed the segment itself: what is written here still counts.
  void ignore_mark() { superseded_ = &kNoMark; }

 protected:
  struct Candidate {
    uint64_t number = 0;
    SlotRing::Place place;
  };
  // What find() came to.
  enum class Search { kNothing, kMessage, kCorrupt };
  // kLapped: another message was there; kTorn: it came while this was copied.
  enum class Copy { kDone, kLapped, kTorn, kTooSmall, kCorrupt };

  void begin(const ChannelView& view);
  Search find(Candidate& candidate, bool thorough) const;
  Search find_elsewhere(Candidate& candidate, bool is_home, uint64_t behind, bool thorough) const;
  Search find_by_hint(Candidate& candidate, bool thorough) const;
  bool take_header(const layout::Slot& source, uint64_t number, Message& message) const;
  static bool is_still(const layout::Slot& source, uint64_t number);
  Copy copy_out(const Candidate& candidate, void* buffer, size_t buffer_bytes,
                Message& message) const;
  static ReadResult result_of(Search found) {
    return found == Search::kCorrupt ? ReadResult::kCorrupt : ReadResult::kNothing;
  }
  ReadResult conclude(const Candidate& candidate, Copy copy);
  bool is_superseded() const;
  void remember(uint64_t number);

  SlotRing ring_;

 private:
  const std::atomic<uint32_t>* superseded_ = nullptr;
  uint64_t last_read_ = 0;
  SlotRing::Place next_home_;   // of message last_read_ + 1
  SlotRing::Place after_home_;  // of the one behind it
};

class LatestReader : public LatestView {
 public:
  // Begins with the newest message as unread. Clears the pins of the reader before.
  void attach(const ChannelView& view);
  // What is there now is not new.
  void pass_newest();
  // Passes the newest message if it is the first writer's.
  void pass_first_writers();

  // The newest message not yet read. Never waits for the writer: a writer that
  // laps it again and again makes it pin the slot. `thorough` also finds a
  // message whose writer died between its publication and its hint, at the
  // price of a look at every slot.
  ReadResult read(void* buffer, size_t buffer_bytes, Message& message, bool thorough);

  // The same message in place: nothing overwrites it before it is released.
  // kTooMany when max_borrows are out.
  ReadResult borrow(Borrowed& borrowed, bool thorough);
  // False where that one is not out: returned already, or never borrowed.
  bool release(uint64_t token, uint64_t serial);
  uint32_t borrows_out() const { return borrows_out_; }

  // read() would not answer kNothing now, nor kSuperseded.
  bool has_unread(bool thorough) const;

 private:
  ReadResult read_after_lap(void* buffer, size_t buffer_bytes, Message& message, bool thorough);
  void set_pin(uint32_t index, uint32_t slot) const;

  uint32_t borrows_out_ = 0;
  uint64_t last_serial_ = 0;
  // Of the borrow under each pin; 0: none. Pin 0 is for copying.
  uint64_t serial_[layout::kMaxPins] = {};
};

// Looks on, beside the reader, from a mapping that it cannot write: no pins.
class LatestObserver : public LatestView {
 public:
  // Begins with the newest message as unread.
  void attach(const ChannelView& view);

  // As LatestReader::read. Lapped again and again it gives up for now, with kNothing.
  ReadResult read(void* buffer, size_t buffer_bytes, Message& message, bool thorough);
};

}  // namespace eshm::channel

#include "channel/latest_path.h"
