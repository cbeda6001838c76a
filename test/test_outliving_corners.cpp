// SPDX-License-Identifier: MIT
// What is unread outlives also a full queue, a corrupt one, a slave that stands still for
// long, and ends that leave while the link is renewed.
#include <thread>

#include "support/outliving.h"

namespace {

using namespace test;

class OutlivingCorners : public Outliving {
 protected:
  ESHMConfig quick(ESHMRole role = ESHM_ROLE_MASTER) const {
    ESHMConfig config = kept(role);
    config.stale_threshold_ms = kHungMs;
    return config;
  }
  Child open_child(const ESHMConfig& config) const {
    Child child = obeying(config);
    EXPECT_EQ(child.hear(), "open");
    return child;
  }
  static void tell(Child& child, const std::string& word, int from, int to) {
    for (int i = from; i <= to; ++i) ASSERT_EQ(ask(child, "write " + numbered(word, i)), "0");
  }
  static int tell_all(Child& child, const std::string& word) {
    int number = 0;
    while (ask(child, "write " + numbered(word, number)) == "0") ++number;
    return number;
  }
  // A word of the segment's file.
  void put(off_t at, uint64_t value) const {
    const int fd = ::open(path().c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, &value, sizeof value, at), ssize_t(sizeof value));
    close(fd);
  }
};

