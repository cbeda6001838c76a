// The queue channel's algorithm on a plain byte array: sizes, bounds, order,
// what a death of either end leaves, what a broken peer may do.
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "channel/queue.h"
#include "layout/validate.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/ring_memory.h"

namespace {

using namespace test;
using eshm::channel::Message;
using eshm::channel::QueueReader;
using eshm::channel::QueueWriter;
using Read = QueueReader::Result;
using Write = QueueWriter::Result;

constexpr uint64_t kThread = 1;
// Payloads that begin 16, 32 and 64 bytes behind a record's beginning.
constexpr uint32_t kEveryOffset[] = {0, ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD};

constexpr uint64_t word_of(uint64_t kind, uint64_t size, uint64_t generation = 1) {
  return size | kind << 31 | generation << 34;
}
constexpr uint64_t kMessageKind = 1, kPaddingKind = 2, kLoanKind = 3, kHeldKind = 4;

class Queue : public testing::Test {
 protected:
  void use(uint64_t queue_bytes, uint64_t largest, uint32_t flags = 0) {
    use(RingMemory::shape(queue_bytes, largest, flags));
  }
  void use(const eshm::layout::ChannelShape& shape) {
    memory_ = std::make_unique<RingMemory>(shape);
    written_ = read_ = 0;
    restart_writer();
    restart_reader();
  }
  void restart_writer() {
    writer_ = QueueWriter();
    writer_.adopt(memory_->view(), ++generation_);
  }
  void restart_reader() {
    reader_ = QueueReader();
    reader_.attach(memory_->view());
  }

  // The n-th message carries the pattern of n.
  Write write(size_t size) {
    std::vector<char> out(size);
    fill_pattern(out.data(), size, written_ + 1);
    const Write result = writer_.try_write(out.data(), size, 0);
    if (result == Write::kDone) ++written_;
    return result;
  }
  Write write_text(const std::string& text) {
    return writer_.try_write(text.data(), text.size(), 0);
  }

  // "" and a kind of failure, or the text.
  std::string read_text(uint64_t thread = kThread) {
    Message message;
    return read_text(message, thread);
  }
  std::string read_text(Message& message, uint64_t thread = kThread) {
    std::vector<char> in(memory_->geometry().max_message_bytes);
    const Read result = reader_.read(in.data(), in.size(), message, thread);
    if (result != Read::kMessage) return "result " + std::to_string(static_cast<int>(result));
    return std::string(in.data(), message.size);
  }
  static std::string name_of(Read result) {
    return "result " + std::to_string(static_cast<int>(result));
  }

  testing::AssertionResult next_is(size_t size) {
    std::vector<char> in(memory_->geometry().max_message_bytes);
    Message message;
    const Read result = reader_.read(in.data(), in.size(), message, kThread);
    if (result != Read::kMessage) return testing::AssertionFailure() << name_of(result);
    ++read_;
    if (message.number != read_ || message.size != size ||
        !is_pattern(in.data(), size, read_)) {
      return testing::AssertionFailure() << "message " << message.number << " of " << message.size
                                         << " bytes, not " << read_ << " of " << size;
    }
    return testing::AssertionSuccess();
  }

  std::string borrow_text(const void*& payload) {
    Message message;
    const Read result = reader_.borrow(&payload, message, kThread);
    if (result != Read::kMessage) return name_of(result);
    return std::string(static_cast<const char*>(payload), message.size);
  }

  char* loan(size_t size) {
    void* payload = nullptr;
    EXPECT_EQ(writer_.loan(size, &payload), Write::kDone);
    return static_cast<char*>(payload);
  }
  Write publish_text(char* payload, const std::string& text) {
    std::memcpy(payload, text.data(), text.size());
    return writer_.publish(payload, text.size(), 0);
  }

