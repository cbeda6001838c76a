// What every message needs, looked up once a segment: the two ends of the
// channels that this process holds. Plain values that an Endpoint keeps in its
// own memory, so that no call follows a chain of pointers.
#pragma once

#include <atomic>
#include <cstdint>

#include "channel/latest.h"

namespace eshm::endpoint {

struct WriteEnd {
  channel::LatestWriter latest;
  const std::atomic<uint64_t>* role = nullptr;  // incarnation of whoever holds ours
  uint64_t incarnation = 0;                     // our own
  const std::atomic<uint32_t>* superseded = nullptr;
  layout::WakeLine* wake = nullptr;
  uint64_t largest = 0;  // message, bytes
  bool is_stamped = false;

  bool has_successor() const { return role->load(std::memory_order_relaxed) != incarnation; }
};

struct ReadEnd {
  channel::LatestReader latest;
  const std::atomic<uint64_t>* role = nullptr;
  uint64_t incarnation = 0;
  const std::atomic<uint32_t>* superseded = nullptr;
  layout::WakeLine* wake = nullptr;
  std::atomic<uint64_t>* read_count = nullptr;

  bool has_successor() const { return role->load(std::memory_order_relaxed) != incarnation; }
  // Marks this process's announcements. Not 0.
  uint32_t mark() const { return uint32_t(incarnation) | 1; }
};

struct Ends {
  WriteEnd out;
  ReadEnd in;

  bool has_any_out() const { return out.latest.loans_out() + in.latest.borrows_out() != 0; }
};

}  // namespace eshm::endpoint
