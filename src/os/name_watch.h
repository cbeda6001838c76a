// SPDX-License-Identifier: MIT
// Being told when a name appears in /dev/shm.
#pragma once

#include "os/fd.h"

namespace eshm::os {

// An inotify watch on /dev/shm. A user has 128 instances as a rule: whoever
// uses it must do without when start() fails.
class NameWatch {
 public:
  NameWatch() = default;
  ~NameWatch() { stop(); }
  NameWatch(const NameWatch&) = delete;
  NameWatch& operator=(const NameWatch&) = delete;

  // Returns 0 or the errno (EMFILE: no instance left).
  int start();
  void stop();
  bool is_running() const { return fd_.is_open(); }
  // Polls readable after a name was made, or moved in.
  int fd() const { return fd_.get(); }
  // Takes what has been told. False, and the watch stopped, when the
  // descriptor is not ours any more.
  bool clear();

 private:
  Fd fd_;
  int watch_ = -1;
};

}  // namespace eshm::os
