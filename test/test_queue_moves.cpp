// SPDX-License-Identifier: MIT
// Queues half full when the other end is replaced, leaves, dies or comes again:
// nothing lost, order kept, nothing of a replaced master after the mark.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/queues.h"

namespace {

using namespace test;

class QueueMoves : public QueueTest {
 protected:
  static constexpr uint64_t kSmall = 128;  // with what may be in hand: 176 texts

  ESHMConfig impatient(uint64_t capacity = kCapacity, uint64_t largest = kLargest) const {
    ESHMConfig config = queues(ESHM_ROLE_MASTER, capacity, largest);
    config.stale_threshold_ms = 60;
    return config;
  }
  void open_slave(uint64_t capacity = kCapacity) {
    slave_ = open_link(for_ever(queues(ESHM_ROLE_SLAVE, capacity)));
    ASSERT_TRUE(slave_) << last_error();
  }
  // The slave has come over as often as that.
  void wait_for_moves(uint32_t moves) const {
    // Without a new master it would not: that failure is to be seen.
    wait_until([&] { return reconnects_of(slave()) == moves || HasFailure(); });
  }
};

Child open_as_told(const ESHMConfig& config) {
  Child child = obeying(config);
  EXPECT_EQ(child.hear(), "open");
  return child;
}

void tell_texts(Child& child, const std::string& word, int from, int to) {
  for (int i = from; i <= to; ++i) {
    ASSERT_EQ(ask(child, "write " + numbered(word, i)), "0") << i << ask(child, "why");
  }
}

void expect_texts_at(Child& child, const std::string& word, int from, int to) {
  for (int i = from; i <= to; ++i) ASSERT_EQ(ask(child, "wait"), numbered(word, i));
}

void expect_nothing_at(Child& child) { EXPECT_EQ(ask(child, "read"), error(ESHM_ERROR_NO_DATA)); }

// A master that died, or was replaced, may have had one message in its hands.
void expect_texts_once_or_the_first_twice(Child& child, const std::string& word, int first,
                                          int to) {
  const std::string begin = ask(child, "wait");
  ASSERT_TRUE(begin == numbered(word, first) || begin == numbered(word, first + 1)) << begin;
  expect_texts_at(child, word, begin == numbered(word, first) ? first + 1 : first + 2, to);
  expect_nothing_at(child);
}

// ---- a hung master is replaced -------------------------------------------------------

TEST_P(QueueMoves, HungMasterReplacedWithBothHalfFull) {
  Child old_master = open_as_told(impatient());
  open_slave();
  tell_texts(old_master, "m", 0, 39);
  expect_texts(slave(), "m", 0, 9);
  write_texts(slave(), "s", 0, 39);
  expect_texts_at(old_master, "s", 0, 9);
  old_master.stop();
  write_texts(slave(), "s", 40, 44);  // accepted while there is room
  Child next = open_as_told(impatient());
  wait_for_moves(1);
  tell_texts(next, "n", 0, 4);
  write_texts(slave(), "s", 45, 49);
  expect_texts_once_or_the_first_twice(next, "s", 9, 49);
  expect_texts(slave(), "m", 10, 39);
  expect_texts(slave(), "n", 0, 4);
  expect_nothing(slave());
  old_master.go_on();
  leave(old_master);
  leave(next);
}

TEST_P(QueueMoves, ReplacedMasterThatGoesOnWritingIsNotHeard) {
  Child old_master = open_as_told(impatient());
  open_slave();
  tell_texts(old_master, "m", 0, 9);
  old_master.stop();
  Child next = open_as_told(impatient());
  old_master.go_on();
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(ask(old_master, numbered("write old", i)), std::to_string(ESHM_ERROR_SUPERSEDED));
  }
  EXPECT_EQ(ask(old_master, "read"), error(ESHM_ERROR_SUPERSEDED));
  wait_for_moves(1);
  tell_texts(next, "n", 0, 4);
  expect_texts(slave(), "m", 0, 9);
  expect_texts(slave(), "n", 0, 4);
  expect_nothing(slave());
  leave(old_master);
  leave(next);
}

