// SPDX-License-Identifier: MIT
#include "host.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace tool {
namespace {

bool has_pidfd() {
  const long fd = syscall(SYS_pidfd_open, getpid(), 0);
  if (fd >= 0) close(int(fd));
  return fd >= 0;
}

// With arguments that are refused by a kernel that has the call.
bool has_futex_waitv() {
  return syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) == -1 && errno == EINVAL;
}

bool has_unnamed_files() {
  const int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

bool has_description_locks() {
  const int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_len = 1;
  const bool is_there = fcntl(fd, F_OFD_GETLK, &range) == 0;
  close(fd);
  return is_there;
}

bool has_exchange() {
  return renameat2(AT_FDCWD, "/dev/shm/.eshm-no-such-file", AT_FDCWD,
                   "/dev/shm/.eshm-no-such-file-either", RENAME_EXCHANGE) == -1 &&
         errno == ENOENT;
}

bool has_inotify() {
  const int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

}  // namespace

std::vector<Feature> kernel_features() {
  return {
      {"O_TMPFILE", has_unnamed_files(), "a segment has a name only when it is whole",
       "no link can be made: /dev/shm must be a tmpfs"},
      {"OFD locks", has_description_locks(), "the kernel says who holds a role",
       "no link can be used: Linux 3.15 or newer is needed"},
      {"pidfd", has_pidfd(), "a peer's end is seen at once",
       "a peer's end is seen within 10 ms (Linux 5.3 has it)"},
      {"futex_waitv", has_futex_waitv(), "eshm_wait_any sleeps on many links at once",
       "eshm_wait_any looks each millisecond (Linux 5.16 has it)"},
      {"RENAME_EXCHANGE", has_exchange(), "a link's name never changes to the wrong file",
       "a name that a stranger gives away at that very moment is not noticed"},
      {"inotify", has_inotify(), "a slave sees its new master at once",
       "a slave looks for its new master by its retry interval; raise "
       "fs.inotify.max_user_instances"},
  };
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace tool
