// SPDX-License-Identifier: MIT
// What every write and read of a LATEST channel passes through, inline: a call
// then is one function, and spends its time on the message instead of on frames.
// What is rare stands in latest.cpp.
#pragma once

#include "channel/copy.h"
#include "channel/latest.h"  // which ends with this file
#include "os/cpu.h"

namespace eshm::channel {
namespace latest {

// Slot::sequence: 2n, message n is complete; 2n + 1, message n will be here if
// it comes next; 1, on loan for a message that has no number yet; 0, empty.
constexpr uint64_t kUnnumbered = 1;
constexpr uint64_t complete(uint64_t number) { return number << 1; }
constexpr uint64_t prepared(uint64_t number) { return number << 1 | 1; }
constexpr bool is_complete(uint64_t sequence) { return sequence != 0 && (sequence & 1) == 0; }

constexpr uint64_t hint_of(uint64_t number, uint32_t slot) { return number << 8 | slot; }

}  // namespace latest

// ---- writer -----------------------------------------------------------------

inline bool LatestWriter::is_in_use(uint32_t index) const {
  return index == newest_slot_ || index == next_slot_[0] || index == next_slot_[1] ||
         kept_[index] != 0;
}

// Whether one of the pins holds that slot; notes all slots that they hold. The pins
// are passed by value: loaded from ring_ for each of them they cost a write 1 % more
// instructions.
ESHM_ALWAYS_INLINE bool LatestWriter::note_pins(const std::atomic<uint32_t>* pins,
                                                uint32_t pin_count, uint32_t index) {
  bool is_held = false;
  for (uint32_t pin = 0; pin < pin_count; ++pin) {
    // W2. Acquire: a borrower's last look came before its release (no load more on x86).
    const uint32_t pinned = pins[pin].load(std::memory_order_acquire);
    if (os::rarely(pinned != 0)) is_held |= note_pin(pinned - 1) == index;
  }
  return is_held;
}

inline uint32_t LatestWriter::note_pin(uint32_t slot) {
  if (slot < ring_.count) kept_[slot] |= kPinned;
  return slot;
}

// Prepares a slot, long before a message is stored there: `sequence` is odd. False if
// the reader has pinned the slot; then it stays as it was.
ESHM_ALWAYS_INLINE bool LatestWriter::prepare(uint32_t index, uint64_t sequence) {
  std::atomic<uint64_t>& word = ring_.slot(index).sequence;
  const uint64_t before = word.load(std::memory_order_relaxed);
  word.store(sequence, std::memory_order_relaxed);  // W1
  // F1. Pairs with F2: a reader that copied a byte stored after this sees the odd
  // sequence. Pairs with F3: either the pin is seen below, or its owner sees the odd
  // sequence. And orders the publication before the look for announcements.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!note_pins(ring_.pins, ring_.pin_count, index)) return true;
  word.store(before, std::memory_order_release);
  return false;
}

// Takes a message's home, which was free for longest, so that a slow reader has the
// most time; else another slot. There always is one: slots = newest + the next
// two + one for each pin and loan.
ESHM_ALWAYS_INLINE uint32_t LatestWriter::take_slot(uint32_t first, uint64_t sequence) {
  if (!is_in_use(first) && prepare(first, sequence)) return first;
  return take_another_slot(first, sequence);
}

// Makes what stands in the slot the next message.
ESHM_ALWAYS_INLINE void LatestWriter::publish_slot(layout::Slot& target, uint32_t index,
                                                   size_t size, uint64_t timestamp_ns) {
  target.size.store(uint32_t(size), std::memory_order_relaxed);
  target.generation.store(generation_, std::memory_order_relaxed);
  if (ring_.is_stamped) {
    reinterpret_cast<layout::StampedSlot&>(target).timestamp_ns.store(timestamp_ns,
                                                                      std::memory_order_relaxed);
  }
  const uint64_t number = ++newest_number_;
  newest_slot_ = index;
  // W4 -> R1. The publication: whoever sees this number sees the message.
  target.sequence.store(latest::complete(number), std::memory_order_release);
  // W5 -> R2.
  ring_.hint->store(latest::hint_of(number, index), std::memory_order_release);
  next_slot_[0] = next_slot_[1];
  after_home_ = ring_.next(after_home_);
  next_slot_[1] = take_slot(after_home_, latest::prepared(number + 2));
}

ESHM_ALWAYS_INLINE void LatestWriter::write(const void* data, size_t size,
                                            uint64_t timestamp_ns) {
  if (os::rarely(loans_out_ != 0)) leave_loaned_slot();
  const uint32_t index = next_slot_[0];
  layout::Slot& slot = ring_.slot(index);
  copy_to_shared(ring_.payload(slot), data, size);  // W3
  publish_slot(slot, index, size, timestamp_ns);
}

// ---- finding and copying ----------------------------------------------------

inline void LatestView::remember(uint64_t number) {
  next_home_ = number == last_read_ + 1 ? after_home_ : ring_.at(ring_.home_of(number + 1));
  after_home_ = ring_.after(next_home_);
  last_read_ = number;
}

// The next message is looked for where it must appear, in the very line that
// carries it. Two lines tell that it is there and the newest: its home, and the
// home of the one behind it, which was prepared before and so is at hand.
ESHM_ALWAYS_INLINE LatestView::Search LatestView::find(Candidate& candidate, bool thorough) const {
  const uint64_t next = last_read_ + 1;
  const layout::Slot& home = *next_home_.slot;
  const layout::Slot& after = *after_home_.slot;
  const uint64_t sequence = home.sequence.load(std::memory_order_acquire);  // R1 -> W4
  if (sequence == latest::prepared(next)) {
    // The writer retracts this before it publishes elsewhere: nothing is new.
    // While one waits, fetch the lines that the message needs besides.
    __builtin_prefetch(&after);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(&home) + layout::kLineBytes);
    return Search::kNothing;
  }
  const bool is_home = sequence == latest::complete(next);
  const uint64_t behind = is_home ? after.sequence.load(std::memory_order_acquire) : 0;
  if (behind == latest::prepared(next + 1)) {
    candidate = {next, next_home_};
    return Search::kMessage;
  }
  // A variable of its own: if the address of `candidate` left this function, it would
  // stay in memory, and a read would take 5 % more instructions.
  Candidate other;
  const Search found = find_elsewhere(other, is_home, behind, thorough);
  candidate = other;
  return found;
}

