// SPDX-License-Identifier: MIT
// Links with queues both ways, and numbered texts that are counted through them.
#pragma once

#include <string>

#include "support/link.h"
#include "support/player.h"

namespace test {

constexpr uint64_t kLargest = 64;
constexpr uint64_t kCapacity = 4096;  // 127 texts of up to 16 bytes

inline std::string numbered(const std::string& word, int number) { return word + std::to_string(number); }

class QueueTest : public LinkTest {
 protected:
  ESHMConfig queues(ESHMRole role, uint64_t capacity = kCapacity,
                    uint64_t largest = kLargest) const {
    ESHMConfig config = this->config(role);
    for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
      channel->delivery = ESHM_DELIVERY_QUEUE;
      channel->queue_capacity = capacity;
      channel->max_message_size = largest;
      channel->max_loans = 4;
      channel->max_borrows = 4;
    }
    return config;
  }
  void open_both(const ESHMConfig& as_master) {
    master_ = open_link(as_master);
    ASSERT_TRUE(master_) << last_error();
    ESHMConfig as_slave = as_master;
    as_slave.role = ESHM_ROLE_SLAVE;
    slave_ = open_link(for_ever(as_slave));
    ASSERT_TRUE(slave_) << last_error();
  }
  void TearDown() override {
    slave_.reset();
    master_.reset();
    LinkTest::TearDown();
  }
  ESHMHandle* master() const { return master_.get(); }
  ESHMHandle* slave() const { return slave_.get(); }

  Link master_;
  Link slave_;
};

inline void expect_texts(ESHMHandle* link, const std::string& word, int from, int to) {
  for (int i = from; i <= to; ++i) {
    ASSERT_EQ(read_text(link, UINT32_MAX), numbered(word, i)) << last_error();
  }
}

inline void expect_nothing(ESHMHandle* link) {
  EXPECT_EQ(read_text(link, 0), error(ESHM_ERROR_NO_DATA)) << last_error();
}

inline void write_texts(ESHMHandle* link, const std::string& word, int from, int to) {
  for (int i = from; i <= to; ++i) {
    ASSERT_EQ(write_text(link, numbered(word, i)), ESHM_SUCCESS) << i << last_error();
  }
}

inline int fill(ESHMHandle* link, const std::string& word, int from = 0) {
  int number = from;
  int code;
  while ((code = write_text(link, numbered(word, number))) == ESHM_SUCCESS) ++number;
  EXPECT_EQ(code, ESHM_ERROR_BUFFER_FULL) << last_error();
  return number;  // how many there are, if `from` is 0
}

}  // namespace test
