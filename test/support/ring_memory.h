// SPDX-License-Identifier: MIT
// A queue channel's shared bytes as a plain array: no segment, no process.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#include "channel/queue.h"
#include "layout/segment.h"

namespace test {

class RingMemory {
 public:
  explicit RingMemory(const eshm::layout::ChannelShape& shape)
      : RingMemory(exact(eshm::layout::plan_channel(shape))) {}
  explicit RingMemory(const eshm::layout::ChannelGeometry& geometry)
      : geometry_(geometry),
        data_(static_cast<std::byte*>(std::aligned_alloc(4096, geometry_.data_bytes))) {
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_.get(), 0, geometry_.data_bytes);
  }

  // A ring of just queue_bytes, all of which the reader may have in hand, so that a test can
  // see its walls.
  static eshm::layout::ChannelGeometry exact(eshm::layout::ChannelGeometry geometry) {
    geometry.ring_bytes = (geometry.queue_bytes + 63) / 64 * 64;
    geometry.hands_bytes = geometry.ring_bytes;
    return geometry;
  }

  static eshm::layout::ChannelShape shape(uint64_t queue_bytes, uint64_t max_message_bytes,
                                          uint32_t flags = 0, uint32_t max_borrows = 4,
                                          uint32_t max_loans = 4) {
    eshm::layout::ChannelShape shape;
    shape.delivery = ESHM_DELIVERY_QUEUE;
    shape.flags = flags;
    shape.max_borrows = max_borrows;
    shape.max_loans = max_loans;
    shape.max_message_bytes = max_message_bytes;
    shape.queue_bytes = queue_bytes;
    return shape;
  }

  eshm::channel::QueueView view() { return {geometry_, data_.get(), &reader_, &superseded_}; }
  const eshm::layout::ChannelGeometry& geometry() const { return geometry_; }

  // What a dying process leaves is what is in here now.
  struct Image {
    std::unique_ptr<std::byte[]> data;
    uint64_t position;
  };
  Image image() const {
    Image image{std::make_unique<std::byte[]>(geometry_.data_bytes), reader_.position.load()};
    std::memcpy(image.data.get(), data_.get(), geometry_.data_bytes);
    return image;
  }
  void restore(const Image& image) {
    std::memcpy(data_.get(), image.data.get(), geometry_.data_bytes);
    reader_.position.store(image.position);
  }

  eshm::layout::PublishLine& publish() {
    return reinterpret_cast<eshm::layout::DataArea*>(data_.get())->publish;
  }
  eshm::layout::ReaderLine& reader() { return reader_; }
  std::atomic<uint32_t>& superseded() { return superseded_; }
  std::byte* ring() { return data_.get() + eshm::layout::kFirstSlotOffset; }
  uint64_t ring_bytes() const { return geometry_.ring_bytes; }
  uint64_t record_bytes(uint64_t size) const {
    return eshm::layout::record_bytes(geometry_, size);
  }
  eshm::layout::RecordHeader& header(uint64_t position) {
    return *reinterpret_cast<eshm::layout::RecordHeader*>(ring() + position % ring_bytes());
  }

 private:
  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  eshm::layout::ChannelGeometry geometry_;
  std::unique_ptr<std::byte, Free> data_;
  alignas(64) eshm::layout::ReaderLine reader_ = {};
  alignas(64) std::atomic<uint32_t> superseded_{0};
};

}  // namespace test