  uint32_t generation_ = 0;
  uint64_t written_ = 0;
  uint64_t read_ = 0;
  std::unique_ptr<RingMemory> memory_;
  QueueWriter writer_;
  QueueReader reader_;
};

// ---- sizes and room

TEST_F(Queue, CarriesEverySizeUpToTheLargest) {
  for (const uint32_t flags : kEveryOffset) {
    for (const size_t largest : {1, 2, 15, 16, 17, 48, 300}) {
      auto shape = RingMemory::shape(0, largest, flags);
      shape.queue_bytes = eshm::layout::smallest_queue_bytes(shape);
      use(shape);
      for (int round = 0; round < 40; ++round) {
        for (size_t size = 0; size <= largest; size += largest < 50 || size > 290 ? 1 : 29) {
          ASSERT_EQ(write(size), Write::kDone) << size << " of " << largest;
          ASSERT_TRUE(next_is(size)) << size << " of " << largest;
          // The message in this thread's hands keeps its room until it comes again.
          ASSERT_EQ(read_text(), name_of(Read::kNothing));
        }
      }
    }
  }
}

TEST_F(Queue, AnEmptyRingOfTheSmallestSizeTakesALargestMessageWhereverItStands) {
  for (const uint32_t flags : kEveryOffset) {
    auto shape = RingMemory::shape(0, 500, flags);
    shape.queue_bytes = eshm::layout::smallest_queue_bytes(shape);
    use(shape);
    for (uint64_t start = 0; start < memory_->ring_bytes(); start += memory_->record_bytes(0)) {
      ASSERT_EQ(write(500), Write::kDone) << start;
      ASSERT_TRUE(next_is(500));
      ASSERT_EQ(read_text(), name_of(Read::kNothing));
      ASSERT_EQ(write(0), Write::kDone);  // moves on by the smallest record
      ASSERT_TRUE(next_is(0));
      ASSERT_EQ(read_text(), name_of(Read::kNothing));
    }
  }
}

TEST_F(Queue, IsRefusedByArithmeticWhereACapacityCannotHoldTheLargestMessage) {
  auto shape = RingMemory::shape(0, 4096);
  const uint64_t enough = eshm::layout::smallest_queue_bytes(shape);
  EXPECT_EQ(enough, 2u * (4096 + 16));
  for (const uint64_t queue_bytes : {enough - 1, enough}) {
    shape.queue_bytes = queue_bytes;
    eshm::layout::Plan plan = eshm::layout::plan_segment(
        ESHM_BACKEND_POSIX, shape, shape, true, eshm::layout::kSmallestPageBytes);
    plan.identity.fingerprint = eshm::layout::fingerprint_of(plan);
    std::vector<unsigned char> bytes(eshm::layout::kJudgedBytes);
    std::memcpy(bytes.data(), &plan.identity, sizeof plan.identity);
    std::memcpy(bytes.data() + offsetof(eshm::layout::ControlPage, geometry), &plan.geometry,
                sizeof plan.geometry);
    const auto judgement =
        eshm::layout::judge(bytes.data(), bytes.size(), plan.identity.segment_bytes,
                            eshm::layout::kSmallestPageBytes);
    EXPECT_EQ(judgement.finding == eshm::layout::Finding::kFine, queue_bytes == enough)
        << judgement.reason;
  }
}

TEST_F(Queue, FillsExactlyButForOneHeadersRoom) {
  use(1024, 112);  // records of 128 bytes: seven, and 112 bytes are left
  for (int n = 0; n < 7; ++n) ASSERT_EQ(write(112), Write::kDone) << n;
  EXPECT_EQ(write(112), Write::kFull);
  EXPECT_EQ(write(97), Write::kFull);
  EXPECT_EQ(write(96), Write::kDone);
  EXPECT_EQ(write(0), Write::kFull);
  for (int n = 0; n < 7; ++n) ASSERT_TRUE(next_is(112)) << n;
  EXPECT_TRUE(next_is(96));
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
}

TEST_F(Queue, HasRoomAgainOnceTheReaderHasDoneWithAMessage) {
  use(1024, 112);
  while (write(112) == Write::kDone) {
  }
  ASSERT_TRUE(next_is(112));
  EXPECT_FALSE(reader_.freed_room());
  EXPECT_EQ(write(112), Write::kFull) << "the message was still in the reader's hands";
  ASSERT_TRUE(next_is(112));
  EXPECT_TRUE(reader_.freed_room());
  EXPECT_EQ(write(112), Write::kDone);
  EXPECT_EQ(write(112), Write::kFull);
}

TEST_F(Queue, ARefusedMessageChangesNothing) {
  use(1024, 300);
  ASSERT_EQ(write(300), Write::kDone);
  ASSERT_EQ(write(300), Write::kDone);
  ASSERT_EQ(write(150), Write::kDone);
  const auto before = memory_->image();
  void* payload;
  ASSERT_EQ(write(300), Write::kFull);
  ASSERT_EQ(writer_.loan(300, &payload), Write::kFull);
  EXPECT_EQ(std::memcmp(before.data.get(), memory_->image().data.get(),
                        memory_->geometry().data_bytes), 0);
}

TEST_F(Queue, AMessageLargerThanTheBufferStaysUnread) {
  use(1024, 100);
  ASSERT_EQ(write(100), Write::kDone);
  char small[99];
  Message message;
  ASSERT_EQ(reader_.read(small, sizeof small, message, kThread), Read::kTooSmall);
  EXPECT_EQ(message.size, 100u);
  EXPECT_TRUE(next_is(100));
}

TEST_F(Queue, TellsTimeStampAndGenerationOfEachMessage) {
  use(4096, 100, ESHM_FLAG_TIMESTAMPS);
  ASSERT_EQ(writer_.try_write("old", 3, 111), Write::kDone);
  restart_writer();
  char* payload = loan(50);
  std::memcpy(payload, "new", 3);
  ASSERT_EQ(writer_.publish(payload, 3, 222), Write::kDone);
  Message first, second;
  EXPECT_EQ(read_text(first), "old");
  EXPECT_EQ(read_text(second), "new");
  EXPECT_EQ(first.timestamp_ns, 111u);
  EXPECT_EQ(second.timestamp_ns, 222u);
  EXPECT_EQ(second.generation, first.generation + 1);
}

TEST_F(Queue, AlignedPayloadsAreAligned) {
  use(4096, 100, ESHM_FLAG_ALIGN_PAYLOAD);
  for (int n = 0; n < 100; ++n) {
    char* payload = loan(n);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(payload) % 64, 0u);
    ASSERT_EQ(writer_.publish(payload, n / 2, 0), Write::kDone);
    const void* borrowed;
    Message message;
    ASSERT_EQ(reader_.borrow(&borrowed, message, kThread), Read::kMessage);
    EXPECT_EQ(borrowed, payload);
    EXPECT_EQ(message.size, size_t(n / 2));
    EXPECT_TRUE(reader_.release(borrowed));
  }
}

// ---- order

