// SPDX-License-Identifier: MIT
// The newest-value channel at full speed: nothing torn, nothing older than what
// was read before, and every message either read or counted as missed.
#include <atomic>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"

namespace {

using namespace test;

constexpr size_t kLargest = ESHM_MAX_DATA_SIZE;

class LatestStress : public LinkTest {
 protected:
  // Until more was read of that master's messages than `reads`, which it brings up to date.
  static void wait_for_more_reads(ESHMHandle* master, uint64_t& reads) {
    ESHMStats stats = {};
    wait_until([&] {
      return eshm_get_stats(master, &stats) != ESHM_SUCCESS || stats.m2s_read_count > reads;
    });
    reads = stats.m2s_read_count;
  }
};

// The n-th message of the only writer has the number n, from which its size and
// all its bytes follow.
TEST_P(LatestStress, EachMessageIsReadWholeOrCountedAsMissed) {
  const uint64_t messages = count(300000, 10000000);
  Child reader([=](Wire& wire) {
    const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(link);
    wire.say("attached");
    std::vector<char> buffer(kLargest);
    uint64_t last = 0, read = 0, missed = 0;
    while (last < messages) {
      ESHMMessageInfo info = {};
      CHILD_CHECK(eshm_read_msg(link.get(), buffer.data(), kLargest, &info, UINT32_MAX) == 0);
      CHILD_CHECK(info.sequence > last);
      CHILD_CHECK(info.missed == info.sequence - last - 1);
      CHILD_CHECK(info.size == pattern_size(info.sequence, kLargest));
      CHILD_CHECK(is_pattern(buffer.data(), info.size, info.sequence));
      last = info.sequence;
      missed += info.missed;
      ++read;
    }
    CHILD_CHECK(last == messages && read + missed == messages);
    wire.say(std::to_string(read));
    wire.hear();
    return 0;
  });
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(reader.hear(), "attached");
  std::vector<char> buffer(kLargest);
  uint64_t reads = 0;
  for (uint64_t number = 1; number <= messages; ++number) {
    const size_t size = pattern_size(number, kLargest);
    fill_pattern(buffer.data(), size, number);
    ASSERT_EQ(eshm_write(master.get(), buffer.data(), size), ESHM_SUCCESS) << last_error();
    // One cannot tell torn from whole where nothing was read while writing.
    if (number % (messages / 16) == 0) wait_for_more_reads(master.get(), reads);
  }
  const std::string read = reader.hear();
  ASSERT_NE(read, "");
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(master.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.m2s_write_count, messages);
  EXPECT_EQ(std::to_string(stats.m2s_read_count), read);
  reader.say("leave");
  EXPECT_EQ(reader.join(), 0);
}

// The same towards the master, one message size, both directions at once.
TEST_P(LatestStress, BothDirectionsAtOnce) {
  const uint64_t messages = count(100000, 5000000);
  const auto body = [=](ESHMHandle* link) {
    std::vector<char> out(kLargest), in(kLargest);
    uint64_t written = 0, last = 0, missed = 0, read = 0;
    while (written < messages || last < messages) {
      if (written < messages) {
        const size_t size = pattern_size(++written, 256);
        fill_pattern(out.data(), size, written);
        if (eshm_write(link, out.data(), size) != ESHM_SUCCESS) return false;
      }
      ESHMMessageInfo info = {};
      const int code =
          eshm_read_msg(link, in.data(), kLargest, &info, written < messages ? 0 : 1000);
      if (code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_TIMEOUT) continue;
      if (code != ESHM_SUCCESS || info.sequence <= last) return false;
      if (info.size != pattern_size(info.sequence, 256)) return false;
      if (!is_pattern(in.data(), info.size, info.sequence)) return false;
      last = info.sequence;
      missed += info.missed;
      ++read;
    }
    return last == messages && read + missed == messages;
  };
  Child slave([=](Wire& wire) {
    const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(link);
    wire.say("attached");
    CHILD_CHECK(body(link.get()));
    wire.hear();
    return 0;
  });
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(slave.hear(), "attached");
  EXPECT_TRUE(body(master.get())) << last_error();
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
}

// One direction of a link, many threads at both of its ends.
class Direction {
 public:
  Direction(ESHMHandle* writer, ESHMHandle* reader, uint64_t threads, uint64_t per_thread)
      : writer_(writer), reader_(reader), threads_(threads), per_thread_(per_thread) {}

