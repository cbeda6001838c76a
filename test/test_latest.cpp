// SPDX-License-Identifier: MIT
// The channel that keeps the newest value: sizes, bounds, what a reader is
// told of its messages.
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"

namespace {

using namespace test;

class Latest : public LinkTest {
 protected:
  void open_both(const ESHMConfig& master_config) {
    master_ = open_link(master_config);
    ASSERT_TRUE(master_) << last_error();
    slave_ = open_link(config(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave_) << last_error();
  }

  void open_both() { open_both(config(ESHM_ROLE_MASTER)); }

  ESHMConfig with_message_size(uint64_t bytes) const {
    ESHMConfig sized = config(ESHM_ROLE_MASTER);
    sized.m2s.max_message_size = bytes;
    sized.s2m.max_message_size = bytes;
    return sized;
  }

  void TearDown() override {
    slave_.reset();
    master_.reset();
    LinkTest::TearDown();
  }

  Link master_;
  Link slave_;
};

TEST_P(Latest, ValueWrittenBeforeTheSlaveAttachedIsItsFirstRead) {
  Child slave([this](Wire& wire) {
    wire.hear();
    const Link link = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(link);
    CHILD_CHECK(read_text(link.get(), 0) == "newest");
    return 0;
  });
  master_ = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master_) << last_error();
  ASSERT_EQ(write_text(master_.get(), "older"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(master_.get(), "newest"), ESHM_SUCCESS);
  slave.say("attach");
  EXPECT_EQ(slave.join(), 0);
}

TEST_P(Latest, NewestValueReplacesUnreadOnes) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  for (int number = 1; number <= 1000; ++number) {
    ASSERT_EQ(write_text(master_.get(), std::to_string(number)), ESHM_SUCCESS);
  }
  EXPECT_EQ(read_text(slave_.get(), 0), "1000");
  EXPECT_EQ(read_text(slave_.get(), 0), "error " + std::to_string(ESHM_ERROR_NO_DATA));
}

TEST_P(Latest, EmptyMessageArrivesOnceAsNoBytes) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  char untouched = 'u';
  for (const void* data : {static_cast<const void*>(nullptr), static_cast<const void*>("")}) {
    ASSERT_EQ(eshm_write(master_.get(), data, 0), ESHM_SUCCESS);
    EXPECT_EQ(eshm_read(slave_.get(), &untouched, 1), 0);
    size_t bytes = 99;
    EXPECT_EQ(eshm_read_ex(slave_.get(), &untouched, 1, &bytes, 0), ESHM_ERROR_NO_DATA);
    EXPECT_EQ(untouched, 'u');
  }
}

TEST_P(Latest, MessagesOfEverySizeArriveWhole) {
  for (size_t largest : {size_t{1}, size_t{2}, size_t{47}, size_t{48}, size_t{49}, size_t{4096},
                         size_t{4097}, size_t{100001}}) {
    slave_.reset();
    master_.reset();
    ASSERT_NO_FATAL_FAILURE(open_both(with_message_size(largest)));
    std::vector<char> out(largest), in(largest);
    uint64_t number = 0;
    for (size_t size : {size_t{1}, largest / 2, largest - 1, largest, size_t{1}, largest}) {
      fill_pattern(out.data(), size, ++number);
      ASSERT_EQ(eshm_write(master_.get(), out.data(), size), ESHM_SUCCESS) << size;
      ASSERT_EQ(eshm_read(slave_.get(), in.data(), largest), static_cast<int>(size));
      EXPECT_TRUE(is_pattern(in.data(), size, number)) << size << " of " << largest;
      ASSERT_EQ(eshm_write(slave_.get(), out.data(), size), ESHM_SUCCESS) << size;
      ASSERT_EQ(eshm_read(master_.get(), in.data(), largest), static_cast<int>(size));
      EXPECT_TRUE(is_pattern(in.data(), size, number)) << size << " of " << largest;
    }
  }
}

TEST_P(Latest, EachSmallSizeArrivesWhole) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  char out[300], in[300];
  for (size_t size = 0; size <= sizeof out; ++size) {
    fill_pattern(out, size, size);
    ASSERT_EQ(eshm_write(master_.get(), out, size), ESHM_SUCCESS);
    ASSERT_EQ(eshm_read(slave_.get(), in, size), static_cast<int>(size));
    ASSERT_TRUE(is_pattern(in, size, size)) << size;
  }
}

