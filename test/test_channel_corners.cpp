// SPDX-License-Identifier: MIT
// The channels' corners, over plain memory: a peer that lies or changes what is
// being copied, a segment that is marked, more hands than can be remembered.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "channel/latest.h"
#include "channel/queue_observer.h"
#include "channel/wakeup.h"
#include "eshm_data.h"
#include "support/ring_memory.h"
#include "support/slot_memory.h"

namespace {

using namespace test;
using eshm::channel::Borrowed;
using eshm::channel::LatestObserver;
using eshm::channel::LatestReader;
using eshm::channel::LatestWriter;
using eshm::channel::Message;
using eshm::channel::QueueObserver;
using eshm::channel::QueueReader;
using eshm::channel::QueueWriter;
using eshm::channel::ReadResult;
using eshm::channel::WriteResult;

// ---- newest value ----------------------------------------------------------------

constexpr uint64_t kLargest = 8;

class Latest : public testing::Test {
 protected:
  void write(uint64_t word) { writer_.write(&word, sizeof word, 0); }
  void begin() {
    writer_.adopt(memory_.view(), 1);
    reader_.attach(memory_.view());
  }
  ReadResult read() { return reader_.read(&word_, sizeof word_, message_, true); }
  void expect_no_pins() {
    for (const auto& pin : memory_.pins().slot) EXPECT_EQ(pin.load(), 0u);
  }

