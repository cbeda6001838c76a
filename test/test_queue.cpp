// SPDX-License-Identifier: MIT
// A queue through the public API: nothing lost, nothing twice, order kept,
// whatever becomes of the other end while this one lives.
#include <gtest/gtest.h>

#include <poll.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/counts.h"
#include "support/pattern.h"
#include "support/queues.h"

namespace {

using namespace test;

class Queue : public QueueTest {};

// ---- order, sizes, counts ---------------------------------------------------------

TEST_P(Queue, DirectionsMayDiffer) {
  for (const bool down_is_queue : {false, true}) {
    ESHMConfig as_master = queues(ESHM_ROLE_MASTER);
    (down_is_queue ? as_master.s2m : as_master.m2s).delivery = ESHM_DELIVERY_LATEST;
    open_both(as_master);
    if (HasFatalFailure()) return;
    write_texts(master(), "down", 1, 9);
    write_texts(slave(), "up", 1, 9);
    expect_texts(slave(), "down", down_is_queue ? 1 : 9, 9);
    expect_texts(master(), "up", down_is_queue ? 9 : 1, 9);
    expect_nothing(slave());
    expect_nothing(master());
    slave_.reset();
    master_.reset();
  }
}

TEST_P(Queue, EverySizeComesOnceInOrderWithItsNumberAndNoneMissed) {
  constexpr size_t kMax = 1000;
  ESHMConfig as_master = queues(ESHM_ROLE_MASTER, 8192, kMax);
  as_master.flags = ESHM_FLAG_TIMESTAMPS;
  open_both(as_master);
  std::vector<unsigned char> out(kMax), in(kMax);
  uint64_t before_ns = 0;
  const uint64_t last = 3 * (kMax + 1);
  for (uint64_t sent = 0, taken = 0; taken < last;) {
    while (sent < last) {
      const size_t size = sent % (kMax + 1);
      fill_pattern(out.data(), size, sent + 1);
      const int code = eshm_write(master(), out.data(), size);
      if (code == ESHM_ERROR_BUFFER_FULL) break;
      ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
      ++sent;
    }
    ESHMMessageInfo info = {};
    ASSERT_EQ(eshm_read_msg(slave(), in.data(), kMax, &info, 0), ESHM_SUCCESS) << last_error();
    ASSERT_EQ(info.size, taken % (kMax + 1));
    ASSERT_TRUE(is_pattern(in.data(), info.size, ++taken));
    ASSERT_EQ(info.sequence, taken);
    ASSERT_EQ(info.missed, 0u);
    ASSERT_EQ(info.generation, 1u);
    ASSERT_GE(info.timestamp_ns, before_ns);
    before_ns = info.timestamp_ns;
  }
  EXPECT_GT(before_ns, 0u);
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(slave(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.m2s_write_count, last);
  EXPECT_EQ(stats.m2s_read_count, last);
  ESHMStatsEx ex = {};
  ASSERT_EQ(eshm_get_stats_ex(slave(), &ex), ESHM_SUCCESS);
  EXPECT_EQ(ex.messages_read, last);
  EXPECT_EQ(ex.messages_missed, 0u);
  ASSERT_EQ(eshm_get_stats_ex(master(), &ex), ESHM_SUCCESS);
  EXPECT_EQ(ex.messages_written, last);
}

TEST_P(Queue, MessageIsKeptWhileTheBufferIsTooSmall) {
  open_both(queues(ESHM_ROLE_MASTER));
  write_texts(master(), "text", 1, 2);
  char small[3];
  size_t needed = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(eshm_read_ex(slave(), small, sizeof small, &needed, 0), ESHM_ERROR_BUFFER_TOO_SMALL);
    EXPECT_EQ(needed, 5u);
  }
  expect_texts(slave(), "text", 1, 2);
}

// A cycle that writes one and reads one, and bursts up to the capacity, by each kind of read.
TEST_P(Queue, TakesItsCapacityWithEachKindOfRead) {
  using Read = std::function<void(ESHMHandle*, size_t)>;
  std::vector<char> buffer(70000);
  const auto copy = [&](ESHMHandle* link, size_t size, uint32_t timeout_ms) {
    size_t bytes = 0;
    ASSERT_EQ(eshm_read_ex(link, buffer.data(), buffer.size(), &bytes, timeout_ms), ESHM_SUCCESS)
        << last_error();
    ASSERT_EQ(bytes, size);
  };
  const Read kinds[] = {
      [&](ESHMHandle* link, size_t size) { copy(link, size, 0); },
      [&](ESHMHandle* link, size_t size) { copy(link, size, UINT32_MAX); },
      [&](ESHMHandle* link, size_t size) {
        pollfd descriptor{eshm_get_fd(link), POLLIN, 0};
        ASSERT_EQ(poll(&descriptor, 1, -1), 1);
        copy(link, size, 0);
      },
      [&](ESHMHandle* link, size_t size) {
        ASSERT_EQ(eshm_wait_any(&link, 1, UINT32_MAX), 0);
        copy(link, size, 0);
      },
      [&](ESHMHandle* link, size_t size) {
        ESHMView view = {};
        ASSERT_EQ(eshm_borrow(link, &view, 0), ESHM_SUCCESS) << last_error();
        ASSERT_EQ(view.size, size);
        ASSERT_EQ(eshm_release(link, &view), ESHM_SUCCESS);
      },
  };
  for (const uint32_t flags : {0u, ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD}) {
    for (const size_t size : {1, 48, 4096, 70000}) {
      for (const uint64_t messages : {1, 2, 3}) {
        ESHMConfig config = queues(ESHM_ROLE_MASTER, messages * size, size);
        config.flags = flags;
        open_both(config);
        for (const Read& read : kinds) {
          for (int cycle = 0; cycle < 20; ++cycle) {
            for (uint64_t n = 0; n < 1 + cycle % messages; ++n) {
              ASSERT_EQ(eshm_write(master(), buffer.data(), size), ESHM_SUCCESS)
                  << size << " bytes, " << n << " unread of " << messages << ": " << last_error();
            }
            for (uint64_t n = 0; n < 1 + cycle % messages; ++n) read(slave(), size);
            if (HasFatalFailure()) return;
          }
        }
        slave_.reset();
        master_.reset();
      }
    }
  }
}

TEST_P(Queue, CapacityTooSmallForTheLargestMessageIsRefusedWithBothNumbers) {
  constexpr uint64_t kLeast = 992;  // one message
  EXPECT_FALSE(open_link(queues(ESHM_ROLE_MASTER, kLeast - 1, 992)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
  EXPECT_TRUE(names_number(last_error(), kLeast - 1)) << last_error();
  EXPECT_TRUE(names_number(last_error(), kLeast)) << last_error();
  open_both(queues(ESHM_ROLE_MASTER, kLeast, 992));
  const std::string largest(992, 'x');
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(write_text(master(), largest), ESHM_SUCCESS) << i << last_error();
    ASSERT_EQ(read_text(slave(), 0), largest);
    expect_nothing(slave());
    if (i % 3 == 0) {  // so that it begins everywhere
      ASSERT_EQ(write_text(master(), "x"), ESHM_SUCCESS);
      ASSERT_EQ(read_text(slave(), 0), "x");
      expect_nothing(slave());
    }
  }
}

// ---- full, and waiting for room -----------------------------------------------------

TEST_P(Queue, FullQueueRefusesAtOnceAndLosesNothing) {
  open_both(queues(ESHM_ROLE_MASTER));
  const int held = fill(master(), "m");
  EXPECT_GE(held, int(kCapacity / 32 - 2));
  EXPECT_NE(last_error().find("full"), std::string::npos) << last_error();
  expect_texts(slave(), "m", 0, 9);
  const int more = fill(master(), "m", held);
  EXPECT_GE(more, held + 8);
  expect_texts(slave(), "m", 10, more - 1);
  expect_nothing(slave());
}

TEST_P(Queue, WriteWaitsItsWholeTimeForRoomThenSaysSo) {
  open_both(queues(ESHM_ROLE_MASTER));
  const int held = fill(slave(), "s");
  const uint64_t began = now_ms();
  EXPECT_EQ(eshm_write_ex(slave(), "late", 4, 120), ESHM_ERROR_TIMEOUT);
  EXPECT_GE(now_ms() - began, 119u);
  EXPECT_NE(last_error().find("full"), std::string::npos) << last_error();
  EXPECT_TRUE(names_number(last_error(), 120)) << last_error();
  expect_texts(master(), "s", 0, held - 1);
  expect_nothing(master());
}

// A park ends by itself after half a second: so many rounds would meet the
// watchdog if nobody rang.
TEST_P(Queue, ParkedWriterIsWokenByAReader) {
  ESHMConfig as_master = queues(ESHM_ROLE_MASTER);
  as_master.spin_us = 0;
  open_both(as_master);
  int number = fill(master(), "m");
  int taken = 0;
  const int rounds = int(count(200, 20000));
  std::thread writer([&] {
    for (int i = 0; i < rounds; ++i) {
      const std::string text = numbered("m", number++);
      ASSERT_EQ(eshm_write_ex(master(), text.data(), text.size(), UINT32_MAX), ESHM_SUCCESS);
    }
  });
  ESHMStatsEx stats = {};
  for (int i = 0; i < rounds; ++i) {
    const uint64_t parks = stats.parks;
    for (int tries = 0; tries < 50 && stats.parks == parks; ++tries) {
      ASSERT_EQ(eshm_get_stats_ex(master(), &stats), ESHM_SUCCESS);
      std::this_thread::yield();
    }
    expect_texts(slave(), "m", taken, taken);
    ++taken;
  }
  expect_texts(slave(), "m", taken, taken);  // lets go of the one before
  writer.join();
  ASSERT_EQ(eshm_get_stats_ex(master(), &stats), ESHM_SUCCESS);
  EXPECT_GT(stats.parks, 0u);
  expect_texts(slave(), "m", taken + 1, number - 1);
}

TEST_P(Queue, ParkedReaderIsWokenByAWriter) {
  ESHMConfig as_master = queues(ESHM_ROLE_MASTER);
  as_master.spin_us = 0;
  open_both(as_master);
  const int rounds = int(count(200, 20000));
  std::thread reader([&] { expect_texts(slave(), "m", 1, rounds); });
  ESHMStatsEx stats = {};
  for (int i = 1; i <= rounds; ++i) {
    const uint64_t parks = stats.parks;
    for (int tries = 0; tries < 50 && stats.parks == parks; ++tries) {
      ASSERT_EQ(eshm_get_stats_ex(slave(), &stats), ESHM_SUCCESS);
      std::this_thread::yield();
    }
    ASSERT_EQ(eshm_write_ex(master(), numbered("m", i).data(), numbered("m", i).size(), UINT32_MAX),
              ESHM_SUCCESS);
  }
  reader.join();
  ASSERT_EQ(eshm_get_stats_ex(slave(), &stats), ESHM_SUCCESS);
  EXPECT_GT(stats.parks, 0u);
}

TEST_P(Queue, ManyThreadsOnOneHandleGetEveryMessageOnce) {
  constexpr uint64_t kThreads = 2;
  open_both(queues(ESHM_ROLE_MASTER));
  const uint64_t each = count(20000, 2000000);
  std::vector<std::atomic<uint8_t>> seen(kThreads * each);
  std::atomic<uint64_t> taken{0};
  std::vector<std::thread> threads;
  for (uint64_t writer = 0; writer < kThreads; ++writer) {
    threads.emplace_back([&, writer] {
      for (uint64_t i = 0; i < each; ++i) {
        const uint64_t message[3] = {writer, i, mix(writer * each + i)};
        ASSERT_EQ(eshm_write_ex(master(), message, sizeof message, UINT32_MAX), ESHM_SUCCESS);
      }
    });
  }
  for (uint64_t reader = 0; reader < kThreads; ++reader) {
    threads.emplace_back([&] {
      uint64_t last[kThreads] = {0, 0};
      while (taken.load() < kThreads * each) {
        uint64_t message[3];
        size_t bytes = 0;
        const int code = eshm_read_ex(slave(), message, sizeof message, &bytes, 20);
        if (code == ESHM_ERROR_TIMEOUT) continue;
        ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
        ASSERT_EQ(bytes, sizeof message);
        const uint64_t index = message[0] * each + message[1];
        ASSERT_EQ(message[2], mix(index));
        ASSERT_GE(message[1] + 1, last[message[0]]) << "one writer's, to one reader: in order";
        last[message[0]] = message[1] + 1;
        EXPECT_EQ(seen[index].fetch_add(1), 0) << "twice: " << index;
        ++taken;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<uint8_t>& one : seen) ASSERT_EQ(one.load(), 1);
}

// ---- loans and borrows ----------------------------------------------------------------

void* lend(ESHMHandle* link, size_t size = 16) {
  void* data = nullptr;
  EXPECT_EQ(eshm_loan(link, size, &data), ESHM_SUCCESS) << last_error();
  return data;
}

int publish(ESHMHandle* link, void* loan, const std::string& text) {
  std::memcpy(loan, text.data(), text.size());
  return eshm_publish(link, loan, text.size());
}

ESHMView borrow(ESHMHandle* link) {
  ESHMView view = {};
  EXPECT_EQ(eshm_borrow(link, &view, 1000), ESHM_SUCCESS) << last_error();
  return view;
}

std::string text_of(const ESHMView& view) {
  return std::string(static_cast<const char*>(view.data), view.size);
}

TEST_P(Queue, LoansStandInOrderOfTheLoanAndHoldWhatComesBehind) {
  open_both(queues(ESHM_ROLE_MASTER));
  void* const first = lend(master());
  write_texts(master(), "t", 1, 1);
  void* const third = lend(master());
  write_texts(master(), "t", 3, 3);
  expect_nothing(slave());
  EXPECT_EQ(publish(master(), third, "t2"), ESHM_SUCCESS);
  expect_nothing(slave());
  EXPECT_EQ(publish(master(), first, "t0"), ESHM_SUCCESS);
  expect_texts(slave(), "t", 0, 3);
  expect_nothing(slave());
}

TEST_P(Queue, DiscardInTheMiddleLeavesNoGap) {
  open_both(queues(ESHM_ROLE_MASTER));
  for (int round = 0; round < 200; ++round) {
    write_texts(master(), "t", 0, 0);
    void* const dropped = lend(master());
    void* const kept = lend(master());
    EXPECT_EQ(publish(master(), kept, "t1"), ESHM_SUCCESS);
    write_texts(master(), "t", 2, 2);
    EXPECT_EQ(eshm_discard(master(), dropped), ESHM_SUCCESS);
    for (uint64_t i = 0; i < 3; ++i) {
      char text[kLargest];
      ESHMMessageInfo info = {};
      ASSERT_EQ(eshm_read_msg(slave(), text, sizeof text, &info, 0), ESHM_SUCCESS);
      EXPECT_EQ(std::string(text, info.size), numbered("t", int(i)));
      EXPECT_EQ(info.sequence, uint64_t(round) * 3 + i + 1);
    }
    expect_nothing(slave());
  }
}

TEST_P(Queue, ReaderThatParksIsWokenWhenADiscardRevealsWhatWasHeld) {
  ESHMConfig as_master = queues(ESHM_ROLE_MASTER);
  as_master.spin_us = 0;
  open_both(as_master);
  for (int round = 0; round < int(count(100, 5000)); ++round) {
    void* const loan = lend(master());
    write_texts(master(), "t", round, round);
    std::thread reader([&] { expect_texts(slave(), "t", round, round); });
    std::this_thread::sleep_for(std::chrono::microseconds(300));
    EXPECT_EQ(eshm_discard(master(), loan), ESHM_SUCCESS);
    reader.join();
  }
}

TEST_P(Queue, WhatIsNotOutIsRefusedAndChangesNothing) {
  open_both(queues(ESHM_ROLE_MASTER));
  void* const loan = lend(master());
  EXPECT_EQ(publish(master(), loan, "t0"), ESHM_SUCCESS);
  EXPECT_EQ(eshm_publish(master(), loan, 2), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_discard(master(), loan), ESHM_ERROR_INVALID_PARAM);
  char elsewhere[16];
  EXPECT_EQ(eshm_publish(master(), elsewhere, 2), ESHM_ERROR_INVALID_PARAM);
  void* const other = lend(master());
  EXPECT_EQ(eshm_publish(master(), static_cast<char*>(other) + 16, 2), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_publish(master(), other, 17), ESHM_ERROR_BUFFER_TOO_SMALL) << "than was loaned";
  EXPECT_EQ(publish(master(), other, "t1"), ESHM_SUCCESS);
  ESHMView view = borrow(slave());
  EXPECT_EQ(text_of(view), "t0");
  ESHMView copy = view;
  copy.data = elsewhere;
  EXPECT_EQ(eshm_release(slave(), &copy), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_release(master(), &view), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_ERROR_INVALID_PARAM);
  expect_texts(slave(), "t", 1, 1);
}

TEST_P(Queue, AsManyLoansAndBorrowsAsAskedForAndNotOneMore) {
  open_both(queues(ESHM_ROLE_MASTER));
  std::vector<void*> loans;
  for (int i = 0; i < 4; ++i) loans.push_back(lend(master()));
  void* data = nullptr;
  EXPECT_EQ(eshm_loan(master(), 1, &data), ESHM_ERROR_BUFFER_FULL);
  for (int i = 3; i >= 0; --i) {
    EXPECT_EQ(publish(master(), loans[size_t(i)], numbered("t", i)), ESHM_SUCCESS);
  }
  write_texts(master(), "t", 4, 5);
  std::vector<ESHMView> views;
  for (int i = 0; i < 4; ++i) {
    views.push_back(borrow(slave()));
    EXPECT_EQ(text_of(views.back()), numbered("t", i));
  }
  ESHMView view = {};
  EXPECT_EQ(eshm_borrow(slave(), &view, 50), ESHM_ERROR_BUFFER_FULL);
  expect_texts(slave(), "t", 4, 4);  // a copy needs none
  EXPECT_EQ(eshm_release(slave(), &views[2]), ESHM_SUCCESS);
  view = borrow(slave());
  EXPECT_EQ(text_of(view), "t5");
  for (int i : {0, 3, 1}) {
    EXPECT_EQ(text_of(views[size_t(i)]), numbered("t", i));
    EXPECT_EQ(eshm_release(slave(), &views[size_t(i)]), ESHM_SUCCESS);
  }
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
}

TEST_P(Queue, BorrowedMessageKeepsItsRoomUntilReleased) {
  open_both(queues(ESHM_ROLE_MASTER));
  write_texts(master(), "t", 0, 0);
  ESHMView view = borrow(slave());
  int next = fill(master(), "t", 1);
  expect_texts(slave(), "t", 1, next - 1);
  expect_nothing(slave());
  EXPECT_EQ(write_text(master(), "no room"), ESHM_ERROR_BUFFER_FULL);
  EXPECT_EQ(text_of(view), "t0");
  std::thread writer([&] { EXPECT_EQ(eshm_write_ex(master(), "room", 4, UINT32_MAX), ESHM_SUCCESS); });
  pause_ms(5);
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
  writer.join();
  EXPECT_EQ(read_text(slave(), 0), "room");
}

ESHM_ON_BOTH_BACKENDS(Queue);

}  // namespace