// Every word of every payload looks like a header: those of all kinds and sizes,
// and true ones of messages to come.
TEST_F(Queue, PayloadThatLooksLikeHeadersIsNeverTakenForAMessage) {
  use(4096, 600);
  Random random;
  std::deque<uint64_t> sizes;
  const uint64_t laps = count(1000, 100000);
  std::vector<uint64_t> out(76), in(76);
  while (writer_.committed_position() < laps * memory_->ring_bytes()) {
    for (uint64_t burst = random.up_to(8); burst > 0; --burst) {
      const uint64_t size = random.up_to(600);
      for (size_t i = 0; i < out.size(); i += 2) {
        const uint64_t kind = 1 + random.up_to(3);
        out[i] = word_of(kind, kind == kPaddingKind ? random.up_to(20) : random.up_to(600));
        out[i + 1] = kind == kPaddingKind ? writer_.committed_position() + 16 * random.up_to(256)
                                          : written_ + random.up_to(3);
      }
      if (size >= 8) out[0] = written_ + 1;
      if (writer_.try_write(out.data(), size, 0) != Write::kDone) break;
      ++written_;
      sizes.push_back(size);
    }
    for (uint64_t burst = random.up_to(8); burst > 0; --burst) {
      Message message;
      const Read result = reader_.read(in.data(), 600, message, kThread);
      if (sizes.empty()) {
        ASSERT_EQ(result, Read::kNothing);
        break;
      }
      ASSERT_EQ(result, Read::kMessage);
      ASSERT_EQ(message.number, ++read_);
      ASSERT_EQ(message.size, sizes.front());
      if (message.size >= 8) {
        ASSERT_EQ(in[0], read_);
      }
      sizes.pop_front();
    }
  }
  EXPECT_GT(read_, 1000u);
}

// Against a plain deque: writes, loans in any order, reads, borrows, restarts of
// both ends.
TEST_F(Queue, AgreesWithAPlainListWhateverIsDone) {
  Random random;
  struct Open {
    char* payload;
    uint64_t id;
    size_t size;
  };
  struct Entry {
    uint64_t id;
    size_t size;
    bool is_open;
  };
  for (int run = 0; run < 20; ++run) {
    use(RingMemory::shape(2048 + 64 * random.up_to(20), 500, 0, 3, 3));
    std::deque<Entry> expected;
    std::vector<Open> loans;
    std::vector<std::pair<const void*, Entry>> borrows;
    uint64_t next_id = 1, number = 0;
    const auto finish = [&](size_t which, bool published) {
      const Open open = loans[which];
      loans.erase(loans.begin() + long(which));
      for (auto entry = expected.begin(); entry != expected.end(); ++entry) {
        if (entry->id != open.id) continue;
        if (published) {
          entry->is_open = false;
          entry->size = open.size;
        } else {
          expected.erase(entry);
        }
        break;
      }
    };
    for (uint64_t step = count(5000, 500000); step > 0; --step) {
      const uint64_t dice = random.up_to(99);
      if (dice < 30) {
        const size_t size = pattern_size(next_id, 500);
        std::vector<char> out(size);
        fill_pattern(out.data(), size, next_id);
        const Write result = writer_.try_write(out.data(), size, 0);
        ASSERT_TRUE(result == Write::kDone || result == Write::kFull);
        if (result == Write::kDone) expected.push_back({next_id++, size, false});
      } else if (dice < 40) {
        const size_t size = pattern_size(next_id, 500);
        void* payload = nullptr;
        const Write result = writer_.loan(size, &payload);
        ASSERT_EQ(result == Write::kTooMany, loans.size() == 3);
        if (result == Write::kDone) {
          loans.push_back({static_cast<char*>(payload), next_id, size});
          expected.push_back({next_id++, size, true});
        }
      } else if (dice < 50 && !loans.empty()) {
        const size_t which = random.up_to(loans.size() - 1);
        Open& open = loans[which];
        if (random.up_to(3) == 0) {
          ASSERT_EQ(writer_.discard(open.payload), Write::kDone);
          finish(which, false);
        } else {
          open.size = random.up_to(open.size);
          fill_pattern(open.payload, open.size, open.id);
          ASSERT_EQ(writer_.publish(open.payload, open.size, 0), Write::kDone);
          finish(which, true);
        }
      } else if (dice < 80) {
        std::vector<char> in(500);
        Message message;
        const Read result = reader_.read(in.data(), in.size(), message, kThread);
        if (expected.empty() || expected.front().is_open) {
          ASSERT_EQ(result, Read::kNothing);
        } else {
          ASSERT_EQ(result, Read::kMessage);
          ASSERT_EQ(message.number, ++number);
          ASSERT_EQ(message.size, expected.front().size);
          ASSERT_TRUE(is_pattern(in.data(), message.size, expected.front().id));
          expected.pop_front();
        }
      } else if (dice < 88) {
        const void* payload = nullptr;
        Message message;
        const Read result = reader_.borrow(&payload, message, kThread);
        if (expected.empty() || expected.front().is_open) {
          ASSERT_EQ(result, Read::kNothing);
        } else if (borrows.size() == 3) {
          ASSERT_EQ(result, Read::kTooMany);
        } else {
          ASSERT_EQ(result, Read::kMessage);
          ASSERT_EQ(message.number, ++number);
          borrows.emplace_back(payload, expected.front());
          expected.pop_front();
        }
      } else if (dice < 97 && !borrows.empty()) {
        const size_t which = random.up_to(borrows.size() - 1);
        const auto [payload, entry] = borrows[which];
        ASSERT_TRUE(is_pattern(payload, entry.size, entry.id));
        ASSERT_TRUE(reader_.release(payload));
        borrows.erase(borrows.begin() + long(which));
      } else if (dice == 98) {
        restart_writer();
        while (!loans.empty()) finish(0, false);
      } else if (dice == 99) {
        reader_.settle();
        borrows.clear();
        restart_reader();
      }
      ASSERT_EQ(reader_.has_next(), !expected.empty() && !expected.front().is_open);
    }
    EXPECT_GT(number, 100u);
  }
}

