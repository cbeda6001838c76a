// SPDX-License-Identifier: MIT
// What tests ask about the descriptor of a handle.
#pragma once

#include <fcntl.h>
#include <poll.h>

#include "support/player.h"
#include "support/threads.h"

namespace test {

inline bool is_readable(int fd, int timeout_ms = 0) {
  pollfd one{fd, POLLIN, 0};
  return poll(&one, 1, timeout_ms) == 1 && (one.revents & POLLIN) != 0;
}

class EventFdTest : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    // The library puts a slave's watch on names aside for the next one.
    EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
    descriptors_before_ = files_open();
  }
  void TearDown() override {
    wait_until([] { return threads_named("eshm-wait") == 0; });
    EXPECT_EQ(files_open(), descriptors_before_);
    LinkTest::TearDown();
  }

  static size_t files_open() {
    size_t found = 0;
    for (int fd = 0; fd < 4096; ++fd) found += fcntl(fd, F_GETFD) != -1;
    return found;
  }

  // What tells of the peer's coming is taken away.
  static void read_until_quiet(ESHMHandle* link, int fd) {
    wait_for_state(link, ESHM_PEER_ALIVE);
    wait_until([&] {
      EXPECT_EQ(read_text(link, 0), error(ESHM_ERROR_NO_DATA));
      return !is_readable(fd, 20);
    });
  }

 private:
  size_t descriptors_before_ = 0;
};

}  // namespace test
