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

constexpr uint64_t kBeingWritten = 1;
constexpr int kLapsBeforePin = 4;
// A pinned copy fails only when a whole ring was published between two
// instructions of the reader. So often in a row is no healthy writer.
constexpr int kPinAttempts = 10000;

uint64_t sequence_of(uint64_t number) { return number << 1; }
bool is_complete(uint64_t sequence) { return sequence != 0 && (sequence & kBeingWritten) == 0; }
// Where message `number` goes, unless that slot is in use. A division: the
// channels' ends step on from home to home instead.
uint32_t home_of(uint64_t number, uint32_t slot_count) { return uint32_t(number % slot_count); }
uint32_t next_index(uint32_t index, uint32_t slot_count) {
  return index + 1 == slot_count ? 0 : index + 1;
}

uint64_t hint_of(uint64_t number, uint32_t slot) { return number << 8 | slot; }
uint64_t number_in(uint64_t hint) { return hint >> 8; }
uint32_t slot_in(uint64_t hint) { return uint32_t(hint & 0xff); }

layout::PublishLine& publish_line(const ChannelView& view) {
  return reinterpret_cast<layout::DataArea*>(view.data)->publish;
}

Slot& slot_at(const ChannelView& view, uint64_t index) {
  return *reinterpret_cast<Slot*>(view.data + layout::kFirstSlotOffset +
                                  index * view.geometry.slot_stride);
}

std::byte* payload_of(const ChannelView& view, const Slot& slot) {
  return reinterpret_cast<std::byte*>(const_cast<Slot*>(&slot)) + view.geometry.payload_offset;
}

bool carries_timestamp(const ChannelView& view) {
  return view.geometry.payload_offset > sizeof(Slot);
}

}  // namespace

// ---- writer -----------------------------------------------------------------

Slot& LatestWriter::slot(uint32_t index) const { return slot_at(view_, index); }

void LatestWriter::adopt(const ChannelView& view, uint32_t generation) {
  view_ = view;
  generation_ = generation;
  newest_number_ = 0;
  newest_slot_ = 0;
  for (uint32_t index = 0; index < view_.geometry.slot_count; ++index) {
    const uint64_t sequence = slot(index).sequence.load(memory_order_relaxed);
    if (!is_complete(sequence)) {
      // Unfinished. Never an even guess: a reader would take it for a message.
      if (sequence != 0) slot(index).sequence.store(0, memory_order_relaxed);
    } else if (sequence >> 1 > newest_number_) {
      newest_number_ = sequence >> 1;
      newest_slot_ = index;
    }
  }
  next_home_ = home_of(newest_number_ + 1, view_.geometry.slot_count);
  // W5 -> R2. The dead writer's hint may lag behind its last publication.
  publish_line(view_).published.store(hint_of(newest_number_, newest_slot_), memory_order_release);
  prepare_next();
}

bool LatestWriter::is_pinned(uint32_t index) const {
  for (uint32_t pin = 0; pin < view_.geometry.pin_count; ++pin) {
    if (view_.pins->slot[pin].load(memory_order_relaxed) == index + 1) return true;
  }
  return false;
}

// Chooses the slot of the next message and marks it, ahead of the message: the
// reader then sees a short message arrive with a single transfer of its line.
// There is always one: slots = newest + this one + one for each pin and loan.
void LatestWriter::prepare_next() {
  const uint32_t slot_count = view_.geometry.slot_count;
  uint32_t index = next_home_;
  for (uint32_t tried = 0;; ++tried, index = next_index(index, slot_count)) {
    const bool is_newest = newest_number_ != 0 && index == newest_slot_;
    // Pins are only a peer's claim: after two rounds a lying one is overruled.
    const bool must_take = tried >= 2 * slot_count;
    if (is_newest || (is_pinned(index) && !must_take)) continue;
    const uint64_t before = slot(index).sequence.load(memory_order_relaxed);
    slot(index).sequence.store(before | kBeingWritten, memory_order_relaxed);  // W1
    // F1. Pairs with F2: whoever copied a byte that is stored after this sees
    // the mark. Pairs with F3: either the pin is seen below, or its owner sees
    // the mark. And orders the publication before the look for announcements.
    std::atomic_thread_fence(memory_order_seq_cst);
    if (!is_pinned(index) || must_take) {
      next_slot_ = index;
      return;
    }
    slot(index).sequence.store(before, memory_order_release);
  }
}

void LatestWriter::write(const void* data, size_t size, uint64_t timestamp_ns) {
  Slot& target = slot(next_slot_);
  copy_to_shared(payload_of(view_, target), data, size);  // W3
  target.size.store(uint32_t(size), memory_order_relaxed);
  target.generation.store(generation_, memory_order_relaxed);
  if (carries_timestamp(view_)) {
    reinterpret_cast<StampedSlot&>(target).timestamp_ns.store(timestamp_ns, memory_order_relaxed);
  }
  ++newest_number_;
  next_home_ = next_index(next_home_, view_.geometry.slot_count);
  newest_slot_ = next_slot_;
  // W4 -> R1. The publication: whoever sees this number sees the message.
  target.sequence.store(sequence_of(newest_number_), memory_order_release);
  // W5 -> R2.
  publish_line(view_).published.store(hint_of(newest_number_, newest_slot_), memory_order_release);
  prepare_next();
}

