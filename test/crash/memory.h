// SPDX-License-Identifier: MIT
// The shared bytes of one direction of a link, where a crash test finds them:
// in a real link, or in a channel made up of nothing but memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "channel/latest.h"
#include "channel/queue.h"
#include "crash/stepper.h"
#include "layout/segment.h"

namespace test {

// The control page and one data area at one moment, one behind the other.
using Image = std::vector<std::byte>;

class ChannelMemory {
 public:
  ChannelMemory(const ChannelMemory&) = delete;
  ChannelMemory& operator=(const ChannelMemory&) = delete;

  const eshm::layout::ChannelGeometry& geometry() const { return geometry_; }
  eshm::layout::ControlPage& page() const {
    return *reinterpret_cast<eshm::layout::ControlPage*>(control_);
  }
  eshm::layout::PinLines& pins() const { return page().pins[direction_]; }
  eshm::layout::WakeLine& wake() const { return page().data_wake[direction_].line; }
  eshm::layout::WakeLine& room() const { return page().room_wake[direction_].line; }
  eshm::layout::ReaderLine& reader() const { return page().reader[direction_].line; }
  const eshm::layout::Slot& slot(uint32_t index) const;
  std::vector<std::byte> bytes_of_slot(uint32_t index) const;
  eshm::channel::ChannelView view() const;
  eshm::channel::QueueView queue_view() const;

  // By the slots alone, and by the hint alone.
  uint64_t newest_complete() const;
  uint64_t hinted() const;

  Image image() const;
  void copy_to(Image& image) const;  // which has its size
  bool equals(const Image& image) const;

 protected:
  explicit ChannelMemory(uint32_t direction) : direction_(direction) {}
  ~ChannelMemory() = default;

  uint32_t direction_;
  eshm::layout::ChannelGeometry geometry_ = {};
  std::byte* control_ = nullptr;
  std::byte* data_ = nullptr;
};

// A channel of its own, all zero at first, that a forked child shares.
class Arena : public ChannelMemory {
 public:
  explicit Arena(const eshm::layout::ChannelGeometry& geometry, uint32_t direction = 0);
  ~Arena();
  void load(const Image& image);
};

// One direction of the link that has this name now. The control page can be
// written, to play the peer of whoever is stepped.
class LinkMemory : public ChannelMemory {
 public:
  LinkMemory(const std::string& path, uint32_t direction);
  ~LinkMemory();

 private:
  bool is_sysv_ = false;
};

struct Tally {
  uint64_t steps = 0;
  uint64_t changes = 0;  // steps that changed a shared byte
  uint64_t images = 0;   // all different
  Tally& operator+=(const Tally& other);
};

size_t hash_of(const Image& image);

// Steps the child from its mark to its next one. Visits the memory as it is
// before the first step, and after each step that made an image not seen before.
Tally step_through(Stepper& child, const ChannelMemory& memory,
                   const std::function<void(const Image&)>& visit);

}  // namespace test
