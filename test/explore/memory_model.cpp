// SPDX-License-Identifier: MIT
#include "explore/memory_model.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace explore {
namespace {

bool acquires(std::memory_order order) {
  return order == std::memory_order_acquire || order == std::memory_order_consume ||
         order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}

bool releases(std::memory_order order) {
  return order == std::memory_order_release || order == std::memory_order_acq_rel ||
         order == std::memory_order_seq_cst;
}

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "explore: %s\n", why);
  std::abort();
}

}  // namespace

void View::join_stores(const View& other, int locations) {
  for (int i = 0; i < locations; ++i) oldest[i] = std::max(oldest[i], other.oldest[i]);
}

void View::join(const View& other, int locations) {
  join_stores(other, locations);
  for (int i = 0; i < kMostThreads; ++i) events[i] = std::max(events[i], other.events[i]);
}

void MemoryModel::begin(const void* memory, size_t bytes) {
  memory_ = reinterpret_cast<uintptr_t>(memory);
  location_at_.assign(bytes / 4, -1);
  locations_.clear();
}

Location MemoryModel::location(const void* address, size_t bytes) {
  const uintptr_t place = (reinterpret_cast<uintptr_t>(address) - memory_) / 4;
  if (place >= location_at_.size()) give_up("a place outside the memory that is explored");
  int16_t& known = location_at_[place];
  if (known < 0) {
    if (location_count() == kMostLocations) give_up("too many locations");
    known = int16_t(location_count());
    locations_.push_back({address, bytes, {}, {}});
    uint64_t initial = 0;
    std::memcpy(&initial, address, bytes);
    locations_.back().stores.reserve(64);
    locations_.back().stores.push_back({initial, 0, 0, false, false, {}});
  }
  if (locations_[known].bytes != bytes) give_up("a place of 4 bytes and of 8");
  return known;
}

void MemoryModel::begin_run() {
  for (Place& place : locations_) {
    place.stores.resize(1);
    place.plain_loads.fill(0);
  }
  threads_ = {};
  last_loaded_ = {};
  at_fences_ = {};
  in_kernel_ = {};
}

uint64_t MemoryModel::load(int thread, Location at, StoreIndex index, std::memory_order order) {
  Thread& self = threads_[thread];
  const Store& from = stores(at)[index];
  self.now.oldest[at] = index;
  last_loaded_[thread][at] = index;
  if (from.tells) {
    View& told = acquires(order) ? self.now : self.at_acquire;
    told.join(from.told, location_count());
  }
  return from.value;
}

MemoryModel::Store& MemoryModel::append(int thread, Location at, uint64_t value,
                                        std::memory_order order) {
  Thread& self = threads_[thread];
  const uint32_t event = ++self.now.events[thread];
  const StoreIndex index = store_count(at);
  self.now.oldest[at] = index;
  last_loaded_[thread][at] = index;
  locations_[at].stores.push_back({value, event, int8_t(thread), false, false, {}});
  Store& store = locations_[at].stores.back();
  if (releases(order)) {
    store.told = self.now;
    store.tells = true;
  } else if (self.has_released) {
    store.told = self.at_release;
    store.told.oldest[at] = index;
    store.tells = true;
  }
  return store;
}

bool MemoryModel::store(int thread, Location at, uint64_t value, std::memory_order order) {
  const bool is_ordered =
      is_ordered_with_loads(thread, at) && is_ordered_with_stores(thread, at, true);
  append(thread, at, value, order);
  return is_ordered;
}

bool MemoryModel::read_modify_write(int thread, Location at, uint64_t value,
                                    std::memory_order order) {
  const StoreIndex before = StoreIndex(store_count(at) - 1);
  load(thread, at, before, order);
  const bool is_ordered = is_ordered_with_loads(thread, at);
  Store& store = append(thread, at, value, order);
  const Store& from = stores(at)[before];
  if (from.tells) {  // a release sequence goes on
    if (!store.tells) store.told = {};
    store.tells = true;
    store.told.join(from.told, location_count());
  }
  return is_ordered;
}

void MemoryModel::fence(int thread, std::memory_order order) {
  Thread& self = threads_[thread];
  if (acquires(order)) self.now.join(self.at_acquire, location_count());
  if (order == std::memory_order_seq_cst) {
    self.now.join_stores(at_fences_, location_count());
    at_fences_ = self.now;
  }
  if (releases(order)) {
    self.at_release = self.now;
    self.has_released = true;
  }
}

bool MemoryModel::is_ordered_with_stores(int thread, Location at, bool only_plain) const {
  const View& now = threads_[thread].now;
  for (const Store& store : stores(at)) {
    if (only_plain && !store.is_plain) continue;
    if (store.event > now.events[store.thread]) return false;
  }
  return true;
}

bool MemoryModel::is_ordered_with_loads(int thread, Location at) const {
  const View& now = threads_[thread].now;
  for (int other = 0; other < kMostThreads; ++other) {
    if (other != thread && locations_[at].plain_loads[other] > now.events[other]) return false;
  }
  return true;
}

bool MemoryModel::plain_load(int thread, Location at, uint64_t& value) {
  Thread& self = threads_[thread];
  value = stores(at).back().value;
  locations_[at].plain_loads[thread] = ++self.now.events[thread];
  return is_ordered_with_stores(thread, at, false);
}

bool MemoryModel::plain_store(int thread, Location at, uint64_t value) {
  const bool is_ordered =
      is_ordered_with_loads(thread, at) && is_ordered_with_stores(thread, at, false);
  append(thread, at, value, std::memory_order_relaxed).is_plain = true;
  return is_ordered;
}

void MemoryModel::join_thread(int thread, int other) {
  threads_[thread].now.join(threads_[other].now, location_count());
  threads_[thread].now.join(threads_[other].at_acquire, location_count());
}

void MemoryModel::pass_kernel(int thread) {
  threads_[thread].now.join(in_kernel_, location_count());
  in_kernel_ = threads_[thread].now;
}

}  // namespace explore
