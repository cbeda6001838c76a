// SPDX-License-Identifier: MIT
// Who a process is, in words that another process can check.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "os/fd.h"

namespace eshm::os {

// A PID alone means nothing: it is reused, and in another PID namespace it is
// somebody else. The start time depends on the reader's time namespace.
struct ProcessIdentity {
  int32_t pid = 0;
  uint64_t start_time = 0;  // clock ticks since boot, /proc/PID/stat field 22; 0: unknown
  uint64_t pid_namespace = 0;
  uint64_t time_namespace = 0;
};

// This process. Reads /proc at a thread's first call after a fork, then from memory.
ProcessIdentity self();

// Start time of a process of our PID namespace, or 0 where it cannot be seen.
uint64_t start_time_of(pid_t pid);

// The kernel has begun to tear the process down (PF_EXITING), or it is a
// zombie. False where it cannot be seen.
bool is_exiting(pid_t pid);

// Readable (poll) when the process has ended. Needs Linux 5.3. Returns 0 or
// the errno: ESRCH there is none, ENOSYS an older kernel.
int open_pidfd(pid_t pid, Fd& out);

// 64 bits from the kernel's generator, never 0.
uint64_t random_nonzero();

// "name (uid N)" or "uid N".
std::string user_name(uid_t uid);

// Blocks every signal of this thread for its own lifetime.
class ScopedSignalBlock {
 public:
  ScopedSignalBlock();
  ~ScopedSignalBlock();
  ScopedSignalBlock(const ScopedSignalBlock&) = delete;
  ScopedSignalBlock& operator=(const ScopedSignalBlock&) = delete;

  // A signal has come that only this block holds back.
  bool holds_one_back() const;

 private:
  sigset_t saved_;
};

}  // namespace eshm::os