// ---- loans

TEST_F(Queue, WhatIsWrittenBehindAnOpenLoanIsReadAfterIt) {
  use(4096, 100);
  ASSERT_EQ(write_text("before"), Write::kDone);
  char* first = loan(100);
  ASSERT_EQ(write_text("between"), Write::kDone);
  char* second = loan(100);
  ASSERT_EQ(write_text("behind"), Write::kDone);
  EXPECT_EQ(read_text(), "before");
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
  EXPECT_EQ(publish_text(second, "second"), Write::kDone);
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
  EXPECT_EQ(writer_.newest_number(), 1u);
  EXPECT_EQ(publish_text(first, "first"), Write::kDone);
  EXPECT_EQ(writer_.newest_number(), 5u);
  uint64_t number = 1;
  for (const char* text : {"first", "between", "second", "behind"}) {
    Message message;
    EXPECT_EQ(read_text(message), text);
    EXPECT_EQ(message.number, ++number);
  }
}

TEST_F(Queue, ADiscardedLoanLeavesNoGapInTheNumbers) {
  use(4096, 100);
  char* first = loan(100);
  char* second = loan(0);
  ASSERT_EQ(write_text("a"), Write::kDone);
  char* last = loan(10);
  EXPECT_EQ(writer_.discard(second), Write::kDone);
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
  EXPECT_EQ(writer_.discard(first), Write::kDone);
  EXPECT_EQ(writer_.discard(last), Write::kDone);
  ASSERT_EQ(write_text("b"), Write::kDone);
  Message message;
  EXPECT_EQ(read_text(message), "a");
  EXPECT_EQ(message.number, 1u);
  EXPECT_EQ(read_text(message), "b");
  EXPECT_EQ(message.number, 2u);
}

TEST_F(Queue, ALoanThatIsNotFilledGivesItsRoomBack) {
  use(1024, 480);
  for (int n = 0; n < 10; ++n) {
    ASSERT_EQ(publish_text(loan(300), "x"), Write::kDone) << n;
  }
  for (int n = 0; n < 10; ++n) ASSERT_EQ(writer_.discard(loan(300)), Write::kDone) << n;
}

TEST_F(Queue, MoreThanMaxLoansAreRefused) {
  use(RingMemory::shape(4096, 100, 0, 4, 2));
  char* first = loan(10);
  loan(10);
  void* third;
  EXPECT_EQ(writer_.loan(10, &third), Write::kTooMany);
  EXPECT_EQ(publish_text(first, "x"), Write::kDone);
  EXPECT_EQ(writer_.loan(10, &third), Write::kDone);
  use(RingMemory::shape(4096, 100, 0, 4, 0));
  EXPECT_EQ(writer_.loan(10, &third), Write::kTooMany);
}

TEST_F(Queue, AnAddressThatIsNoOpenLoanIsRefused) {
  use(4096, 100);
  char foreign[10];
  char* payload = loan(10);
  EXPECT_EQ(writer_.publish(foreign, 1, 0), Write::kNotLoaned);
  EXPECT_EQ(writer_.discard(payload + 1), Write::kNotLoaned);
  EXPECT_EQ(writer_.publish(nullptr, 0, 0), Write::kNotLoaned);
  EXPECT_EQ(writer_.publish(payload, 11, 0), Write::kTooLarge);
  EXPECT_EQ(publish_text(payload, "once"), Write::kDone);
  EXPECT_EQ(writer_.publish(payload, 1, 0), Write::kNotLoaned);
  EXPECT_EQ(writer_.discard(payload), Write::kNotLoaned);
  char* lost = loan(10);
  restart_writer();
  EXPECT_EQ(writer_.publish(lost, 1, 0), Write::kNotLoaned);
  EXPECT_EQ(read_text(), "once");
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
}

// ---- borrows

TEST_F(Queue, BorrowedMessagesStayUntouchedAndAreReleasedInAnyOrder) {
  use(1024, 100);
  const void* borrowed[4];
  for (const char* text : {"aaaa", "bbbb", "cccc", "dddd"}) {
    ASSERT_EQ(write_text(text), Write::kDone);
  }
  for (int n = 0; n < 4; ++n) {
    EXPECT_EQ(borrow_text(borrowed[n]), std::string(4, char('a' + n)));
  }
  EXPECT_TRUE(reader_.release(borrowed[2]));
  EXPECT_TRUE(reader_.release(borrowed[1]));
  EXPECT_FALSE(reader_.freed_room());
  while (write(100) == Write::kDone) {
  }
  while (read_text() != name_of(Read::kNothing)) {
  }
  EXPECT_EQ(write(100), Write::kFull) << "the oldest is borrowed still";
  EXPECT_EQ(std::memcmp(borrowed[0], "aaaa", 4), 0);
  EXPECT_EQ(std::memcmp(borrowed[3], "dddd", 4), 0);
  EXPECT_TRUE(reader_.release(borrowed[0]));
  EXPECT_TRUE(reader_.freed_room());
  EXPECT_TRUE(reader_.release(borrowed[3]));
  EXPECT_EQ(write(100), Write::kDone);
}

