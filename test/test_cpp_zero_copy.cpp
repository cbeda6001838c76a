// SPDX-License-Identifier: MIT
// eshm.hpp: loans, borrows, queues and waiting for many.
#include <poll.h>

#include <cstring>
#include <vector>

#include "eshm.hpp"
#include "support/allocations.h"
#include "support/link.h"

namespace {

using namespace std::literals;
using eshm::Channel;
using eshm::Code;
using eshm::Config;
using eshm::Role;

class CppZeroCopy : public test::LinkTest {
 protected:
  Config config_of(Role role) const {
    return Config(name())
        .role(role)
        .backend(static_cast<eshm::Backend>(GetParam()))
        .stale_threshold(std::chrono::milliseconds(test::kPatientMs));
  }

  // Both ends, of a channel of that kind from master to slave.
  void open_both(const Channel& m2s) {
    slave_ = {};
    master_ = {};
    master_ = eshm::Link(config_of(Role::kMaster).m2s(m2s));
    slave_ = eshm::Link(config_of(Role::kSlave));
  }

  void TearDown() override {
    slave_ = {};
    master_ = {};
    LinkTest::TearDown();
  }

  static void fill(eshm::Loan& loan, std::string_view text) {
    ASSERT_LE(text.size(), loan.bytes().size());
    std::memcpy(loan.bytes().data(), text.data(), text.size());
  }
  static std::string text_of(const eshm::Borrow& borrow) {
    if (!borrow) return borrow.what();
    return {reinterpret_cast<const char*>(borrow.bytes().data()), borrow.bytes().size()};
  }
  std::string read_text() {
    std::array<char, 64> buffer;
    const auto size = slave_.read(buffer, eshm::kNoWait);
    return size ? std::string(buffer.data(), *size) : "nothing";
  }

