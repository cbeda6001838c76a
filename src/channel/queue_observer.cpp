// SPDX-License-Identifier: MIT
#include "channel/queue_observer.h"

#include "channel/copy.h"

namespace eshm::channel {

using layout::RecordKind;
using std::memory_order_acquire;
using std::memory_order_relaxed;

namespace {

// Padding passed and laps survived in one call; then its next look goes on.
constexpr int kSteps = 256;

const layout::PublishLine& observed_publish_line(const QueueView& view) {
  return reinterpret_cast<const layout::DataArea*>(view.data)->publish;
}

}  // namespace

void QueueObserver::attach(const QueueView& view, bool from_birth) {
  *this = {};
  view_ = view;
  ring_ = Ring(view);
  const uint64_t claimed = observed_publish_line(view_).claimed.load(memory_order_acquire);
  is_from_birth_ = from_birth && claimed <= ring_.capacity();
  if (!is_from_birth_) jump();  // where that is no possible place, read() says so
}

// The writer may have begun to store over the record at next_, or behind it.
bool QueueObserver::is_overwritten() const {
  // F6, pairs with F5: whoever copied a byte of a later lap sees its claim.
  std::atomic_thread_fence(memory_order_acquire);
  const uint64_t claimed = observed_publish_line(view_).claimed.load(memory_order_acquire);  // Q9 -> Q0
  return claimed > next_.position + ring_.capacity();
}

// To the oldest message that no writer can have overwritten.
bool QueueObserver::jump() {
  const uint64_t kept = view_.reader->position.load(memory_order_acquire);  // Q8 -> Q7
  if (!ring_.is_possible(kept) || kept < next_.position) return false;
  next_ = ring_.at(kept);
  has_jumped_ = true;
  // It has missed the first ones. (Carried ones have numbers of before: the first that is
  // met may have any.)
  if (is_from_birth_ && next_number_ == 0) next_number_ = 1;
  return true;
}

ReadResult QueueObserver::read(void* buffer, size_t buffer_bytes, Message& message,
                               uint64_t& missed) {
  for (int step = 0; step < kSteps; ++step) {
    Ring::Record record;
    const bool is_sound = ring_.parse(next_, record);
    const bool is_message = is_sound && record.kind == RecordKind::kMessage;
    const bool fits = is_message && record.size <= buffer_bytes;
    message.number = ring_.header(next_).tag.load(memory_order_relaxed);
    message.timestamp_ns = is_message ? ring_.timestamp_ns(next_) : 0;
    if (fits) copy_from_shared(buffer, ring_.payload(next_), record.size);
    if (is_overwritten()) {
      const uint64_t from = next_.position;
      if (!jump() || next_.position == from) return ReadResult::kCorrupt;
      continue;
    }
    if (!is_sound) return ReadResult::kCorrupt;
    if (is_message) return take(record, fits, message, missed);
    if (record.kind != RecordKind::kPadding) return ReadResult::kNothing;
    next_ = ring_.after(next_, record.bytes);
  }
  return ReadResult::kNothing;
}

// A whole message at next_, copied where it fits.
ReadResult QueueObserver::take(const Ring::Record& record, bool fits, Message& message,
                               uint64_t& missed) {
  message.size = record.size;
  message.generation = record.generation;
  // R5 -> MK1, after the copy.
  if (view_.superseded->load(memory_order_acquire) != 0) return ReadResult::kSuperseded;
  const bool is_first = next_number_ == 0;
  const bool is_possible = is_first || has_jumped_ ? message.number >= next_number_
                                                   : message.number == next_number_;
  if (message.number == 0 || !is_possible) return ReadResult::kCorrupt;
  if (!fits) return ReadResult::kTooSmall;
  missed = is_first ? 0 : message.number - next_number_;
  next_number_ = message.number + 1;
  next_ = ring_.after(next_, record.bytes);
  has_jumped_ = false;
  return ReadResult::kMessage;
}

}  // namespace eshm::channel
