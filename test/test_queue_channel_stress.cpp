// SPDX-License-Identifier: MIT
// The queue channel with both ends at full speed, as threads over one plain
// byte array: every message once, in order, whole.
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/ring_memory.h"

namespace {

using namespace test;
using eshm::channel::Message;
using eshm::channel::QueueReader;
using eshm::channel::QueueWriter;

constexpr size_t kLargest = 1000;

struct Pace {
  const char* name;
  uint64_t writer_rest;  // one rest in so many messages; 0: never
  uint64_t reader_rest;
};

void rest() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

class QueueStress : public testing::TestWithParam<Pace> {};

// Message n has the size and the bytes that follow from n. One in eight goes by
// a loan, some of those behind later ones.
void produce(QueueWriter& writer, uint64_t messages, const Pace& pace) {
  std::vector<char> out(kLargest);
  for (uint64_t number = 1; number <= messages;) {
    const size_t size = pattern_size(number, kLargest);
    const bool by_loan = mix(number) % 8 == 0 && number < messages;
    if (by_loan) {
      void* payload;
      const size_t next_size = pattern_size(number + 1, kLargest);
      while (writer.loan(kLargest, &payload) == QueueWriter::Result::kFull) {
        std::this_thread::yield();
      }
      fill_pattern(out.data(), next_size, number + 1);
      const bool has_next =
          writer.try_write(out.data(), next_size, 0) == QueueWriter::Result::kDone;
      fill_pattern(payload, size, number);
      ASSERT_EQ(writer.publish(payload, size, 0), QueueWriter::Result::kDone);
      number += has_next ? 2 : 1;
    } else {
      fill_pattern(out.data(), size, number);
      QueueWriter::Result result;
      while ((result = writer.try_write(out.data(), size, 0)) == QueueWriter::Result::kFull) {
        std::this_thread::yield();
      }
      ASSERT_EQ(result, QueueWriter::Result::kDone);
      ++number;
    }
    if (pace.writer_rest != 0 && mix(number) % pace.writer_rest == 0) rest();
  }
}

void consume(QueueReader& reader, uint64_t messages, const Pace& pace) {
  std::vector<char> in(kLargest);
  struct Borrow {
    const void* payload;
    Message message;
    uint64_t number;
  };
  std::vector<Borrow> borrowed;
  const auto give_back = [&](size_t which) {
    const auto& [payload, message, borrow] = borrowed[which];
    ASSERT_TRUE(is_pattern(payload, message.size, message.number)) << message.number;
    ASSERT_TRUE(reader.release(payload, borrow));
    borrowed.erase(borrowed.begin() + long(which));
  };
  for (uint64_t number = 1; number <= messages;) {
    Message message;
    const void* payload = nullptr;
    const bool borrows = mix(number) % 4 == 0 && borrowed.size() < 4;
    const QueueReader::Result result = borrows ? reader.borrow(&payload, message, 1)
                                               : reader.read(in.data(), kLargest, message, 1);
    if (result == QueueReader::Result::kNothing) {
      // The writer may need the room of what is borrowed.
      while (!borrowed.empty()) give_back(borrowed.size() / 2);
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(result, QueueReader::Result::kMessage) << number;
    ASSERT_EQ(message.number, number);
    ASSERT_EQ(message.size, pattern_size(number, kLargest));
    if (borrows) {
      borrowed.push_back({payload, message, reader.last_borrow()});
    } else {
      ASSERT_TRUE(is_pattern(in.data(), message.size, number)) << number;
    }
    if (borrowed.size() == 4) give_back(mix(number) % 4);
    if (pace.reader_rest != 0 && mix(number) % pace.reader_rest == 0) rest();
    ++number;
  }
  while (!borrowed.empty()) give_back(0);
}

TEST_P(QueueStress, EveryMessageArrivesOnceInOrderAndWhole) {
  arm_watchdog();
  const Pace pace = GetParam();
  const bool rests = pace.writer_rest != 0 || pace.reader_rest != 0;
  const uint64_t messages = rests ? count(60000, 2000000) : count(300000, 100000000);
  RingMemory memory(RingMemory::shape(8 * 1024, kLargest));
  QueueWriter writer;
  QueueReader reader;
  writer.adopt(memory.view(), 1);
  reader.attach(memory.view());
  std::thread consumer([&] { consume(reader, messages, pace); });
  produce(writer, messages, pace);
  consumer.join();
  EXPECT_EQ(writer.newest_number(), messages);
  reader.consume_handed_out();
  EXPECT_EQ(reader.position(), memory.reader().position.load());
  alarm(0);
}

INSTANTIATE_TEST_SUITE_P(Paces, QueueStress,
                         testing::Values(Pace{"Even", 0, 0}, Pace{"SlowWriter", 20, 0},
                                         Pace{"SlowReader", 0, 20}, Pace{"Bursts", 300, 300}),
                         [](const auto& info) { return std::string(info.param.name); });

// Each end ends at any message and another takes over, while the other goes on.
// What a reader without a clean end had in its hands comes again, and no other.
TEST(QueueTakeOver, NothingIsLostWhileBothEndsAreReplacedAgainAndAgain) {
  arm_watchdog();
  const uint64_t messages = count(200000, 6000000);
  RingMemory memory(RingMemory::shape(8 * 1024, kLargest));
  QueueReader first;
  first.attach(memory.view());
  std::thread consumer([&] {
    QueueReader reader = first;
    std::vector<char> in(kLargest);
    bool may_repeat = false;
    for (uint64_t last = 0; last < messages;) {
      Message message;
      const QueueReader::Result result = reader.read(in.data(), kLargest, message, 1);
      if (result == QueueReader::Result::kNothing) {
        std::this_thread::yield();
        continue;
      }
      ASSERT_EQ(result, QueueReader::Result::kMessage);
      ASSERT_EQ(message.number, may_repeat ? last : last + 1);
      const bool is_repeated = may_repeat;
      may_repeat = false;
      ASSERT_EQ(message.size, pattern_size(message.number, kLargest));
      ASSERT_TRUE(is_pattern(in.data(), message.size, message.number));
      last = message.number;
      if (mix(last) % 100 != 0 || is_repeated) continue;
      if (mix(last) % 200 == 0) {
        reader.consume_handed_out();
      } else {
        may_repeat = true;
      }
      reader = QueueReader();
      reader.attach(memory.view());
    }
  });
  QueueWriter writer;
  writer.adopt(memory.view(), 1);
  std::vector<char> out(kLargest);
  for (uint64_t number = 1; number <= messages;) {
    const size_t size = pattern_size(number, kLargest);
    fill_pattern(out.data(), size, number);
    const QueueWriter::Result result = writer.try_write(out.data(), size, 0);
    if (result == QueueWriter::Result::kFull) {
      std::this_thread::yield();
      continue;
    }
    ASSERT_EQ(result, QueueWriter::Result::kDone);
    if (mix(number) % 70 == 0) {
      void* lost;
      if (mix(number) % 140 == 0) writer.loan(100, &lost);
      writer = QueueWriter();
      writer.adopt(memory.view(), uint32_t(number));
      ASSERT_EQ(writer.newest_number(), number);
    }
    ++number;
  }
  consumer.join();
  alarm(0);
}

}  // namespace
