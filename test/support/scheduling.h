// SPDX-License-Identifier: MIT
// Threads with a priority, and on one processor.
#pragma once

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <string>
#include <thread>

namespace test {

inline int own_thread_id() { return int(syscall(SYS_gettid)); }

// Gives the calling thread SCHED_FIFO with that priority; 0: SCHED_OTHER.
inline bool set_priority(int priority) {
  sched_param parameters = {};
  parameters.sched_priority = priority;
  return pthread_setschedparam(pthread_self(), priority > 0 ? SCHED_FIFO : SCHED_OTHER,
                               &parameters) == 0;
}

// Whether this process may use SCHED_FIFO up to that priority.
inline bool has_real_time(int priority) {
  bool is_allowed = false;
  std::thread([&] { is_allowed = set_priority(priority); }).join();
  return is_allowed;
}

// Binds the calling thread to the last processor that it may use.
inline bool stay_on_one_processor() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  int last = CPU_SETSIZE - 1;
  while (last > 0 && !CPU_ISSET(size_t(last), &allowed)) --last;
  CPU_ZERO(&allowed);
  CPU_SET(size_t(last), &allowed);
  return sched_setaffinity(0, sizeof allowed, &allowed) == 0;
}

// The priority that a thread of this process runs with, boosted or not: that of
// SCHED_FIFO, or 0.
inline int effective_priority(int thread_id) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread_id) + "/stat");
  file.ignore(std::numeric_limits<std::streamsize>::max(), ')');
  std::string word;
  for (int field = 3; field < 18; ++field) file >> word;
  int priority = 0;  // field 18 of proc(5): -1 - the priority of SCHED_FIFO; else 0 or more
  file >> priority;
  return priority < 0 ? -1 - priority : 0;
}

}  // namespace test
