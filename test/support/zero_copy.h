// SPDX-License-Identifier: MIT
// Both ends of a link in one process, and messages filled and read in its memory.
#pragma once

#include <cstring>
#include <string>

#include "support/link.h"
#include "support/player.h"

namespace test {

inline constexpr size_t kLargest = 1000;

class ZeroCopy : public LinkTest {
 protected:
  void TearDown() override {
    slave_.reset();
    master_.reset();
    LinkTest::TearDown();
  }
  ESHMConfig shaped(ESHMRole role, uint32_t loans, uint32_t borrows, uint32_t flags = 0) const {
    ESHMConfig config = this->config(role);
    for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
      channel->max_loans = loans;
      channel->max_borrows = borrows;
      channel->max_message_size = kLargest;
    }
    config.flags = flags;
    return config;
  }
  void open_both(uint32_t loans, uint32_t borrows, uint32_t flags = 0) {
    master_ = open_link(shaped(ESHM_ROLE_MASTER, loans, borrows, flags));
    ASSERT_TRUE(master_) << last_error();
    slave_ = open_link(shaped(ESHM_ROLE_SLAVE, loans, borrows, flags));
    ASSERT_TRUE(slave_) << last_error();
  }
  ESHMHandle* master() const { return master_.get(); }
  ESHMHandle* slave() const { return slave_.get(); }

  Link master_, slave_;
};

inline void* loan(ESHMHandle* link, size_t size = kLargest) {
  void* data = nullptr;
  EXPECT_EQ(eshm_loan(link, size, &data), ESHM_SUCCESS) << last_error();
  EXPECT_NE(data, nullptr);
  return data;
}

inline int publish_text(ESHMHandle* link, void* data, const std::string& text) {
  std::memcpy(data, text.data(), text.size());
  return eshm_publish(link, data, text.size());
}

inline ESHMView borrow(ESHMHandle* link, uint32_t timeout_ms = UINT32_MAX) {
  ESHMView view = {};
  EXPECT_EQ(eshm_borrow(link, &view, timeout_ms), ESHM_SUCCESS) << last_error();
  return view;
}

inline std::string text_of(const ESHMView& view) {
  return std::string(static_cast<const char*>(view.data), view.size);
}

inline const std::string kNothing = error(ESHM_ERROR_NO_DATA);

}  // namespace test
