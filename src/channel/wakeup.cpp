// SPDX-License-Identifier: MIT
#include "channel/wakeup.h"

namespace eshm::channel {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

uint32_t announce(layout::WakeLine& line, uint32_t announcer) {
  // B1 -> B2: taken before the announcement, so that a ring which takes the
  // announcement away has changed the doorbell.
  const uint32_t key = line.doorbell.load(memory_order_acquire);
  line.announced.store(announcer, memory_order_release);  // A1
  std::atomic_thread_fence(memory_order_seq_cst);         // AF, pairs with the ringer's fence
  return key;
}

os::FutexWait park(const layout::WakeLine& line, uint32_t key, os::Deadline deadline) {
  return os::futex_wait(line.doorbell, key, deadline);
}

void ring(layout::WakeLine& line) {
  line.doorbell.fetch_add(1, memory_order_release);  // B2 -> B1
  os::futex_wake_all(line.doorbell);
}

void ring_announced(layout::WakeLine& line) {
  // A3. A new reader's announcement may replace a dead reader's between the load and the
  // swap. The new one is then taken instead: the ring below is for both.
  uint32_t announcer = line.announced.load(memory_order_relaxed);
  for (int attempt = 0; announcer != 0 && attempt < 3; ++attempt) {
    if (line.announced.compare_exchange_strong(announcer, 0, memory_order_acquire,
                                               memory_order_relaxed)) {
      break;
    }
  }
  ring(line);
}

}  // namespace eshm::channel
