// SPDX-License-Identifier: MIT
// The queue channel's algorithm: sizes, bounds, order, loans and borrows.
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "layout/validate.h"
#include "support/counts.h"
#include "support/queue_ends.h"

namespace {

using namespace test;

// ---- sizes and room

TEST_F(Queue, CarriesEverySizeUpToTheLargest) {
  for (const uint32_t flags : kEveryOffset) {
    for (const size_t largest : {1, 2, 15, 16, 17, 48, 300}) {
      use_planned(RingMemory::shape(largest, largest, flags));
      for (int round = 0; round < 40; ++round) {
        for (size_t size = 0; size <= largest; size += largest < 50 || size > 290 ? 1 : 29) {
          ASSERT_EQ(write(size), Write::kDone) << size << " of " << largest;
          ASSERT_TRUE(next_is(size)) << size << " of " << largest;
        }
      }
    }
  }
}

// What a queue was made for, and what its reader may do meanwhile.
struct Promise {
  size_t largest;
  uint64_t messages;  // of the largest size
  uint32_t flags;
  uint32_t max_borrows;
};

// The reader copies with several threads, and borrows as many as it may; it reads on past a
// borrow only as far as its hands reach.
TEST_F(Queue, TakesItsCapacityWhateverIsInHandAndWhereverTheRingEnds) {
  std::mt19937 random(26);
  const auto below = [&](uint64_t limit) { return random() % limit; };
  const size_t sizes[] = {1, 8, 40, 64, 100, 1000, 4096, 70000};
  for (int trial = 0; trial < 200; ++trial) {
    const Promise made = {sizes[below(8)], 1 + below(5), kEveryOffset[below(3)],
                          uint32_t(below(4))};
    use_planned(RingMemory::shape(made.messages * made.largest + below(made.largest), made.largest,
                                  made.flags, made.max_borrows));
    std::deque<const void*> borrows;
    uint64_t taken_since_oldest_borrow = 0;
    for (int step = 0; step < 300; ++step) {
      const uint64_t unread = written_ - read_;
      switch (below(4)) {
        case 0:
        case 1: {  // a burst
          for (uint64_t n = unread; n < made.messages; ++n) {
            const size_t size = below(3) == 0 ? below(made.largest + 1) : made.largest;
            ASSERT_EQ(write(size), Write::kDone)
                << "trial " << trial << ": " << n << " unread of " << made.messages << ", "
                << borrows.size() << " borrowed";
          }
          break;
        }
        case 2: {
          Message message;
          if (unread == 0 || (!borrows.empty() && taken_since_oldest_borrow > made.max_borrows)) break;
          read_text(message, 1 + below(70));
          ASSERT_EQ(message.number, ++read_);
          ++taken_since_oldest_borrow;
          break;
        }
        default: {
          if (!borrows.empty() && (borrows.size() == made.max_borrows || below(2) == 0 ||
                                   taken_since_oldest_borrow >= made.max_borrows)) {
            ASSERT_TRUE(release(borrows.front()));
            borrows.pop_front();
            taken_since_oldest_borrow = borrows.empty() ? 0 : taken_since_oldest_borrow - 1;
          } else if (unread != 0 && made.max_borrows != 0) {
            const void* payload = nullptr;
            Message message;
            ASSERT_EQ(borrow(payload, message), Read::kMessage);
            ASSERT_EQ(message.number, ++read_);
            if (borrows.empty()) taken_since_oldest_borrow = 0;
            ++taken_since_oldest_borrow;
            borrows.push_back(payload);
          }
        }
      }
    }
  }
}

TEST_F(Queue, IsRefusedByArithmeticWhereACapacityCannotHoldTheLargestMessage) {
  auto shape = RingMemory::shape(0, 4096);
  for (const uint64_t queue_bytes : {4095, 4096}) {
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
    EXPECT_EQ(judgement.finding == eshm::layout::Finding::kFine, queue_bytes == 4096)
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
    ASSERT_EQ(borrow(borrowed, message), Read::kMessage);
    EXPECT_EQ(borrowed, payload);
    EXPECT_EQ(message.size, size_t(n / 2));
    EXPECT_TRUE(release(borrowed));
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
        const Read result = borrow(payload, message);
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
        ASSERT_TRUE(release(payload));
        borrows.erase(borrows.begin() + long(which));
      } else if (dice == 98) {
        restart_writer();
        while (!loans.empty()) finish(0, false);
      } else if (dice == 99) {
        reader_.consume_handed_out();
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
  EXPECT_TRUE(release(borrowed[2]));
  EXPECT_TRUE(release(borrowed[1]));
  EXPECT_FALSE(reader_.freed_room());
  while (write(100) == Write::kDone) {
  }
  while (read_text() != name_of(Read::kNothing)) {
  }
  EXPECT_EQ(write(100), Write::kFull) << "the oldest is borrowed still";
  EXPECT_EQ(std::memcmp(borrowed[0], "aaaa", 4), 0);
  EXPECT_EQ(std::memcmp(borrowed[3], "dddd", 4), 0);
  EXPECT_TRUE(release(borrowed[0]));
  EXPECT_TRUE(reader_.freed_room());
  EXPECT_TRUE(release(borrowed[3]));
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
  EXPECT_TRUE(release(first));
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
  EXPECT_FALSE(release(&foreign));
  EXPECT_FALSE(release(nullptr));
  EXPECT_EQ(read_text(), "b");
  EXPECT_FALSE(release(nullptr)) << "a copied message is not borrowed";
  EXPECT_TRUE(release(payload));
  EXPECT_FALSE(release(payload));
}

}  // namespace