TEST_F(Queue, MoreThanMaxBorrowsAreRefusedAndTheMessageStays) {
  use(RingMemory::shape(4096, 100, 0, 2, 0));
  const void* first;
  const void* other;
  for (const char* text : {"a", "b", "c"}) ASSERT_EQ(write_text(text), Write::kDone);
  EXPECT_EQ(borrow_text(first), "a");
  EXPECT_EQ(borrow_text(other), "b");
  EXPECT_EQ(borrow_text(other), name_of(Read::kTooMany));
  EXPECT_TRUE(reader_.release(first));
  EXPECT_EQ(borrow_text(other), "c");
  EXPECT_EQ(borrow_text(other), name_of(Read::kNothing));
  use(RingMemory::shape(4096, 100, 0, 0, 0));
  ASSERT_EQ(write_text("a"), Write::kDone);
  EXPECT_EQ(borrow_text(other), name_of(Read::kTooMany));
  EXPECT_EQ(read_text(), "a");
}

TEST_F(Queue, AnAddressThatIsNotBorrowedIsRefused) {
  use(4096, 100);
  ASSERT_EQ(write_text("a"), Write::kDone);
  ASSERT_EQ(write_text("b"), Write::kDone);
  const void* payload;
  EXPECT_EQ(borrow_text(payload), "a");
  char foreign;
  EXPECT_FALSE(reader_.release(&foreign));
  EXPECT_FALSE(reader_.release(nullptr));
  EXPECT_EQ(read_text(), "b");
  EXPECT_FALSE(reader_.release(nullptr)) << "a copied message is not borrowed";
  EXPECT_TRUE(reader_.release(payload));
  EXPECT_FALSE(reader_.release(payload));
}

// ---- the writer dies

// The image that a writer leaves which dies after `stores` of the commit, count
// and position, made from the images before and after one write.
TEST_F(Queue, AWriterThatDiesLosesOnlyTheMessageThatWasNotCommitted) {
  enum Died { kBeforeCommit, kBeforeCount, kBeforePosition, kAfter };
  // Message sizes that fit before the ring's end, and one that needs padding.
  for (const size_t second_size : {size_t(200), size_t(480)}) {
    for (const Died died : {kBeforeCommit, kBeforeCount, kBeforePosition, kAfter}) {
      use(1024, 480);
      ASSERT_EQ(write(480), Write::kDone);
      ASSERT_EQ(write(200), Write::kDone);
      ASSERT_TRUE(next_is(480));
      ASSERT_TRUE(next_is(200));
      ASSERT_EQ(read_text(), name_of(Read::kNothing));
      const uint64_t published = memory_->publish().published.load();
      const uint64_t messages = memory_->publish().messages.load();
      ASSERT_EQ(write(second_size), Write::kDone);
      const uint64_t record = writer_.committed_position() - memory_->record_bytes(second_size);
      EXPECT_EQ(record == published, second_size == 200);
      if (died <= kBeforePosition) memory_->publish().published.store(published);
      if (died <= kBeforeCount) memory_->publish().messages.store(messages);
      if (died == kBeforeCommit) memory_->header(record).commit.store(0);
      restart_writer();
      if (died == kBeforeCommit) --written_;
      EXPECT_EQ(writer_.newest_number(), written_);
      ASSERT_EQ(write(17), Write::kDone);
      if (died != kBeforeCommit) {
        ASSERT_TRUE(next_is(second_size)) << died;
      }
      ASSERT_TRUE(next_is(17)) << died;
      EXPECT_EQ(read_text(), name_of(Read::kNothing));
    }
  }
}

TEST_F(Queue, AWriterThatDiesBehindItsPaddingLosesOnlyTheMessage) {
  use(1024, 480);
  ASSERT_EQ(write(480), Write::kDone);
  ASSERT_EQ(write(480), Write::kDone);
  ASSERT_TRUE(next_is(480));
  ASSERT_TRUE(next_is(480));
  ASSERT_EQ(read_text(), name_of(Read::kNothing));
  const uint64_t published = memory_->publish().published.load();
  ASSERT_EQ(write(480), Write::kDone);
  memory_->publish().published.store(published);
  memory_->publish().messages.store(2);
  memory_->header(1024).commit.store(0);  // the padding stands, the record does not
  // The reader passes the padding before or after the new writer has come.
  for (const bool reads_first : {true, false}) {
    const auto image = memory_->image();
    if (reads_first) {
      ASSERT_EQ(read_text(), name_of(Read::kNothing));
      EXPECT_EQ(memory_->reader().position.load(), 1024u);
    }
    written_ = 2;
    restart_writer();
    EXPECT_EQ(writer_.committed_position(), 1024u);
    ASSERT_EQ(write(300), Write::kDone);
    read_ = 2;
    ASSERT_TRUE(next_is(300));
    memory_->restore(image);
    restart_reader();
  }
}

TEST_F(Queue, ALoanOfADeadWriterIsLostAndWhatIsCompleteBehindItIsNot) {
  use(4096, 100);
  ASSERT_EQ(write_text("before"), Write::kDone);
  loan(100);
  ASSERT_EQ(write_text("behind"), Write::kDone);
  char* shrunk = loan(100);
  loan(33);
  ASSERT_EQ(publish_text(shrunk, "shrunk"), Write::kDone);
  EXPECT_EQ(read_text(), "before");
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
  restart_writer();
  EXPECT_EQ(writer_.newest_number(), 3u);
  ASSERT_EQ(write_text("new"), Write::kDone);
  uint64_t number = 1;
  for (const char* text : {"behind", "shrunk", "new"}) {
    Message message;
    EXPECT_EQ(read_text(message), text);
    EXPECT_EQ(message.number, ++number);
  }
}

