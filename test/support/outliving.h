// SPDX-License-Identifier: MIT
// Links whose ends leave, and find again what is unread.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/queues.h"

namespace test {

// Links that a test's ends leave and find again: the name stays at a clean end, too.
class Outliving : public QueueTest {
 protected:
  ESHMConfig kept(ESHMRole role) const {
    ESHMConfig config = for_ever(queues(role));
    config.stale_threshold_ms = 2000;
    config.auto_cleanup = false;
    return config;
  }
  ESHMConfig wider(ESHMRole role) const {
    ESHMConfig config = kept(role);
    for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
      channel->max_message_size = 2 * kLargest;
      channel->queue_capacity = 2 * kCapacity;
    }
    return config;
  }
  void TearDown() override {
    slave_.reset();
    master_.reset();
    unlink(path().c_str());
    LinkTest::TearDown();
  }
  uint64_t inode() const {
    struct stat meta;
    return stat(path().c_str(), &meta) == 0 ? uint64_t(meta.st_ino) : 0;
  }
  

  // A producer that comes, writes and goes.
  void produce(const ESHMConfig& config, const std::string& word, int from, int to,
               bool is_killed) const {
    Child producer = obeying(config);
    ASSERT_EQ(producer.hear(), "open");
    for (int i = from; i <= to; ++i) ASSERT_EQ(ask(producer, "write " + numbered(word, i)), "0");
    if (is_killed) {
      producer.kill_now();
    } else {
      leave(producer);
    }
  }
  void open(const ESHMConfig& as_master, const ESHMConfig& as_slave) {
    master_ = open_link(as_master);
    ASSERT_TRUE(master_) << last_error();
    slave_ = open_link(as_slave);
    ASSERT_TRUE(slave_) << last_error();
  }
  static uint64_t sequence_of_next(ESHMHandle* link) {
    char buffer[kLargest];
    ESHMMessageInfo info = {};
    EXPECT_EQ(eshm_read_msg(link, buffer, sizeof buffer, &info, kPatientMs), ESHM_SUCCESS)
        << last_error();
    return info.sequence;
  }
};

}  // namespace test
