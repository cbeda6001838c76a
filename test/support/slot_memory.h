// SPDX-License-Identifier: MIT
// A newest-value channel's shared bytes as a plain array, and messages in them: no
// segment, no process.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "channel/copy.h"
#include "channel/latest.h"
#include "layout/segment.h"
#include "support/pattern.h"

namespace test {

using Bytes = std::vector<unsigned char>;

inline eshm::layout::ChannelShape shape_of(uint32_t max_borrows, uint32_t max_loans,
                                           uint64_t largest, uint32_t flags = 0) {
  eshm::layout::ChannelShape shape;
  shape.flags = flags;
  shape.max_borrows = max_borrows;
  shape.max_loans = max_loans;
  shape.max_message_bytes = largest;
  return shape;
}

class SlotMemory {
 public:
  explicit SlotMemory(const eshm::layout::ChannelShape& shape)
      : geometry_(eshm::layout::plan_channel(shape)),
        lines_((geometry_.data_bytes + sizeof(Line) - 1) / sizeof(Line)) {}

  eshm::channel::ChannelView view() { return {geometry_, data(), &pins_, &superseded_}; }
  const eshm::layout::ChannelGeometry& geometry() const { return geometry_; }
  eshm::layout::Slot& slot(uint64_t index) {
    return *reinterpret_cast<eshm::layout::Slot*>(data() + eshm::layout::kFirstSlotOffset +
                                                  index * geometry_.slot_stride);
  }
  // Where that message is, if nobody held the slot.
  eshm::layout::Slot& slot_of(uint64_t number) { return slot(number % geometry_.slot_count); }
  uint32_t slot_at(const void* payload) {
    const auto offset = static_cast<const std::byte*>(payload) - data();
    return static_cast<uint32_t>(
        (static_cast<uint64_t>(offset) - eshm::layout::kFirstSlotOffset) / geometry_.slot_stride);
  }
  std::atomic<uint64_t>& hint() {
    return reinterpret_cast<eshm::layout::DataArea*>(data())->publish.published;
  }
  eshm::layout::PinLines& pins() { return pins_; }
  std::atomic<uint32_t>& superseded() { return superseded_; }

 private:
  struct alignas(eshm::layout::kLineBytes) Line {
    std::byte bytes[eshm::layout::kLineBytes];
  };
  std::byte* data() { return lines_.data()->bytes; }

  eshm::layout::ChannelGeometry geometry_;
  std::vector<Line> lines_;
  eshm::layout::PinLines pins_ = {};
  std::atomic<uint32_t> superseded_{0};
};

// A loan of any size, or null where there is none.
inline std::byte* lend(eshm::channel::LatestWriter& writer) {
  void* payload = nullptr;
  const bool is_lent = writer.loan(SIZE_MAX, &payload) == eshm::channel::WriteResult::kDone;
  return is_lent ? static_cast<std::byte*>(payload) : nullptr;
}

// A loan is written, and a message in place read, by words, as the channel
// itself does: a thread sanitizer does not see what its fences order.
inline void store(void* payload, const Bytes& bytes) {
  eshm::channel::copy_to_shared(static_cast<std::byte*>(payload), bytes.data(), bytes.size());
}
inline Bytes load(const void* payload, size_t size) {
  Bytes bytes(size);
  eshm::channel::copy_from_shared(bytes.data(), static_cast<const std::byte*>(payload), size);
  return bytes;
}

inline Bytes pattern(uint64_t number, size_t size) {
  Bytes bytes(size);
  fill_pattern(bytes.data(), size, number);
  return bytes;
}

}  // namespace test