TEST_P(QueueMoves, ReplacedTwiceBeforeTheSlaveReads) {
  Child first = open_as_told(impatient());
  open_slave();
  tell_texts(first, "a", 0, 19);
  write_texts(slave(), "s", 0, 19);
  first.stop();
  Child second = open_as_told(impatient());
  wait_for_moves(1);
  tell_texts(second, "b", 0, 19);
  write_texts(slave(), "s", 20, 39);
  second.stop();
  Child third = open_as_told(impatient());
  wait_for_moves(2);
  tell_texts(third, "c", 0, 19);
  write_texts(slave(), "s", 40, 59);
  expect_texts_at(third, "s", 0, 59);
  expect_nothing_at(third);
  expect_texts(slave(), "a", 0, 19);
  expect_texts(slave(), "b", 0, 19);
  expect_texts(slave(), "c", 0, 19);
  expect_nothing(slave());
  for (Child* master : {&first, &second, &third}) {
    if (master != &third) master->go_on();
    leave(*master);
  }
}

// What is on its way fills each new segment: the rest waits behind it, and so
// do new writes.
TEST_P(QueueMoves, CarriedOverInOrderThroughSmallerSegments) {
  Child first = open_as_told(impatient(1 << 15));
  open_slave();
  write_texts(slave(), "s", 0, 399);
  first.stop();
  Child second = open_as_told(impatient(kSmall));
  wait_for_moves(1);
  EXPECT_EQ(write_text(slave(), "pushes in"), ESHM_ERROR_BUFFER_FULL);
  void* loan = nullptr;
  EXPECT_EQ(eshm_loan(slave(), 8, &loan), ESHM_ERROR_BUFFER_FULL);
  EXPECT_EQ(eshm_write_ex(slave(), "pushes in", 9, 20), ESHM_ERROR_TIMEOUT);
  second.stop();
  Child third = open_as_told(impatient(kSmall));
  wait_for_moves(2);
  std::thread writer([&] {
    for (int i = 400; i < 420; ++i) {
      const std::string text = numbered("s", i);
      ASSERT_EQ(eshm_write_ex(slave(), text.data(), text.size(), UINT32_MAX), ESHM_SUCCESS);
    }
  });
  expect_texts_at(third, "s", 0, 419);
  writer.join();
  expect_nothing_at(third);
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(slave(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.messages_written, 420u);
  for (Child* master : {&first, &second, &third}) {
    if (master != &third) master->go_on();
    leave(*master);
  }
}

TEST_P(QueueMoves, WhatTheNewMasterTakesNoMoreIsLeftOutAndTheRestComes) {
  Child first = open_as_told(impatient());
  open_slave();
  const std::string large(kLargest, 'x');
  write_texts(slave(), "s", 0, 2);
  ASSERT_EQ(write_text(slave(), large), ESHM_SUCCESS);
  write_texts(slave(), "s", 3, 5);
  first.stop();
  Child second = open_as_told(impatient(kCapacity, kLargest / 2));
  wait_for_moves(1);
  EXPECT_EQ(write_text(slave(), large), ESHM_ERROR_BUFFER_TOO_SMALL);
  expect_texts_at(second, "s", 0, 5);
  expect_nothing_at(second);
  first.go_on();
  leave(first);
  leave(second);
}

TEST_P(QueueMoves, WhatIsCompleteBehindAnOpenLoanComesAlong) {
  Child first = open_as_told(impatient());
  open_slave();
  write_texts(slave(), "s", 0, 0);
  void* loan = nullptr;
  ASSERT_EQ(eshm_loan(slave(), 8, &loan), ESHM_SUCCESS);
  write_texts(slave(), "s", 1, 3);
  first.stop();
  Child second = open_as_told(impatient());
  wait_for_moves(1);
  write_texts(slave(), "s", 4, 5);
  expect_texts_at(second, "s", 0, 5);
  std::memcpy(loan, "late", 4);
  EXPECT_EQ(eshm_publish(slave(), loan, 4), ESHM_ERROR_SUPERSEDED);
  EXPECT_EQ(eshm_publish(slave(), loan, 4), ESHM_ERROR_INVALID_PARAM);
  expect_nothing_at(second);
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(slave(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.messages_written, 6u);
  first.go_on();
  leave(first);
  leave(second);
}

TEST_P(QueueMoves, BorrowedMessageOutlivesTheMove) {
  Child first = open_as_told(impatient());
  open_slave();
  tell_texts(first, "m", 0, 9);
  ESHMView view = {};
  ASSERT_EQ(eshm_borrow(slave(), &view, 1000), ESHM_SUCCESS) << last_error();
  first.stop();
  Child second = open_as_told(impatient());
  wait_for_moves(1);
  tell_texts(second, "n", 0, 1);
  expect_texts(slave(), "m", 1, 9);
  expect_texts(slave(), "n", 0, 1);
  pause_ms(30);
  EXPECT_EQ(std::string(static_cast<const char*>(view.data), view.size), "m0");
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_ERROR_INVALID_PARAM);
  first.go_on();
  leave(first);
  leave(second);
}

TEST_P(QueueMoves, WriterThatWaitsForRoomGoesOnInTheNewSegment) {
  Child first = open_as_told(impatient());
  open_slave();
  const int held = fill(slave(), "s");
  std::thread writer([&] {
    const std::string text = numbered("s", held);
    EXPECT_EQ(eshm_write_ex(slave(), text.data(), text.size(), UINT32_MAX), ESHM_SUCCESS);
  });
  pause_ms(10);
  first.stop();
  Child second = open_as_told(impatient(2 * kCapacity));
  writer.join();
  expect_texts_at(second, "s", 0, held);
  expect_nothing_at(second);
  first.go_on();
  leave(first);
  leave(second);
}

// Nothing to write, nobody waiting: the rest must come over all the same.
TEST_P(QueueMoves, RestIsCarriedOverWithoutACallOfTheSlave) {
  Child first = open_as_told(impatient());
  open_slave();
  const int held = fill(slave(), "s");
  first.stop();
  Child second = open_as_told(impatient(kSmall));
  expect_texts_at(second, "s", 0, held - 1);
  expect_nothing_at(second);
  first.go_on();
  leave(first);
  leave(second);
}

// ---- a master ends cleanly and comes again ---------------------------------------------

TEST_P(QueueMoves, MasterEndedAndStartedAgainWithBothHalfFull) {
  for (const bool removes_its_name : {true, false}) {
    ESHMConfig as_master = queues(ESHM_ROLE_MASTER);
    as_master.auto_cleanup = removes_its_name;
    master_ = open_link(as_master);
    ASSERT_TRUE(master_) << last_error();
    open_slave();
    for (int round = 0; round < 2; ++round) {  // the second one with two to read dry
      write_texts(master(), numbered("m", round), 0, 19);
      write_texts(slave(), "s", 100 * round, 100 * round + 29);
      master_.reset();
      write_texts(slave(), "s", 100 * round + 30, 100 * round + 34);
      master_ = open_link(as_master);
      ASSERT_TRUE(master_) << last_error();
      wait_for_moves(uint32_t(round) + 1);
      // What was read is not shown again: it was a clean end.
      if (round == 0) expect_texts(master(), "s", 0, 9);
    }
    expect_texts(master(), "s", 10, 34);
    expect_texts(master(), "s", 100, 134);
    expect_nothing(master());
    for (int round = 0; round < 2; ++round) expect_texts(slave(), numbered("m", round), 0, 19);
    expect_nothing(slave());
    slave_.reset();
    master_.reset();
    remove_name_of_the_killed();
  }
}

TEST_P(QueueMoves, CleanEndsShowNothingTwice) {
  const Link master = open_link(queues(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (int round = 0; round < 10; ++round) {
    write_texts(master.get(), "m", 2 * round, 2 * round + 1);
    open_slave();
    expect_texts(slave(), "m", 2 * round, 2 * round + 1);
    slave_.reset();
  }
}

// ---- dead ones --------------------------------------------------------------------------

TEST_P(QueueMoves, DeadMastersSuccessorGetsWhatWasWrittenMeanwhile) {
  for (const bool of_another_size : {false, true}) {
    Child first = open_as_told(queues(ESHM_ROLE_MASTER));
    open_slave();
    tell_texts(first, "m", 0, 19);
    expect_texts(slave(), "m", 0, 4);
    write_texts(slave(), "s", 0, 19);
    expect_texts_at(first, "s", 0, 4);
    first.kill_now();
    wait_for_state(slave(), ESHM_PEER_DEAD);
    write_texts(slave(), "s", 20, 29);
    const int held = fill(slave(), "s", 30);
    EXPECT_EQ(eshm_write_ex(slave(), "no room", 7, 30), ESHM_ERROR_TIMEOUT);
    Child second =
        open_as_told(queues(ESHM_ROLE_MASTER, of_another_size ? 2 * kCapacity : kCapacity));
    wait_for_moves(1);
    tell_texts(second, "n", 0, 4);
    expect_texts_once_or_the_first_twice(second, "s", 4, held - 1);
    expect_texts(slave(), "m", 5, 19);
    expect_texts(slave(), "n", 0, 4);
    expect_nothing(slave());
    slave_.reset();
    leave(second);
  }
}

TEST_P(QueueMoves, KilledSlavesSuccessorGoesOnWhereItWas) {
  master_ = open_link(queues(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master_) << last_error();
  Child first = open_as_told(for_ever(queues(ESHM_ROLE_SLAVE)));
  write_texts(master(), "m", 0, 19);
  expect_texts_at(first, "m", 0, 4);
  tell_texts(first, "s", 0, 9);
  wait_for_state(master(), ESHM_PEER_ALIVE);
  first.kill_now();
  wait_for_state(master(), ESHM_PEER_DEAD);
  write_texts(master(), "m", 20, 29);
  Child second = open_as_told(for_ever(queues(ESHM_ROLE_SLAVE)));
  tell_texts(second, "s", 10, 19);
  expect_texts_once_or_the_first_twice(second, "m", 4, 29);
  expect_texts(master(), "s", 0, 19);
  expect_nothing(master());
  leave(second);
}

TEST_P(QueueMoves, UnreadOfAFormerSegmentWaitsForALargerBufferAndForAFreeBorrow) {
  Child first = open_as_told(impatient());
  open_slave();
  tell_texts(first, "m", 0, 9);
  first.stop();
  Child second = open_as_told(impatient());
  wait_for_moves(1);
  ESHMHandle* const handles[] = {slave()};
  EXPECT_EQ(eshm_wait_any(handles, 1, 0), 0);
  char byte;
  size_t size = 0;
  EXPECT_EQ(eshm_read_ex(slave(), &byte, 1, &size, 0), ESHM_ERROR_BUFFER_TOO_SMALL);
  ESHMView views[5] = {};
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(eshm_borrow(slave(), &views[i], 0), ESHM_SUCCESS) << last_error();
  }
  EXPECT_EQ(eshm_borrow(slave(), &views[4], 0), ESHM_ERROR_BUFFER_FULL);
  void* loan = nullptr;
  ASSERT_EQ(eshm_loan(slave(), 1, &loan), ESHM_SUCCESS);
  EXPECT_EQ(eshm_discard(slave(), loan), ESHM_SUCCESS);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(std::string(static_cast<const char*>(views[i].data), views[i].size), numbered("m", i));
    EXPECT_EQ(eshm_release(slave(), &views[i]), ESHM_SUCCESS) << last_error();
  }
  tell_texts(second, "n", 0, 4);
  expect_texts(slave(), "m", 4, 9);
  expect_texts(slave(), "n", 0, 4);
  expect_nothing(slave());
  first.go_on();
  leave(first);
  leave(second);
}

// ---- policies -----------------------------------------------------------------------------

TEST_P(QueueMoves, UnreadComesBeforeThePolicysAnswer) {
  for (const ESHMDisconnectBehavior behavior :
       {ESHM_DISCONNECT_IMMEDIATELY, ESHM_DISCONNECT_ON_TIMEOUT, ESHM_DISCONNECT_NEVER}) {
    Child master = open_as_told(queues(ESHM_ROLE_MASTER));
    ESHMConfig as_slave = queues(ESHM_ROLE_SLAVE);
    as_slave.disconnect_behavior = behavior;
    as_slave.reconnect_retry_interval_ms = 20;
    as_slave.reconnect_wait_ms = 150;
    slave_ = open_link(as_slave);
    ASSERT_TRUE(slave_) << last_error();
    tell_texts(master, "m", 0, 9);
    master.kill_now();
    wait_for_state(slave(), ESHM_PEER_DEAD);
    expect_texts(slave(), "m", 0, 4);
    if (behavior == ESHM_DISCONNECT_NEVER) {
      expect_texts(slave(), "m", 5, 9);
      expect_nothing(slave());
      EXPECT_EQ(read_text(slave(), 200), error(ESHM_ERROR_TIMEOUT));
      EXPECT_EQ(write_text(slave(), "accepted"), ESHM_SUCCESS);
    } else {
      wait_until([&] { return write_text(slave(), "x") == ESHM_ERROR_MASTER_STALE; });
      pause_ms(30);  // it leaves its seat
      expect_texts(slave(), "m", 5, 9);
      for (const uint32_t timeout_ms : {0u, 50u}) {
        EXPECT_EQ(read_text(slave(), timeout_ms), error(ESHM_ERROR_MASTER_STALE));
        EXPECT_EQ(eshm_write_ex(slave(), "x", 1, timeout_ms), ESHM_ERROR_MASTER_STALE);
      }
    }
    slave_.reset();
  }
}

TEST_P(QueueMoves, WriterThatWaitsForRoomLearnsThatNoMasterCame) {
  Child master = open_as_told(queues(ESHM_ROLE_MASTER));
  ESHMConfig as_slave = queues(ESHM_ROLE_SLAVE);
  as_slave.reconnect_wait_ms = 100;
  slave_ = open_link(as_slave);
  ASSERT_TRUE(slave_) << last_error();
  fill(slave(), "s");
  std::thread writer(
      [&] { EXPECT_EQ(eshm_write_ex(slave(), "x", 1, UINT32_MAX), ESHM_ERROR_MASTER_STALE); });
  pause_ms(10);
  master.kill_now();
  writer.join();
}

// Also when its successor was there before the slave had gone.
TEST_P(QueueMoves, SlaveThatGivesUpAtOnceIsShownWhatAReplacedMasterHadWritten) {
  Child first = open_as_told(impatient());
  ESHMConfig as_slave = queues(ESHM_ROLE_SLAVE);
  as_slave.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  slave_ = open_link(as_slave);
  ASSERT_TRUE(slave_) << last_error();
  tell_texts(first, "m", 0, 9);
  first.stop();
  Child second = open_as_told(impatient());
  wait_until([&] { return write_text(slave(), "x") == ESHM_ERROR_MASTER_STALE; });
  pause_ms(30);
  first.go_on();
  EXPECT_EQ(ask(first, "write old"), std::to_string(ESHM_ERROR_SUPERSEDED));
  expect_texts(slave(), "m", 0, 9);
  EXPECT_EQ(read_text(slave(), 0), error(ESHM_ERROR_MASTER_STALE));
  leave(first);
  leave(second);
}

TEST_P(QueueMoves, UnreadOfEachSegmentComesBeforeTheAnswerThatNoMasterCame) {
  Child first = open_as_told(impatient());
  ESHMConfig as_slave = queues(ESHM_ROLE_SLAVE);
  as_slave.max_reconnect_attempts = 0;
  as_slave.reconnect_wait_ms = 1500;
  slave_ = open_link(as_slave);
  ASSERT_TRUE(slave_) << last_error();
  tell_texts(first, "m", 0, 9);
  first.stop();
  Child second = open_as_told(impatient());
  wait_for_moves(1);
  tell_texts(second, "n", 0, 4);
  second.kill_now();
  wait_until([&] { return write_text(slave(), "x") == ESHM_ERROR_MASTER_STALE; });
  pause_ms(30);
  expect_texts(slave(), "m", 0, 9);
  expect_texts(slave(), "n", 0, 4);
  EXPECT_EQ(read_text(slave(), 0), error(ESHM_ERROR_MASTER_STALE));
  first.go_on();
  leave(first);
}

ESHM_ON_BOTH_BACKENDS(QueueMoves);

}  // namespace
