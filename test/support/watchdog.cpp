// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>

#include "support/counts.h"

namespace test {
namespace {

// A machine that is slower than this for so long gets no more time.
constexpr unsigned kMostTimes = 10;

unsigned base_seconds = 0;
time_t armed_at = 0;
const char* load_file = nullptr;

// Monotonic; the signal handler may call it.
time_t now_seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

// How many tasks of the last minute wanted to run or waited for a disk, for each
// processor; at least 1. A signal handler may call it.
unsigned load_per_processor() {
  char text[16] = "";
  const int file = open(load_file, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 1;
  const ssize_t bytes = read(file, text, sizeof text - 1);
  close(file);
  unsigned load = 0;
  for (ssize_t i = 0; i < bytes && text[i] >= '0' && text[i] <= '9'; ++i) {
    load = load * 10 + unsigned(text[i] - '0');
  }
  const long processors = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  return std::min(kMostTimes, std::max(1u, (load + unsigned(processors) / 2) / unsigned(processors)));
}

void time_is_over(int) {
  const time_t allowed = time_t(base_seconds) * load_per_processor();
  const time_t elapsed = now_seconds() - armed_at;
  if (elapsed < allowed) {
    alarm(unsigned(allowed - elapsed));
    return;
  }
  signal(SIGALRM, SIG_DFL);
  raise(SIGALRM);
}

}  // namespace

void arm_watchdog(unsigned seconds, const char* path) {
  base_seconds = seconds;
  load_file = path;
  armed_at = now_seconds();
  struct sigaction action = {};
  action.sa_handler = time_is_over;
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  alarm(seconds);
}

}  // namespace test
