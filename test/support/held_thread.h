// A thread of a child that a tracer holds, while the child's other threads run.
#pragma once

#include <sys/ptrace.h>
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
