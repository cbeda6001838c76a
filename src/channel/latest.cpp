#include "channel/latest.h"

#include "channel/copy.h"

namespace eshm::channel {

using layout::Slot;
using layout::StampedSlot;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

namespace {

constexpr int kLapsBeforePin = 4;
// A pinned copy fails only when a whole ring was published between two
// instructions of the reader. So often in a row is no healthy writer.
#ifndef ESHM_PIN_ATTEMPTS  // a fuzzer, with nobody at the other end, sets fewer
#define ESHM_PIN_ATTEMPTS 10000
#endif
constexpr int kPinAttempts = ESHM_PIN_ATTEMPTS;
// So often a whole message is copied in vain before that is said.
constexpr int kTornUnderPin = 64;
// An observer has no pin: it tries again at its next look.
constexpr int kLooksUnpinned = 16;

// Slot::sequence: 2n, message n is complete; 2n + 1, message n will be here if
// it comes next; 1, on loan for a message that has no number yet; 0, empty.
constexpr uint64_t kUnnumbered = 1;
uint64_t complete(uint64_t number) { return number << 1; }
uint64_t prepared(uint64_t number) { return number << 1 | 1; }
bool is_complete(uint64_t sequence) { return sequence != 0 && (sequence & 1) == 0; }

// No writer comes so far. Above it the hint has no room, and sums could wrap.
constexpr uint64_t kLastNumber = uint64_t(1) << 55;

uint64_t hint_of(uint64_t number, uint32_t slot) { return number << 8 | slot; }
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

namespace {

bool is_pinned(const std::atomic<uint32_t>* pins, uint32_t pin_count, uint32_t index) {
  for (uint32_t pin = 0; pin < pin_count; ++pin) {
    // W2. Acquire: a borrower's last look came before its release (no load more on x86).
    if (pins[pin].load(memory_order_acquire) == index + 1) return true;
  }
  return false;
}

}  // namespace

inline bool LatestWriter::is_in_use(uint32_t index) const {
  return index == newest_slot_ || index == next_slot_[0] || index == next_slot_[1] ||
         is_loaned_[index];
}

// Marks a slot, long before a message is stored there. False: somebody has
// pinned it, and it stays as it was. (Looked at first, so that a copy under a
// pin fails only when the pin comes between the two looks.)
inline bool LatestWriter::mark(uint32_t index, uint64_t sequence) {
  std::atomic<uint64_t>& word = ring_.slot(index).sequence;
  const uint64_t before = word.load(memory_order_relaxed);
  // Loaded ahead of the fence, which makes all loads behind it wait.
  const std::atomic<uint32_t>* const pins = ring_.pins;
  const uint32_t pin_count = ring_.pin_count;
  if (is_pinned(pins, pin_count, index)) return false;
  word.store(sequence, memory_order_relaxed);  // W1
  // F1. Pairs with F2: whoever copied a byte that is stored after this sees
  // the mark. Pairs with F3: either the pin is seen below, or its owner sees
  // the mark. And orders the publication before the look for announcements.
  std::atomic_thread_fence(memory_order_seq_cst);
  if (!is_pinned(pins, pin_count, index)) return true;
  word.store(before, memory_order_release);
  return false;
}

// Takes the first free slot from `first` on. There always is one: slots =
// newest + the next two + one for each pin and loan.
inline uint32_t LatestWriter::take_slot(uint32_t first, uint64_t sequence) {
  if (!is_in_use(first) && mark(first, sequence)) return first;
  return take_another_slot(first, sequence);
}

uint32_t LatestWriter::take_another_slot(uint32_t index, uint64_t sequence) {
  // Pins are only a peer's claim: after two rounds a lying one is overruled.
  for (uint32_t tried = 0; tried < 2 * ring_.count; ++tried) {
    index = ring_.next(index);
    if (!is_in_use(index) && mark(index, sequence)) return index;
  }
  while (is_in_use(index)) index = ring_.next(index);
  ring_.slot(index).sequence.store(sequence, memory_order_relaxed);
  std::atomic_thread_fence(memory_order_seq_cst);
  return index;
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

// Makes what stands in the slot the next message.
inline void LatestWriter::publish_slot(uint32_t index, size_t size, uint64_t timestamp_ns) {
  Slot& target = ring_.slot(index);
  target.size.store(uint32_t(size), memory_order_relaxed);
  target.generation.store(generation_, memory_order_relaxed);
  if (ring_.is_stamped) {
    reinterpret_cast<StampedSlot&>(target).timestamp_ns.store(timestamp_ns, memory_order_relaxed);
  }
  const uint64_t number = ++newest_number_;
  newest_slot_ = index;
  // W4 -> R1. The publication: whoever sees this number sees the message.
  target.sequence.store(complete(number), memory_order_release);
  // W5 -> R2.
  ring_.hint->store(hint_of(number, index), memory_order_release);
  next_slot_[0] = next_slot_[1];
  next_slot_[1] = kNone;
  after_home_ = ring_.next(after_home_);
  next_slot_[1] = take_slot(after_home_, prepared(number + 2));
}

void LatestWriter::write(const void* data, size_t size, uint64_t timestamp_ns) {
  if (loans_out_ != 0 && is_loaned_[next_slot_[0]]) {
    retract(next_slot_[0]);
    next_slot_[0] = take_slot(ring_.home_of(newest_number_ + 1), prepared(newest_number_ + 1));
  }
  copy_to_shared(ring_.payload(next_slot_[0]), data, size);  // W3
  publish_slot(next_slot_[0], size, timestamp_ns);
}

// The next message will not be in that slot after all. While its home promises
// it, a reader looks nowhere else; so this comes before the publication.
void LatestWriter::retract(uint32_t index) {
  ring_.slot(index).sequence.store(is_loaned_[index] ? kUnnumbered : 0, memory_order_relaxed);
}

WriteResult LatestWriter::loan(size_t size, void** payload) {
  if (loans_out_ == max_loans_) return WriteResult::kTooMany;
  uint32_t index = next_slot_[0];
  if (is_loaned_[index]) index = take_slot(after_home_, kUnnumbered);
  is_loaned_[index] = true;
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
                      is_loaned_[index];
  return is_one ? uint32_t(index) : kNone;
}

WriteResult LatestWriter::publish(const void* payload, size_t size, uint64_t timestamp_ns) {
  const uint32_t index = loaned_slot(payload);
  if (index == kNone) return WriteResult::kNotLoaned;
  if (size > loaned_bytes_[index]) return WriteResult::kTooLarge;
  is_loaned_[index] = false;
  --loans_out_;
  if (index != next_slot_[0]) retract(next_slot_[0]);
  publish_slot(index, size, timestamp_ns);
  return WriteResult::kDone;
}

WriteResult LatestWriter::discard(const void* payload) {
  const uint32_t index = loaned_slot(payload);
  if (index == kNone) return WriteResult::kNotLoaned;
  is_loaned_[index] = false;
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
  next_home_ = ring_.home_of(last_read_ + 1);
  after_home_ = ring_.next(next_home_);
}

void LatestView::remember(uint64_t number) {
  next_home_ = number == last_read_ + 1 ? after_home_ : ring_.home_of(number + 1);
  after_home_ = ring_.next(next_home_);
  last_read_ = number;
}

// The next message is looked for where it must appear, in the very line that
// carries it. Two lines tell that it is there and the newest: its home, and the
// home of the one behind it, which was marked before and so is at hand.
inline bool LatestView::find(Candidate& candidate, bool thorough, bool& corrupt) const {
  const uint64_t next = last_read_ + 1;
  const Slot& home = ring_.slot(next_home_);
  const Slot& after = ring_.slot(after_home_);
  const uint64_t sequence = home.sequence.load(memory_order_acquire);  // R1 -> W4
  if (sequence == prepared(next)) {
    // The writer takes that mark away before it publishes elsewhere: nothing
    // is new. While one waits, fetch the lines that the message needs besides.
    __builtin_prefetch(&after);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(&home) + layout::kLineBytes);
    return false;
  }
  const bool is_home = sequence == complete(next);
  const uint64_t behind = is_home ? after.sequence.load(memory_order_acquire) : 0;
  if (behind == prepared(next + 1)) {
    candidate = {next, next_home_};
    return true;
  }
  // Lapped, or several came, or the message went elsewhere.
  const bool is_hinted = find_by_hint(candidate, thorough, corrupt);
  if (corrupt) return false;
  if (!is_home || candidate.number > next) return is_hinted;
  // The hint follows the publication: what was seen counts, too.
  candidate = behind == complete(next + 1) ? Candidate{next + 1, after_home_}
                                           : Candidate{next, next_home_};
  return true;
}

bool LatestView::find_by_hint(Candidate& candidate, bool thorough, bool& corrupt) const {
  const uint64_t hint = ring_.hint->load(memory_order_acquire);  // R2 -> W5
  candidate = {number_in(hint), slot_in(hint)};
  // A message found at its home is one ahead of the hint at the most.
  corrupt = candidate.number + 1 < last_read_ || candidate.slot >= ring_.count;
  if (corrupt) return false;
  if (thorough) {
    for (uint32_t index = 0; index < ring_.count; ++index) {
      const uint64_t sequence = ring_.slot(index).sequence.load(memory_order_acquire);
      if (is_complete(sequence) && sequence >> 1 > candidate.number) {
        candidate = {sequence >> 1, index};
      }
    }
  }
  return candidate.number > last_read_;
}

// False where the slot holds another message by now.
inline bool LatestView::take_header(const Candidate& candidate, Message& message) const {
  const Slot& source = ring_.slot(candidate.slot);
  if (source.sequence.load(memory_order_acquire) != complete(candidate.number)) return false;  // R1
  message.number = candidate.number;
  message.size = source.size.load(memory_order_relaxed);
  message.generation = source.generation.load(memory_order_relaxed);
  message.timestamp_ns =
      ring_.is_stamped
          ? reinterpret_cast<const StampedSlot&>(source).timestamp_ns.load(memory_order_relaxed)
          : 0;
  return true;
}

// All that was loaded from the slot before this belongs to that message.
inline bool LatestView::is_still(const Candidate& candidate) const {
  std::atomic_thread_fence(memory_order_acquire);  // F2 -> F1
  return ring_.slot(candidate.slot).sequence.load(memory_order_relaxed) ==
         complete(candidate.number);  // R4
}

inline LatestView::Copy LatestView::copy_out(const Candidate& candidate, void* buffer,
                                             size_t buffer_bytes, Message& message) const {
  if (!take_header(candidate, message)) return Copy::kLapped;
  const bool fits = message.size <= buffer_bytes && message.size <= ring_.largest;
  if (fits) copy_from_shared(buffer, ring_.payload(candidate.slot), message.size);  // R3
  if (!is_still(candidate)) return Copy::kTorn;
  if (fits) return Copy::kDone;
  return message.size > ring_.largest ? Copy::kCorrupt : Copy::kTooSmall;
}

// What an attempt that was not lapped comes to.
inline ReadResult LatestView::settle(const Candidate& candidate, Copy copy) {
  if (is_superseded()) return ReadResult::kSuperseded;
  if (copy == Copy::kCorrupt) return ReadResult::kCorrupt;
  if (copy == Copy::kTooSmall) return ReadResult::kTooSmall;
  remember(candidate.number);
  return ReadResult::kMessage;
}

// ---- reader -----------------------------------------------------------------

void LatestReader::attach(const ChannelView& view) {
  *this = {};
  for (auto& pin : view.pins->slot) pin.store(0, memory_order_release);
  begin(view);
}

// The writer does not take a pinned slot, if what follows finds it unmarked.
void LatestReader::set_pin(uint32_t index, uint32_t slot) const {
  // P1, release: keeps an earlier release of this register visible to W2.
  ring_.pins[index].store(slot + 1, memory_order_release);
  // F3, pairs with F1: the next look at the sequence sees the writer's mark,
  // or the writer sees the pin and leaves the slot alone.
  std::atomic_thread_fence(memory_order_seq_cst);
}

// R5 -> MK1, after the copy: a message of a writer that was replaced before it
// published is dropped. The other order would accept one.
inline bool LatestView::is_superseded() const {
  return superseded_->load(memory_order_acquire) != 0;
}

bool LatestReader::has_unread(bool thorough) const {
  Candidate candidate;
  bool corrupt = false;
  const bool is_there = find(candidate, thorough, corrupt);
  return corrupt || (is_there && !is_superseded());
}

ReadResult LatestReader::read(void* buffer, size_t buffer_bytes, Message& message, bool thorough) {
  int torn_under_pin = 0;
  for (int attempt = 0; attempt < kPinAttempts; ++attempt) {
    Candidate candidate;
    bool corrupt = false;
    if (!find(candidate, thorough, corrupt)) {
      return corrupt ? ReadResult::kCorrupt : ReadResult::kNothing;
    }
    const bool pins = attempt >= kLapsBeforePin;
    if (pins) set_pin(0, candidate.slot);
    const Copy copy = copy_out(candidate, buffer, buffer_bytes, message);
    if (pins) ring_.pins[0].store(0, memory_order_release);
    if (copy != Copy::kLapped && copy != Copy::kTorn) return settle(candidate, copy);
    // Under a pin a healthy writer can only have marked the slot for a moment.
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
    bool corrupt = false;
    if (!find(candidate, thorough, corrupt)) {
      return corrupt ? ReadResult::kCorrupt : ReadResult::kNothing;
    }
    set_pin(free, candidate.slot);
    const bool is_it = take_header(candidate, borrowed.message) && is_still(candidate);
    const bool counts = is_it && !is_superseded();
    if (counts && borrowed.message.size <= ring_.largest) {
      serial_[free] = ++last_serial_;
      ++borrows_out_;
      borrowed.data = ring_.payload(candidate.slot);
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
  for (int attempt = 0; attempt < kLooksUnpinned; ++attempt) {
    Candidate candidate;
    bool corrupt = false;
    if (!find(candidate, thorough, corrupt)) {
      return corrupt ? ReadResult::kCorrupt : ReadResult::kNothing;
    }
    const Copy copy = copy_out(candidate, buffer, buffer_bytes, message);
    if (copy != Copy::kLapped && copy != Copy::kTorn) return settle(candidate, copy);
  }
  return ReadResult::kNothing;
}

}  // namespace eshm::channel
