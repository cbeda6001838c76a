// SPDX-License-Identifier: MIT
// Both ends of a newest-value channel at full speed, over plain memory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/counts.h"
#include "support/slot_memory.h"

namespace {

using namespace eshm;
using namespace test;

using channel::WriteResult;

// The writer goes on until the reader has seen enough: on a busy core they take
// turns, and a fixed number could pass within one of them.
class LatestChannelThreads : public testing::Test {
 protected:
  void SetUp() override { arm_watchdog(); }
  void TearDown() override { alarm(0); }

  void run(uint32_t max_borrows, uint32_t max_loans, size_t largest) {
    max_borrows_ = max_borrows;
    max_loans_ = max_loans;
    largest_ = largest;
    SlotMemory channel(shape_of(max_borrows, max_loans, largest, 0));
    writer_.adopt(channel.view(), 1);
    reader_.attach(channel.view());
    std::thread producer([this] { produce(); });
    consume();
    is_enough_ = true;
    producer.join();
  }

 private:
  static constexpr uint64_t kEnoughOfEach = 30;
  struct Held {
    channel::Borrowed view;
    uint64_t until;  // look
  };

  // Each message follows from its number.
  void produce() {
    std::vector<std::byte*> loans;
    uint64_t number = 0;
    for (uint64_t round = 0; !is_enough_; ++round) {
      const uint64_t dice = mix(round) % 8;
      if (dice < 3 && loans.size() < max_loans_) {
        loans.push_back(lend(writer_));
        ASSERT_NE(loans.back(), nullptr);
        continue;
      }
      if (dice == 3 && !loans.empty()) {
        ASSERT_EQ(writer_.discard(loans.back()), WriteResult::kDone);
        loans.pop_back();
        continue;
      }
      const Bytes bytes = pattern(number + 1, pattern_size(number + 1, largest_));
      if (dice > 5 && !loans.empty()) {
        const size_t which = mix(~round) % loans.size();
        store(loans[which], bytes);
        ASSERT_EQ(writer_.publish(loans[which], bytes.size(), 0), WriteResult::kDone);
        loans.erase(loans.begin() + static_cast<std::ptrdiff_t>(which));
      } else {
        writer_.write(bytes.data(), bytes.size(), 0);
      }
      published_.store(++number, std::memory_order_release);
    }
  }

  // Reads and borrows by turns.
  void consume() {
    const uint64_t messages = count(100000, 50000000);
    Bytes buffer(largest_);
    std::vector<Held> held;
    uint64_t last = 0, reads = 0, borrows = 0;
    for (uint64_t look = 0; last < messages || reads < kEnoughOfEach ||
                            (max_borrows_ != 0 && borrows < kEnoughOfEach);
         ++look) {
      give_back_what_is_due(held, look);
      channel::Message message;
      channel::ReadResult result;
      const uint64_t before = published_.load(std::memory_order_acquire);
      if (mix(look) % 2 == 0 && held.size() < max_borrows_) {
        channel::Borrowed view;
        result = reader_.borrow(view, look % 64 == 0);
        message = view.message;
        if (result == channel::ReadResult::kMessage) {
          held.push_back({view, look + mix(~look) % 64});
          expect_intact(held.back());
          ++borrows;
        }
      } else {
        result = reader_.read(buffer.data(), buffer.size(), message, look % 64 == 0);
        if (result == channel::ReadResult::kMessage) {
          ASSERT_TRUE(is_pattern(buffer.data(), message.size, message.number)) << "torn";
          ++reads;
        }
      }
      if (result == channel::ReadResult::kMessage) {
        ASSERT_GT(message.number, last);
        ASSERT_EQ(message.size, pattern_size(message.number, largest_));
        last = message.number;
      } else {
        ASSERT_EQ(result, channel::ReadResult::kNothing);
        std::this_thread::yield();
      }
      ASSERT_GE(last, before) << "published before the call, and not seen";
    }
    for (const Held& one : held) expect_intact(one);
  }

  void give_back_what_is_due(std::vector<Held>& held, uint64_t look) {
    for (size_t i = 0; i < held.size();) {
      if (look < held[i].until) {
        ++i;
        continue;
      }
      expect_intact(held[i]);
      ASSERT_TRUE(reader_.release(held[i].view.token, held[i].view.serial));
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  static void expect_intact(const Held& held) {
    const channel::Message& message = held.view.message;
    const Bytes bytes = load(held.view.data, message.size);
    ASSERT_TRUE(is_pattern(bytes.data(), bytes.size(), message.number))
        << "message " << message.number << " was overwritten while borrowed";
  }

  uint32_t max_borrows_ = 0;
  uint32_t max_loans_ = 0;
  size_t largest_ = 0;
  channel::LatestWriter writer_;
  channel::LatestReader reader_;
  std::atomic<uint64_t> published_{0};
  std::atomic<bool> is_enough_{false};
};

TEST_F(LatestChannelThreads, NothingIsTornWhereEverySlotIsNeeded) { run(0, 0, 64); }
TEST_F(LatestChannelThreads, BorrowedMessagesStayWhole) { run(1, 0, 64); }
TEST_F(LatestChannelThreads, LoansAreSeenByNobodyBeforeTheyArePublished) { run(0, 3, 64); }
TEST_F(LatestChannelThreads, LoansAndBorrowsOfManySizesAtOnce) { run(3, 3, 3000); }
TEST_F(LatestChannelThreads, ManyBorrowsOfOneLine) { run(20, 1, 40); }

}  // namespace
