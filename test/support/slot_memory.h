// A newest-value channel's shared bytes as a plain array: no segment, no process.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "channel/latest.h"
#include "layout/segment.h"

namespace test {

class SlotMemory {
 public:
  SlotMemory(uint32_t max_borrows, uint32_t max_loans, uint64_t max_message_bytes)
      : geometry_(planned(max_borrows, max_loans, max_message_bytes)),
        data_(static_cast<std::byte*>(std::aligned_alloc(4096, geometry_.data_bytes))) {
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_.get(), 0, geometry_.data_bytes);
  }

  eshm::channel::ChannelView view() { return {geometry_, data_.get(), &pins_, &superseded_}; }
  const eshm::layout::ChannelGeometry& geometry() const { return geometry_; }
  std::atomic<uint64_t>& hint() {
    return reinterpret_cast<eshm::layout::DataArea*>(data_.get())->publish.published;
  }
  // Where that message is, if nobody held the slot.
  eshm::layout::Slot& slot_of(uint64_t number) {
    std::byte* const slots = data_.get() + eshm::layout::kFirstSlotOffset;
    return *reinterpret_cast<eshm::layout::Slot*>(
        slots + number % geometry_.slot_count * geometry_.slot_stride);
  }
  eshm::layout::PinLines& pins() { return pins_; }
  std::atomic<uint32_t>& superseded() { return superseded_; }

 private:
  static eshm::layout::ChannelGeometry planned(uint32_t max_borrows, uint32_t max_loans,
                                               uint64_t max_message_bytes) {
    eshm::layout::ChannelShape shape;
    shape.max_borrows = max_borrows;
    shape.max_loans = max_loans;
    shape.max_message_bytes = max_message_bytes;
    return eshm::layout::plan_channel(shape);
  }
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  eshm::layout::ChannelGeometry geometry_;
  std::unique_ptr<std::byte, Free> data_;
  eshm::layout::PinLines pins_ = {};
  std::atomic<uint32_t> superseded_{0};
};

}  // namespace test