  eshm::Link master_;
  eshm::Link slave_;
};

const Channel kinds[] = {Channel(), Channel().queue()};

// ---- loans --------------------------------------------------------------------------

TEST_P(CppZeroCopy, PublishedLoanArrives) {
  for (const Channel& kind : kinds) {
    open_both(kind);
    eshm::Loan loan = master_.loan(5);
    ASSERT_TRUE(loan) << loan.what();
    ASSERT_EQ(loan.bytes().size(), 5u);
    fill(loan, "hello");
    EXPECT_EQ(read_text(), "nothing") << "not published yet";
    EXPECT_TRUE(loan.publish());
    EXPECT_EQ(read_text(), "hello");
  }
}

TEST_P(CppZeroCopy, LoanCanBePublishedShorter) {
  for (const Channel& kind : kinds) {
    open_both(kind);
    eshm::Loan loan = master_.loan(64);
    ASSERT_TRUE(loan) << loan.what();
    fill(loan, "hello");
    EXPECT_FALSE(loan.publish(65)) << "longer than loaned";
    EXPECT_TRUE(loan.publish(5)) << "the loan was kept";
    EXPECT_EQ(read_text(), "hello");
  }
}

TEST_P(CppZeroCopy, LoanThatEndsUnpublishedIsGivenBackUnseen) {
  for (Channel kind : kinds) {
    open_both(kind.max_loans(1));
    for (int round = 0; round < 10; ++round) {
      eshm::Loan loan = master_.loan(5);
      ASSERT_TRUE(loan) << loan.what();
      fill(loan, "never");
      EXPECT_FALSE(master_.loan(5)) << "one at a time was agreed";
    }
    EXPECT_EQ(read_text(), "nothing");
    EXPECT_TRUE(master_.write("hello"sv));
    EXPECT_EQ(read_text(), "hello");
  }
}

TEST_P(CppZeroCopy, LoanIsOverAfterItsPublication) {
  for (const Channel& kind : kinds) {
    open_both(kind);
    eshm::Loan loan = master_.loan(1);
    ASSERT_TRUE(loan) << loan.what();
    EXPECT_TRUE(loan.publish());
    EXPECT_EQ(loan.publish().code(), Code::kInvalidParam);
    EXPECT_EQ(loan.discard().code(), Code::kInvalidParam);
    EXPECT_TRUE(loan.bytes().empty());
  }
}

TEST_P(CppZeroCopy, MovedLoanIsPublishedByItsNewOwner) {
  for (Channel kind : kinds) {
    open_both(kind.max_loans(2));
    eshm::Loan first = master_.loan(5);
    ASSERT_TRUE(first) << first.what();
    fill(first, "first");
    eshm::Loan owner = master_.loan(5);
    ASSERT_TRUE(owner) << owner.what();
    owner = std::move(first);  // gives its own back
    EXPECT_TRUE(first.bytes().empty());
    EXPECT_TRUE(owner.publish());
    EXPECT_EQ(read_text(), "first");
    EXPECT_EQ(read_text(), "nothing");
  }
}

TEST_P(CppZeroCopy, LoanOfMoreThanTheChannelTakesSaysSo) {
  for (Channel kind : kinds) {
    open_both(kind.max_message_size(64));
    const eshm::Loan loan = master_.loan(65);
    EXPECT_EQ(loan.code(), Code::kBufferTooSmall);
    EXPECT_TRUE(loan.bytes().empty());
  }
}

// ---- borrows ------------------------------------------------------------------------

TEST_P(CppZeroCopy, BorrowShowsTheMessageAndWhatIsKnownOfIt) {
  for (const Channel& kind : kinds) {
    open_both(kind);
    ASSERT_TRUE(master_.write("hello"sv));
    const eshm::Borrow borrow = slave_.borrow(eshm::kNoWait);
    ASSERT_TRUE(borrow) << borrow.what();
    EXPECT_EQ(text_of(borrow), "hello");
    EXPECT_EQ(borrow.info().sequence, 1u);
    EXPECT_EQ(borrow.info().size, 5u);
  }
}

TEST_P(CppZeroCopy, BorrowOfNothingSaysSo) {
  for (const Channel& kind : kinds) {
    open_both(kind);
    const eshm::Borrow at_once = slave_.borrow(eshm::kNoWait);
    EXPECT_EQ(at_once.code(), Code::kNoData);
    EXPECT_TRUE(at_once.bytes().empty());
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(slave_.borrow(20ms).code(), Code::kTimeout);
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  }
}

TEST_P(CppZeroCopy, BorrowedValueStaysWhateverIsWritten) {
  open_both(Channel());
  ASSERT_TRUE(master_.write("borrowed"sv));
  const eshm::Borrow borrow = slave_.borrow();
  ASSERT_TRUE(borrow) << borrow.what();
  for (int number = 0; number < 1000; ++number) ASSERT_TRUE(master_.write("another!"sv));
  EXPECT_EQ(text_of(borrow), "borrowed");
}

TEST_P(CppZeroCopy, BorrowIsReleasedAtItsEnd) {
  for (Channel kind : kinds) {
    open_both(kind.max_borrows(1));
    for (int round = 0; round < 10; ++round) {
      ASSERT_TRUE(master_.write("first"sv));
      const eshm::Borrow borrow = slave_.borrow(eshm::kNoWait);
      ASSERT_TRUE(borrow) << borrow.what();
      ASSERT_TRUE(master_.write("second"sv));
      EXPECT_FALSE(slave_.borrow(eshm::kNoWait)) << "one at a time was agreed";
      EXPECT_EQ(text_of(borrow), "first");
      // Not consumed by the refusal.
      EXPECT_EQ(read_text(), "second");
    }
  }
}

TEST_P(CppZeroCopy, MovedBorrowIsReleasedOnce) {
  for (Channel kind : kinds) {
    open_both(kind.max_borrows(1));
    ASSERT_TRUE(master_.write("hello"sv));
    eshm::Borrow first = slave_.borrow(eshm::kNoWait);
    ASSERT_TRUE(first) << first.what();
    eshm::Borrow owner = std::move(first);
    EXPECT_TRUE(first.bytes().empty());
    EXPECT_EQ(first.release().code(), Code::kInvalidParam);
    EXPECT_EQ(text_of(owner), "hello");
    EXPECT_TRUE(owner.release());
    EXPECT_EQ(owner.release().code(), Code::kInvalidParam);
  }
}

TEST_P(CppZeroCopy, LoansAndBorrowsCostNoAllocation) {
  for (const Channel& kind : kinds) {
    open_both(kind);
    uint64_t arrived = 0;
    const uint64_t before = test::allocations();
    for (uint64_t number = 1; number <= 1000; ++number) {
      eshm::Loan loan = master_.loan(sizeof number);
      if (!loan) break;
      std::memcpy(loan.bytes().data(), &number, sizeof number);
      if (!loan.publish()) break;
      const eshm::Borrow borrow = slave_.borrow(eshm::kNoWait);
      if (borrow && std::memcmp(borrow.bytes().data(), &number, sizeof number) == 0) ++arrived;
    }
    EXPECT_EQ(test::allocations(), before);
    EXPECT_EQ(arrived, 1000u);
  }
}

// ---- queues -------------------------------------------------------------------------

TEST_P(CppZeroCopy, QueueKeepsOrderAndSaysWhenItIsFull) {
  open_both(Channel().queue(4096).max_message_size(64));
  uint64_t written = 0;
  for (;; ++written) {
    const eshm::Status status = master_.write(eshm::bytes_of(written));
    if (status) continue;
    EXPECT_EQ(status.code(), Code::kBufferFull);
    break;
  }
  ASSERT_GT(written, 1u);
  EXPECT_EQ(master_.write(eshm::bytes_of(written), 10ms).code(), Code::kTimeout);
  for (uint64_t number = 0; number < written; ++number) {
    uint64_t got = 0;
    ASSERT_TRUE(slave_.read(eshm::room_of(got), eshm::kNoWait));
    ASSERT_EQ(got, number);
  }
  EXPECT_EQ(read_text(), "nothing");
}

// ---- waiting for many ---------------------------------------------------------------

TEST_P(CppZeroCopy, WaitAnyAnswersWhichLinkHasSomethingToRead) {
  open_both(Channel());
  std::vector<eshm::Link> links;
  links.push_back(std::move(master_));
  links.push_back(std::move(slave_));
  EXPECT_FALSE(eshm::wait_any(links, eshm::kNoWait));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(eshm::wait_any(links, 20ms).code(), Code::kTimeout);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 20ms);
  ASSERT_TRUE(links[0].write("to the slave"sv));
  const auto index = eshm::wait_any(links, eshm::kForEver);
  ASSERT_TRUE(index) << index.what();
  EXPECT_EQ(*index, 1u);
  const auto swapped = eshm::wait_any({links[1].handle(), links[0].handle()}, eshm::kForEver);
  ASSERT_TRUE(swapped) << swapped.what();
  EXPECT_EQ(*swapped, 0u) << "looking consumes nothing";
}

TEST_P(CppZeroCopy, WaitAnyRefusesWhatIsNoLink) {
  EXPECT_EQ(eshm::wait_any(eshm::span<const eshm::Link>(), 1s).code(), Code::kInvalidParam);
  EXPECT_EQ(eshm::wait_any(std::vector<eshm::Link>(2), 1s).code(), Code::kInvalidParam);
  EXPECT_EQ(eshm::wait_any(std::vector<eshm::Link>(eshm::kMaxLinks + 1), 1s).code(),
            Code::kInvalidParam);
}

TEST_P(CppZeroCopy, DescriptorPollsReadableWhileThereIsSomethingToRead) {
  open_both(Channel());
  const auto fd = slave_.fd();
  ASSERT_TRUE(fd) << fd.what();
  pollfd wait = {*fd, POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 0), 0);
  ASSERT_TRUE(master_.write("hello"sv));
  EXPECT_EQ(poll(&wait, 1, -1), 1);
  EXPECT_EQ(read_text(), "hello");
  EXPECT_EQ(poll(&wait, 1, 0), 0);
}

ESHM_ON_BOTH_BACKENDS(CppZeroCopy);

}  // namespace
