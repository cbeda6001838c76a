// SPDX-License-Identifier: MIT
// The library's thread may be kept from running for long. Then calls show that the process
// lives, and do that thread's work.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "support/counts.h"
#include "support/held_thread.h"
#include "support/player.h"

namespace {

using namespace test;

// What an end that never stops calling shows of itself.
struct Progress {
  std::atomic<uint64_t> calls{0};
  std::atomic<int> write_code{ESHM_SUCCESS};  // of the last write
  std::atomic<int> read_number{-1};           // of the last message that was read
  std::atomic<int> gaps{0};                   // in the numbers that were read
  std::atomic<int> events{0};
  std::atomic<bool> shall_leave{false};
};

class LateService : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    void* const at = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(at, MAP_FAILED);
    progress_ = new (at) Progress;
  }
  void TearDown() override {
    munmap(progress_, sizeof(Progress));
    LinkTest::TearDown();
  }

  ESHMConfig lively(ESHMRole role, ESHMDelivery delivery = ESHM_DELIVERY_LATEST) const {
    ESHMConfig lively = for_ever(config(role));
    lively.stale_threshold_ms = 100;
    lively.m2s.delivery = lively.s2m.delivery = delivery;
    return lively;
  }

  // Writes and reads without a pause; counts the events that it hears of.
  Child caller(const ESHMConfig& config) const {
    Progress* const progress = progress_;
    return Child([config, progress](Wire& wire) {
      const Link link = open_link(config);
      wire.say(outcome(link));
      CHILD_CHECK(link);
      eshm_set_event_callback(
          link.get(), [](ESHMHandle*, ESHMEvent, void* to) { ++static_cast<Progress*>(to)->events; },
          progress);
      while (!progress->shall_leave) {
        const int number = int(progress->calls / 2);
        progress->write_code = eshm_write(link.get(), &number, sizeof number);
        int read = 0;
        if (eshm_read_ex(link.get(), &read, sizeof read, nullptr, 0) == ESHM_SUCCESS) {
          if (progress->read_number >= 0 && read != progress->read_number + 1) ++progress->gaps;
          progress->read_number = read;
        }
        progress->calls += 2;
      }
      return 0;
    });
  }

  void wait_for_calls(uint64_t count) const {
    const uint64_t wanted = progress_->calls + count;
    wait_until([&] { return progress_->calls >= wanted; });
  }
  void send(Child& child) {
    progress_->shall_leave = true;
    EXPECT_EQ(child.join(), 0);
  }
  // Whether the caller goes on; false: it sleeps for a lock whose holder has to give it
  // back first.
  bool goes_on(pid_t caller) const {
    const uint64_t before = progress_->calls;
    uint64_t asleep_since_ms = 0;
    for (;;) {
      const bool is_asleep = sleeps_for_a_holder(caller);
      if (progress_->calls != before) return true;
      const uint64_t now = now_ms();
      if (!is_asleep || asleep_since_ms == 0) asleep_since_ms = now;
      // Calls that lend the service thread their priority sleep for half a millisecond.
      if (is_asleep && now - asleep_since_ms > 10) return false;
      sched_yield();
    }
  }
  static int write_number(ESHMHandle* link, int number) {
    return eshm_write(link, &number, sizeof number);
  }

  Progress* progress_ = nullptr;
};

