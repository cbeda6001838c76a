// SPDX-License-Identifier: MIT
// Looking on at channels that are plain arrays: never torn, whatever the
// writer does meanwhile, and every message accounted for.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "channel/copy.h"
#include "channel/latest.h"
#include "channel/queue_observer.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/ring_memory.h"

namespace {

using namespace test;
using eshm::channel::LatestObserver;
using eshm::channel::LatestReader;
using eshm::channel::LatestWriter;
using eshm::channel::Message;
using eshm::channel::QueueObserver;
using eshm::channel::QueueReader;
using eshm::channel::QueueWriter;
using eshm::channel::ReadResult;
using eshm::channel::WriteResult;

constexpr size_t kLargest = 400;

class Queue : public testing::Test {
 protected:
  void open(uint64_t ring_bytes) {
    memory_ = std::make_unique<RingMemory>(RingMemory::shape(ring_bytes, kLargest));
    writer_.adopt(memory_->view(), 1);
    reader_.attach(memory_->view());
  }
  // Written, and consumed at once but for what is in the reader's hands.
  void exchange(uint64_t number, size_t size) {
    std::vector<char> bytes(kLargest);
    fill_pattern(bytes.data(), size, number);
    ASSERT_EQ(writer_.try_write(bytes.data(), size, 0), WriteResult::kDone);
    Message message;
    ASSERT_EQ(reader_.read(bytes.data(), bytes.size(), message, 1), ReadResult::kMessage);
  }
  ReadResult look(QueueObserver& observer) {
    char bytes[kLargest];
    const ReadResult result = observer.read(bytes, sizeof bytes, message_, missed_);
    if (result == ReadResult::kMessage) {
      EXPECT_TRUE(is_pattern(bytes, message_.size, message_.number));
    }
    return result;
  }

