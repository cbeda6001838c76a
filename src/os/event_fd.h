// SPDX-License-Identifier: MIT
// A descriptor that polls readable while it is set.
#pragma once

#include <atomic>
#include <cstdint>

#include "os/fd.h"

namespace eshm::os {

// Any thread may set it while one clears it. After the application has closed
// the descriptor both do nothing, whatever its number means then.
class EventFd {
 public:
  // Returns 0 or the errno. The one before is closed, if it is still ours.
  int open();
  int get() const { return fd_.get(); }
  bool is_open() const { return fd_.is_open(); }
  bool is_still_ours() const { return fd_.is_still_ours(); }

  void set();
  // For one thread at a time, as what follows.
  void clear();
  // Whenever the descriptor is readable this is true. No system call.
  bool may_be_set() const { return begun_.load(std::memory_order_acquire) != cleared_; }

 private:
  Fd fd_;
  // How many times it was to be set, and has been; the latter before the last
  // clear(). A thread may stand still between the two for long.
  std::atomic<uint32_t> begun_{0};
  std::atomic<uint32_t> done_{0};
  uint32_t cleared_ = 0;
};

}  // namespace eshm::os