  void start(std::vector<std::thread>& all) {
    for (uint64_t thread = 0; thread < threads_; ++thread) {
      all.emplace_back([this] { read_until_the_last(); });
      all.emplace_back([this, thread] { write_share(thread); });
    }
  }

  void expect_each_read_once_or_missed() const {
    ESHMStatsEx stats = {};
    ASSERT_EQ(eshm_get_stats_ex(reader_, &stats), ESHM_SUCCESS);
    EXPECT_EQ(sequences_.size(), read_) << "a message came twice";
    EXPECT_EQ(read_ + missed_, messages());
    EXPECT_EQ(stats.messages_read, read_);
    EXPECT_EQ(stats.messages_missed, missed_);
    EXPECT_GT(read_, threads_);
  }

 private:
  uint64_t messages() const { return threads_ * per_thread_; }

  // A payload of a number and what follows from it. Now and then waits until
  // something is read: otherwise all may be written before a reader has begun.
  void write_share(uint64_t thread) {
    constexpr uint64_t kWithoutAPause = 256;
    char buffer[256];
    for (uint64_t i = 0; i < per_thread_; ++i) {
      const uint64_t reads_before = reads_;
      const uint64_t number = i * threads_ + thread;
      const size_t size = pattern_size(number, 200);
      std::memcpy(buffer, &number, sizeof number);
      fill_pattern(buffer + sizeof number, size, number);
      ASSERT_EQ(eshm_write(writer_, buffer, sizeof number + size), ESHM_SUCCESS);
      if (i % kWithoutAPause != 0) continue;
      while (reads_ == reads_before) std::this_thread::yield();
    }
  }

  void read_until_the_last() {
    std::vector<uint64_t> mine;
    uint64_t missed = 0;
    char buffer[256];
    while (!last_was_read_) {
      ESHMMessageInfo info = {};
      const int code = eshm_read_msg(reader_, buffer, sizeof buffer, &info, 50);
      if (code == ESHM_ERROR_TIMEOUT) continue;
      ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
      ASSERT_GE(info.size, sizeof(uint64_t));
      uint64_t number;
      std::memcpy(&number, buffer, sizeof number);
      ASSERT_EQ(info.size, sizeof number + pattern_size(number, 200));
      ASSERT_TRUE(is_pattern(buffer + sizeof number, info.size - sizeof number, number));
      ASSERT_TRUE(mine.empty() || info.sequence > mine.back());
      mine.push_back(info.sequence);
      ++reads_;
      missed += info.missed;
      if (info.sequence == messages()) last_was_read_ = true;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    sequences_.insert(mine.begin(), mine.end());
    read_ += mine.size();
    missed_ += missed;
  }

  ESHMHandle* const writer_;
  ESHMHandle* const reader_;
  const uint64_t threads_;
  const uint64_t per_thread_;
  std::atomic<bool> last_was_read_{false};
  std::atomic<uint64_t> reads_{0};
  std::mutex mutex_;  // guards what all readers got together:
  std::set<uint64_t> sequences_;
  uint64_t read_ = 0;
  uint64_t missed_ = 0;
};

TEST_P(LatestStress, EightThreadsWriteAndEightReadOnEachHandle) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  const uint64_t per_thread = count(3000, 500000);
  Direction down(master.get(), slave.get(), 8, per_thread);
  Direction up(slave.get(), master.get(), 8, per_thread);
  std::vector<std::thread> threads;
  down.start(threads);
  up.start(threads);
  for (std::thread& thread : threads) thread.join();
  down.expect_each_read_once_or_missed();
  up.expect_each_read_once_or_missed();
}

ESHM_ON_BOTH_BACKENDS(LatestStress);

}  // namespace
