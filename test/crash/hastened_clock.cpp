// SPDX-License-Identifier: MIT
#include "crash/hastened_clock.h"

#include <time.h>

#include <atomic>

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

std::atomic<int64_t> ahead_ns{0};
std::atomic<int64_t> held_ns{0};  // 0: it goes on

int64_t ns_of(const timespec& time) { return time.tv_sec * kNsPerSecond + time.tv_nsec; }

timespec time_of(int64_t ns) {
  timespec time = {};
  time.tv_sec = time_t(ns / kNsPerSecond);
  time.tv_nsec = long(ns % kNsPerSecond);
  return time;
}

bool is_hastened(clockid_t clock) {
  return clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE;
}

}  // namespace

extern "C" {

int __real_clock_gettime(clockid_t clock, timespec* now);
int __wrap_clock_gettime(clockid_t clock, timespec* now) {
  const int result = __real_clock_gettime(clock, now);
  if (result != 0 || !is_hastened(clock)) return result;
  *now = time_of(held_ns != 0 ? held_ns.load() : ns_of(*now) + ahead_ns);
  return result;
}

int __real_clock_nanosleep(clockid_t clock, int flags, const timespec* until, timespec* rest);
int __wrap_clock_nanosleep(clockid_t clock, int flags, const timespec* until, timespec* rest) {
  if (flags != TIMER_ABSTIME || !is_hastened(clock)) {
    return __real_clock_nanosleep(clock, flags, until, rest);
  }
  const timespec real = time_of(ns_of(*until) - ahead_ns);
  return __real_clock_nanosleep(clock, flags, &real, rest);
}
}

namespace test {

void hasten_clock(uint64_t ms) {
  ahead_ns += int64_t(ms) * 1'000'000;
  held_ns = 0;
}

void hold_clock() {
  timespec now;
  __wrap_clock_gettime(CLOCK_MONOTONIC, &now);
  held_ns = ns_of(now);
}

}  // namespace test
