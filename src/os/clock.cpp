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

uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * kNsPerSecond + uint64_t(now.tv_nsec);
}

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
