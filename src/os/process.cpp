// SPDX-License-Identifier: MIT
#include "os/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "os/clock.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace eshm::os {
namespace {

constexpr uint64_t kPfExiting = 0x4;  // linux/sched.h, PF_EXITING

struct ProcStat {
  char state = 0;
  uint64_t flags = 0;
  uint64_t start_time = 0;
};

bool read_stat(const char* path, ProcStat& out) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[1024];
  const ssize_t length = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (length <= 0) return false;
  text[length] = 0;
  // The second field, the command, may hold spaces and brackets: count from
  // the last closing one.
  const char* field = std::strrchr(text, ')');
  if (field == nullptr || field[1] == 0) return false;
  field += 2;
  for (int number = 3; *field != 0; ++number) {
    if (number == 3) out.state = *field;
    if (number == 9) out.flags = std::strtoull(field, nullptr, 10);
    if (number == 22) {
      out.start_time = std::strtoull(field, nullptr, 10);
      return true;
    }
    field = std::strchr(field, ' ');
    if (field == nullptr) return false;
    ++field;
  }
  return false;
}

bool read_stat(pid_t pid, ProcStat& out) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/stat", int(pid));
  return read_stat(path, out);
}

uint64_t namespace_inode(const char* path) {
  struct stat meta;
  return ::stat(path, &meta) == 0 ? uint64_t(meta.st_ino) : 0;
}

}  // namespace

ProcessIdentity self() {
  // A lock could be held in a forked child for ever.
  thread_local ProcessIdentity cached;
  thread_local uint32_t cached_epoch = 0;
  count_forks();
  // In a new PID namespace a child may have the number of its parent.
  const pid_t pid = getpid();
  if (cached_epoch != fork_epoch() || cached.pid != pid) {
    ProcStat stat;
    cached.pid = pid;
    // Not by number: /proc may be of another PID namespace.
    cached.start_time = read_stat("/proc/self/stat", stat) ? stat.start_time : 0;
    cached.pid_namespace = namespace_inode("/proc/self/ns/pid");
    cached.time_namespace = namespace_inode("/proc/self/ns/time");
    cached_epoch = fork_epoch();
  }
  return cached;
}

uint64_t start_time_of(pid_t pid) {
  ProcStat stat;
  return read_stat(pid, stat) ? stat.start_time : 0;
}

bool is_exiting(pid_t pid) {
  ProcStat stat;
  return read_stat(pid, stat) &&
         ((stat.flags & kPfExiting) != 0 || stat.state == 'Z' || stat.state == 'X');
}

int open_pidfd(pid_t pid, Fd& out) {
  // The kernel sets O_CLOEXEC on every pidfd.
  return Fd::open([pid] { return int(syscall(SYS_pidfd_open, pid, 0u)); }, out);
}

uint64_t random_nonzero() {
  uint64_t value = 0;
  while (value == 0) {
    if (getrandom(&value, sizeof value, 0) != ssize_t(sizeof value)) {
      value = monotonic_ns() ^ (uint64_t(getpid()) << 40);  // no getrandom: unique enough
    }
  }
  return value;
}

std::string user_name(uid_t uid) {
  std::string text = "uid " + std::to_string(uid);
  passwd entry;
  passwd* found = nullptr;
  char room[1024];
  if (getpwuid_r(uid, &entry, room, sizeof room, &found) == 0 && found != nullptr) {
    text = std::string(entry.pw_name) + " (" + text + ")";
  }
  return text;
}

ScopedSignalBlock::ScopedSignalBlock() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &saved_);
}

ScopedSignalBlock::~ScopedSignalBlock() { pthread_sigmask(SIG_SETMASK, &saved_, nullptr); }

bool ScopedSignalBlock::holds_one_back() const {
  sigset_t pending;
  if (sigpending(&pending) != 0 || sigisemptyset(&pending)) return false;
  for (int signal = 1; signal < NSIG; ++signal) {
    if (sigismember(&pending, signal) == 1 && sigismember(&saved_, signal) == 0) return true;
  }
  return false;
}

}  // namespace eshm::os