TEST_P(Latest, UnalignedBuffersAreFine) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  alignas(64) char out[512], in[512];
  for (size_t offset = 0; offset < 16; ++offset) {
    const size_t size = 200 + offset;
    fill_pattern(out + offset, size, offset);
    ASSERT_EQ(eshm_write(master_.get(), out + offset, size), ESHM_SUCCESS);
    ASSERT_EQ(eshm_read(slave_.get(), in + 15 - offset, size), static_cast<int>(size));
    ASSERT_TRUE(is_pattern(in + 15 - offset, size, offset));
  }
}

TEST_P(Latest, TooLargeMessageIsRefusedAndThePreviousOneStays) {
  for (size_t largest : {size_t{1}, size_t{64}, size_t{4096}}) {
    slave_.reset();
    master_.reset();
    ASSERT_NO_FATAL_FAILURE(open_both(with_message_size(largest)));
    std::vector<char> out(largest + 1), in(largest);
    fill_pattern(out.data(), largest, 1);
    ASSERT_EQ(eshm_write(master_.get(), out.data(), largest), ESHM_SUCCESS);
    EXPECT_EQ(eshm_write(master_.get(), out.data(), largest + 1), ESHM_ERROR_BUFFER_TOO_SMALL);
    EXPECT_EQ(eshm_write_ex(master_.get(), out.data(), largest + 1, 0),
              ESHM_ERROR_BUFFER_TOO_SMALL);
    ASSERT_EQ(eshm_read(slave_.get(), in.data(), largest), static_cast<int>(largest));
    EXPECT_TRUE(is_pattern(in.data(), largest, 1));
  }
}

TEST_P(Latest, MessageLargerThanTheBufferIsKeptAndItsSizeTold) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  char buffer[100];
  ASSERT_EQ(write_text(master_.get(), std::string(100, 'm')), ESHM_SUCCESS);
  for (size_t too_small : {size_t{0}, size_t{1}, size_t{99}}) {
    buffer[0] = 'u';
    size_t bytes = 0;
    EXPECT_EQ(eshm_read_ex(slave_.get(), buffer, too_small, &bytes, 0),
              ESHM_ERROR_BUFFER_TOO_SMALL);
    EXPECT_EQ(bytes, 100u);
    ESHMMessageInfo info = {};
    EXPECT_EQ(eshm_read_msg(slave_.get(), buffer, too_small, &info, 1000),
              ESHM_ERROR_BUFFER_TOO_SMALL);
    EXPECT_EQ(info.size, 100u);
    EXPECT_EQ(eshm_read(slave_.get(), buffer, too_small), ESHM_ERROR_BUFFER_TOO_SMALL);
    EXPECT_TRUE(names_number(last_error(), 100)) << last_error();
  }
  EXPECT_EQ(eshm_read(slave_.get(), buffer, 100), 100);
  EXPECT_EQ(std::string(buffer, 100), std::string(100, 'm'));
}

TEST_P(Latest, InfoTellsNumberSizeMissedAndGeneration) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  char buffer[64];
  ESHMMessageInfo info = {};
  info.struct_size = sizeof info;
  ASSERT_EQ(write_text(master_.get(), "one"), ESHM_SUCCESS);
  ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS);
  EXPECT_EQ(info.generation, 1u);
  EXPECT_EQ(info.sequence, 1u);
  EXPECT_EQ(info.missed, 0u);
  EXPECT_EQ(info.size, 3u);
  EXPECT_EQ(info.timestamp_ns, 0u);
  for (const char* text : {"two", "three", "four", "five"}) {
    ASSERT_EQ(write_text(master_.get(), text), ESHM_SUCCESS);
  }
  info = {};
  ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS);
  EXPECT_EQ(info.sequence, 5u);
  EXPECT_EQ(info.missed, 3u);
  EXPECT_EQ(info.size, 4u);
  EXPECT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, nullptr, 0), ESHM_ERROR_NO_DATA);
}

