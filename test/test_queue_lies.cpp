// SPDX-License-Identifier: MIT
// A queue channel beside a broken or hostile peer: an answer, and nothing more.
#include <functional>
#include <string>
#include <vector>

#include "support/counts.h"
#include "support/queue_ends.h"

namespace {

using namespace test;

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
    reader_.consume_handed_out();
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

// Where records are whole lines, a padding of less would bring the next off its line.
TEST_F(Queue, PaddingOfAPartOfALineIsCorrupt) {
  use(RingMemory::shape(4096, 100, ESHM_FLAG_ALIGN_PAYLOAD));
  ASSERT_EQ(write_text("a"), Write::kDone);
  EXPECT_EQ(read_text(), "a");
  const uint64_t next = memory_->record_bytes(1);
  memory_->header(next).tag.store(next);
  memory_->header(next).commit.store(word_of(kPaddingKind, 1));
  EXPECT_EQ(read_text(), name_of(Read::kCorrupt));
}

// A dead writer's word for what it may have stored is taken where it can be true.
TEST_F(Queue, ImpossibleClaimIsMadeAnew) {
  for (const uint64_t claimed : {uint64_t(16), uint64_t(4096) + 32, UINT64_MAX}) {
    use(4096, 100);
    ASSERT_EQ(write_text("a"), Write::kDone);
    ASSERT_EQ(write_text("b"), Write::kDone);
    memory_->publish().claimed.store(claimed);
    restart_writer();
    EXPECT_EQ(memory_->publish().claimed.load(), 4096u) << claimed;
    ASSERT_EQ(write_text("c"), Write::kDone);
    EXPECT_EQ(read_text(), "a");
    EXPECT_EQ(read_text(), "b");
    EXPECT_EQ(read_text(), "c");
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
    uint64_t cursor = QueueWriter::kFromReader;
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
