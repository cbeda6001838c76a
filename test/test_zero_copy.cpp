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

namespace {

using namespace test;

constexpr size_t kLargest = 1000;

class ZeroCopy : public LinkTest {
 protected:
  void TearDown() override {
    slave_.reset();
    master_.reset();
    LinkTest::TearDown();
  }
  ESHMConfig shaped(ESHMRole role, uint32_t loans, uint32_t borrows, uint32_t flags = 0) const {
    ESHMConfig config = this->config(role);
    for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
      channel->max_loans = loans;
      channel->max_borrows = borrows;
      channel->max_message_size = kLargest;
    }
    config.flags = flags;
    return config;
  }
  void open_both(uint32_t loans, uint32_t borrows, uint32_t flags = 0) {
    master_ = open_link(shaped(ESHM_ROLE_MASTER, loans, borrows, flags));
    ASSERT_TRUE(master_) << last_error();
    slave_ = open_link(shaped(ESHM_ROLE_SLAVE, loans, borrows, flags));
    ASSERT_TRUE(slave_) << last_error();
  }
  ESHMHandle* master() const { return master_.get(); }
  ESHMHandle* slave() const { return slave_.get(); }

  Link master_, slave_;
};

void* loan(ESHMHandle* link, size_t size = kLargest) {
  void* data = nullptr;
  EXPECT_EQ(eshm_loan(link, size, &data), ESHM_SUCCESS) << last_error();
  EXPECT_NE(data, nullptr);
  return data;
}

int publish_text(ESHMHandle* link, void* data, const std::string& text) {
  std::memcpy(data, text.data(), text.size());
  return eshm_publish(link, data, text.size());
}

ESHMView borrow(ESHMHandle* link, uint32_t timeout_ms = UINT32_MAX) {
  ESHMView view = {};
  EXPECT_EQ(eshm_borrow(link, &view, timeout_ms), ESHM_SUCCESS) << last_error();
  return view;
}

std::string text_of(const ESHMView& view) {
  return std::string(static_cast<const char*>(view.data), view.size);
}

const std::string kNothing = error(ESHM_ERROR_NO_DATA);

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
      EXPECT_NE(last_error().find("borrowed"), std::string::npos) << last_error();
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

// ---- when somebody goes -----------------------------------------------------------------------

