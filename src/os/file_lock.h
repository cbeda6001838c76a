// SPDX-License-Identifier: MIT
// Kernel locks on single bytes of a file: who holds one lives.
#pragma once

#include <cstdint>

#include "os/fd.h"

namespace eshm::os {

// Open-file-description locks (F_OFD_SETLK). The kernel drops them when the
// last descriptor of the description is gone: when the process dies, whatever
// killed it and in whatever PID namespace, and its address space is torn down.
//
// The description is of its own, reopened from another descriptor of the same
// file. It must never be mapped: a mapping keeps its description, and with it
// the lock, alive in a forked child that closed every descriptor.
class LockFile {
 public:
  // Reopens the file behind `file` through /proc. Returns 0 or the errno;
  // ENOENT where /proc is not mounted.
  static int reopen(const Fd& file, bool writable, LockFile& out);

  // Never waits. 0: taken; EAGAIN: another description holds it; EBADF: the
  // application closed the descriptor; else the errno.
  int try_lock(uint64_t byte);
  int unlock(uint64_t byte);
  // Whether another description holds the byte, without taking it. Works on a
  // read-only file. Same errors.
  int is_held_elsewhere(uint64_t byte, bool& held) const;

  bool is_open() const { return fd_.is_open(); }
  bool is_still_ours() const { return fd_.is_still_ours(); }
  const Fd& fd() const { return fd_; }
  void close() { fd_.reset(); }

 private:
  Fd fd_;
};

}  // namespace eshm::os