  std::unique_ptr<RingMemory> memory_;
  QueueWriter writer_;
  QueueReader reader_;
  Message message_;
  uint64_t missed_ = 0;
};

TEST_F(Queue, FromBirthItSeesEveryMessageThatIsStillThere) {
  open(64 * 1024);
  for (uint64_t number = 1; number <= 100; ++number) exchange(number, number);
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  for (uint64_t number = 1; number <= 100; ++number) {
    ASSERT_EQ(look(observer), ReadResult::kMessage);
    EXPECT_EQ(message_.number, number);
    EXPECT_EQ(missed_, 0u);
  }
  EXPECT_EQ(look(observer), ReadResult::kNothing);
}

TEST_F(Queue, OtherwiseItBeginsWithWhatIsNotConsumed) {
  open(64 * 1024);
  for (uint64_t number = 1; number <= 100; ++number) exchange(number, number);
  QueueObserver observer;
  observer.attach(memory_->view(), false);
  ASSERT_EQ(look(observer), ReadResult::kMessage);
  EXPECT_EQ(message_.number, 100u) << "in the reader's hands";
  EXPECT_EQ(look(observer), ReadResult::kNothing);
}

TEST_F(Queue, LappedItGoesOnWithWhatIsNotConsumedAndCountsTheRest) {
  open(4096);
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  uint64_t written = 0;
  uint64_t got = 0;
  for (int lap = 0; lap < 100; ++lap) {
    for (int i = 0; i < 50; ++i) exchange(++written, 100);
    while (look(observer) == ReadResult::kMessage) {
      got += 1 + missed_;
      ASSERT_EQ(message_.number, got);
    }
    ASSERT_EQ(got, written);
  }
}

TEST_F(Queue, WhatIsNotConsumedIsNeverTakenForOverwritten) {
  open(2 * 416);  // the smallest ring for these messages
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  Random random;
  for (uint64_t number = 1; number <= 1000; ++number) {
    char bytes[kLargest];
    const size_t size = random.up_to(kLargest);
    fill_pattern(bytes, size, number);
    ASSERT_EQ(writer_.try_write(bytes, size, 0), WriteResult::kDone);
    ASSERT_EQ(look(observer), ReadResult::kMessage);
    ASSERT_EQ(message_.number, number);
    ASSERT_EQ(missed_, 0u);
    ASSERT_EQ(reader_.read(bytes, sizeof bytes, message_, 1), ReadResult::kMessage);
    ASSERT_EQ(reader_.read(bytes, sizeof bytes, message_, 1), ReadResult::kNothing);
  }
}

TEST_F(Queue, AnOpenLoanHidesWhatIsBehindIt) {
  open(8192);
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  void* loan = nullptr;
  ASSERT_EQ(writer_.loan(kLargest, &loan), WriteResult::kDone);
  char bytes[8];
  fill_pattern(bytes, sizeof bytes, 2);
  ASSERT_EQ(writer_.try_write(bytes, sizeof bytes, 0), WriteResult::kDone);
  EXPECT_EQ(look(observer), ReadResult::kNothing);
  fill_pattern(loan, 10, 1);
  ASSERT_EQ(writer_.publish(loan, 10, 0), WriteResult::kDone);
  ASSERT_EQ(look(observer), ReadResult::kMessage);
  ASSERT_EQ(look(observer), ReadResult::kMessage);
  EXPECT_EQ(message_.number, 2u);
}

TEST_F(Queue, FollowsAnAdopterOfADeadWriter) {
  open(4096);
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  for (uint64_t number = 1; number <= 300; ++number) {
    if (number % 7 == 0) {
      void* loan = nullptr;
      ASSERT_EQ(writer_.loan(number % kLargest, &loan), WriteResult::kDone);
      writer_ = QueueWriter();
      writer_.adopt(memory_->view(), uint32_t(number));
    }
    exchange(number, number % kLargest);
    ASSERT_EQ(look(observer), ReadResult::kMessage);
    ASSERT_EQ(message_.number, number);
  }
}

TEST_F(Queue, PositionsOfRubbishAreCorrupt) {
  for (const uint64_t position : {uint64_t(8), uint64_t(1) << 62, UINT64_MAX}) {
    open(4096);
    QueueObserver observer;
    observer.attach(memory_->view(), true);
    memory_->publish().claimed.store(UINT64_MAX - 8);
    memory_->reader().position.store(position);
    EXPECT_EQ(look(observer), ReadResult::kCorrupt);
  }
}

// A writer at full speed, with loans that end out of order; observers that are
// lapped all the time.
TEST_F(Queue, NothingTornIsShownWhileTheWriterLapsTheObservers) {
  open(8192);
  const uint64_t messages = count(300'000, 20'000'000);
  std::atomic<bool> is_over{false};
  std::atomic<uint64_t> seen{0};
  std::atomic<uint64_t> lapped{0};
  std::vector<std::thread> observers;
  for (int i = 0; i < 2; ++i) {
    QueueObserver fresh;
    fresh.attach(memory_->view(), true);
    observers.emplace_back([&, observer = fresh]() mutable {
      char bytes[kLargest];
      Message message;
      uint64_t missed = 0;
      uint64_t last = 0;
      for (bool was_over = false; !was_over;) {
        was_over = is_over;
        ReadResult result;
        while ((result = observer.read(bytes, sizeof bytes, message, missed)) ==
               ReadResult::kMessage) {
          ASSERT_EQ(message.number, last + 1 + missed);
          ASSERT_TRUE(is_pattern(bytes, message.size, message.number));
          last = message.number;
          seen.fetch_add(1, std::memory_order_relaxed);
          lapped.fetch_add(missed != 0, std::memory_order_relaxed);
        }
        ASSERT_EQ(result, ReadResult::kNothing);
      }
      EXPECT_EQ(last, messages);
    });
  }
  char bytes[kLargest];
  char read[kLargest];
  Message message;
  uint64_t consumed = 0;
  for (uint64_t number = 1; number <= messages;) {
    if (number % 16 == 0 && number < messages) {
      void* loan = nullptr;
      ASSERT_EQ(writer_.loan(kLargest, &loan), WriteResult::kDone);
      const size_t next_size = pattern_size(number + 1, kLargest);
      fill_pattern(bytes, next_size, number + 1);
      ASSERT_EQ(writer_.try_write(bytes, next_size, 0), WriteResult::kDone);  // held
      const size_t size = pattern_size(number, kLargest);
      fill_pattern(bytes, size, number);
      eshm::channel::copy_to_shared(static_cast<std::byte*>(loan), bytes, size);
      ASSERT_EQ(writer_.publish(loan, size, 0), WriteResult::kDone);
      number += 2;
    } else {
      const size_t size = pattern_size(number, kLargest);
      fill_pattern(bytes, size, number);
      ASSERT_EQ(writer_.try_write(bytes, size, 0), WriteResult::kDone);
      ++number;
    }
    // The last one stays in its hands, so there is always one to be seen.
    for (; consumed + 1 < number; ++consumed) {
      ASSERT_EQ(reader_.read(read, sizeof read, message, 1), ReadResult::kMessage);
    }
    if (number % 4096 == 0) std::this_thread::yield();
  }
  is_over = true;
  for (std::thread& observer : observers) observer.join();
  EXPECT_GT(seen.load(), 0u);
  EXPECT_GT(lapped.load(), 0u);
}

// The same of the newest value.
TEST(Latest, NothingTornIsShownWhileTheWriterLapsTheObservers) {
  eshm::layout::ChannelShape shape;
  shape.max_borrows = shape.max_loans = 1;
  shape.max_message_bytes = kLargest;
  const eshm::layout::ChannelGeometry geometry = eshm::layout::plan_channel(shape);
  std::unique_ptr<std::byte, decltype(&std::free)> data(
      static_cast<std::byte*>(std::aligned_alloc(4096, geometry.data_bytes)), &std::free);
  ASSERT_NE(data, nullptr);
  std::memset(data.get(), 0, geometry.data_bytes);
  eshm::layout::PinLines pins = {};
  std::atomic<uint32_t> superseded{0};
  const eshm::channel::ChannelView view = {geometry, data.get(), &pins, &superseded};
  LatestWriter writer;
  writer.adopt(view, 1);
  const uint64_t messages = count(500'000, 50'000'000);
  std::atomic<bool> is_over{false};
  std::atomic<uint64_t> seen{0};
  std::vector<std::thread> observers;
  for (int i = 0; i < 2; ++i) {
    observers.emplace_back([&] {
      LatestObserver observer;
      observer.attach(view);
      char bytes[kLargest];
      Message message;
      uint64_t last = 0;
      for (bool was_over = false; !was_over;) {
        was_over = is_over;
        const ReadResult result = observer.read(bytes, sizeof bytes, message, false);
        if (result == ReadResult::kNothing) continue;
        ASSERT_EQ(result, ReadResult::kMessage);
        ASSERT_GT(message.number, last);
        ASSERT_TRUE(is_pattern(bytes, message.size, message.number));
        last = message.number;
        seen.fetch_add(1, std::memory_order_relaxed);
      }
      EXPECT_EQ(last, messages);
    });
  }
  char bytes[kLargest];
  for (uint64_t number = 1; number <= messages; ++number) {
    const size_t size = pattern_size(number, kLargest);
    fill_pattern(bytes, size, number);
    writer.write(bytes, size, 0);
    if (number % 4096 == 0) std::this_thread::yield();
  }
  is_over = true;
  for (std::thread& observer : observers) observer.join();
  EXPECT_GT(seen.load(), 0u);
  for (const auto& pin : pins.slot) EXPECT_EQ(pin.load(), 0u);
}

}  // namespace
