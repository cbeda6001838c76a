// SPDX-License-Identifier: MIT
#include "channel/latest.h"

#include <algorithm>

namespace eshm::channel {

using latest::complete;
using latest::hint_of;
using latest::is_complete;
using latest::kUnnumbered;
using latest::prepared;
using layout::Slot;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

namespace {

#ifndef ESHM_LAPS_BEFORE_PIN  // the explorer's runs are short: it sets fewer
#define ESHM_LAPS_BEFORE_PIN 4
#endif
constexpr int kLapsBeforePin = ESHM_LAPS_BEFORE_PIN;
// A pinned copy fails only when a whole ring was published between two
// instructions of the reader. A healthy writer cannot cause this many failures in a row.
#ifndef ESHM_PIN_ATTEMPTS  // a fuzzer, with nobody at the other end, sets fewer
#define ESHM_PIN_ATTEMPTS 10000
#endif
constexpr int kPinAttempts = ESHM_PIN_ATTEMPTS;
// After this many torn copies of whole messages under a pin the channel is reported corrupt.
constexpr int kTornUnderPin = 64;
// An observer has no pin: after this many attempts it tries again at its next poll.
constexpr int kAttemptsWithoutPin = 16;

// No writer comes so far. Above it the hint has no room, and sums could wrap.
constexpr uint64_t kLastNumber = uint64_t(1) << 55;

uint64_t number_in(uint64_t hint) { return hint >> 8; }
uint32_t slot_in(uint64_t hint) { return uint32_t(hint & 0xff); }

}  // namespace

SlotRing::SlotRing(const ChannelView& view)
    : slots(view.data + layout::kFirstSlotOffset),
      stride(view.geometry.slot_stride),
      count(view.geometry.slot_count),
      payload_offset(view.geometry.payload_offset),
      largest(view.geometry.max_message_bytes),
      hint(&reinterpret_cast<layout::DataArea*>(view.data)->publish.published),
      pins(view.pins->slot),
      pin_count(view.geometry.pin_count),
      is_stamped(view.geometry.payload_offset > sizeof(Slot)) {}

// ---- writer -----------------------------------------------------------------

// Looks again at a slot that was seen pinned.
void LatestWriter::renew_note(uint32_t index) {
  kept_[index] &= kLoaned;
  note_pins(ring_.pins, ring_.pin_count, index);
}

uint32_t LatestWriter::take_another_slot(uint32_t first, uint64_t sequence) {
  if (kept_[first] != 0) {
    renew_note(first);
    if (!is_in_use(first) && prepare(first, sequence)) return first;
  }
  // Half a ring on: far from the messages that were read last, and from the homes
  // of those to come. The next two homes last, even where a small ring has no
  // other slot than the one just read: what belongs there would have to go
  // elsewhere in its turn.
  uint32_t index = (first + std::max(ring_.count / 2, 3u)) % ring_.count;
  // Pins are only a peer's claim: after two rounds a lying one is overruled.
  for (int round = 0; round < 2; ++round) {
    for (uint32_t tried = 0; tried < ring_.count; ++tried, index = ring_.next(index)) {
      if (round > 0) renew_note(index);
      if (!is_in_use(index) && prepare(index, sequence)) return index;
    }
    // F1 again: the first round may have prepared nothing. An honest pin behind this
    // is one of the newest message, and so does not hold two slots for the second.
    std::atomic_thread_fence(memory_order_seq_cst);
  }
  for (uint32_t slot = 0; slot < ring_.count; ++slot) kept_[slot] &= kLoaned;
  while (is_in_use(first)) first = ring_.next(first);
  ring_.slot(first).sequence.store(sequence, memory_order_relaxed);
  std::atomic_thread_fence(memory_order_seq_cst);
  return first;
}

void LatestWriter::adopt(const ChannelView& view, uint32_t generation) {
  *this = {};
  ring_ = SlotRing(view);
  generation_ = generation;
  max_loans_ = view.geometry.max_loans;
  for (uint32_t index = 0; index < ring_.count; ++index) {
    std::atomic<uint64_t>& word = ring_.slot(index).sequence;
    const uint64_t sequence = word.load(memory_order_relaxed);
    if (!is_complete(sequence) || sequence >> 1 > kLastNumber) {
      // Unfinished, or damage. Never an even guess: a reader would take it for a message.
      if (sequence != 0) word.store(0, memory_order_relaxed);
    } else if (sequence >> 1 > newest_number_) {
      newest_number_ = sequence >> 1;
      newest_slot_ = index;
    }
  }
  adopted_number_ = newest_number_;
  // W5 -> R2. The dead writer's hint may lag behind its last publication.
  const uint32_t hinted_slot = newest_number_ == 0 ? 0 : newest_slot_;
  ring_.hint->store(hint_of(newest_number_, hinted_slot), memory_order_release);
  const uint32_t next_home = ring_.home_of(newest_number_ + 1);
  after_home_ = ring_.next(next_home);
  next_slot_[0] = take_slot(next_home, prepared(newest_number_ + 1));
  next_slot_[1] = take_slot(after_home_, prepared(newest_number_ + 2));
}

// The next message will not be in that slot after all. While its home promises
// it, a reader looks nowhere else; so this comes before the publication.
void LatestWriter::retract(uint32_t index) {
  ring_.slot(index).sequence.store(is_loaned(index) ? kUnnumbered : 0, memory_order_relaxed);
}

// A copy goes beside what is on loan.
void LatestWriter::leave_loaned_slot() {
  if (!is_loaned(next_slot_[0])) return;
  retract(next_slot_[0]);
  next_slot_[0] = take_slot(ring_.home_of(newest_number_ + 1), prepared(newest_number_ + 1));
}

WriteResult LatestWriter::loan(size_t size, void** payload) {
  if (loans_out_ == max_loans_) return WriteResult::kTooMany;
  uint32_t index = next_slot_[0];
  if (is_loaned(index)) index = take_slot(after_home_, kUnnumbered);
  kept_[index] |= kLoaned;
  loaned_bytes_[index] = size;
  ++loans_out_;
  *payload = ring_.payload(index);
  return WriteResult::kDone;
}

// The slot of that payload, or kNone where it is not out on loan.
uint32_t LatestWriter::loaned_slot(const void* payload) const {
  if (loans_out_ == 0) return kNone;
  const auto at = reinterpret_cast<uintptr_t>(payload);
  const auto first = reinterpret_cast<uintptr_t>(ring_.payload(0));
  const uint64_t index = (at - first) / ring_.stride;
  const bool is_one = at >= first && index < ring_.count && (at - first) % ring_.stride == 0 &&
                      is_loaned(index);
  return is_one ? uint32_t(index) : kNone;
}

WriteResult LatestWriter::publish(const void* payload, size_t size, uint64_t timestamp_ns) {
  const uint32_t index = loaned_slot(payload);
  if (index == kNone) return WriteResult::kNotLoaned;
  if (size > loaned_bytes_[index]) return WriteResult::kTooLarge;
  kept_[index] &= uint16_t(~kLoaned);
  --loans_out_;
  if (index != next_slot_[0]) retract(next_slot_[0]);
  publish_slot(ring_.slot(index), index, size, timestamp_ns);
  return WriteResult::kDone;
}

WriteResult LatestWriter::discard(const void* payload) {
  const uint32_t index = loaned_slot(payload);
  if (index == kNone) return WriteResult::kNotLoaned;
  kept_[index] &= uint16_t(~kLoaned);
  --loans_out_;
  if (index != next_slot_[0]) retract(index);
  return WriteResult::kDone;
}

const std::byte* LatestWriter::newest(size_t& size) const {
  if (newest_number_ == 0) return nullptr;
  size = ring_.slot(newest_slot_).size.load(memory_order_relaxed);
  return size > ring_.largest ? nullptr : ring_.payload(newest_slot_);
}

// ---- finding and copying ----------------------------------------------------

void LatestView::begin(const ChannelView& view) {
  ring_ = SlotRing(view);
  superseded_ = view.superseded;
  // One less than the newest: it is unread, what came before it is not missed.
  const uint64_t newest = number_in(ring_.hint->load(memory_order_acquire));
  last_read_ = newest == 0 ? 0 : newest - 1;
  next_home_ = ring_.at(ring_.home_of(last_read_ + 1));
  after_home_ = ring_.after(next_home_);
}

// Lapped, or several came, or the message went elsewhere. `is_home`, `behind`:
// what find() has seen.
LatestView::Search LatestView::find_elsewhere(Candidate& candidate, bool is_home, uint64_t behind,
                                              bool thorough) const {
  const uint64_t next = last_read_ + 1;
  const Search hinted = find_by_hint(candidate, thorough);
  if (hinted == Search::kCorrupt || !is_home || candidate.number > next) return hinted;
  // The hint follows the publication: what was seen counts, too.
  candidate = behind == complete(next + 1) ? Candidate{next + 1, after_home_}
                                           : Candidate{next, next_home_};
  return Search::kMessage;
}

LatestView::Search LatestView::find_by_hint(Candidate& candidate, bool thorough) const {
  const uint64_t hint = ring_.hint->load(memory_order_acquire);  // R2 -> W5
  // A message found at its home is one ahead of the hint at the most.
  if (number_in(hint) + 1 < last_read_ || slot_in(hint) >= ring_.count) return Search::kCorrupt;
  candidate = {number_in(hint), ring_.at(slot_in(hint))};
  if (thorough) {
    for (uint32_t index = 0; index < ring_.count; ++index) {
      const uint64_t sequence = ring_.slot(index).sequence.load(memory_order_acquire);
      if (is_complete(sequence) && sequence >> 1 > candidate.number) {
        candidate = {sequence >> 1, ring_.at(index)};
      }
    }
  }
  return candidate.number > last_read_ ? Search::kMessage : Search::kNothing;
}

// ---- reader -----------------------------------------------------------------

void LatestReader::attach(const ChannelView& view) {
  *this = {};
  for (auto& pin : view.pins->slot) pin.store(0, memory_order_release);
  begin(view);
}

void LatestReader::pass_newest() {
  Candidate newest;
  if (find(newest, true) == Search::kMessage) remember(newest.number);
}

void LatestReader::pass_first_writers() {
  constexpr uint32_t kFirst = 1;
  Candidate newest;
  if (find(newest, true) != Search::kMessage) return;
  const uint32_t generation = newest.place.slot->generation.load(memory_order_relaxed);
  if (generation == kFirst && is_still(*newest.place.slot, newest.number)) remember(newest.number);
}

// The writer does not take the pinned slot if what follows finds its sequence even.
void LatestReader::set_pin(uint32_t index, uint32_t slot) const {
  // P1, release: keeps an earlier release of this register visible to W2.
  ring_.pins[index].store(slot + 1, memory_order_release);
  // F3, pairs with F1: the next look at the sequence finds it odd if the writer
  // prepared the slot, or the writer sees the pin and leaves the slot alone.
  std::atomic_thread_fence(memory_order_seq_cst);
}

bool LatestReader::has_unread(bool thorough) const {
  Candidate candidate;
  const Search found = find(candidate, thorough);
  return found == Search::kCorrupt || (found == Search::kMessage && !is_superseded());
}

// A first attempt was lapped.
ReadResult LatestReader::read_after_lap(void* buffer, size_t buffer_bytes, Message& message,
                                        bool thorough) {
  int torn_under_pin = 0;
  for (int attempt = 1; attempt < kPinAttempts; ++attempt) {
    Candidate candidate;
    const Search found = find(candidate, thorough);
    if (found != Search::kMessage) return result_of(found);
    const bool pins = attempt >= kLapsBeforePin;
    if (pins) set_pin(0, candidate.place.index);
    const Copy copy = copy_out(candidate, buffer, buffer_bytes, message);
    if (pins) ring_.pins[0].store(0, memory_order_release);
    if (copy != Copy::kLapped && copy != Copy::kTorn) return conclude(candidate, copy);
    // Under a pin a healthy writer can only have prepared the slot for a moment.
    if (pins && copy == Copy::kTorn && ++torn_under_pin == kTornUnderPin) break;
  }
  return ReadResult::kCorrupt;
}

ReadResult LatestReader::borrow(Borrowed& borrowed, bool thorough) {
  uint32_t free = 1;
  while (free < ring_.pin_count && serial_[free] != 0) ++free;
  if (free == ring_.pin_count) return ReadResult::kTooMany;
  for (int attempt = 0; attempt < kPinAttempts; ++attempt) {
    Candidate candidate;
    const Search found = find(candidate, thorough);
    if (found != Search::kMessage) return result_of(found);
    set_pin(free, candidate.place.index);
    Slot& source = *candidate.place.slot;
    const bool is_it = take_header(source, candidate.number, borrowed.message) &&
                       is_still(source, candidate.number);
    const bool counts = is_it && !is_superseded();
    if (counts && borrowed.message.size <= ring_.largest) {
      serial_[free] = ++last_serial_;
      ++borrows_out_;
      borrowed.data = ring_.payload(source);
      borrowed.token = free;
      borrowed.serial = last_serial_;
      remember(candidate.number);
      return ReadResult::kMessage;
    }
    ring_.pins[free].store(0, memory_order_release);
    if (is_it) return counts ? ReadResult::kCorrupt : ReadResult::kSuperseded;
  }
  return ReadResult::kCorrupt;
}

bool LatestReader::release(uint64_t token, uint64_t serial) {
  if (token >= ring_.pin_count || serial == 0 || serial_[token] != serial) return false;
  serial_[token] = 0;
  --borrows_out_;
  // Release: what was read under the pin was read before it is seen gone (W2, F1).
  ring_.pins[token].store(0, memory_order_release);
  return true;
}

// ---- observer ---------------------------------------------------------------

void LatestObserver::attach(const ChannelView& view) {
  *this = {};
  begin(view);
}

ReadResult LatestObserver::read(void* buffer, size_t buffer_bytes, Message& message,
                                bool thorough) {
  for (int attempt = 0; attempt < kAttemptsWithoutPin; ++attempt) {
    Candidate candidate;
    const Search found = find(candidate, thorough);
    if (found != Search::kMessage) return result_of(found);
    const Copy copy = copy_out(candidate, buffer, buffer_bytes, message);
    if (copy != Copy::kLapped && copy != Copy::kTorn) return conclude(candidate, copy);
  }
  return ReadResult::kNothing;
}

}  // namespace eshm::channel