// False where the slot holds another message by now.
inline bool LatestView::take_header(const layout::Slot& source, uint64_t number,
                                    Message& message) const {
  if (source.sequence.load(std::memory_order_acquire) != latest::complete(number)) return false;  // R1
  message.number = number;
  message.size = source.size.load(std::memory_order_relaxed);
  message.generation = source.generation.load(std::memory_order_relaxed);
  message.timestamp_ns = ring_.is_stamped
                             ? reinterpret_cast<const layout::StampedSlot&>(source)
                                   .timestamp_ns.load(std::memory_order_relaxed)
                             : 0;
  return true;
}

// All that was loaded from the slot before this belongs to that message.
inline bool LatestView::is_still(const layout::Slot& source, uint64_t number) {
  std::atomic_thread_fence(std::memory_order_acquire);  // F2 -> F1
  return source.sequence.load(std::memory_order_relaxed) == latest::complete(number);  // R4
}

ESHM_ALWAYS_INLINE LatestView::Copy LatestView::copy_out(const Candidate& candidate, void* buffer,
                                                         size_t buffer_bytes,
                                                         Message& message) const {
  layout::Slot& source = *candidate.place.slot;
  if (!take_header(source, candidate.number, message)) return Copy::kLapped;
  const bool fits = message.size <= buffer_bytes && message.size <= ring_.largest;
  if (fits) copy_from_shared(buffer, ring_.payload(source), message.size);  // R3
  if (!is_still(source, candidate.number)) return Copy::kTorn;
  if (fits) return Copy::kDone;
  return message.size > ring_.largest ? Copy::kCorrupt : Copy::kTooSmall;
}

// R5 -> MK1, after the copy: a message of a writer that was replaced before it
// published is dropped. The other order would accept one.
inline bool LatestView::is_superseded() const {
  return superseded_->load(std::memory_order_acquire) != 0;
}

// What an attempt that was not lapped comes to.
ESHM_ALWAYS_INLINE ReadResult LatestView::conclude(const Candidate& candidate, Copy copy) {
  if (is_superseded()) return ReadResult::kSuperseded;
  if (copy == Copy::kCorrupt) return ReadResult::kCorrupt;
  if (copy == Copy::kTooSmall) return ReadResult::kTooSmall;
  remember(candidate.number);
  return ReadResult::kMessage;
}

// ---- reader -----------------------------------------------------------------

ESHM_ALWAYS_INLINE ReadResult LatestReader::read(void* buffer, size_t buffer_bytes,
                                                 Message& message, bool thorough) {
  Candidate candidate;
  const Search found = find(candidate, thorough);
  if (found != Search::kMessage) return result_of(found);
  const Copy copy = copy_out(candidate, buffer, buffer_bytes, message);
  if (copy != Copy::kLapped && copy != Copy::kTorn) return conclude(candidate, copy);
  // For the same reason as in find(): 9 % of a read's instructions.
  Message other;
  const ReadResult result = read_after_lap(buffer, buffer_bytes, other, thorough);
  message = other;
  return result;
}

}  // namespace eshm::channel
