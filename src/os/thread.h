// SPDX-License-Identifier: MIT
// Threads that inherit neither policy, priority and signal mask of the thread that starts
// them, nor the process's default stack size.
#pragma once

#include <pthread.h>
#include <sched.h>

#include <cstddef>
#include <functional>
#include <string>

#include "os/cpu_set.h"

namespace eshm::os {

struct Scheduling {
  int policy = SCHED_OTHER;  // or SCHED_FIFO, SCHED_RR
  int priority = 0;          // 1 .. 99 with SCHED_FIFO and SCHED_RR
  CpuSet cpus;               // empty: not requested

  friend bool operator==(const Scheduling& one, const Scheduling& other) {
    return one.policy == other.policy && one.priority == other.priority && one.cpus == other.cpus;
  }
  friend bool operator!=(const Scheduling& one, const Scheduling& other) { return !(one == other); }
};

struct ThreadAttributes {
  const char* name;    // at most 15 bytes
  size_t stack_bytes;  // for the thread's calls; thread-local variables are added
  const Scheduling& scheduling;
  // If no CPUs are requested. A thread that cannot have these gets those of the thread
  // that starts it.
  const CpuSet& default_cpus;
};

// One thread, with every signal blocked. The destructor joins it. The object must not
// move while the thread runs.
class Thread {
 public:
  Thread() = default;
  ~Thread() { join(); }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  // Returns 0 or the errno, for why_not_started():
  //   EPERM   policy and priority are not permitted
  //   EINVAL  the process may use none of the CPUs
  //   EAGAIN  no memory for the stack, or too many threads
  //   ENOMEM  no other memory
  int start(const ThreadAttributes& attributes, std::function<void()> body);
  bool is_running() const { return is_running_; }  // started, and not joined
  void join();

 private:
  struct Attempt;
  int start(const ThreadAttributes& attributes);
  int create(const Attempt& attempt);
  static void* enter(void* self);

  std::function<void()> body_;
  pthread_t thread_ = {};
  bool is_running_ = false;
};

// "SCHED_FIFO" and so on.
const char* policy_name(int policy);

// Why start() failed: names the limit that was in the way, and what the thread needs.
std::string why_not_started(int error_number, const ThreadAttributes& attributes);

}  // namespace eshm::os
