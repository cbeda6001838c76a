// SPDX-License-Identifier: MIT
// What every ESHMHandle begins with: which of the two kinds it is, and whose.
#pragma once

#include <cstdint>

#include "os/fd.h"

namespace eshm::endpoint {

class Handle {
 public:
  // False in a forked child: nothing here may be touched then.
  bool is_of_this_process() const { return epoch_ == os::fork_epoch(); }
  bool is_observer() const { return is_observer_; }

 protected:
  explicit Handle(bool is_observer) : epoch_(os::fork_epoch()), is_observer_(is_observer) {}
  ~Handle() = default;

 private:
  const uint32_t epoch_;
  const bool is_observer_;
};

}  // namespace eshm::endpoint
