// SPDX-License-Identifier: MIT
// The way of a stepped process through a call that makes system calls, and the
// points on it where a death leaves something else than the one before.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "crash/stepper.h"

namespace test {

// So many system calls have returned since the way began, and so many steps since
// then have changed shared bytes.
struct Point {
  uint64_t system_calls = 0;
  uint64_t changes = 0;
};

// What another process has mapped of links and may write, however it is named.
class SharedBytes {
 public:
  explicit SharedBytes(pid_t pid) : pid_(pid) { look_again(); }
  // After a system call: there may be other mappings.
  void look_again();
  // Since the last time.
  bool have_changed();

 private:
  void read_into(std::vector<std::byte>& copy) const;

  pid_t pid_;
  std::vector<iovec> areas_;
  std::vector<std::byte> last_;
  std::vector<std::byte> now_;
};

struct Way {
  uint64_t steps = 0;
  std::vector<Point> points;
};

// From where the process stands to its next mark.
Way record_way(Stepper& child);

// From the beginning of a way to a point. False: it came to the end before.
bool go_to(Stepper& child, const Point& point);

}  // namespace test
