// SPDX-License-Identifier: MIT
// Messages that are filled, and read, in the segment itself: loan, publish,
// discard, borrow, release.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/player.h"
#include "support/zero_copy.h"

namespace {

using namespace test;

// ---- one at a time ------------------------------------------------------------------

TEST_P(ZeroCopy, LoanFilledAndPublishedIsReadAndBorrowedInEverySize) {
  open_both(1, 1);
  char buffer[kLargest];
  uint64_t number = 0;
  for (ESHMHandle* from : {master(), slave()}) {
    ESHMHandle* const to = from == master() ? slave() : master();
    number = 0;
    for (const size_t size : {size_t{0}, size_t{1}, size_t{7}, size_t{48}, size_t{49}, kLargest}) {
      void* data = loan(from, size);
      fill_pattern(data, size, ++number);
      ASSERT_EQ(eshm_publish(from, data, size), ESHM_SUCCESS) << last_error();
      ESHMMessageInfo info = {};
      ASSERT_EQ(eshm_read_msg(to, buffer, sizeof buffer, &info, 0), ESHM_SUCCESS) << last_error();
      EXPECT_EQ(info.size, size);
      EXPECT_EQ(info.sequence, number);
      EXPECT_TRUE(is_pattern(buffer, size, number));

      data = loan(from, size);
      fill_pattern(data, size, ++number);
      ASSERT_EQ(eshm_publish(from, data, size), ESHM_SUCCESS) << last_error();
      ESHMView view = borrow(to, 0);
      EXPECT_EQ(view.size, size);
      EXPECT_EQ(view.info.size, size);
      EXPECT_EQ(view.info.sequence, number);
      EXPECT_TRUE(is_pattern(view.data, view.size, number));
      EXPECT_EQ(read_text(to, 0), kNothing) << "a borrowed message is read";
      EXPECT_EQ(eshm_release(to, &view), ESHM_SUCCESS) << last_error();
    }
  }
}

TEST_P(ZeroCopy, LessThanWasLoanedMayBePublished) {
  open_both(1, 1);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{500}, kLargest}) {
    void* const data = loan(master());
    fill_pattern(data, kLargest, 7);
    ASSERT_EQ(eshm_publish(master(), data, size), ESHM_SUCCESS) << last_error();
    ESHMView view = borrow(slave());
    EXPECT_EQ(view.size, size);
    EXPECT_EQ(std::memcmp(view.data, data, size), 0);
    EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
  }
}

TEST_P(ZeroCopy, TooLargeALoanOrPublicationIsRefusedAndTheLoanIsStillOut) {
  open_both(1, 1);
  void* data = nullptr;
  EXPECT_EQ(eshm_loan(master(), kLargest + 1, &data), ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_TRUE(names_number(last_error(), kLargest + 1)) << last_error();
  EXPECT_EQ(data, nullptr);
  data = loan(master());
  EXPECT_EQ(eshm_publish(master(), data, kLargest + 1), ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_EQ(read_text(slave(), 0), kNothing);
  EXPECT_EQ(publish_text(master(), data, "fits"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave(), 0), "fits");
}

TEST_P(ZeroCopy, BorrowTellsNumberMissedSizeGenerationAndTime) {
  open_both(1, 1, ESHM_FLAG_TIMESTAMPS);
  const auto now = [] {
    return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  };
  ASSERT_EQ(write_text(master(), "1"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave(), 0), "1");
  void* const data = loan(master());
  for (const char* text : {"2", "3"}) ASSERT_EQ(write_text(master(), text), ESHM_SUCCESS);
  const uint64_t before = now();
  ASSERT_EQ(publish_text(master(), data, "fourth"), ESHM_SUCCESS);
  const uint64_t after = now();
  ESHMView view = borrow(slave());
  EXPECT_EQ(text_of(view), "fourth");
  EXPECT_EQ(view.info.sequence, 4u);
  EXPECT_EQ(view.info.missed, 2u);
  EXPECT_EQ(view.info.size, 6u);
  EXPECT_EQ(view.info.generation, 1u);
  EXPECT_GE(view.info.timestamp_ns, before);
  EXPECT_LE(view.info.timestamp_ns, after);
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
}

TEST_P(ZeroCopy, LoansAreAlignedAsPromised) {
  for (const uint32_t flags :
       {0u, ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD,
        ESHM_FLAG_ALIGN_PAYLOAD | ESHM_FLAG_TIMESTAMPS}) {
    open_both(5, 5, flags);
    const uintptr_t unit = (flags & ESHM_FLAG_ALIGN_PAYLOAD) != 0 ? 64 : 16;
    for (int i = 0; i < 5; ++i) {
      void* const data = loan(master(), 1);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % unit, 0u) << flags;
      ASSERT_EQ(publish_text(master(), data, "x"), ESHM_SUCCESS);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(borrow(slave()).data) % unit, 0u) << flags;
    }
    slave_.reset();
    master_.reset();
  }
}

