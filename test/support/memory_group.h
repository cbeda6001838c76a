// SPDX-License-Identifier: MIT
// A control group with a memory limit, for tests in which the kernel's
// out-of-memory killer comes.
#pragma once

#include <cstdint>
#include <string>

#include "support/control_group.h"

namespace test {

class MemoryGroup {
 public:
  explicit MemoryGroup(uint64_t limit_bytes) {
    const std::string limit = std::to_string(limit_bytes);
    is_ready_ =
        group_.make("/sys/fs/cgroup/memory" + own_group_path("memory"), "memory.limit_in_bytes",
                    limit) ||
        group_.make("/sys/fs/cgroup/memory", "memory.limit_in_bytes", limit) ||
        group_.make("/sys/fs/cgroup" + own_group_path(""), "memory.max", limit) ||
        group_.make("/sys/fs/cgroup", "memory.max", limit);
  }

  bool is_ready() const { return is_ready_; }
  const std::string& why_not() const { return group_.why_not(); }
  // Moves the calling process into it.
  bool enter() const { return group_.enter(); }

 private:
  ControlGroup group_;
  bool is_ready_ = false;
};

}  // namespace test
