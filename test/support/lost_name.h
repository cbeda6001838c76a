// SPDX-License-Identifier: MIT
// A link with queues, whose name is taken from under its running ends.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "support/queues.h"

namespace test {

// How many segments this process has mapped, for each of its ends.
inline size_t segments_mapped() {
  std::ifstream maps("/proc/self/maps");
  std::string line;
  size_t found = 0;
  while (std::getline(maps, line)) {
    // A control page: at the beginning of a file in /dev/shm, writable.
    found += line.find("/dev/shm/") != std::string::npos &&
             line.find(" rw-s 00000000 ") != std::string::npos;
  }
  return found;
}

class LostNameTest : public QueueTest {
 protected:
  ESHMConfig lively(ESHMRole role, uint32_t threshold_ms = 2000) const {
    ESHMConfig config = for_ever(queues(role));
    config.stale_threshold_ms = threshold_ms;
    return config;
  }

  // Of the file that has the name; 0: none has.
  uint64_t inode() const {
    struct stat meta;
    return lstat(path().c_str(), &meta) == 0 ? uint64_t(meta.st_ino) : 0;
  }
  bool has_name() const { return inode() != 0; }
  void unlink_name() const { ASSERT_EQ(unlink(path().c_str()), 0); }
  // And until its master has given it back.
  void lose_name() const {
    unlink_name();
    wait_until([this] { return has_name(); });
  }

  // What has the name is a link that works: its master is there, and refuses another.
  void expect_one_master() const {
    EXPECT_FALSE(open_link(lively(ESHM_ROLE_MASTER)));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  }
  static void write_numbers(ESHMHandle* link, const std::string& word, int from, int to) {
    for (int i = from; i < to; ++i) {
      ASSERT_EQ(write_text(link, numbered(word, i)), ESHM_SUCCESS) << last_error();
    }
  }
  static void expect_numbers(ESHMHandle* link, const std::string& word, int from, int to) {
    for (int i = from; i < to; ++i) {
      ASSERT_EQ(read_text(link, kPatientMs), numbered(word, i)) << last_error();
    }
    EXPECT_EQ(read_text(link, 0), error(ESHM_ERROR_NO_DATA));
  }
};

}  // namespace test
