// SPDX-License-Identifier: MIT
#include "os/event_fd.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace eshm::os {

int EventFd::open() {
  fd_.reset();
  return Fd::open([] { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }, fd_);
}

// docs/PROTOCOL.md, section "Many at once, and descriptors".
void EventFd::set() {
  begun_.fetch_add(1, std::memory_order_seq_cst);  // E1, ahead of E2
  const uint64_t one = 1;
  if (fd_.is_still_ours()) (void)!::write(fd_.get(), &one, sizeof one);  // E2
  done_.fetch_add(1, std::memory_order_release);                             // E3 -> E4
}

void EventFd::clear() {
  const uint32_t done = done_.load(std::memory_order_acquire);  // E4 -> E3
  uint64_t sum;
  if (fd_.is_still_ours()) (void)!::read(fd_.get(), &sum, sizeof sum);  // E5
  cleared_ = done;
}

}  // namespace eshm::os
