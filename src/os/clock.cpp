#include "os/clock.h"

#include <time.h>
#include <poll.h>

namespace eshm::os {

uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000u + uint64_t(now.tv_nsec);
}

Deadline Deadline::after_ns(uint64_t ns) {
  const uint64_t now = monotonic_ns();
  return ns >= kNever - now ? never() : at(now + ns);
}

Deadline Deadline::after_ms(uint32_t ms) {
  return ms == UINT32_MAX ? never() : after_ns(uint64_t(ms) * kNsPerMs);
}

int poll_until(::pollfd* fds, unsigned long count, Deadline deadline) {
  const uint64_t now = monotonic_ns();
  const uint64_t left = deadline.ns() > now ? deadline.ns() - now : 0;
  const timespec t{time_t(left / 1'000'000'000u), long(left % 1'000'000'000u)};
  return ppoll(fds, count, &t, nullptr);
}

void sleep_until(Deadline deadline) {
  const timespec at{time_t(deadline.ns() / 1'000'000'000u), long(deadline.ns() % 1'000'000'000u)};
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

}  // namespace eshm::os
