// SPDX-License-Identifier: MIT
// Ends and their peers: what tests of killed processes begin with.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "layout/segment.h"
#include "support/player.h"

namespace test {

class KillTest : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
  ESHMRole other(ESHMRole role) const {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }

  // Talks all the time, and so dies anywhere.
  Child talker(ESHMRole role) const {
    return Child([config = patient(role)](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      wire.say("open");
      for (int i = 0;; ++i) {
        write_text(link.get(), std::to_string(i));
        read_text(link.get(), static_cast<uint32_t>(i % 3));
      }
      return 0;
    });
  }

  // Not in the library's words: does anybody hold the byte of that role?
  bool lock_is_held(ESHMRole role) const {
    const int fd = open(path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct flock range = {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = role == ESHM_ROLE_MASTER ? eshm::layout::kMasterByte : eshm::layout::kSlaveByte;
    range.l_len = 1;
    const bool held = fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
    close(fd);
    return held;
  }
};

}  // namespace test
