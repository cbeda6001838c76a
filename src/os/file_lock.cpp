// SPDX-License-Identifier: MIT
#include "os/file_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>

namespace eshm::os {
namespace {

struct flock one_byte(short type, uint64_t byte) {
  struct flock range = {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = off_t(byte);
  range.l_len = 1;
  return range;
}

}  // namespace

int LockFile::reopen(const Fd& file, bool writable, LockFile& out) {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", file.get());
  return Fd::open(
      [&] { return ::open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY); }, out.fd_);
}

int LockFile::try_lock(uint64_t byte) {
  if (!is_still_ours()) return EBADF;
  struct flock range = one_byte(F_WRLCK, byte);
  if (fcntl(fd_.get(), F_OFD_SETLK, &range) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

int LockFile::unlock(uint64_t byte) {
  if (!is_still_ours()) return EBADF;
  struct flock range = one_byte(F_UNLCK, byte);
  return fcntl(fd_.get(), F_OFD_SETLK, &range) == 0 ? 0 : errno;
}

int LockFile::is_held_elsewhere(uint64_t byte, bool& held) const {
  if (!is_still_ours()) return EBADF;
  struct flock range = one_byte(F_WRLCK, byte);
  if (fcntl(fd_.get(), F_OFD_GETLK, &range) != 0) return errno;
  held = range.l_type != F_UNLCK;
  return 0;
}

}  // namespace eshm::os