// ---- what is no loan ------------------------------------------------------------------

TEST_P(ZeroCopy, DiscardedLoanIsSeenByNobodyAndCostsNoNumber) {
  open_both(2, 1);
  ASSERT_EQ(write_text(master(), "first"), ESHM_SUCCESS);
  for (int i = 0; i < 50; ++i) {
    void* const one = loan(master());
    void* const other = loan(master());
    std::memset(one, 0xee, kLargest);
    std::memset(other, 0xee, kLargest);
    ASSERT_EQ(eshm_discard(master(), i % 2 ? one : other), ESHM_SUCCESS);
    ASSERT_EQ(eshm_discard(master(), i % 2 ? other : one), ESHM_SUCCESS);
  }
  EXPECT_EQ(read_text(slave(), 0), "first");
  EXPECT_EQ(read_text(slave(), 0), kNothing);
  ASSERT_EQ(write_text(master(), "second"), ESHM_SUCCESS);
  ESHMView view = borrow(slave());
  EXPECT_EQ(view.info.sequence, 2u);
  EXPECT_EQ(view.info.missed, 0u);
  EXPECT_EQ(text_of(view), "second");
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
}

TEST_P(ZeroCopy, WhatIsNotOnLoanIsRefusedAndChangesNothing) {
  open_both(2, 1);
  char* const data = static_cast<char*>(loan(master()));
  char* const returned = static_cast<char*>(loan(master()));
  std::memcpy(data, "kept", 4);
  ASSERT_EQ(publish_text(master(), returned, "published"), ESHM_SUCCESS);
  char foreign[8] = "foreign";
  void* const strangers[] = {returned,  // published: it is a message now
                             foreign,   nullptr,          data + 1,        data + 16,
                             data - 16, data + kLargest,  data + (1 << 20), data - (1 << 20),
                             reinterpret_cast<void*>(UINTPTR_MAX)};
  for (void* const stranger : strangers) {
    EXPECT_EQ(eshm_publish(master(), stranger, 4), ESHM_ERROR_INVALID_PARAM) << stranger;
    EXPECT_NE(last_error().find("loan"), std::string::npos) << last_error();
    EXPECT_EQ(eshm_discard(master(), stranger), ESHM_ERROR_INVALID_PARAM) << stranger;
  }
  EXPECT_EQ(eshm_publish(slave(), data, 4), ESHM_ERROR_INVALID_PARAM) << "of another handle";
  EXPECT_EQ(read_text(slave(), 0), "published");
  EXPECT_EQ(read_text(slave(), 0), kNothing);
  EXPECT_EQ(eshm_publish(master(), data, 4), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(read_text(slave(), 0), "kept");
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(master(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.m2s_write_count, 2u);
  EXPECT_EQ(eshm_loan(master(), 1, nullptr), ESHM_ERROR_INVALID_PARAM);
}

TEST_P(ZeroCopy, ViewThatIsNotBorrowedIsRefusedAndChangesNothing) {
  open_both(1, 2);
  ASSERT_EQ(write_text(master(), "held"), ESHM_SUCCESS);
  ESHMView held = borrow(slave());
  ESHMView zeroed = {};
  EXPECT_EQ(eshm_release(slave(), &zeroed), ESHM_ERROR_INVALID_PARAM);
  EXPECT_NE(last_error().find("borrowed"), std::string::npos) << last_error();
  EXPECT_EQ(eshm_release(slave(), nullptr), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_borrow(slave(), nullptr, 0), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_release(master(), &held), ESHM_ERROR_INVALID_PARAM) << "of another handle";
  for (size_t field = 0; field < 3; ++field) {
    for (const uint64_t change : {uint64_t{1}, uint64_t{2}, uint64_t{1} << 32, UINT64_MAX}) {
      ESHMView altered = held;
      altered.internal[field] ^= change;
      EXPECT_EQ(eshm_release(slave(), &altered), ESHM_ERROR_INVALID_PARAM) << field;
    }
  }
  for (int i = 0; i < 100; ++i) ASSERT_EQ(write_text(master(), "later"), ESHM_SUCCESS);
  EXPECT_EQ(text_of(held), "held");
  EXPECT_EQ(eshm_release(slave(), &held), ESHM_SUCCESS);
  EXPECT_EQ(eshm_release(slave(), &held), ESHM_ERROR_INVALID_PARAM) << "twice";
  // Nor does the old view give back what the same register holds next.
  ESHMView next = borrow(slave());
  EXPECT_EQ(eshm_release(slave(), &held), ESHM_ERROR_INVALID_PARAM);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(write_text(master(), "last"), ESHM_SUCCESS);
  EXPECT_EQ(text_of(next), "later");
  EXPECT_EQ(eshm_release(slave(), &next), ESHM_SUCCESS);
}

// ---- how many --------------------------------------------------------------------------

TEST_P(ZeroCopy, OneLoanTooManyIsRefusedUntilOneIsBack) {
  open_both(3, 1);
  std::vector<void*> loans;
  for (int round = 0; round < 20; ++round) {
    while (loans.size() < 3) loans.push_back(loan(master()));
    void* data = nullptr;
    EXPECT_EQ(eshm_loan(master(), 1, &data), ESHM_ERROR_BUFFER_FULL);
    EXPECT_NE(last_error().find("loan"), std::string::npos) << last_error();
    EXPECT_EQ(data, nullptr);
    ASSERT_EQ(write_text(master(), "copied"), ESHM_SUCCESS) << "a copy needs no loan";
    EXPECT_EQ(read_text(slave(), 0), "copied");
    void* const back = loans[round % 3];
    loans.erase(loans.begin() + round % 3);
    ASSERT_EQ(round % 2 ? eshm_discard(master(), back) : eshm_publish(master(), back, 0),
              ESHM_SUCCESS);
  }
  for (void* data : loans) EXPECT_EQ(eshm_discard(master(), data), ESHM_SUCCESS);
}

TEST_P(ZeroCopy, OneBorrowTooManyIsRefusedUntilOneIsBack) {
  open_both(1, 3);
  std::vector<ESHMView> views;
  const auto borrow_another = [&] {
    const std::string text = "text " + std::to_string(views.size());
    ASSERT_EQ(write_text(master(), text), ESHM_SUCCESS);
    views.push_back(borrow(slave()));
    EXPECT_EQ(text_of(views.back()), text);
  };
  while (views.size() < 3) borrow_another();
  for (size_t round = 0; round < 20; ++round) {
    ASSERT_EQ(write_text(master(), "unread"), ESHM_SUCCESS);
    ESHMView view = {};
    for (const uint32_t timeout_ms : {0u, 1000u}) {
      EXPECT_EQ(eshm_borrow(slave(), &view, timeout_ms), ESHM_ERROR_BUFFER_FULL);
      EXPECT_NE(last_error().find("max_borrows is 3"), std::string::npos) << last_error();
    }
    EXPECT_EQ(view.data, nullptr);
    EXPECT_EQ(read_text(slave(), 0), "unread") << "a copy needs no borrow";
    ASSERT_EQ(eshm_release(slave(), &views[round % 3]), ESHM_SUCCESS);
    views.erase(views.begin() + static_cast<std::ptrdiff_t>(round % 3));
    borrow_another();
  }
  for (ESHMView& view : views) EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
}

TEST_P(ZeroCopy, ChannelMadeForNoneLendsNothing) {
  open_both(0, 0);
  void* data = nullptr;
  EXPECT_EQ(eshm_loan(master(), 1, &data), ESHM_ERROR_BUFFER_FULL);
  ASSERT_EQ(write_text(master(), "copied"), ESHM_SUCCESS);
  ESHMView view = {};
  EXPECT_EQ(eshm_borrow(slave(), &view, 0), ESHM_ERROR_BUFFER_FULL);
  EXPECT_EQ(read_text(slave(), 0), "copied");
}

TEST_P(ZeroCopy, AsManyAsThereCanBe) {
  open_both(ESHM_MAX_LOANS, ESHM_MAX_BORROWS);
  std::vector<void*> loans;
  while (loans.size() < ESHM_MAX_LOANS) loans.push_back(loan(master()));
  for (size_t i = 0; i < loans.size(); ++i) fill_pattern(loans[i], kLargest, i);
  std::vector<ESHMView> views;
  for (size_t i = 0; i < loans.size(); ++i) {
    ASSERT_TRUE(is_pattern(loans[i], kLargest, i));
    ASSERT_EQ(eshm_publish(master(), loans[i], kLargest), ESHM_SUCCESS);
    views.push_back(borrow(slave()));
  }
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(write_text(master(), "more"), ESHM_SUCCESS);
  for (size_t i = 0; i < views.size(); ++i) {
    EXPECT_TRUE(is_pattern(views[i].data, views[i].size, i)) << i;
    EXPECT_EQ(eshm_release(slave(), &views[i]), ESHM_SUCCESS);
  }
}

// ---- in any order ------------------------------------------------------------------------

TEST_P(ZeroCopy, LoansPublishedInAnyOrderAmongWritesGetNumbersWithoutGaps) {
  open_both(4, 1);
  Random random;
  std::vector<void*> loans;
  uint64_t written = 0;
  for (uint64_t round = 0; round < count(3000, 300000); ++round) {
    const uint64_t dice = random.up_to(3);
    if (dice == 0 && loans.size() < 4) {
      loans.push_back(loan(master()));
      ASSERT_EQ(read_text(slave(), 0), kNothing) << "a loan is seen by nobody";
      continue;
    }
    const std::string text = "text " + std::to_string(++written);
    if (dice == 1 && !loans.empty()) {
      const auto which = loans.begin() + static_cast<std::ptrdiff_t>(random.up_to(loans.size() - 1));
      ASSERT_EQ(publish_text(master(), *which, text), ESHM_SUCCESS) << last_error();
      loans.erase(which);
    } else {
      ASSERT_EQ(write_text(master(), text), ESHM_SUCCESS) << last_error();
    }
    char buffer[kLargest];
    ESHMMessageInfo info = {};
    ASSERT_EQ(eshm_read_msg(slave(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS)
        << last_error();
    ASSERT_EQ(std::string(buffer, info.size), text);
    ASSERT_EQ(info.sequence, written);
    ASSERT_EQ(info.missed, 0u);
    ASSERT_EQ(read_text(slave(), 0), kNothing);
  }
  for (void* data : loans) EXPECT_EQ(eshm_discard(master(), data), ESHM_SUCCESS);
}

TEST_P(ZeroCopy, ParkedReaderGetsEveryPublicationWhicheverLoanItWas) {
  ESHMConfig parking = shaped(ESHM_ROLE_SLAVE, 3, 1);
  parking.spin_us = 0;
  master_ = open_link(shaped(ESHM_ROLE_MASTER, 3, 1));
  slave_ = open_link(parking);
  ASSERT_TRUE(master_ && slave_) << last_error();
  Random random;
  const uint64_t messages = count(300, 20000);
  std::atomic<uint64_t> seen{0};
  std::thread reader([&] {
    for (uint64_t number = 1; number <= messages; ++number) {
      ESHMView view = borrow(slave());
      ASSERT_EQ(view.info.sequence, number);
      ASSERT_EQ(text_of(view), std::to_string(number));
      ASSERT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
      seen = number;
    }
  });
  std::vector<void*> loans;
  for (uint64_t number = 1; number <= messages && !HasFailure(); ++number) {
    while (loans.size() < 3) loans.push_back(loan(master()));
    const std::string text = std::to_string(number);
    const size_t which = random.up_to(3);
    if (which == 3) {
      EXPECT_EQ(write_text(master(), text), ESHM_SUCCESS);
    } else {
      EXPECT_EQ(publish_text(master(), loans[which], text), ESHM_SUCCESS);
      loans.erase(loans.begin() + static_cast<std::ptrdiff_t>(which));
    }
    while (seen < number && !HasFailure()) std::this_thread::yield();
  }
  reader.join();
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(slave(), &stats), ESHM_SUCCESS);
  EXPECT_GT(stats.parks, 0u);
  for (void* data : loans) EXPECT_EQ(eshm_discard(master(), data), ESHM_SUCCESS);
}

// ---- held -----------------------------------------------------------------------------------

TEST_P(ZeroCopy, BorrowedMessagesStayWhileTheWriterPublishesOnAndOn) {
  constexpr uint32_t kBorrows = 3;
  for (const uint32_t held : {1u, kBorrows}) {
    open_both(2, kBorrows);
    std::vector<ESHMView> views;
    for (uint64_t number = 1; number <= held; ++number) {
      char bytes[kLargest];
      fill_pattern(bytes, sizeof bytes, number);
      ASSERT_EQ(eshm_write(master(), bytes, sizeof bytes), ESHM_SUCCESS);
      views.push_back(borrow(slave()));
    }
    std::atomic<bool> is_over{false};
    std::thread watcher([&] {
      while (!is_over) {
        for (uint64_t number = 1; number <= held; ++number) {
          const ESHMView& view = views[number - 1];
          ASSERT_TRUE(is_pattern(view.data, view.size, number));
        }
        std::this_thread::yield();
      }
    });
    void* const kept = loan(master());
    fill_pattern(kept, kLargest, 99);
    for (uint64_t i = 0; i < count(100000, 1000000); ++i) {
      if (i % 2 == 0) {
        ASSERT_EQ(eshm_write(master(), "copied", 6), ESHM_SUCCESS);
      } else {
        void* const data = loan(master(), 8);
        ASSERT_EQ(publish_text(master(), data, "in place"), ESHM_SUCCESS);
      }
    }
    is_over = true;
    watcher.join();
    EXPECT_TRUE(is_pattern(kept, kLargest, 99)) << "a loan was overwritten";
    EXPECT_EQ(read_text(slave(), 0), "in place");
    for (uint64_t number = 1; number <= held; ++number) {
      ESHMView& view = views[number - 1];
      EXPECT_TRUE(is_pattern(view.data, view.size, number));
      EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
    }
    ASSERT_EQ(eshm_discard(master(), kept), ESHM_SUCCESS);
    slave_.reset();
    master_.reset();
  }
}

TEST_P(ZeroCopy, ManyThreadsLoanAndBorrowOnOneHandle) {
  constexpr uint32_t kThreads = 4;
  open_both(kThreads, kThreads);
  const uint64_t per_thread = count(20000, 200000);
  const uint64_t messages = per_thread * kThreads;
  std::atomic<uint64_t> borrowed{0}, missed{0};
  std::atomic<bool> last_was_seen{false};
  const auto lend = [&](uint64_t number) {
    const size_t size = pattern_size(number, 200);
    char* const data = static_cast<char*>(loan(master()));
    std::memcpy(data, &number, sizeof number);
    fill_pattern(data + sizeof number, size, number);
    if (number % 16 == 5) {
      ASSERT_EQ(eshm_discard(master(), data), ESHM_SUCCESS) << last_error();
      ASSERT_EQ(eshm_write(master(), data, sizeof number), ESHM_SUCCESS) << last_error();
      return;
    }
    ASSERT_EQ(eshm_publish(master(), data, sizeof number + size), ESHM_SUCCESS) << last_error();
  };
  const auto look = [&] {
    ESHMView view = {};
    const int code = eshm_borrow(slave(), &view, 50);
    if (code == ESHM_ERROR_TIMEOUT) return;
    ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
    ASSERT_GE(view.size, sizeof(uint64_t));
    if (view.size > sizeof(uint64_t)) {
      uint64_t number;
      std::memcpy(&number, view.data, sizeof number);
      const char* const bytes = static_cast<const char*>(view.data) + sizeof number;
      ASSERT_TRUE(is_pattern(bytes, view.size - sizeof number, number));
      std::this_thread::yield();
      ASSERT_TRUE(is_pattern(bytes, view.size - sizeof number, number));
    }
    ++borrowed;
    missed += view.info.missed;
    if (view.info.sequence == messages) last_was_seen = true;
    ASSERT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS) << last_error();
  };
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint64_t i = 0; i < per_thread && !HasFailure(); ++i) lend(i * kThreads + thread);
    });
    threads.emplace_back([&] {
      while (!last_was_seen && !HasFailure()) look();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(borrowed + missed, messages);
}

ESHM_ON_BOTH_BACKENDS(ZeroCopy);

}  // namespace
