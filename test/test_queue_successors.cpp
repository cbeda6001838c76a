// SPDX-License-Identifier: MIT
// A queue channel whose end dies, or whose segment is superseded: what the next
// one finds.
#include <functional>
#include <string>
#include <vector>

#include "support/counts.h"
#include "support/queue_ends.h"

namespace {

using namespace test;

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
  EXPECT_TRUE(release(payload));
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
  reader_.consume_handed_out();
  EXPECT_TRUE(reader_.freed_room());
  EXPECT_FALSE(release(payload));
  restart_reader();
  EXPECT_EQ(read_text(), "c");
}

TEST_F(Queue, AThreadThatNeverComesBackDoesNotStopTheLink) {
  use_planned(RingMemory::shape(400, 400));
  ASSERT_EQ(write_text("lost"), Write::kDone);
  EXPECT_EQ(read_text(99), "lost");
  for (int n = 0; n < 1000; ++n) {
    ASSERT_EQ(write_text(std::string(400, 'x')), Write::kDone) << n;
    ASSERT_EQ(read_text(1).size(), 400u);
  }
  restart_reader();
  EXPECT_EQ(read_text(), std::string(400, 'x')) << "that of the other thread is still in hand";
}

TEST_F(Queue, BorrowThatWasReleasedLetsTheOldestCopiesGo) {
  use_planned(RingMemory::shape(400, 400, 0, 1));
  ASSERT_EQ(write_text("borrowed"), Write::kDone);
  const void* payload = nullptr;
  ASSERT_EQ(borrow_text(payload), "borrowed");
  ASSERT_EQ(write_text("copied"), Write::kDone);
  ASSERT_EQ(read_text(99), "copied");
  int more = 0;
  for (; write_text(std::string(400, 'x')) == Write::kDone; ++more) {
    ASSERT_EQ(read_text(1).size(), 400u);
  }
  EXPECT_GT(more, 30) << "hands reach far past a borrow";
  ASSERT_TRUE(release(payload));
  for (int n = 0; n < 1000; ++n) {
    ASSERT_EQ(write_text(std::string(400, 'x')), Write::kDone) << n;
    ASSERT_EQ(read_text(1).size(), 400u);
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
  uint64_t cursor = QueueWriter::kFromReader;
  QueueWriter::Unread unread;
  std::string seen;
  while (writer_.next_unread(cursor, unread)) {
    EXPECT_EQ(unread.size, 120u);
    seen += char(*unread.payload);
  }
  EXPECT_EQ(seen, "ijkl") << "the one in the reader's hands, and those behind it";
}

}  // namespace
