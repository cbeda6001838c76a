// SPDX-License-Identifier: MIT
// Monotonic time and the one representation of a time-out: an absolute Deadline.
#pragma once

#include <poll.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

namespace eshm::os {

constexpr uint64_t kNsPerMs = 1'000'000;

// CLOCK_MONOTONIC in nanoseconds. Never fails, no system call where the vDSO
// serves the clock. Differs between time namespaces: never compare with a peer's.
uint64_t monotonic_ns();

timespec to_timespec(uint64_t ns);

// The same clock as of the kernel's last timer tick: up to 10 ms old, and a few
// nanoseconds cheap.
uint64_t coarse_monotonic_ns();

// A point in CLOCK_MONOTONIC time, or never. Small, copied by value.
class Deadline {
 public:
  static Deadline never() { return Deadline(kNever); }
  static Deadline at(uint64_t ns) { return Deadline(ns); }
  static Deadline after_ns(uint64_t ns);
  // UINT32_MAX, the API's "for ever", is never.
  static Deadline after_ms(uint32_t ms);

  bool is_never() const { return ns_ == kNever; }
  bool has_passed() const { return !is_never() && monotonic_ns() >= ns_; }
  uint64_t ns() const { return ns_; }
  Deadline or_earlier(Deadline other) const { return other.ns_ < ns_ ? other : *this; }

 private:
  static constexpr uint64_t kNever = UINT64_MAX;
  explicit Deadline(uint64_t ns) : ns_(ns) {}
  uint64_t ns_;
};

// Sleeps to the deadline or a signal, whichever is first.
void sleep_until(Deadline deadline);

// poll(2) until the deadline. Returns how many descriptors have events: 0 at the
// deadline, -1 and errno after a signal.
int poll_until(pollfd* descriptors, size_t count, Deadline deadline);

}  // namespace eshm::os
