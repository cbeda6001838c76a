// SPDX-License-Identifier: MIT
// The unread messages of a queue outlive the processes that wrote them and those that were
// to read them, as long as the link's name is there.
#include <time.h>
#include <unistd.h>

#include "support/log_lines.h"
#include "support/outliving.h"

namespace {

using namespace test;


class OutlivingBoth : public Outliving {};  // needs memory that no process keeps

TEST_P(OutlivingBoth, MessagesOfProducersThatCameAndWentAreReadInOrder) {
  produce(kept(ESHM_ROLE_MASTER), "m", 0, 49, true);
  const uint64_t before = inode();
  produce(kept(ESHM_ROLE_MASTER), "m", 50, 99, false);
  Lines lines;
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  EXPECT_EQ(inode(), before) << "nothing is copied where the shape is the same";
  write_texts(master(), "m", 100, 110);
  expect_texts(slave(), "m", 0, 110);
  expect_nothing(slave());
  lines.wait_for("100 unread messages of m2s are carried over", ESHM_LOG_INFO);
}

TEST_P(OutlivingBoth, MessagesOfSlavesThatCameAndWentAreReadInOrder) {
  {
    Child master = obeying(kept(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    produce(kept(ESHM_ROLE_SLAVE), "s", 0, 49, true);
    master.kill_now();
  }
  {
    Child master = obeying(kept(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    for (int i = 0; i < 10; ++i) ASSERT_EQ(ask(master, "read"), numbered("s", i));
    produce(kept(ESHM_ROLE_SLAVE), "s", 50, 99, false);
    leave(master);
  }
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  expect_texts(master(), "s", 10, 99);
  expect_nothing(master());
}

TEST_P(OutlivingBoth, MessageInHandComesAgainWithTheSameNumber) {
  produce(kept(ESHM_ROLE_MASTER), "m", 0, 9, true);
  {
    master_ = open_link(kept(ESHM_ROLE_MASTER));
    Child slave([&](Wire& wire) {
      const Link link = open_link(kept(ESHM_ROLE_SLAVE));
      CHILD_CHECK(link != nullptr);
      for (int i = 1; i < 4; ++i) CHILD_CHECK(sequence_of_next(link.get()) == uint64_t(i));
      wire.say("read");
      wire.hear();
      return 0;
    });
    ASSERT_EQ(slave.hear(), "read");
    slave.kill_now();
    master_.reset();
  }
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  for (uint64_t i = 3; i <= 10; ++i) EXPECT_EQ(sequence_of_next(slave()), i);
  expect_nothing(slave());
}

TEST_P(OutlivingBoth, NumbersGoOnThoughNothingIsUnread) {
  {
    open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
    write_texts(master(), "m", 1, 5);
    expect_texts(slave(), "m", 1, 5);
    slave_.reset();
    master_.reset();
  }
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  write_texts(master(), "m", 6, 6);
  EXPECT_EQ(sequence_of_next(slave()), 6u);
}

TEST_P(OutlivingBoth, NobodyIsToldOfTheProcessesThatWereThereBefore) {
  {
    open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
    write_texts(master(), "m", 1, 5);
    slave_.reset();
    master_.reset();
  }
  master_ = open_link(kept(ESHM_ROLE_MASTER));
  EventLog events;
  events.listen_to(master());
  pause_ms(50);
  EXPECT_EQ(remote_state(master()), ESHM_PEER_NEVER_SEEN);
  EXPECT_TRUE(events.all().empty());
  slave_ = open_link(kept(ESHM_ROLE_SLAVE));
  events.wait_for(ESHM_EVENT_CONNECTED);
  EXPECT_EQ(events.count_of(ESHM_EVENT_DEAD) + events.count_of(ESHM_EVENT_LEFT), 0u);
}

TEST_P(OutlivingBoth, ValueOfADeadProcessIsNotNewBesideAQueue) {
  ESHMConfig as_master = kept(ESHM_ROLE_MASTER);
  as_master.s2m.delivery = ESHM_DELIVERY_LATEST;
  ESHMConfig as_slave = as_master;
  as_slave.role = ESHM_ROLE_SLAVE;
  for (const bool queue_is_m2s : {true, false}) {
    if (!queue_is_m2s) {
      as_master.m2s.delivery = as_slave.m2s.delivery = ESHM_DELIVERY_LATEST;
      as_master.s2m.delivery = as_slave.s2m.delivery = ESHM_DELIVERY_QUEUE;
      unlink(path().c_str());
    }
    {
      Child master = obeying(as_master);
      ASSERT_EQ(master.hear(), "open");
      Child slave = obeying(as_slave);
      ASSERT_EQ(slave.hear(), "open");
      ASSERT_EQ(ask(master, "write old m"), "0");
      ASSERT_EQ(ask(slave, "write old s"), "0");
      master.kill_now();
      slave.kill_now();
    }
    open(as_master, as_slave);
    ESHMHandle* const reads_queue = queue_is_m2s ? slave() : master();
    ESHMHandle* const reads_value = queue_is_m2s ? master() : slave();
    EXPECT_EQ(read_text(reads_queue, 0), queue_is_m2s ? "old m" : "old s");
    expect_nothing(reads_value);
    EXPECT_EQ(write_text(queue_is_m2s ? slave() : master(), "new"), ESHM_SUCCESS);
    EXPECT_EQ(read_text(reads_value, kPatientMs), "new");
    slave_.reset();
    slave_ = open_link(as_slave);  // nor for the next one
    ASSERT_TRUE(slave_) << last_error();
    if (queue_is_m2s) expect_nothing(master());
    slave_.reset();
    master_.reset();
  }
}

// ---- another shape ---------------------------------------------------------------------

TEST_P(OutlivingBoth, MessagesAreCarriedToASegmentOfAnotherShape) {
  ESHMConfig stamped = kept(ESHM_ROLE_MASTER);
  stamped.flags = ESHM_FLAG_TIMESTAMPS;
  uint64_t began_ns = 0;
  {
    Child producer = obeying(stamped);
    ASSERT_EQ(producer.hear(), "open");
    ASSERT_EQ(ask(producer, "write short"), "0");
    ASSERT_EQ(ask(producer, "write " + std::string(kLargest, 'l')), "0");
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    began_ns = uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec);
    producer.kill_now();
  }
  const uint64_t before = inode();
  ESHMConfig wide = wider(ESHM_ROLE_MASTER);
  wide.flags = ESHM_FLAG_TIMESTAMPS;
  ESHMConfig wide_slave = wider(ESHM_ROLE_SLAVE);
  open(wide, wide_slave);
  EXPECT_NE(inode(), before);
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(master(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.messages_written, 0u) << "what is carried over was written by another process";
  for (const std::string& text : {std::string("short"), std::string(kLargest, 'l')}) {
    char buffer[kLargest];
    ESHMMessageInfo info = {};
    ASSERT_EQ(eshm_read_msg(slave(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS);
    EXPECT_EQ(std::string(buffer, info.size), text);
    EXPECT_EQ(info.sequence, text == "short" ? 1u : 2u);
    EXPECT_GT(info.timestamp_ns, 0u);
    EXPECT_LT(info.timestamp_ns, began_ns) << "its time is that of its publication";
  }
  ASSERT_EQ(write_text(master(), "new"), ESHM_SUCCESS);
  EXPECT_EQ(sequence_of_next(slave()), 3u);
}

TEST_P(OutlivingBoth, WhatDoesNotFitIsKeptAndInitSaysSo) {
  produce(kept(ESHM_ROLE_MASTER), "m", 0, 9, true);
  ESHMConfig narrow = kept(ESHM_ROLE_MASTER);
  narrow.m2s.max_message_size = 1;
  EXPECT_FALSE(open_link(narrow));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_SHM_CREATE);
  EXPECT_NE(last_error().find("10 of 10 unread messages (20 bytes) of the former m2s queue do not "
                              "fit"),
            std::string::npos)
      << last_error();
  EXPECT_NE(last_error().find("unread_policy"), std::string::npos);
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  expect_texts(slave(), "m", 0, 9);
}

TEST_P(OutlivingBoth, WhatDoesNotFitIsDroppedWhereThatIsAskedForAndTheLogCounts) {
  produce(kept(ESHM_ROLE_MASTER), "m", 8, 11, true);  // "m10" is longer than "m9"
  ESHMConfig narrow = kept(ESHM_ROLE_MASTER);
  narrow.m2s.max_message_size = 2;
  narrow.unread_policy = ESHM_UNREAD_DROP;
  ESHMConfig as_slave = narrow;
  as_slave.role = ESHM_ROLE_SLAVE;
  Lines lines;
  open(narrow, as_slave);
  expect_texts(slave(), "m", 8, 9);
  expect_nothing(slave());
  lines.wait_for("2 unread messages of m2s are carried over, 2 dropped", ESHM_LOG_WARNING);
  ASSERT_EQ(write_text(master(), "on"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave(), 0), "on");
}

TEST_P(OutlivingBoth, MessagesOfAnotherTypeOrForNoQueueDoNotFit) {
  ESHMConfig typed = kept(ESHM_ROLE_MASTER);
  typed.m2s.type = {nullptr, 1};
  produce(typed, "m", 0, 0, true);
  ESHMConfig other = typed;
  other.m2s.type = {nullptr, 2};
  EXPECT_FALSE(open_link(other));
  EXPECT_NE(last_error().find("1 of 1 unread messages"), std::string::npos) << last_error();
  ESHMConfig latest = typed;
  latest.m2s.delivery = ESHM_DELIVERY_LATEST;
  EXPECT_FALSE(open_link(latest));
  EXPECT_NE(last_error().find("1 of 1 unread messages"), std::string::npos) << last_error();
  latest.unread_policy = ESHM_UNREAD_DROP;
  EXPECT_TRUE(open_link(latest)) << last_error();
}

// Where both ends died, all that is complete behind a loan counts, the loan does not.
TEST_P(OutlivingBoth, MessagesBehindALoanOfADeadProducerAreRead) {
  for (const bool is_wider : {false, true}) {
    Child producer([&](Wire& wire) {
      const Link link = open_link(kept(ESHM_ROLE_MASTER));
      CHILD_CHECK(link != nullptr && write_text(link.get(), "m1") == ESHM_SUCCESS);
      void* loan = nullptr;
      CHILD_CHECK(eshm_loan(link.get(), 8, &loan) == ESHM_SUCCESS);
      CHILD_CHECK(write_text(link.get(), "m2") == ESHM_SUCCESS);
      wire.say("done");
      wire.hear();
      return 0;
    });
    ASSERT_EQ(producer.hear(), "done");
    producer.kill_now();
    const auto shape = [&](ESHMRole role) { return is_wider ? wider(role) : kept(role); };
    open(shape(ESHM_ROLE_MASTER), shape(ESHM_ROLE_SLAVE));
    expect_texts(slave(), "m", 1, 2);
    expect_nothing(slave());
    slave_.reset();
    master_.reset();
    unlink(path().c_str());
  }
}

TEST_P(OutlivingBoth, CorruptQueueIsNotInheritedForEver) {
  produce(kept(ESHM_ROLE_MASTER), "m", 0, 9, true);
  const int fd = ::open(path().c_str(), O_RDWR | O_CLOEXEC);
  const uint64_t nonsense = 12345;
  ASSERT_EQ(pwrite(fd, &nonsense, sizeof nonsense, 0x408), ssize_t(sizeof nonsense));
  close(fd);
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  ASSERT_EQ(write_text(master(), "m"), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(read_text(slave(), kPatientMs), "m");
}

// ---- one end lives ---------------------------------------------------------------------

TEST_P(Outliving, MessagesForASlaveThatDiesAfterItsMasterWasReplacedAreReadByTheNext) {
  ESHMConfig quick = kept(ESHM_ROLE_MASTER);
  quick.stale_threshold_ms = kHungMs;
  Child hung = obeying(quick);
  ASSERT_EQ(hung.hear(), "open");
  Child reader = obeying(kept(ESHM_ROLE_SLAVE));
  ASSERT_EQ(reader.hear(), "open");
  for (int i = 0; i < 10; ++i) ASSERT_EQ(ask(hung, "write " + numbered("m", i)), "0");
  for (int i = 0; i < 4; ++i) ASSERT_EQ(ask(reader, "read"), numbered("m", i));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(ask(reader, "write " + numbered("s", i)), "0");
  reader.stop();
  hung.stop();
  master_ = open_link(quick);  // replaces it
  ASSERT_TRUE(master_) << last_error();
  write_texts(master(), "m", 10, 12);
  expect_texts(master(), "s", 0, 9);
  reader.kill_now();
  slave_ = open_link(kept(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave_) << last_error();
  expect_texts(slave(), "m", 3, 12);
  expect_nothing(slave());
  expect_nothing(master());
  hung.kill_now();
}

TEST_P(Outliving, NothingComesTwiceToASlaveThatComesOverFromAReplacedMaster) {
  ESHMConfig quick = kept(ESHM_ROLE_MASTER);
  quick.stale_threshold_ms = kHungMs;
  Child hung = obeying(quick);
  ASSERT_EQ(hung.hear(), "open");
  Child reader = obeying(kept(ESHM_ROLE_SLAVE));
  ASSERT_EQ(reader.hear(), "open");
  for (int i = 0; i < 10; ++i) ASSERT_EQ(ask(hung, "write " + numbered("m", i)), "0");
  for (int i = 0; i < 4; ++i) ASSERT_EQ(ask(reader, "read"), numbered("m", i));
  for (int i = 0; i < 10; ++i) ASSERT_EQ(ask(reader, "write " + numbered("s", i)), "0");
  hung.stop();
  master_ = open_link(quick);
  ASSERT_TRUE(master_) << last_error();
  write_texts(master(), "m", 10, 12);
  expect_texts(master(), "s", 0, 9);
  for (int i = 4; i <= 12; ++i) ASSERT_EQ(ask(reader, "wait"), numbered("m", i));
  ASSERT_EQ(ask(reader, "read"), error(ESHM_ERROR_NO_DATA));
  ASSERT_EQ(ask(reader, "write s10"), "0");
  expect_texts(master(), "s", 10, 10);
  expect_nothing(master());
  leave(reader);
  hung.kill_now();
}

// The former master's messages lie in a segment that only the slave has: the next slave
// finds them in the one that has the name.
TEST_P(Outliving, MessagesThatAnEndingSlaveHadNotReadAreReadByTheNext) {
  for (const bool is_killed : {false, true}) {
    Child first = obeying(kept(ESHM_ROLE_MASTER));
    ASSERT_EQ(first.hear(), "open");
    Child reader = obeying(kept(ESHM_ROLE_SLAVE));
    ASSERT_EQ(reader.hear(), "open");
    for (int i = 0; i < 10; ++i) ASSERT_EQ(ask(first, "write " + numbered("m", i)), "0");
    first.kill_now();
    master_ = open_link(wider(ESHM_ROLE_MASTER));  // another shape, so another segment
    ASSERT_TRUE(master_) << last_error();
    for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(reader, "wait"), numbered("m", i));
    wait_for_state(master(), ESHM_PEER_ALIVE);
    ASSERT_EQ(ask(reader, "wait"), "m3");
    if (is_killed) {
      reader.kill_now();
    } else {
      leave(reader);
    }
    slave_ = open_link(wider(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave_) << last_error();
    expect_texts(slave(), "m", is_killed ? 3 : 4, 9);
    expect_nothing(slave());
    slave_.reset();
    master_.reset();
    unlink(path().c_str());
  }
}

TEST_P(Outliving, LastOneOutRemovesTheNameOfALinkWithAQueue) {
  ESHMConfig tidy = kept(ESHM_ROLE_MASTER);
  tidy.auto_cleanup = true;
  for (const bool master_goes_first : {true, false}) {
    open(tidy, kept(ESHM_ROLE_SLAVE));
    write_texts(master(), "m", 1, 5);
    (master_goes_first ? master_ : slave_).reset();
    EXPECT_NE(inode(), 0u);
    (master_goes_first ? slave_ : master_).reset();
    EXPECT_EQ(inode(), 0u);
  }
}

TEST_P(Outliving, TwoThatLeaveAtOnceLeaveNoName) {
  ESHMConfig tidy = kept(ESHM_ROLE_MASTER);
  tidy.auto_cleanup = true;
  ESHMConfig tidy_slave = tidy;
  tidy_slave.role = ESHM_ROLE_SLAVE;
  Child master([&](Wire& wire) {
    while (wire.hear() == "open") {
      Link link = open_link(tidy);
      wire.say(outcome(link));
      wire.hear();
      link.reset();
      wire.say("left");
    }
    return 0;
  });
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(ask(master, "open"), "open");
    slave_ = open_link(tidy_slave);
    ASSERT_TRUE(slave_) << last_error();
    master.say("leave");
    slave_.reset();
    ASSERT_EQ(master.hear(), "left");
    ASSERT_EQ(inode(), 0u) << "round " << i;
  }
  leave(master);
}

TEST_P(Outliving, MasterThatLeavesKeepsWhatIsUnreadForItsSlaveAndTheNextMaster) {
  ESHMConfig tidy = kept(ESHM_ROLE_MASTER);
  tidy.auto_cleanup = true;
  open(tidy, kept(ESHM_ROLE_SLAVE));
  write_texts(master(), "m", 1, 5);
  write_texts(slave(), "s", 1, 5);
  master_.reset();
  slave_.reset();
  // The slave was the last one out, and ended cleanly.
  EXPECT_EQ(inode(), 0u);
  open(tidy, kept(ESHM_ROLE_SLAVE));
  write_texts(master(), "m", 1, 5);
  write_texts(slave(), "s", 1, 5);
  master_.reset();
  master_ = open_link(tidy);
  ASSERT_TRUE(master_) << last_error();
  expect_texts(master(), "s", 1, 5);
  write_texts(master(), "m", 6, 6);
  expect_texts(slave(), "m", 1, 6);
  expect_nothing(slave());
}

// ---- what a full queue says ------------------------------------------------------------

TEST_P(Outliving, FullQueueTellsWhatIsUnreadAndWhenOneWasTaken) {
  ESHMConfig small = kept(ESHM_ROLE_MASTER);
  small.m2s.queue_capacity = small.m2s.max_message_size = 64;
  small.m2s.max_borrows = 0;
  ESHMConfig as_slave = small;
  as_slave.role = ESHM_ROLE_SLAVE;
  open(small, as_slave);
  const int written = fill(master(), std::string(60, 'm'));
  const std::string unread = std::to_string(written);
  EXPECT_NE(last_error().find("it holds " + unread + " unread messages ("), std::string::npos)
      << last_error();
  EXPECT_NE(last_error().find("no reader has taken one"), std::string::npos) << last_error();
  char buffer[64];
  ASSERT_EQ(eshm_read_ex(slave(), buffer, sizeof buffer, nullptr, 0), ESHM_SUCCESS);
  const std::string told = "the reader last took one ";
  wait_until([&] {
    fill(master(), std::string(60, 'm'));
    return last_error().find(told) != std::string::npos;
  });
  EXPECT_NE(last_error().find("1 in the reader's hands"), std::string::npos) << last_error();
  pause_ms(300);
  EXPECT_EQ(eshm_write_ex(master(), buffer, 60, 20), ESHM_ERROR_TIMEOUT);
  const std::string text = last_error();
  const size_t at = text.find(told);
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_GE(std::stoi(text.substr(at + told.size())), 300) << text;
}

ESHM_ON_BOTH_BACKENDS(Outliving);
ESHM_ON_BACKEND_ALONE(OutlivingBoth, ESHM_BACKEND_POSIX);

}  // namespace
