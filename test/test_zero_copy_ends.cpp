// SPDX-License-Identifier: MIT
// Loans and borrows that are out when somebody dies, moves on or gives up.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/player.h"
#include "support/zero_copy.h"

namespace {

using namespace test;

class ZeroCopyEnds : public ZeroCopy {};

TEST_P(ZeroCopyEnds, ChildOfAForkIsRefused) {
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

TEST_P(ZeroCopyEnds, ReaderKilledWithEveryBorrowLeavesThemAllToTheNext) {
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

TEST_P(ZeroCopyEnds, WriterKilledWithEveryLoanLeavesThemAllToTheNext) {
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

ESHM_ON_BOTH_BACKENDS(ZeroCopyEnds);
ESHM_ON_BOTH_BACKENDS(ZeroCopyMove);
ESHM_ON_BOTH_BACKENDS(ZeroCopyGaveUp);

}  // namespace