TEST_P(ZeroCopy, ChildOfAForkIsRefused) {
  open_both(2, 2);
  void* const data = loan(master());
  ASSERT_EQ(write_text(slave(), "held"), ESHM_SUCCESS);
  ESHMView view = borrow(master());
  Child child([&](Wire&) {
    void* another = nullptr;
    ESHMView next = {};
    CHILD_CHECK(eshm_loan(master(), 1, &another) == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(eshm_publish(master(), data, 1) == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(eshm_discard(master(), data) == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(eshm_borrow(master(), &next, 0) == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(eshm_release(master(), &view) == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(last_error().find("fork") != std::string::npos);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(publish_text(master(), data, "the parent's"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave(), 0), "the parent's");
  EXPECT_EQ(eshm_release(master(), &view), ESHM_SUCCESS);
}

TEST_P(ZeroCopy, ReaderKilledWithEveryBorrowLeavesThemAllToTheNext) {
  constexpr size_t kBorrows = 3;
  master_ = open_link(shaped(ESHM_ROLE_MASTER, 1, kBorrows));
  ASSERT_TRUE(master_) << last_error();
  const ESHMConfig reader_config = shaped(ESHM_ROLE_SLAVE, 1, kBorrows);
  Child reader([&](Wire& wire) {
    const Link link = open_link(reader_config);
    CHILD_CHECK(link);
    for (size_t i = 0; i < kBorrows; ++i) {
      wire.say("next");
      ESHMView view = {};
      CHILD_CHECK(eshm_borrow(link.get(), &view, UINT32_MAX) == ESHM_SUCCESS);
    }
    wire.say("held");
    wire.hear();
    return 0;
  });
  for (size_t i = 0; i < kBorrows; ++i) {
    ASSERT_EQ(reader.hear(), "next");
    ASSERT_EQ(write_text(master(), "held"), ESHM_SUCCESS);
  }
  ASSERT_EQ(reader.hear(), "held");
  reader.kill_now();
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(write_text(master(), "goes on"), ESHM_SUCCESS);
  slave_ = open_link(reader_config);
  ASSERT_TRUE(slave_) << last_error();
  std::vector<ESHMView> views;
  for (size_t i = 0; i < kBorrows; ++i) {
    const std::string text = "new " + std::to_string(i);
    ASSERT_EQ(write_text(master(), text), ESHM_SUCCESS);
    views.push_back(borrow(slave()));
    EXPECT_EQ(text_of(views[i]), text);
  }
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(write_text(master(), "goes on"), ESHM_SUCCESS);
  for (size_t i = 0; i < kBorrows; ++i) {
    EXPECT_EQ(text_of(views[i]), "new " + std::to_string(i));
    EXPECT_EQ(eshm_release(slave(), &views[i]), ESHM_SUCCESS);
  }
}

TEST_P(ZeroCopy, WriterKilledWithEveryLoanLeavesThemAllToTheNext) {
  constexpr size_t kLoans = 3;
  const ESHMConfig writer_config = shaped(ESHM_ROLE_MASTER, kLoans, 1);
  Child writer([&](Wire& wire) {
    const Link link = open_link(writer_config);
    CHILD_CHECK(link);
    void* loans[kLoans + 1];
    CHILD_CHECK(write_text(link.get(), "first") == ESHM_SUCCESS);
    for (size_t i = 0; i < kLoans; ++i) {
      CHILD_CHECK(eshm_loan(link.get(), kLargest, &loans[i]) == ESHM_SUCCESS);
    }
    CHILD_CHECK(publish_text(link.get(), loans[1], "second") == ESHM_SUCCESS);
    CHILD_CHECK(eshm_loan(link.get(), kLargest, &loans[1]) == ESHM_SUCCESS);
    for (size_t i = 0; i < kLoans; ++i) std::memset(loans[i], 0xee, kLargest);
    wire.say("held");
    wire.hear();
    return 0;
  });
  ASSERT_EQ(writer.hear(), "held");
  slave_ = open_link(for_ever(shaped(ESHM_ROLE_SLAVE, kLoans, 1)));
  ASSERT_TRUE(slave_) << last_error();
  ESHMView held = borrow(slave());
  EXPECT_EQ(text_of(held), "second");
  writer.kill_now();
  EXPECT_EQ(text_of(held), "second");
  master_ = open_link(writer_config);
  ASSERT_TRUE(master_) << last_error();
  EXPECT_EQ(read_text(slave(), 0), kNothing) << "what was on loan is no message";
  std::vector<void*> loans;
  while (loans.size() < kLoans) loans.push_back(loan(master()));
  for (size_t i = kLoans; i-- > 0;) {
    const std::string text = "new " + std::to_string(i);
    ASSERT_EQ(publish_text(master(), loans[i], text), ESHM_SUCCESS) << last_error();
    char buffer[kLargest];
    ESHMMessageInfo info = {};
    ASSERT_EQ(eshm_read_msg(slave(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS);
    EXPECT_EQ(std::string(buffer, info.size), text);
    EXPECT_EQ(info.sequence, 2 + kLoans - i);
  }
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(write_text(master(), "goes on"), ESHM_SUCCESS);
  EXPECT_EQ(text_of(held), "second");
  EXPECT_EQ(eshm_release(slave(), &held), ESHM_SUCCESS);
}

// Mappings of this link, in whichever backend.
size_t mappings_of(const std::string& name) {
  std::ifstream maps("/proc/self/maps");
  size_t found = 0;
  for (std::string line; std::getline(maps, line);) {
    found += line.find(name) != std::string::npos || line.find("/SYSV") != std::string::npos;
  }
  return found;
}

class ZeroCopyMove : public ZeroCopy {
 protected:
  // A slave that holds a loan and a borrow while its hung master is replaced.
  void hold_and_move() {
    ESHMConfig impatient = shaped(ESHM_ROLE_MASTER, 1, 1);
    impatient.stale_threshold_ms = 60;
    ESHMConfig successor = impatient;
    successor.stale_threshold_ms = kHungMs;
    former_ = std::make_unique<Child>(obeying(impatient));
    ASSERT_EQ(former_->hear(), "open");
    slave_ = open_link(for_ever(shaped(ESHM_ROLE_SLAVE, 1, 1)));
    ASSERT_TRUE(slave_) << last_error();
    mappings_ = mappings_of(name());
    ASSERT_EQ(ask(*former_, "write held"), "0");
    view_ = borrow(slave());
    loan_ = loan(slave());
    fill_pattern(loan_, kLargest, 1);
    former_->stop();
    next_ = std::make_unique<Child>(obeying(successor));
    ASSERT_EQ(next_->hear(), "open");
    ASSERT_EQ(ask(*next_, "write new"), "0");
    ASSERT_EQ(read_text(slave(), UINT32_MAX), "new");
    EXPECT_GT(mappings_of(name()), mappings_) << "what is held stays mapped";
  }
  void expect_held() {
    EXPECT_EQ(text_of(view_), "held");
    EXPECT_TRUE(is_pattern(loan_, kLargest, 1));
  }
  void expect_all_well() {
    // The tender's last step of the move may hold them for a moment longer.
    wait_until([&] { return mappings_of(name()) == mappings_; });
    void* const data = loan(slave());
    ASSERT_EQ(publish_text(slave(), data, "in the new place"), ESHM_SUCCESS) << last_error();
    EXPECT_EQ(ask(*next_, "wait"), "in the new place");
    ASSERT_EQ(ask(*next_, "write later"), "0");
    ESHMView view = borrow(slave());
    EXPECT_EQ(text_of(view), "later");
    EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
    former_->go_on();
    leave(*former_);
    leave(*next_);
  }

  std::unique_ptr<Child> former_, next_;
  ESHMView view_ = {};
  void* loan_ = nullptr;
  size_t mappings_ = 0;
};

TEST_P(ZeroCopyMove, OldLoanIsSupersededOnceAndWhatWasBorrowedStays) {
  hold_and_move();
  expect_held();
  EXPECT_EQ(publish_text(slave(), loan_, "too late"), ESHM_ERROR_SUPERSEDED);
  EXPECT_NE(last_error().find("moved"), std::string::npos) << last_error();
  EXPECT_EQ(eshm_publish(slave(), loan_, 1), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_discard(slave(), loan_), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(ask(*next_, "read"), kNothing);
  EXPECT_EQ(text_of(view_), "held");
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_ERROR_INVALID_PARAM);
  expect_all_well();
}

TEST_P(ZeroCopyMove, BothAreGivenBackTheOtherWayRound) {
  hold_and_move();
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_ERROR_INVALID_PARAM);
  EXPECT_TRUE(is_pattern(loan_, kLargest, 1));
  EXPECT_EQ(eshm_discard(slave(), loan_), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(eshm_publish(slave(), loan_, 1), ESHM_ERROR_INVALID_PARAM);
  expect_all_well();
}

TEST_P(ZeroCopyMove, OldAndNewAreHeldSideBySide) {
  hold_and_move();
  void* const data = loan(slave());
  ASSERT_EQ(ask(*next_, "write both"), "0");
  ESHMView view = borrow(slave());
  expect_held();
  EXPECT_EQ(text_of(view), "both");
  EXPECT_EQ(publish_text(slave(), data, "of the new place"), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(ask(*next_, "wait"), "of the new place");
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS) << last_error();
  expect_held();
  EXPECT_EQ(eshm_discard(slave(), loan_), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_SUCCESS) << last_error();
  expect_all_well();
}

// A slave that gives up with something in its hands: no newcomer may have its
// seat, whose messages would land in what is held.
class ZeroCopyGaveUp : public ZeroCopy {
 protected:
  void TearDown() override {
    slave_.reset();
    master_.reset();
    remove_name_of_the_killed();  // a link without auto_cleanup
    ZeroCopy::TearDown();
  }
  void hold_and_give_up() {
    ESHMConfig lasting = shaped(ESHM_ROLE_MASTER, 1, 1);
    lasting.auto_cleanup = false;
    ESHMConfig brief = shaped(ESHM_ROLE_SLAVE, 1, 1);
    brief.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
    brief.stale_threshold_ms = kSilentMs;
    Child former = obeying(lasting);
    ASSERT_EQ(former.hear(), "open");
    slave_ = open_link(brief);
    ASSERT_TRUE(slave_) << last_error();
    ASSERT_EQ(ask(former, "write held"), "0");
    view_ = borrow(slave());
    loan_ = loan(slave());
    fill_pattern(loan_, kLargest, 1);
    former.kill_now();
    ASSERT_EQ(first_answer(slave()), error(ESHM_ERROR_MASTER_STALE));
    pause_ms(20);  // its tender leaves
    master_ = open_link(shaped(ESHM_ROLE_MASTER, 1, 1));
    ASSERT_TRUE(master_) << last_error();
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(write_text(master(), "of the next"), ESHM_SUCCESS);
  }
  // Looks that long at the silent holder of the seat before it says who that is.
  static constexpr uint32_t kSilentMs = 500;
  Link newcomer() const {
    ESHMConfig config = at_once(shaped(ESHM_ROLE_SLAVE, 1, 1));
    config.stale_threshold_ms = kSilentMs;
    return open_link(config);
  }

  ESHMView view_ = {};
  void* loan_ = nullptr;
};

TEST_P(ZeroCopyGaveUp, KeepsItsSeatUntilEverythingIsGivenBack) {
  hold_and_give_up();
  EXPECT_EQ(text_of(view_), "held");
  EXPECT_TRUE(is_pattern(loan_, kLargest, 1));
  EXPECT_FALSE(newcomer());
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_EQ(publish_text(slave(), loan_, "late"), ESHM_ERROR_MASTER_STALE);
  EXPECT_EQ(eshm_discard(slave(), loan_), ESHM_SUCCESS) << last_error();
  EXPECT_FALSE(newcomer());
  EXPECT_EQ(text_of(view_), "held");
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_SUCCESS) << last_error();
  const Link next = newcomer();
  ASSERT_TRUE(next) << last_error();
  EXPECT_EQ(read_text(next.get(), 0), "of the next");
  ASSERT_EQ(write_text(next.get(), "from the newcomer"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(master(), 0), "from the newcomer");
  EXPECT_EQ(eshm_borrow(slave(), &view_, 0), ESHM_ERROR_MASTER_STALE);
  EXPECT_EQ(eshm_release(slave(), &view_), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_update_heartbeat(slave()), ESHM_SUCCESS) << "and it beats for nobody";
}

ESHM_ON_BOTH_BACKENDS(ZeroCopy);
ESHM_ON_BOTH_BACKENDS(ZeroCopyMove);
ESHM_ON_BOTH_BACKENDS(ZeroCopyGaveUp);

}  // namespace
