// SPDX-License-Identifier: MIT
// The C++ memory model as a machine: of each location the stores in their order,
// of each thread what it may still read. A load takes any store that its thread
// has not been told is overwritten; who takes a store by acquire is told all that
// its writer knew at the release.
//
// As in C++20 (and in RC11): release and acquire, also by fences; release
// sequences, which only read-modify-writes continue; seq_cst fences, which tell
// each later one all that was known at an earlier one. Not in it: loads that take
// a store which its writer has yet to reach (of x86 none does, of ARM a relaxed
// one may). The races that this would show are looked for in another way: plain
// accesses that are not ordered by happens-before are told of.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace explore {

constexpr int kMostThreads = 5;
constexpr int kMostLocations = 160;

using Location = int;
using StoreIndex = uint16_t;  // of a location's stores, in their order

// What a thread has been told, or what a store tells.
struct View {
  std::array<StoreIndex, kMostLocations> oldest;  // that may still be read
  std::array<uint32_t, kMostThreads> events;      // of each thread, that happened before

  void join_stores(const View& other, int locations);
  void join(const View& other, int locations);
};

class MemoryModel {
 public:
  // All shared places lie in there. Locations keep their numbers from run to run.
  void begin(const void* memory, size_t bytes);
  Location location(const void* address, size_t bytes);
  int location_count() const { return int(locations_.size()); }
  // Each location has its memory's content as its only store again.
  void begin_run();

  StoreIndex store_count(Location at) const { return StoreIndex(stores(at).size()); }
  StoreIndex oldest_readable(int thread, Location at) const {
    return threads_[thread].now.oldest[at];
  }
  StoreIndex last_loaded(int thread, Location at) const { return last_loaded_[thread][at]; }
  uint64_t value(Location at, StoreIndex index) const { return stores(at)[index].value; }

  uint64_t load(int thread, Location at, StoreIndex index, std::memory_order order);
  // False: another thread's plain access is not ordered with it.
  bool store(int thread, Location at, uint64_t value, std::memory_order order);
  bool read_modify_write(int thread, Location at, uint64_t value, std::memory_order order);
  void fence(int thread, std::memory_order order);

  // Not atomic: every other thread's stores, and for a store its loads, must
  // have happened before.
  bool plain_load(int thread, Location at, uint64_t& value);
  bool plain_store(int thread, Location at, uint64_t value);

  // All that `other` did happened before what `thread` does from now on.
  void join_thread(int thread, int other);
  // Through a lock of the kernel's, which whoever calls takes and drops.
  void pass_kernel(int thread);

 private:
  struct Store {
    uint64_t value;
    uint32_t event;  // of its thread
    int8_t thread;
    bool tells;
    bool is_plain;
    View told;
  };
  struct Place {
    const void* address;
    size_t bytes;
    std::vector<Store> stores;
    std::array<uint32_t, kMostThreads> plain_loads;  // each thread's last
  };
  struct Thread {
    View now;
    View at_acquire;  // what an acquire fence would tell besides
    View at_release;  // known at the last release fence
    bool has_released;
  };

  const std::vector<Store>& stores(Location at) const { return locations_[at].stores; }
  bool is_ordered_with_stores(int thread, Location at, bool only_plain) const;
  bool is_ordered_with_loads(int thread, Location at) const;
  Store& append(int thread, Location at, uint64_t value, std::memory_order order);

  uintptr_t memory_ = 0;
  std::vector<int16_t> location_at_;  // of each four bytes; -1: none yet
  std::vector<Place> locations_;
  std::array<Thread, kMostThreads> threads_;
  std::array<std::array<StoreIndex, kMostLocations>, kMostThreads> last_loaded_;
  View at_fences_;  // known at the seq_cst fences so far
  View in_kernel_;
};

}  // namespace explore