  SlotMemory memory_{shape_of(1, 1, kLargest)};
  LatestWriter writer_;
  LatestReader reader_;
  uint64_t word_ = 0;
  Message message_;
  Borrowed borrowed_;
};

TEST_F(Latest, OnlyFreeSlotIsTakenThoughALiarClaimsToReadIt) {
  SlotMemory memory(shape_of(0, 0, kLargest));
  writer_.adopt(memory.view(), 1);
  for (uint64_t number = 1; number <= 40; ++number) {
    memory.pins().slot[0].store(uint32_t(number % memory.geometry().slot_count) + 1);
    write(number);
    LatestObserver observer;
    observer.attach(memory.view());
    ASSERT_EQ(observer.read(&word_, sizeof word_, message_, false), ReadResult::kMessage);
    ASSERT_EQ(word_, number);
  }
}

// It may hold each slot that the writer comes to, one after the other.
TEST_F(Latest, MessagesComeThroughThoughALiarsPinFliesAbout) {
  SlotMemory memory(shape_of(0, 0, kLargest));
  writer_.adopt(memory.view(), 1);
  std::atomic<bool> is_over{false};
  std::thread liar([&] {
    for (uint32_t slot = 0; !is_over; slot = (slot * 5 + 3) % 16) {
      memory.pins().slot[0].store(slot % (memory.geometry().slot_count + 1));
    }
  });
  LatestObserver observer;
  observer.attach(memory.view());
  for (uint64_t number = 1; number <= 200'000; ++number) {
    write(number);
    if (observer.read(&word_, sizeof word_, message_, false) != ReadResult::kMessage ||
        word_ != number) {
      ADD_FAILURE() << "message " << number << " is not found";
      break;
    }
  }
  is_over = true;
  liar.join();
}

TEST_F(Latest, LoanIsNotPublishedLargerThanItWasMade) {
  begin();
  void* payload = nullptr;
  ASSERT_EQ(writer_.loan(4, &payload), WriteResult::kDone);
  EXPECT_EQ(writer_.publish(payload, 5, 0), WriteResult::kTooLarge);
  EXPECT_EQ(read(), ReadResult::kNothing);
  EXPECT_EQ(writer_.publish(payload, 4, 0), WriteResult::kDone);
  EXPECT_EQ(read(), ReadResult::kMessage);
}

TEST_F(Latest, SizeBeyondTheChannelsIsBelievedByNobody) {
  begin();
  write(1);
  size_t size = 0;
  ASSERT_NE(writer_.newest(size), nullptr);
  memory_.slot_of(1).size.store(kLargest + 1);
  EXPECT_EQ(writer_.newest(size), nullptr);
  std::vector<char> room(kLargest + 1);
  EXPECT_EQ(reader_.read(room.data(), room.size(), message_, false), ReadResult::kCorrupt);
  EXPECT_EQ(reader_.borrow(borrowed_, false), ReadResult::kCorrupt);
  EXPECT_EQ(reader_.borrows_out(), 0u);
  expect_no_pins();
}

TEST_F(Latest, HintThatLeadsNowhereHoldsNobodyForEver) {
  reader_.attach(memory_.view());
  memory_.hint().store(uint64_t(5) << 8);  // message 5 in slot 0, which is empty
  EXPECT_EQ(read(), ReadResult::kCorrupt);
  EXPECT_EQ(reader_.borrow(borrowed_, false), ReadResult::kCorrupt);
  expect_no_pins();
  LatestObserver observer;
  observer.attach(memory_.view());
  EXPECT_EQ(observer.read(&word_, sizeof word_, message_, false), ReadResult::kNothing);
}

TEST_F(Latest, HintOfASlotThatIsNoneIsToldToWhoeverWaits) {
  reader_.attach(memory_.view());
  memory_.hint().store(uint64_t(5) << 8 | memory_.geometry().slot_count);
  EXPECT_TRUE(reader_.has_unread(false));
  EXPECT_EQ(read(), ReadResult::kCorrupt);
}

TEST_F(Latest, NothingOfAMarkedSegmentIsThereForAnybody) {
  begin();
  write(1);
  ASSERT_TRUE(reader_.has_unread(false));
  memory_.superseded().store(1);
  EXPECT_FALSE(reader_.has_unread(false));
  EXPECT_EQ(read(), ReadResult::kSuperseded);
  EXPECT_EQ(reader_.borrow(borrowed_, false), ReadResult::kSuperseded);
  expect_no_pins();
}

// What a writer may store in the middle of a copy is stored by the copy itself
// here, whose buffer lies on the header of the slot that it is made from.

TEST_F(Latest, MessageThatIsTakenAwayWhileItIsCopiedWasNotThere) {
  begin();
  write(1 << 1 | 1);  // the sequence of a slot where message 1 is still to come
  void* const header = &memory_.slot_of(1);
  EXPECT_EQ(reader_.read(header, sizeof(uint64_t), message_, false), ReadResult::kNothing);
  expect_no_pins();
}

TEST_F(Latest, MessageThatIsTornUnderThePinEachTimeIsCorrupt) {
  // The reader's own register lies on the sequence of slot 1, too: pinned, the
  // slot looks as if it held message 1.
  eshm::layout::Slot& slot = memory_.slot_of(1);
  eshm::channel::ChannelView view = memory_.view();
  view.pins = reinterpret_cast<eshm::layout::PinLines*>(&slot);
  memory_.hint().store(uint64_t(1) << 8 | 1);
  reader_.attach(view);
  slot.size.store(sizeof(uint64_t));
  const uint64_t torn = 4;
  std::memcpy(reinterpret_cast<std::byte*>(&slot) + sizeof slot, &torn, sizeof torn);
  EXPECT_EQ(reader_.read(&slot, sizeof(uint64_t), message_, false), ReadResult::kCorrupt);
}

TEST_F(Latest, MessageThatIsGoneBetweenThePinAndTheLastLookIsNotLent) {
  begin();
  write(1);
  auto& borrowed = *reinterpret_cast<Borrowed*>(&memory_.slot_of(1));  // begins with the number
  EXPECT_EQ(reader_.borrow(borrowed, false), ReadResult::kCorrupt);
  EXPECT_EQ(reader_.borrows_out(), 0u);
  expect_no_pins();
}

// ---- queue -----------------------------------------------------------------------

enum Kind : uint64_t { kNone, kMessage, kPadding, kLoan, kHeld };
constexpr uint64_t word_of(uint64_t kind, uint64_t size) {
  return size | kind << 31 | uint64_t(1) << 34;
}

class Queue : public testing::Test {
 protected:
  void use(uint64_t queue_bytes, uint64_t largest, uint32_t max_loans = 4) {
    memory_ = std::make_unique<RingMemory>(
        RingMemory::shape(queue_bytes, largest, 0, 4, max_loans));
    writer_ = QueueWriter();
    writer_.adopt(memory_->view(), 1);
    restart_reader();
  }
  void restart_reader() {
    reader_ = QueueReader();
    reader_.attach(memory_->view());
  }
  WriteResult write(const std::string& text) {
    return writer_.try_write(text.data(), text.size(), 0);
  }
  void* loan(size_t size) {
    void* payload = nullptr;
    EXPECT_EQ(writer_.loan(size, &payload), WriteResult::kDone);
    return payload;
  }
  ReadResult read(uint64_t thread = 1) {
    char bytes[128];
    const ReadResult result = reader_.read(bytes, sizeof bytes, message_, thread);
    text_ = result == ReadResult::kMessage ? std::string(bytes, message_.size) : "";
    return result;
  }
  ReadResult look(QueueObserver& observer) {
    char bytes[128];
    return observer.read(bytes, sizeof bytes, message_, missed_);
  }