const std::byte* LatestWriter::newest(size_t& size) const {
  if (newest_number_ == 0) return nullptr;
  const Slot& source = slot(newest_slot_);
  size = source.size.load(memory_order_relaxed);
  return size > view_.geometry.max_message_bytes ? nullptr : payload_of(view_, source);
}

// ---- reader -----------------------------------------------------------------

const Slot& LatestReader::slot(uint64_t index) const { return slot_at(view_, index); }

void LatestReader::attach(const ChannelView& view) {
  view_ = view;
  last_read_ = 0;
  for (auto& pin : view_.pins->slot) pin.store(0, memory_order_release);
  // One less than the newest: it is unread, what came before it is not missed.
  const uint64_t newest = number_in(publish_line(view_).published.load(memory_order_acquire));
  last_read_ = newest == 0 ? 0 : newest - 1;
  next_home_ = home_of(last_read_ + 1, view_.geometry.slot_count);
}

void LatestReader::remember(uint64_t number) {
  const uint32_t slot_count = view_.geometry.slot_count;
  next_home_ = number == last_read_ + 1 ? next_index(next_home_, slot_count)
                                        : home_of(number + 1, slot_count);
  last_read_ = number;
}

bool LatestReader::find(Candidate& candidate, bool thorough, bool& corrupt) const {
  const uint64_t hint = publish_line(view_).published.load(memory_order_acquire);  // R2
  candidate = {number_in(hint), slot_in(hint)};
  // A message found at its home is one ahead of the hint at the most.
  corrupt = candidate.number + 1 < last_read_ || candidate.slot >= view_.geometry.slot_count;
  if (corrupt) return false;
  if (candidate.number > last_read_) return true;
  // Nothing by the hint. The next message, if it came since, is at its home:
  // this is the one line that a polling reader and the writer hand over.
  const uint64_t next = last_read_ + 1;
  if (slot(next_home_).sequence.load(memory_order_acquire) == sequence_of(next)) {
    candidate = {next, next_home_};
    return true;
  }
  if (!thorough) return false;
  for (uint32_t index = 0; index < view_.geometry.slot_count; ++index) {
    const uint64_t sequence = slot(index).sequence.load(memory_order_acquire);
    if (is_complete(sequence) && sequence >> 1 > candidate.number) {
      candidate = {sequence >> 1, index};
    }
  }
  return candidate.number > last_read_;
}

LatestReader::Copy LatestReader::copy_out(const Candidate& candidate, void* buffer,
                                          size_t buffer_bytes, Message& message) const {
  const Slot& source = slot(candidate.slot);
  const uint64_t wanted = sequence_of(candidate.number);
  if (source.sequence.load(memory_order_acquire) != wanted) return Copy::kLapped;  // R1 -> W4
  const uint32_t size = source.size.load(memory_order_relaxed);
  message.number = candidate.number;
  message.size = size;
  message.generation = source.generation.load(memory_order_relaxed);
  message.timestamp_ns =
      carries_timestamp(view_)
          ? reinterpret_cast<const StampedSlot&>(source).timestamp_ns.load(memory_order_relaxed)
          : 0;
  const bool fits = size <= buffer_bytes && size <= view_.geometry.max_message_bytes;
  if (fits) copy_from_shared(buffer, payload_of(view_, source), size);  // R3
  std::atomic_thread_fence(memory_order_acquire);                       // F2 -> F1
  if (source.sequence.load(memory_order_relaxed) != wanted) return Copy::kLapped;  // R4
  if (fits) return Copy::kDone;
  return size > view_.geometry.max_message_bytes ? Copy::kCorrupt : Copy::kTooSmall;
}

LatestReader::Copy LatestReader::copy_pinned(const Candidate& candidate, void* buffer,
                                             size_t buffer_bytes, Message& message) const {
  std::atomic<uint32_t>& pin = view_.pins->slot[0];
  pin.store(candidate.slot + 1, memory_order_relaxed);  // P1
  // F3, pairs with F1: the copy's first look at the sequence sees the writer's
  // mark, or the writer sees the pin and leaves the slot alone.
  std::atomic_thread_fence(memory_order_seq_cst);
  const Copy result = copy_out(candidate, buffer, buffer_bytes, message);
  pin.store(0, memory_order_release);
  return result;
}

ReadResult LatestReader::read(void* buffer, size_t buffer_bytes, Message& message, bool thorough) {
  for (int attempt = 0; attempt < kPinAttempts; ++attempt) {
    Candidate candidate;
    bool corrupt = false;
    if (!find(candidate, thorough, corrupt)) {
      return corrupt ? ReadResult::kCorrupt : ReadResult::kNothing;
    }
    const Copy copy = attempt < kLapsBeforePin
                          ? copy_out(candidate, buffer, buffer_bytes, message)
                          : copy_pinned(candidate, buffer, buffer_bytes, message);
    if (copy == Copy::kLapped) continue;
    // R5 -> MK1, after the copy: a message of a writer that was replaced
    // before it published is dropped here. The other order would accept one.
    if (view_.superseded->load(memory_order_acquire) != 0) return ReadResult::kSuperseded;
    if (copy == Copy::kCorrupt) return ReadResult::kCorrupt;
    if (copy == Copy::kTooSmall) return ReadResult::kTooSmall;
    remember(candidate.number);
    return ReadResult::kMessage;
  }
  return ReadResult::kCorrupt;
}

}  // namespace eshm::channel