// A publish shows what waited behind the loan: it may die between any two.
TEST_F(Queue, AWriterThatDiesWhileItShowsWhatWaitedIsFinishedByTheNext) {
  for (int shown = 0; shown <= 4; ++shown) {
    use(4096, 100);
    char* first = loan(100);
    std::vector<uint64_t> held;
    for (const char* text : {"one", "two", "three"}) {
      held.push_back(writer_.committed_position());
      ASSERT_EQ(write_text(text), Write::kDone);
    }
    const auto before = memory_->image();
    ASSERT_EQ(publish_text(first, "first"), Write::kDone);
    // Commit words and tags of the records that it had not come to.
    memory_->publish().published.store(0);
    memory_->publish().messages.store(0);
    uint64_t position = 0;
    for (int record = 0; record < 4; ++record) {
      const uint64_t size = memory_->header(position).commit.load() & 0x7fffffff;
      if (record >= shown) {
        std::memcpy(memory_->ring() + position,
                    before.data.get() + eshm::layout::kFirstSlotOffset + position,
                    sizeof(eshm::layout::RecordHeader));
      }
      position += memory_->record_bytes(size);
      if (record == 0) position = memory_->record_bytes(100);  // padding after the short one
    }
    restart_writer();
    ASSERT_EQ(write_text("new"), Write::kDone);
    std::vector<std::string> expected = {"one", "two", "three", "new"};
    if (shown > 0) expected.insert(expected.begin(), "first");
    uint64_t number = 0;
    for (const std::string& text : expected) {
      Message message;
      EXPECT_EQ(read_text(message), text) << shown;
      EXPECT_EQ(message.number, ++number);
    }
    EXPECT_EQ(read_text(), name_of(Read::kNothing));
  }
}

// Full to the last byte, its writer dead: the walk must not go round.
TEST_F(Queue, AFullRingIsTakenOver) {
  use(1024, 112);
  while (write(112) == Write::kDone) {
  }
  ASSERT_EQ(write(96), Write::kDone);
  memory_->publish().published.store(0);
  memory_->publish().messages.store(0);
  restart_writer();
  EXPECT_EQ(writer_.newest_number(), 8u);
  EXPECT_EQ(write(0), Write::kFull);
  for (int n = 0; n < 7; ++n) ASSERT_TRUE(next_is(112));
  ASSERT_TRUE(next_is(96));
}

// ---- the reader dies

TEST_F(Queue, AfterAReadersDeathExactlyWhatWasInItsHandsIsShownAgain) {
  use(4096, 100);
  for (const char* text : {"a", "b", "c", "d"}) ASSERT_EQ(write_text(text), Write::kDone);
  EXPECT_EQ(read_text(), "a");
  EXPECT_EQ(read_text(), "b");
  restart_reader();
  Message message;
  EXPECT_EQ(read_text(message), "b");
  EXPECT_EQ(message.number, 2u);
  EXPECT_EQ(read_text(), "c");
  EXPECT_EQ(read_text(), "d");
  EXPECT_EQ(read_text(), name_of(Read::kNothing));  // the thread came again
  restart_reader();
  EXPECT_EQ(read_text(), name_of(Read::kNothing));
}

TEST_F(Queue, EachReadingThreadHasOneMessageInItsHands) {
  use(4096, 100);
  for (const char* text : {"a", "b", "c", "d"}) ASSERT_EQ(write_text(text), Write::kDone);
  EXPECT_EQ(read_text(1), "a");
  EXPECT_EQ(read_text(2), "b");
  EXPECT_EQ(read_text(1), "c");
  EXPECT_EQ(read_text(1), "d");
  restart_reader();
  EXPECT_EQ(read_text(), "b") << "the second thread's; what came after it is shown again, too";
}

TEST_F(Queue, BorrowedMessagesAreShownAgainAfterADeath) {
  use(4096, 100);
  const void* payload;
  for (const char* text : {"a", "b", "c"}) ASSERT_EQ(write_text(text), Write::kDone);
  EXPECT_EQ(borrow_text(payload), "a");
  EXPECT_EQ(borrow_text(payload), "b");
  EXPECT_TRUE(reader_.release(payload));
  restart_reader();
  EXPECT_EQ(borrow_text(payload), "a");
  EXPECT_EQ(read_text(), "b");
}

TEST_F(Queue, ACleanEndShowsNothingAgain) {
  use(4096, 100);
  const void* payload;
  for (const char* text : {"a", "b", "c"}) ASSERT_EQ(write_text(text), Write::kDone);
  EXPECT_EQ(read_text(), "a");
  EXPECT_EQ(borrow_text(payload), "b");
  reader_.settle();
  EXPECT_TRUE(reader_.freed_room());
  EXPECT_FALSE(reader_.release(payload));
  restart_reader();
  EXPECT_EQ(read_text(), "c");
}