// Beside a slave that stands still, and alone.
TEST_P(OutlivingCorners, FullQueueOfAHungMasterFitsTheSameConfiguration) {
  for (const bool has_slave : {true, false}) {
    Child hung = open_child(quick());
    std::unique_ptr<Child> still;
    if (has_slave) {
      still = std::make_unique<Child>(open_child(kept(ESHM_ROLE_SLAVE)));
      still->stop();
    }
    const int written = tell_all(hung, "m");
    hung.stop();
    master_ = open_link(quick());
    ASSERT_TRUE(master_) << last_error();
    if (has_slave) still->kill_now();
    slave_ = open_link(kept(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave_) << last_error();
    expect_texts(slave(), "m", 0, written - 1);
    expect_nothing(slave());
    slave_.reset();
    master_.reset();
    hung.kill_now();
    unlink(path().c_str());
  }
}

// The copying of the other direction takes long: messages come behind the mark.
TEST_P(OutlivingCorners, WhatASlaveWritesWhileTheOtherQueueIsCarriedIsNotPassedOver) {
  ESHMConfig large = kept(ESHM_ROLE_MASTER);
  large.m2s.max_message_size = 65536;
  large.m2s.queue_capacity = 64 << 20;
  ESHMConfig as_slave = large;
  as_slave.role = ESHM_ROLE_SLAVE;
  Child first([&](Wire& wire) {
    const Link link = open_link(large);
    const std::string text(60000, 'x');
    for (int i = 0; i < 1000; ++i) CHILD_CHECK(write_text(link.get(), text) == ESHM_SUCCESS);
    wire.say("filled");
    wire.hear();
    return 0;
  });
  ASSERT_EQ(first.hear(), "filled");
  slave_ = open_link(as_slave);
  ASSERT_TRUE(slave_) << last_error();
  const int fd = ::open(path().c_str(), O_RDONLY | O_CLOEXEC);
  first.kill_now();
  large.m2s.queue_capacity += 4096;
  std::thread opener([&] { master_ = open_link(large); });
  uint32_t mark = 0;
  while (mark == 0) {
    ASSERT_EQ(pread(fd, &mark, sizeof mark, 0x140), ssize_t(sizeof mark));
  }
  close(fd);
  write_texts(slave(), "s", 0, 4);
  opener.join();
  ASSERT_TRUE(master_) << last_error();
  expect_texts(master(), "s", 0, 4);
  write_texts(slave(), "s", 5, 5);
  expect_texts(master(), "s", 5, 5);
}

// It reads on in the former segment, and dies there. (It stands still here, and the test
// moves its position.)
TEST_P(OutlivingCorners, WhatASlaveReadBeforeItDiedOnItsWayDoesNotComeAgain) {
  Child hung = open_child(quick());
  Child reader = open_child(kept(ESHM_ROLE_SLAVE));
  tell(hung, "m", 0, 9);
  const int former = ::open(path().c_str(), O_RDWR | O_CLOEXEC);
  hung.stop();
  reader.stop();
  master_ = open_link(quick());
  ASSERT_TRUE(master_) << last_error();
  const uint64_t position = 3 * 32;  // records of two bytes and a header
  ASSERT_EQ(pwrite(former, &position, sizeof position, 0x408), ssize_t(sizeof position));
  close(former);
  reader.kill_now();
  slave_ = open_link(kept(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave_) << last_error();
  expect_texts(slave(), "m", 3, 9);
  expect_nothing(slave());
  hung.kill_now();
}

TEST_P(OutlivingCorners, TwoThatLeaveDuringARenewalLeaveNoName) {
  ESHMConfig tidy = kept(ESHM_ROLE_MASTER);
  tidy.auto_cleanup = true;
  tidy.use_threads = false;
  ESHMConfig as_slave = tidy;
  as_slave.role = ESHM_ROLE_SLAVE;
  for (int round = 0; round < 40; ++round) {
    Child first([&](Wire& wire) {
      Link link = open_link(tidy);
      wire.say(outcome(link));
      while (wire.hear() == "look") wire.say(read_text(link.get(), 0));
      link.reset();
      wire.say("left");
      return 0;
    });
    ASSERT_EQ(first.hear(), "open");
    slave_ = open_link(as_slave);
    ASSERT_TRUE(slave_) << last_error();
    unlink(path().c_str());
    wait_until([&] {
      ask(first, "look");
      return inode() != 0;
    });
    for (int i = 0; i < round % 3; ++i) {
      read_text(slave(), 0);
      pause_ms(12);
    }
    first.say("leave");
    slave_.reset();
    ASSERT_EQ(first.hear(), "left");
    ASSERT_EQ(inode(), 0u) << "round " << round;
  }
}

class OutlivingCornersBoth : public OutlivingCorners {};  // needs memory that no process keeps

TEST_P(OutlivingCornersBoth, NameStaysForASlaveOnItsWayWhenTheReplacingMasterLeaves) {
  ESHMConfig tidy = quick();
  tidy.auto_cleanup = true;
  Child hung = open_child(tidy);
  Child reader = open_child(kept(ESHM_ROLE_SLAVE));
  tell(reader, "s", 0, 2);
  hung.stop();
  reader.stop();
  master_ = open_link(tidy);
  ASSERT_TRUE(master_) << last_error();
  expect_texts(master(), "s", 0, 2);
  write_texts(master(), "m", 0, 2);
  master_.reset();
  EXPECT_NE(inode(), 0u);
  reader.go_on();
  master_ = open_link(tidy);
  ASSERT_TRUE(master_) << last_error();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(reader, "wait"), numbered("m", i));
  tell(reader, "s", 3, 3);
  expect_texts(master(), "s", 3, 3);
  leave(reader);
  hung.kill_now();
}

TEST_P(OutlivingCornersBoth, QueueWhosePositionWentBackDoesNotHangTheNextMaster) {
  {
    open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
    for (int i = 0; i < 2000; ++i) {
      write_texts(master(), "m", i, i);
      expect_texts(slave(), "m", i, i);
    }
    slave_.reset();
    master_.reset();
  }
  put(0x408, 0);
  open(wider(ESHM_ROLE_MASTER), wider(ESHM_ROLE_SLAVE));
  ASSERT_EQ(write_text(master(), "new"), ESHM_SUCCESS) << last_error();
}

TEST_P(OutlivingCornersBoth, CorruptRecordIsNotInheritedForEver) {
  produce(kept(ESHM_ROLE_MASTER), "m", 0, 9, true);
  put(4096 + 128 + 32, UINT64_MAX);  // the second record's header
  open(kept(ESHM_ROLE_MASTER), kept(ESHM_ROLE_SLAVE));
  ASSERT_EQ(write_text(master(), "new"), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(read_text(slave(), kPatientMs), "new");
}

// Its slave stands still in the segment before the one that was renewed.
TEST_P(OutlivingCornersBoth, MessagesOfARenewedLinkOutliveItsMaster) {
  Child hung = open_child(quick());
  Child reader = open_child(kept(ESHM_ROLE_SLAVE));
  tell(hung, "m", 0, 2);
  hung.stop();
  reader.stop();
  Child second = open_child(quick());
  tell(second, "m", 3, 4);
  const uint64_t before = inode();
  unlink(path().c_str());
  wait_until([&] { return inode() != 0 && inode() != before; });
  tell(second, "m", 5, 6);
  second.kill_now();
  master_ = open_link(quick());
  ASSERT_TRUE(master_) << last_error();
  reader.kill_now();
  slave_ = open_link(kept(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave_) << last_error();
  expect_texts(slave(), "m", 0, 6);
  expect_nothing(slave());
  hung.kill_now();
}

ESHM_ON_BOTH_BACKENDS(OutlivingCorners);
ESHM_ON_BACKEND_ALONE(OutlivingCornersBoth, ESHM_BACKEND_POSIX);

}  // namespace
