// SPDX-License-Identifier: MIT
// Time that passes when somebody sleeps: linked with --wrap, so that waits cost a
// fuzzer nothing. One thread, and nobody to wake it.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>

namespace {

constexpr int64_t kSecond = 1'000'000'000;
int64_t slept_ns = 0;

int64_t ns_of(const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; }

}  // namespace

extern "C" {

int __real_clock_gettime(clockid_t clock, timespec* now);
long __real_syscall(long number, ...);

int __wrap_clock_gettime(clockid_t clock, timespec* now) {
  const int result = __real_clock_gettime(clock, now);
  const int64_t then = ns_of(*now) + slept_ns;
  *now = {time_t(then / kSecond), long(then % kSecond)};
  return result;
}

static void sleep_until(const timespec& end) {
  timespec now;
  __wrap_clock_gettime(CLOCK_MONOTONIC, &now);
  if (ns_of(end) > ns_of(now)) slept_ns += ns_of(end) - ns_of(now);
}

int __wrap_clock_nanosleep(clockid_t, int, const timespec* end, timespec*) {
  sleep_until(*end);
  return 0;
}

long __wrap_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long argument[6];
  for (long& one : argument) one = va_arg(list, long);
  va_end(list);
  const bool waits =
      number == SYS_futex && (argument[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
  if (!waits) {
    return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                          argument[5]);
  }
  sleep_until(*reinterpret_cast<const timespec*>(argument[3]));
  errno = ETIMEDOUT;
  return -1;
}

}  // extern "C"
