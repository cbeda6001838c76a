// SPDX-License-Identifier: MIT
#include "crash/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <unordered_set>

#include "eshm_data.h"

namespace test {

using namespace eshm;
using std::memory_order_relaxed;

namespace {

std::byte* checked(void* mapped, const char* what) {
  if (mapped == MAP_FAILED) {
    std::perror(what);
    std::abort();
  }
  return static_cast<std::byte*>(mapped);
}

}  // namespace

const layout::Slot& ChannelMemory::slot(uint32_t index) const {
  return *reinterpret_cast<const layout::Slot*>(data_ + layout::kFirstSlotOffset +
                                                index * geometry_.slot_stride);
}

std::vector<std::byte> ChannelMemory::bytes_of_slot(uint32_t index) const {
  const auto* begin = reinterpret_cast<const std::byte*>(&slot(index));
  return {begin, begin + geometry_.slot_stride};
}

channel::ChannelView ChannelMemory::view() const {
  return {geometry_, data_, &pins(), &page().mark.superseded};
}

channel::QueueView ChannelMemory::queue_view() const {
  return {geometry_, data_, &reader(), &page().mark.superseded};
}

uint64_t ChannelMemory::newest_complete() const {
  uint64_t newest = 0;
  for (uint32_t index = 0; index < geometry_.slot_count; ++index) {
    const uint64_t sequence = slot(index).sequence.load(memory_order_relaxed);
    if (sequence % 2 == 0) newest = std::max(newest, sequence / 2);
  }
  return newest;
}

uint64_t ChannelMemory::hinted() const {
  return reinterpret_cast<const layout::DataArea*>(data_)->publish.published.load(
             memory_order_relaxed) >>
         8;
}

Image ChannelMemory::image() const {
  Image image(layout::kControlBytes + geometry_.data_bytes);
  copy_to(image);
  return image;
}

void ChannelMemory::copy_to(Image& image) const {
  std::memcpy(image.data(), control_, layout::kControlBytes);
  std::memcpy(image.data() + layout::kControlBytes, data_, geometry_.data_bytes);
}

bool ChannelMemory::equals(const Image& image) const {
  return std::memcmp(image.data(), control_, layout::kControlBytes) == 0 &&
         std::memcmp(image.data() + layout::kControlBytes, data_, geometry_.data_bytes) == 0;
}

Arena::Arena(const layout::ChannelGeometry& geometry, uint32_t direction)
    : ChannelMemory(direction) {
  geometry_ = geometry;
  control_ = checked(mmap(nullptr, layout::kControlBytes + geometry.data_bytes,
                          PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
                     "arena");
  data_ = control_ + layout::kControlBytes;
}

Arena::~Arena() { munmap(control_, layout::kControlBytes + geometry_.data_bytes); }

void Arena::load(const Image& image) { std::memcpy(control_, image.data(), image.size()); }

LinkMemory::LinkMemory(const std::string& path, uint32_t direction) : ChannelMemory(direction) {
  const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
  control_ = checked(
      mmap(nullptr, layout::kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), "control");
  geometry_ = page().geometry[direction];
  is_sysv_ = page().identity.backend == ESHM_BACKEND_SYSV;
  data_ = checked(is_sysv_ ? shmat(geometry_.sysv_id, nullptr, SHM_RDONLY)
                           : mmap(nullptr, geometry_.data_bytes, PROT_READ, MAP_SHARED, file,
                                  static_cast<off_t>(geometry_.data_offset)),
                  "data");
  close(file);
}

LinkMemory::~LinkMemory() {
  if (is_sysv_) {
    shmdt(data_);
  } else {
    munmap(data_, geometry_.data_bytes);
  }
  munmap(control_, layout::kControlBytes);
}

Tally& Tally::operator+=(const Tally& other) {
  steps += other.steps;
  changes += other.changes;
  images += other.images;
  return *this;
}

size_t hash_of(const Image& image) {
  return std::hash<std::string_view>()(
      std::string_view(reinterpret_cast<const char*>(image.data()), image.size()));
}

Tally step_through(Stepper& child, const ChannelMemory& memory,
                   const std::function<void(const Image&)>& visit) {
  Tally tally;
  std::unordered_set<size_t> seen;
  Image image = memory.image();
  Stepper::Stop stop = Stepper::Stop::kStepped;
  do {
    if (tally.steps == 0 || !memory.equals(image)) {
      if (tally.steps != 0) ++tally.changes;
      image = memory.image();
      if (seen.insert(hash_of(image)).second) {
        ++tally.images;
        visit(image);
      }
    }
    stop = child.step();
    ++tally.steps;
  } while (stop == Stepper::Stop::kStepped);
  EXPECT_EQ(stop, Stepper::Stop::kMarked) << "the stepped process ended";
  return tally;
}

}  // namespace test
