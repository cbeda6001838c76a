// SPDX-License-Identifier: MIT
#include "os/clock.h"

namespace eshm::os {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;

}  // namespace

timespec to_timespec(uint64_t ns) {
  timespec result = {};
  result.tv_sec = time_t(ns / kNsPerSecond);
  result.tv_nsec = long(ns % kNsPerSecond);
  return result;
}

namespace {

uint64_t ns_of(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000u + uint64_t(now.tv_nsec);
}

}  // namespace

uint64_t monotonic_ns() { return ns_of(CLOCK_MONOTONIC); }

uint64_t coarse_monotonic_ns() { return ns_of(CLOCK_MONOTONIC_COARSE); }

Deadline Deadline::after_ns(uint64_t ns) {
  const uint64_t now = monotonic_ns();
  return ns >= kNever - now ? never() : at(now + ns);
}

Deadline Deadline::after_ms(uint32_t ms) {
  return ms == UINT32_MAX ? never() : after_ns(uint64_t(ms) * kNsPerMs);
}

void sleep_until(Deadline deadline) {
  const timespec at = to_timespec(deadline.ns());
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

int poll_until(pollfd* descriptors, size_t count, Deadline deadline) {
  if (deadline.is_never()) return ppoll(descriptors, nfds_t(count), nullptr, nullptr);
  const uint64_t now = monotonic_ns();
  const timespec timeout = to_timespec(deadline.ns() > now ? deadline.ns() - now : 0);
  return ppoll(descriptors, nfds_t(count), &timeout, nullptr);
}

}  // namespace eshm::os
