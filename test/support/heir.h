// SPDX-License-Identifier: MIT
// A child's child that outlives it, with all that it inherited.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "support/child.h"
#include "support/counts.h"

namespace test {

class Heir {
 public:
  Heir() {
    EXPECT_EQ(pipe(until_closed_), 0);
    EXPECT_EQ(pipe(until_gone_), 0);
  }
  ~Heir() {
    for (const int fd : {until_closed_[0], until_gone_[0], until_closed_[1], until_gone_[1]}) {
      if (fd >= 0) close(fd);
    }
  }
  Heir(const Heir&) = delete;
  Heir& operator=(const Heir&) = delete;

  // Called by the child. No Child: that would end with its parent.
  void be_born() {
    close_one(until_closed_[1]);
    close_one(until_gone_[0]);
    if (fork() != 0) return;
    arm_watchdog();
    char byte;
    _exit(read(until_closed_[0], &byte, 1) == 0 ? 0 : 1);
  }
  // Called by the test, once the child is there.
  void is_anothers() {
    close_one(until_closed_[0]);
    close_one(until_gone_[1]);
  }
  bool lives() const {
    pollfd heir{until_gone_[0], POLLIN, 0};
    return poll(&heir, 1, 0) == 0;
  }
  // Its end of the second pipe closes behind its mappings: nothing of a segment is
  // held any more.
  void end() {
    close_one(until_closed_[1]);
    char byte;
    EXPECT_EQ(read(until_gone_[0], &byte, 1), 0);
  }

 private:
  static void close_one(int& fd) {
    close(fd);
    fd = -1;
  }

  int until_closed_[2] = {-1, -1};
  int until_gone_[2] = {-1, -1};
};

}  // namespace test
