// SPDX-License-Identifier: MIT
// Sleeping until the other process has something, and waking it only if it
// sleeps: an event count in shared memory. docs/PROTOCOL.md, section "Parking".
//
//   waiter                         ringer
//   key = doorbell        (B1)     make the thing visible
//   announced = announcer (A1)     full fence            (the caller's)
//   full fence            (AF)     announced != 0?       (A2)
//   look once more                 swap announced for 0  (A3)
//   sleep while doorbell == key    doorbell + 1, wake all (B2)
//
// Either the ringer sees the announcement, or the waiter sees the thing. The
// swap comes before the ring: an announcement that it takes away was made with
// a key from before the ring, so that waiter does not sleep.
#pragma once

#include <cstdint>

#include "layout/segment.h"
#include "os/futex.h"

namespace eshm::channel {

// Announces that this process waits, and returns the key for park(). `announcer` is the
// process's own number, not 0, so that a dead process's announcement differs from a
// living one's. Look once more after it, then park or not: nothing has to be undone.
uint32_t announce(layout::WakeLine& line, uint32_t announcer);

// Sleeps until a ring after announce(), a signal, or the deadline.
os::FutexWait park(const layout::WakeLine& line, uint32_t key, os::Deadline deadline);

// Rings unconditionally: for a change that is not in the channel.
void ring(layout::WakeLine& line);

// For the ringer, after a full fence that follows the thing's publication.
inline bool is_announced(const layout::WakeLine& line) {
  return line.announced.load(std::memory_order_relaxed) != 0;  // A2
}
// Takes the announcement and rings. At most one system call.
void ring_announced(layout::WakeLine& line);

}  // namespace eshm::channel