  std::unique_ptr<RingMemory> memory_;
  QueueWriter writer_;
  QueueReader reader_;
  Message message_;
  std::string text_;
  uint64_t missed_ = 0;
};

TEST_F(Queue, RecordThatWasOverwrittenBehindALoanIsNotShown) {
  struct Case {
    const char* what;
    uint64_t word;
  };
  for (const Case& c : {Case{"nothing", 0},
                        {"no kind", word_of(7, 1)},
                        {"a message", word_of(kMessage, 1)},
                        {"beyond what is written", word_of(kHeld, 100)},
                        {"larger than the largest", word_of(kHeld, 101)}}) {
    for (const bool publishes : {true, false}) {
      SCOPED_TRACE(c.what);
      use(4096, 100);
      void* const first = loan(100);
      const uint64_t second = memory_->record_bytes(100);
      ASSERT_EQ(write("held"), WriteResult::kDone);
      memory_->header(second).commit.store(c.word);
      const WriteResult result = publishes ? writer_.publish(first, 100, 0) : writer_.discard(first);
      EXPECT_EQ(result, WriteResult::kCorrupt);
      EXPECT_EQ(write("new"), WriteResult::kCorrupt);
      while (read() == ReadResult::kMessage) EXPECT_EQ(message_.number, 1u) << text_;
    }
  }
}

TEST_F(Queue, CorruptIsSaidBeforeTooManyLoans) {
  use(256, 80, 1);
  void* payload = loan(0);
  EXPECT_EQ(writer_.loan(0, &payload), WriteResult::kTooMany);
  memory_->reader().position.store(8);
  while (write("fills it") == WriteResult::kDone) {
  }
  EXPECT_EQ(writer_.loan(0, &payload), WriteResult::kCorrupt);
}

TEST_F(Queue, NothingIsCarriedOverFromAPositionThatCannotBe) {
  use(4096, 100);
  ASSERT_EQ(write("a"), WriteResult::kDone);
  memory_->reader().position.store(8);
  uint64_t cursor = QueueWriter::kFromReader;
  QueueWriter::Unread unread;
  EXPECT_FALSE(writer_.next_unread(cursor, unread));
}

TEST_F(Queue, NothingOfAMarkedSegmentIsThereForAnybody) {
  use(4096, 100);
  ASSERT_EQ(write("a"), WriteResult::kDone);
  ASSERT_TRUE(reader_.has_next());
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  memory_->superseded().store(1);
  const void* payload = nullptr;
  EXPECT_FALSE(reader_.has_next());
  EXPECT_EQ(read(), ReadResult::kSuperseded);
  EXPECT_EQ(reader_.borrow(&payload, message_, 1), ReadResult::kSuperseded);
  EXPECT_EQ(reader_.borrows_out(), 0u);
  EXPECT_EQ(look(observer), ReadResult::kSuperseded);
}

TEST_F(Queue, RecordThatEndsBehindTheRecordedPositionDoesNotCount) {
  use(4096, 100);
  ASSERT_EQ(write("a"), WriteResult::kDone);
  ASSERT_EQ(write("b"), WriteResult::kDone);
  reader_.drain_to(writer_.committed_position() - 16);
  EXPECT_EQ(read(), ReadResult::kMessage);
  EXPECT_EQ(read(), ReadResult::kSuperseded);
}

TEST_F(Queue, BorrowIsReturnedByItsOwnNumberAlone) {
  use(4096, 100);
  ASSERT_EQ(write("a"), WriteResult::kDone);
  const void* payload = nullptr;
  ASSERT_EQ(reader_.borrow(&payload, message_, 1), ReadResult::kMessage);
  const uint64_t number = reader_.last_borrow();
  EXPECT_FALSE(reader_.release(payload, number + 4096)) << "of a lap before, at the same address";
  EXPECT_TRUE(reader_.release(payload, number));
}

TEST_F(Queue, HandsThatAreForgottenAreTheOldestWhateverIsBorrowed) {
  use(64 * 1024, 100);
  for (int n = 0; n <= 65; ++n) ASSERT_EQ(write(std::to_string(n)), WriteResult::kDone);
  const void* payload = nullptr;
  ASSERT_EQ(reader_.borrow(&payload, message_, 1000), ReadResult::kMessage);
  const uint64_t borrow = reader_.last_borrow();
  for (uint64_t thread = 1; thread <= 65; ++thread) ASSERT_EQ(read(thread), ReadResult::kMessage);
  ASSERT_TRUE(reader_.release(payload, borrow));
  restart_reader();
  ASSERT_EQ(read(), ReadResult::kMessage);
  EXPECT_EQ(text_, "2") << "64 hands are remembered";
}

TEST_F(Queue, ObserverFromBirthOfALappedRingBeginsWithWhatIsNotConsumed) {
  use(1024, 100);
  for (int n = 1; n <= 100; ++n) {
    ASSERT_EQ(write(std::to_string(n)), WriteResult::kDone);
    ASSERT_EQ(read(), ReadResult::kMessage);
  }
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  ASSERT_EQ(look(observer), ReadResult::kMessage);
  EXPECT_EQ(message_.number, 100u) << "in the reader's hands";
}

TEST_F(Queue, ObserverIsNotHeldByAClaimOverWhatNobodyConsumed) {
  use(1024, 100);
  ASSERT_EQ(write("a"), WriteResult::kDone);
  QueueObserver observer;
  observer.attach(memory_->view(), true);
  memory_->publish().claimed.store(1024 + 16);
  EXPECT_EQ(look(observer), ReadResult::kCorrupt);
}

TEST_F(Queue, NumberThatCannotBeIsCorruptForAnObserver) {
  for (const uint64_t number : {uint64_t(0), uint64_t(1), uint64_t(3)}) {
    use(1024, 100);
    ASSERT_EQ(write("a"), WriteResult::kDone);
    ASSERT_EQ(write("b"), WriteResult::kDone);
    QueueObserver observer;
    observer.attach(memory_->view(), true);
    ASSERT_EQ(look(observer), ReadResult::kMessage);
    memory_->header(memory_->record_bytes(1)).tag.store(number);
    EXPECT_EQ(look(observer), ReadResult::kCorrupt) << number;
  }
  // Of the first that it sees it knows nothing but that there is no message 0.
  use(1024, 100);
  ASSERT_EQ(write("a"), WriteResult::kDone);
  QueueObserver late;
  late.attach(memory_->view(), false);
  memory_->header(0).tag.store(0);
  EXPECT_EQ(look(late), ReadResult::kCorrupt);
}

// ---- wake-up ---------------------------------------------------------------------

TEST(WakeLine, RingsThoughAnotherRingerTookTheAnnouncement) {
  eshm::layout::WakeLine line = {};
  const uint32_t key = eshm::channel::announce(line, 7);
  eshm::channel::ring_announced(line);
  EXPECT_EQ(line.announced.load(), 0u);
  eshm::channel::ring_announced(line);
  EXPECT_EQ(line.doorbell.load(), key + 2);
}

}  // namespace