TEST_P(Latest, GenerationRisesWithEachMaster) {
  const auto one_message = [this](Wire& wire) {
    wire.hear();
    const Link link = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    CHILD_CHECK(write_text(link.get(), "x") == ESHM_SUCCESS);
    wire.say("written");
    wire.hear();
    return 0;
  };
  Child first(one_message), second(one_message);
  first.say("begin");
  ASSERT_EQ(first.hear(), "written");
  slave_ = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave_) << last_error();
  char buffer[8];
  ESHMMessageInfo before = {}, after = {};
  ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &before, 0), ESHM_SUCCESS);
  first.kill_now();
  second.say("begin");
  ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &after, UINT32_MAX), ESHM_SUCCESS);
  EXPECT_GT(after.generation, before.generation);
  second.say("leave");
  EXPECT_EQ(second.join(), 0);
}

uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

TEST_P(Latest, TimeStampsTellWhenItWasPublished) {
  ESHMConfig stamped = config(ESHM_ROLE_MASTER);
  stamped.flags = ESHM_FLAG_TIMESTAMPS;
  ASSERT_NO_FATAL_FAILURE(open_both(stamped));
  char buffer[64];
  for (const char* text :
       {"", "short", "one that is longer than a cache line leaves room for ..."}) {
    const uint64_t before = monotonic_ns();
    ASSERT_EQ(write_text(master_.get(), text), ESHM_SUCCESS);
    const uint64_t after = monotonic_ns();
    ESHMMessageInfo info = {};
    ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS);
    EXPECT_EQ(std::string(buffer, info.size), text);
    EXPECT_GE(info.timestamp_ns, before);
    EXPECT_LE(info.timestamp_ns, after);
  }
}

TEST_P(Latest, FlagsAndSpinningChangeNothingThatIsRead) {
  for (uint32_t flags :
       {0u, ESHM_FLAG_ALIGN_PAYLOAD, ESHM_FLAG_ALIGN_PAYLOAD | ESHM_FLAG_TIMESTAMPS}) {
    for (uint32_t spin_us : {0u, 50u, ESHM_SPIN_ADAPTIVE}) {
      slave_.reset();
      master_.reset();
      ESHMConfig flagged = config(ESHM_ROLE_MASTER);
      flagged.flags = flags;
      flagged.spin_us = spin_us;
      ASSERT_NO_FATAL_FAILURE(open_both(flagged));
      char out[200], in[200];
      for (uint64_t number = 1; number <= 20; ++number) {
        const size_t size = pattern_size(number, sizeof out);
        fill_pattern(out, size, number);
        ASSERT_EQ(eshm_write(master_.get(), out, size), ESHM_SUCCESS);
        ASSERT_EQ(eshm_read(slave_.get(), in, sizeof in), static_cast<int>(size));
        ASSERT_TRUE(is_pattern(in, size, number));
      }
    }
  }
}

TEST_P(Latest, BorrowAndLoanLimitsOfEverySizeWork) {
  for (uint32_t limit : {0u, 2u, 17u, static_cast<uint32_t>(ESHM_MAX_BORROWS)}) {
    slave_.reset();
    master_.reset();
    ESHMConfig limited = config(ESHM_ROLE_MASTER);
    limited.m2s.max_borrows = limited.m2s.max_loans = limit;
    ASSERT_NO_FATAL_FAILURE(open_both(limited));
    for (int number = 1; number <= 300; ++number) {
      ASSERT_EQ(write_text(master_.get(), std::to_string(number)), ESHM_SUCCESS);
      if (number % 3 == 0) {
        ASSERT_EQ(read_text(slave_.get(), 0), std::to_string(number));
      }
    }
  }
}

TEST_P(Latest, DefaultLinkIsSmall) {
  master_ = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master_) << last_error();
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(master_.get(), &stats), ESHM_SUCCESS);
  EXPECT_LE(stats.segment_bytes, 72u * 1024u);
  struct stat file;
  ASSERT_EQ(stat(path().c_str(), &file), 0);
  EXPECT_LE(file.st_blocks * 512, 72 * 1024);
}

ESHM_ON_BOTH_BACKENDS(Latest);

}  // namespace
