#include "os/name_watch.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace eshm::os {

int NameWatch::start() {
  Fd fd;
  const int failure = Fd::open([] { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }, fd);
  if (failure != 0) return failure;
  watch_ = inotify_add_watch(fd.get(), "/dev/shm", IN_CREATE | IN_MOVED_TO);
  if (watch_ < 0) return errno;
  fd_ = std::move(fd);
  return 0;
}

// Reading takes events away, so it must not be a stranger's inotify that got
// our number after a close_range. The inode of all of them is the same: ask
// for the watch that we made.
bool NameWatch::is_our_watch() const {
  if (!fd_.is_still_ours()) return false;
  char path[48];
  std::snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd_.get());
  const int info = ::open(path, O_RDONLY | O_CLOEXEC);
  if (info < 0) return false;
  char text[1024];
  const ssize_t length = ::read(info, text, sizeof text - 1);
  ::close(info);
  if (length <= 0) return false;
  text[length] = 0;
  char wanted[32];
  std::snprintf(wanted, sizeof wanted, "inotify wd:%x ", unsigned(watch_));
  const char* const ours = std::strstr(text, wanted);
  return ours != nullptr && std::strstr(ours + 1, "inotify wd:") == nullptr;
}

void NameWatch::stop() {
  if (fd_.is_open() && !is_our_watch()) fd_.forget();
  fd_.reset();
}

bool NameWatch::drain() {
  if (!is_our_watch()) {
    stop();
    return false;
  }
  alignas(inotify_event) char events[4096];
  while (::read(fd_.get(), events, sizeof events) > 0) {
  }
  return true;
}

}  // namespace eshm::os