TEST_P(LateService, EndWhoseServiceThreadIsHeldIsAliveWhileItCalls) {
  for (const ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    progress_->shall_leave = false;
    Link link;
    if (role == ESHM_ROLE_SLAVE) link = open_link(lively(ESHM_ROLE_MASTER));
    Child end = caller(lively(role));
    ASSERT_EQ(end.hear(), "open");
    if (!link) link = open_link(lively(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(link) << last_error();
    wait_for_state(link.get(), ESHM_PEER_ALIVE);
    {
      const HeldThread held(end.pid(), "eshm");
      const uint64_t reports = stale_reports_of(link.get());
      pause_ms(500);
      EXPECT_EQ(remote_state(link.get()), ESHM_PEER_ALIVE);
      EXPECT_EQ(stale_reports_of(link.get()), reports);
      if (role == ESHM_ROLE_MASTER) {
        EXPECT_FALSE(open_link(lively(ESHM_ROLE_MASTER)));
        EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
      }
    }
    send(end);
  }
}

// An end that has lost its role goes on calling, with a message still borrowed: that is no
// sign of life of the role's holder.
TEST_P(LateService, CallsOfAFencedEndShowNoLife) {
  Child master([this](Wire& wire) {
    const Link link = open_link(lively(ESHM_ROLE_MASTER));
    wire.say(outcome(link));
    CHILD_CHECK(link);
    ESHMView view = {};
    CHILD_CHECK(eshm_borrow(link.get(), &view, ESHM_WAIT_FOREVER) == ESHM_SUCCESS);
    // As a careless application does, but for the wire of the test.
    for (int fd = 3; fd < 1024; ++fd) {
      struct stat meta;
      if (fstat(fd, &meta) == 0 && !S_ISSOCK(meta.st_mode)) close(fd);
    }
    while (!progress_->shall_leave) {
      progress_->write_code = eshm_write(link.get(), "x", 1);
      ++progress_->calls;
    }
    return 0;
  });
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(eshm_write(slave.get(), "to borrow", 9), ESHM_SUCCESS);
  wait_until([&] { return progress_->write_code == ESHM_ERROR_NOT_INITIALIZED; });
  wait_for_state(slave.get(), ESHM_PEER_DEAD);  // its lock fell with its descriptors
  wait_for_calls(1000);
  EXPECT_EQ(remote_state(slave.get()), ESHM_PEER_DEAD);
  send(master);
}

// The counter-proof: without calls nothing shows that the process lives.
TEST_P(LateService, EndWhoseServiceThreadIsHeldIsStaleIfItDoesNotCall) {
  Child master = obeying(lively(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  {
    const HeldThread held(master.pid(), "eshm");
    wait_for_state(slave.get(), ESHM_PEER_STALE);
    ASSERT_EQ(ask(master, "write here"), "0");
    wait_for_state(slave.get(), ESHM_PEER_ALIVE);
  }
  leave(master);
}

TEST_P(LateService, CallsNoticeADeathAndFollowTheNextMasterWhileCallbacksWait) {
  Child master = obeying(lively(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  Child slave = caller(lively(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  wait_until([&] { return progress_->events > 0; });  // connected
  {
    const HeldThread held(slave.pid(), "eshm");
    const int events = progress_->events;
    // Adopted by one master, and made to move by the next.
    for (const bool leaves : {false, true}) {
      if (leaves) {
        leave(master);
      } else {
        master.kill_now();
      }
      wait_until([&] { return progress_->write_code == ESHM_ERROR_TIMEOUT; });
      master = obeying(lively(ESHM_ROLE_MASTER));
      ASSERT_EQ(master.hear(), "open");
      wait_until([&] { return progress_->write_code == ESHM_SUCCESS; });
      wait_until([&] { return ask(master, "read").find("error") == std::string::npos; });
      wait_until([&] { return ask(master, "state") == std::to_string(ESHM_PEER_ALIVE); });
    }
    EXPECT_EQ(progress_->events, events);
  }
  wait_until([&] { return progress_->events >= 5; });  // twice gone, twice back
  send(slave);
  leave(master);
}

TEST_P(LateService, FlagKeepsCallsFromTheServiceThreadsWork) {
  Child master = obeying(lively(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig config = lively(ESHM_ROLE_SLAVE);
  config.flags |= ESHM_FLAG_NO_UPKEEP_IN_CALLS;
  Child slave = caller(config);
  ASSERT_EQ(slave.hear(), "open");
  wait_until([&] { return progress_->events > 0; });
  {
    const HeldThread held(slave.pid(), "eshm");
    master.kill_now();
    pause_ms(300);
    wait_for_calls(10000);
    EXPECT_EQ(progress_->write_code, ESHM_SUCCESS);
  }
  wait_until([&] { return progress_->write_code == ESHM_ERROR_TIMEOUT; });
  send(slave);
}

// At each instruction: the upkeep of a link that stays as it is takes no data lock.
TEST_P(LateService, CallsGoOnWhereverTheServiceThreadStands) {
  const Link master = open_link(lively(ESHM_ROLE_MASTER, ESHM_DELIVERY_QUEUE));
  ASSERT_TRUE(master) << last_error();
  Child slave = caller(lively(ESHM_ROLE_SLAVE, ESHM_DELIVERY_QUEUE));
  ASSERT_EQ(slave.hear(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  int written = 0;
  {
    HeldThread service(slave.pid(), "eshm");
    const uint64_t reports = stale_reports_of(master.get());
    const uint64_t steps = count(1000, 60000);
    uint64_t waits = 0;
    for (uint64_t step = 0; step < steps && !HasFailure(); ++step) {
      ASSERT_TRUE(service.step());
      waits += !goes_on(slave.pid());
      if (write_number(master.get(), written) == ESHM_SUCCESS) ++written;
      char number[16];
      while (eshm_read_ex(master.get(), number, sizeof number, nullptr, 0) == ESHM_SUCCESS) {
      }
    }
    EXPECT_EQ(waits, 0u) << "places of the thread where calls wait for it";
    EXPECT_EQ(stale_reports_of(master.get()), reports);
  }
  wait_until([&] { return progress_->read_number == written - 1; });
  EXPECT_EQ(progress_->gaps, 0);
  EXPECT_GT(written, 100);
  send(slave);
}

ESHM_ON_BOTH_BACKENDS(LateService);

}  // namespace
