// SPDX-License-Identifier: MIT
// Real-time scheduling and cores for tests, without harm to the machine.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/counts.h"

namespace test {

constexpr int kFifoPriority = 50;

inline std::vector<int> cores_of(const cpu_set_t& set) {
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

inline cpu_set_t usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}

// The calling thread; threads that it starts later inherit the core.
inline bool pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

// The calling thread, as sched_setscheduler answers: 0, or -1 with errno.
inline int become_fifo(int priority = kFifoPriority) {
  sched_param param = {};
  param.sched_priority = priority;
  return sched_setscheduler(0, SCHED_FIFO, &param);
}

// The kernel kills this process when one of its real-time threads has run for so long
// without a sleep: no fault of a test keeps a core for ever.
inline bool limit_time_without_sleep(unsigned seconds) {
  const rlimit limit = {rlim_t{seconds} * 1000000, rlim_t{seconds} * 1000000};
  return setrlimit(RLIMIT_RTTIME, &limit) == 0;
}

// Why a process cannot keep a core under SCHED_FIFO here; empty if it can.
inline std::string no_fifo_because() {
  Child child([](Wire& wire) {
    wire.say(become_fifo() == 0 ? "permitted" : std::strerror(errno));
    return 0;
  });
  const std::string answer = child.hear();
  child.join();
  if (answer == "permitted") return {};
  rlimit limit = {};
  getrlimit(RLIMIT_RTPRIO, &limit);
  return "SCHED_FIFO " + std::to_string(kFifoPriority) + ": " + answer + " (RLIMIT_RTPRIO is " +
         std::to_string(limit.rlim_cur) + ", user " + std::to_string(geteuid()) + ")";
}

// Why a thread under SCHED_FIFO that never sleeps would take a core from the kernel and
// from all other processes without end; empty if the kernel throttles it.
inline std::string no_throttling_because() {
  std::ifstream file("/proc/sys/kernel/sched_rt_runtime_us");
  long long runtime_us = 0;
  if (!(file >> runtime_us)) return "kernel.sched_rt_runtime_us cannot be read";
  if (runtime_us < 0) return "kernel.sched_rt_runtime_us is -1: real-time threads are not throttled";
  return {};
}

// A core for a thread that never sleeps, and the others for the rest of the test. One test
// at a time has it, in all builds on this machine: two such threads of the same priority
// on one core would wait for each other.
class CoreOfItsOwn {
 public:
  CoreOfItsOwn() : before_(usable_cores()), turn_(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    const std::vector<int> cores = cores_of(before_);
    if (cores.size() < 2) return;
    alarm(0);  // waiting for the turn is no hang
    if (turn_ >= 0) flock(turn_, LOCK_EX);
    arm_watchdog();
    core_ = cores.back();
    cpu_set_t others = before_;
    CPU_CLR(core_, &others);
    sched_setaffinity(0, sizeof others, &others);
  }
  ~CoreOfItsOwn() {
    sched_setaffinity(0, sizeof before_, &before_);
    if (turn_ >= 0) close(turn_);
  }
  CoreOfItsOwn(const CoreOfItsOwn&) = delete;
  CoreOfItsOwn& operator=(const CoreOfItsOwn&) = delete;

  bool is_there() const { return core_ >= 0; }
  int number() const { return core_; }

 private:
  const cpu_set_t before_;
  const int turn_;
  int core_ = -1;
};

}  // namespace test
