// SPDX-License-Identifier: MIT
#include "channel/queue_remains.h"

#include "channel/copy.h"

namespace eshm::channel {

using layout::RecordKind;
using std::memory_order_acquire;
using std::memory_order_relaxed;

QueueRemains::QueueRemains(const QueueView& view, uint64_t end)
    : view_(view),
      ring_(view),
      begin_(view.reader->position.load(memory_order_acquire)),  // Q8 -> Q7
      end_(end),
      next_(begin_) {
  place_ = ring_.at(begin_);
  if (!ring_.is_possible(begin_)) end_ = 0;
}

bool QueueRemains::next() {
  while (next_ < end_) {
    place_ = ring_.at(next_);
    if (!ring_.parse(place_, record_)) return false;  // Q6 -> Q4
    if (record_.kind == RecordKind::kNone) return false;
    next_ = ring_.after(place_, record_.bytes).position;
    // No writer gets further before the reader has consumed more.
    if (next_ - begin_ > ring_.usable_bytes()) return false;
    const bool is_message = record_.kind == RecordKind::kMessage;
    if (is_message || record_.kind == RecordKind::kHeld) return true;
  }
  return false;
}

uint64_t QueueRemains::number() const {
  return record_.kind == RecordKind::kMessage ? ring_.header(place_).tag.load(memory_order_relaxed)
                                              : 0;
}

bool QueueRemains::copy(void* to) const {
  copy_from_shared(to, ring_.payload(place_), record_.size);
  return !is_overwritten();
}

// As an observer finds out.
bool QueueRemains::is_overwritten() const {
  // F6, pairs with F5: a byte that was stored after the claim shows the claim.
  std::atomic_thread_fence(memory_order_acquire);
  const layout::PublishLine& line = reinterpret_cast<const layout::DataArea*>(view_.data)->publish;
  const uint64_t claimed = line.claimed.load(memory_order_acquire);  // Q9 -> Q0
  return claimed > place_.position + ring_.capacity();
}

}  // namespace eshm::channel