TEST_F(Queue, AThreadThatNeverComesBackDoesNotStopTheLink) {
  use(1024, 400);
  ASSERT_EQ(write_text("lost"), Write::kDone);
  EXPECT_EQ(read_text(99), "lost");
  for (int n = 0; n < 100; ++n) {
    ASSERT_EQ(write_text(std::string(400, 'x')), Write::kDone) << n;
    ASSERT_EQ(read_text(1).size(), 400u);
    ASSERT_EQ(read_text(1), name_of(Read::kNothing));
  }
}

TEST_F(Queue, WhoeverWaitsWithoutReadingLetsGoOfWhatFillsTheRing) {
  use(1024, 400);
  for (int n = 0; n < 100; ++n) {
    ASSERT_EQ(write_text(std::string(400, 'x')), Write::kDone) << n;
    ASSERT_EQ(read_text(1).size(), 400u);
    ASSERT_FALSE(reader_.has_next());
    reader_.settle_while_waiting();
  }
}

TEST_F(Queue, MoreThreadsThanHandsAreServed) {
  use(64 * 1024, 100);
  for (uint64_t thread = 1; thread <= 500; ++thread) {
    const std::string text = std::to_string(thread);
    ASSERT_EQ(write_text(text), Write::kDone);
    ASSERT_EQ(read_text(thread), text);
  }
  restart_reader();
  EXPECT_EQ(read_text(), "437") << "the last 64 hands are remembered";
}

// ---- another segment takes over

TEST_F(Queue, AMarkedSegmentIsReadDryUpToThePositionThatWasRecorded) {
  use(4096, 100);
  for (const char* text : {"a", "b"}) ASSERT_EQ(write_text(text), Write::kDone);
  const uint64_t end = writer_.committed_position();
  EXPECT_EQ(read_text(), "a");
  memory_->superseded().store(1);
  ASSERT_EQ(write_text("late"), Write::kDone);
  EXPECT_EQ(read_text(), name_of(Read::kSuperseded));
  reader_.drain_to(end);
  EXPECT_EQ(read_text(), "b");
  EXPECT_EQ(read_text(), name_of(Read::kSuperseded));
  EXPECT_EQ(reader_.position(), end);
}

TEST_F(Queue, ARecordedPositionThatWasNeverReachedIsCorrupt) {
  use(4096, 100);
  ASSERT_EQ(write_text("a"), Write::kDone);
  reader_.drain_to(writer_.committed_position() + 32);
  EXPECT_EQ(read_text(), "a");
  EXPECT_EQ(read_text(), name_of(Read::kCorrupt));
}

TEST_F(Queue, UnreadMessagesCanBeCarriedOver) {
  use(1024, 200);
  for (int n = 0; n < 12; ++n) {
    ASSERT_EQ(write_text(std::string(size_t(120), char('a' + n))), Write::kDone);
    if (n >= 3) {
      ASSERT_EQ(read_text(), std::string(size_t(120), char('a' + n - 3)));
    }
  }
  ASSERT_EQ(writer_.discard(loan(200)), Write::kDone);
  loan(10);  // stays behind
  uint64_t cursor = 0;
  QueueWriter::Unread unread;
  std::string seen;
  while (writer_.next_unread(cursor, unread)) {
    EXPECT_EQ(unread.size, 120u);
    seen += char(*unread.payload);
  }
  EXPECT_EQ(seen, "ijkl") << "the one in the reader's hands, and those behind it";
}

// ---- a broken or hostile peer

TEST_F(Queue, AReadersPositionThatCannotBeIsCorrupt) {
  const std::vector<uint64_t> wrong = {1, 8, 24, 192 + 16, 4096, uint64_t(1) << 62, UINT64_MAX,
                                       UINT64_MAX - 15};
  for (const uint64_t position : wrong) {
    use(256, 80);  // two records of 96 bytes
    ASSERT_EQ(write(80), Write::kDone);
    memory_->reader().position.store(position);
    void* payload;
    Write result = Write::kDone;
    for (int n = 0; n < 4 && result == Write::kDone; ++n) result = write(80);
    EXPECT_EQ(result, Write::kCorrupt) << position;
    EXPECT_EQ(write(0), Write::kCorrupt);
    EXPECT_EQ(writer_.loan(0, &payload), Write::kCorrupt);
  }
}

TEST_F(Queue, AReadersPositionThatGoesBackIsCorrupt) {
  use(256, 80);
  for (int n = 0; n < 20; ++n) {
    ASSERT_EQ(write(80), Write::kDone);
    ASSERT_TRUE(next_is(80));
    ASSERT_EQ(read_text(), name_of(Read::kNothing));
  }
  memory_->reader().position.store(0);
  Write result = Write::kDone;
  for (int n = 0; n < 4 && result == Write::kDone; ++n) result = write(80);
  EXPECT_EQ(result, Write::kCorrupt);
}

TEST_F(Queue, TakingOverFromImpossiblePositionsIsCorrupt) {
  struct Case {
    uint64_t published, consumed;
  };
  for (const Case& c : {Case{1, 0}, {0, 1}, {8, 8}, {4096 + 16, 0}, {0, 4096 + 16}, {16, 4096 + 48},
                        {uint64_t(1) << 62, uint64_t(1) << 62}, {UINT64_MAX, 0}, {0, UINT64_MAX},
                        {UINT64_MAX - 15, UINT64_MAX - 15}, {UINT64_MAX - 15, 0}}) {
    use(4096, 100);
    memory_->publish().published.store(c.published);
    memory_->reader().position.store(c.consumed);
    restart_writer();
    EXPECT_EQ(write(1), Write::kCorrupt) << c.published << " " << c.consumed;
    restart_reader();
    EXPECT_EQ(read_text(), name_of(Read::kCorrupt)) << c.published << " " << c.consumed;
    EXPECT_TRUE(reader_.has_next()) << "a caller that waits must be told";
    reader_.settle();
    EXPECT_EQ(memory_->reader().position.load(), c.consumed);
  }
  // Consumed what was never written: only the writer, who walks, can tell.
  use(4096, 100);
  memory_->reader().position.store(64);
  restart_writer();
  EXPECT_EQ(write(1), Write::kCorrupt);
}

