// SPDX-License-Identifier: MIT
#include "os/name_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <new>

namespace eshm::os {

namespace {

// One idle instance of the process. Closing an inotify descriptor takes the
// kernel 10 to 20 ms, which neither a heartbeat nor an attaching slave has;
// taking a watch off it takes microseconds.
std::atomic<Fd*> spare{nullptr};

Fd take_spare() {
  const std::unique_ptr<Fd> found(spare.exchange(nullptr, std::memory_order_acq_rel));
  return found != nullptr && found->is_still_ours() ? std::move(*found) : Fd();
}

void keep_spare(Fd fd) {
  try {
    auto mine = std::make_unique<Fd>(std::move(fd));
    Fd* none = nullptr;
    if (spare.compare_exchange_strong(none, mine.get(), std::memory_order_acq_rel)) mine.release();
  } catch (const std::bad_alloc&) {  // destructors come here
  }
}

void discard_events(const Fd& fd) {
  alignas(inotify_event) char events[4096];
  while (::read(fd.get(), events, sizeof events) > 0) {
  }
}

}  // namespace

int NameWatch::start() {
  Fd fd = take_spare();
  if (!fd.is_open()) {
    const int failure = Fd::open([] { return inotify_init1(IN_CLOEXEC | IN_NONBLOCK); }, fd);
    if (failure != 0) return failure;
  }
  watch_ = inotify_add_watch(fd.get(), "/dev/shm", IN_CREATE | IN_MOVED_TO);
  if (watch_ < 0) return errno;
  fd_ = std::move(fd);
  return 0;
}

void NameWatch::stop() {
  if (!fd_.is_still_ours()) return fd_.reset();
  inotify_rm_watch(fd_.get(), watch_);
  discard_events(fd_);
  keep_spare(std::move(fd_));
}

bool NameWatch::clear() {
  if (!fd_.is_still_ours()) {
    fd_.reset();
    return false;
  }
  discard_events(fd_);
  return true;
}

}  // namespace eshm::os
