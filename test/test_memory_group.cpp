// SPDX-License-Identifier: MIT
// The kernel ends a process whose control group has no memory left: for the
// other one that is a kill like any other.
#include <sys/mman.h>

#include <csignal>

#include "support/memory_group.h"
#include "support/player.h"

namespace {

using namespace test;

constexpr uint64_t kMegabyte = 1 << 20;
constexpr uint64_t kLimit = 16 * kMegabyte;
constexpr int kOomKilled = 128 + SIGKILL;

class OutOfGroupMemory : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    if (!group_.is_ready()) GTEST_SKIP() << group_.why_not();
  }

  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
  static void exhaust_memory() {
    for (;;) {
      void* const more = mmap(nullptr, kMegabyte, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
      if (more == MAP_FAILED) continue;
      for (uint64_t at = 0; at < kMegabyte; at += 4096) static_cast<volatile char*>(more)[at] = 1;
    }
  }
  // Talks, and exhausts its group's memory when it is told to go on.
  Child greedy(ESHMRole role) const {
    return Child([this, role](Wire& wire) {
      CHILD_CHECK(group_.enter());
      const Link link = open_link(patient(role));
      wire.say(outcome(link));
      CHILD_CHECK(write_text(link.get(), "last words") == ESHM_SUCCESS);
      wire.say("written");
      wire.hear();
      exhaust_memory();
      return 0;
    });
  }

  MemoryGroup group_{kLimit};
};

TEST_P(OutOfGroupMemory, EndOfTheMasterIsDeathAndTheNextOneAdopts) {
  Child master = greedy(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(master.hear(), "written");
  master.say("exhaust");
  EXPECT_EQ(master.join(), kOomKilled);
  wait_for_state(slave.get(), ESHM_PEER_DEAD);
  EXPECT_EQ(read_text(slave.get(), 0), "last words");
  const Link next = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(next) << last_error();
  ASSERT_EQ(write_text(next.get(), "next"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "next");
}

TEST_P(OutOfGroupMemory, EndOfTheSlaveIsDeathAndItsSeatIsFree) {
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  Child slave = greedy(ESHM_ROLE_SLAVE);
  ASSERT_EQ(slave.hear(), "open");
  ASSERT_EQ(slave.hear(), "written");
  slave.say("exhaust");
  EXPECT_EQ(slave.join(), kOomKilled);
  wait_for_state(master.get(), ESHM_PEER_DEAD);
  EXPECT_EQ(read_text(master.get(), 0), "last words");
  const Link next = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(next) << last_error();
  ASSERT_EQ(write_text(next.get(), "next"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(master.get(), UINT32_MAX), "next");
}

// The segment alone is more than its maker's group may have.
TEST_P(OutOfGroupMemory, SegmentLargerThanTheLimitIsRefusedAndTheNameWorks) {
  Child maker([this](Wire&) {
    CHILD_CHECK(group_.enter());
    ESHMConfig large = config(ESHM_ROLE_MASTER);
    large.m2s.max_message_size = large.s2m.max_message_size = 2 * kLimit;
    CHILD_CHECK(!open_link(large));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    return 0;
  });
  EXPECT_EQ(maker.join(), 0);
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "works"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "works");
}

ESHM_ON_BOTH_BACKENDS(OutOfGroupMemory);

}  // namespace