TEST_F(Queue, AHeaderThatNoWriterLeavesIsCorrupt) {
  struct Case {
    const char* what;
    uint64_t commit, tag;
  };
  for (const Case& c : {
           Case{"kind 0", word_of(0, 1), 1},
           {"kind 5", word_of(5, 1), 1},
           {"kind 7", word_of(7, 1), 1},
           {"larger than the largest", word_of(kMessageKind, 101), 1},
           {"enormous", word_of(kMessageKind, 0x7fffffff), 1},
           {"number 0", word_of(kMessageKind, 1), 0},
           {"another number", word_of(kMessageKind, 1), 3},
           {"loan larger than the largest", word_of(kLoanKind, 101), 1},
           {"held larger than the largest", word_of(kHeldKind, 0x7fffffff), 1},
           {"padding of nothing", word_of(kPaddingKind, 0), 32},
           {"padding of another place", word_of(kPaddingKind, 1), 0},
           {"padding beyond the ring", word_of(kPaddingKind, 4096 / 16), 32},
           {"all bits", UINT64_MAX, UINT64_MAX},
       }) {
    use(4096, 100);
    ASSERT_EQ(write_text("a"), Write::kDone);
    EXPECT_EQ(read_text(), "a");
    memory_->header(32).tag.store(c.tag);
    memory_->header(32).commit.store(c.commit);
    const std::string first = read_text();
    EXPECT_EQ(first, name_of(Read::kCorrupt)) << c.what;
    EXPECT_EQ(read_text(), first) << c.what;
  }
}

TEST_F(Queue, AWriterThatFillsMoreThanTheRingIsCorrupt) {
  use(256, 80);
  const void* payload;
  ASSERT_EQ(write_text("a"), Write::kDone);
  EXPECT_EQ(borrow_text(payload), "a");
  // Forged: padding up to the end, and the next message on top of the borrowed one.
  memory_->header(32).tag.store(32);
  memory_->header(32).commit.store(word_of(kPaddingKind, (256 - 32) / 16));
  memory_->header(256).tag.store(2);
  memory_->header(256).commit.store(word_of(kMessageKind, 1));
  EXPECT_EQ(read_text(), name_of(Read::kCorrupt));
}

TEST_F(Queue, AMessageAcrossTheRingsEndIsCorrupt) {
  use(256, 80);
  for (int n = 0; n < 2; ++n) {
    ASSERT_EQ(write(80), Write::kDone);
    ASSERT_TRUE(next_is(80));
    ASSERT_EQ(read_text(), name_of(Read::kNothing));
  }
  memory_->header(192).tag.store(3);
  memory_->header(192).commit.store(word_of(kMessageKind, 80));
  EXPECT_EQ(read_text(), name_of(Read::kCorrupt));
}

TEST_F(Queue, RubbishNeverDoesMoreThanAnError) {
  Random random;
  uint64_t corrupt = 0, messages = 0;
  for (uint64_t round = count(3000, 1000000); round > 0; --round) {
    use(RingMemory::shape(256 + 64 * random.up_to(4), 80, random.up_to(2) == 0 ? 1 : 0));
    for (int n = 0; n < 6; ++n) {
      write(random.up_to(80));
      if (n > 2) read_text();
    }
    void* loaned = nullptr;
    if (random.up_to(1) == 0) writer_.loan(random.up_to(80), &loaned);
    // Whole random words, or words that are nearly right.
    for (uint64_t hit = 1 + random.up_to(6); hit > 0; --hit) {
      const uint64_t word = random.up_to(2) == 0
                                ? random.up_to(UINT64_MAX)
                                : word_of(random.up_to(5), random.up_to(90), random.up_to(2));
      reinterpret_cast<std::atomic<uint64_t>*>(memory_->ring())[random.up_to(
          memory_->ring_bytes() / 8 - 1)].store(word);
    }
    if (random.up_to(3) == 0) memory_->reader().position.store(16 * random.up_to(64));
    if (random.up_to(3) == 0) memory_->publish().published.store(16 * random.up_to(64));
    if (random.up_to(1) == 0) restart_writer();
    if (random.up_to(1) == 0) restart_reader();
    uint64_t cursor = 0;
    QueueWriter::Unread unread;
    while (writer_.next_unread(cursor, unread)) {
      ASSERT_LE(unread.size, 80u);
    }
    if (loaned != nullptr) writer_.publish(loaned, 0, 0);
    for (int n = 0; n < 40; ++n) {
      corrupt += write(random.up_to(80)) == Write::kCorrupt;
      char in[80];
      Message message;
      const Read result = reader_.read(in, sizeof in, message, kThread);
      ASSERT_NE(result, Read::kTooSmall);
      corrupt += result == Read::kCorrupt;
      messages += result == Read::kMessage;
    }
  }
  EXPECT_GT(corrupt, 0u);
  EXPECT_GT(messages, 0u);
}

}  // namespace
