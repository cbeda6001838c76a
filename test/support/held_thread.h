// SPDX-License-Identifier: MIT
// A thread of a child that a tracer holds, while the child's other threads run.
#pragma once

#include <linux/futex.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>

#include "support/counts.h"
#include "support/possessions.h"

namespace test {

// The first thread of that name, or 0.
inline pid_t thread_of(pid_t process, const std::string& name) {
  const std::string tasks = "/proc/" + std::to_string(process) + "/task";
  pid_t found = 0;
  for_each_entry(tasks.c_str(), [&](const char* entry) {
    std::ifstream comm(tasks + "/" + entry + "/comm");
    std::string line;
    if (std::getline(comm, line) && line == name) found = std::atoi(entry);
  });
  return found;
}

// Whether the thread sleeps in the kernel for the holder of a lock that inherits priority.
inline bool sleeps_for_a_holder(pid_t thread) {
  std::ifstream file("/proc/" + std::to_string(thread) + "/syscall");
  std::string number, address, operation;  // or "running"
  if (!(file >> number >> address >> operation) || number != std::to_string(SYS_futex)) return false;
  const int command = int(std::stoul(operation, nullptr, 16)) & FUTEX_CMD_MASK;
  return command == FUTEX_LOCK_PI || command == 13;  // FUTEX_LOCK_PI2, since Linux 5.14
}

// For the thread that made it. Lets go at its end.
class HeldThread {
 public:
  HeldThread(pid_t process, const std::string& name) : thread_(thread_of(process, name)) {
    EXPECT_NE(thread_, 0) << "no thread " << name;
    EXPECT_EQ(ptrace(PTRACE_SEIZE, thread_, nullptr, nullptr), 0) << errno;
    EXPECT_EQ(ptrace(PTRACE_INTERRUPT, thread_, nullptr, nullptr), 0) << errno;
    EXPECT_TRUE(has_stopped());
  }
  ~HeldThread() { ptrace(PTRACE_DETACH, thread_, nullptr, nullptr); }
  HeldThread(const HeldThread&) = delete;
  HeldThread& operator=(const HeldThread&) = delete;

  // One instruction. A system call that waits is waited for.
  bool step() { return ptrace(PTRACE_SINGLESTEP, thread_, nullptr, nullptr) == 0 && has_stopped(); }

 private:
  bool has_stopped() const {
    int status = 0;
    return waitpid(thread_, &status, __WALL) == thread_ && WIFSTOPPED(status);
  }

  pid_t thread_;
};

}  // namespace test
