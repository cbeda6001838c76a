// SPDX-License-Identifier: MIT
// Who may be master, who slave: one of each, whatever dies, hangs or wakes up.
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

std::string error(int code) { return "error " + std::to_string(code); }

class Roles : public LinkTest {
 protected:
  // Answers each order that it hears: "write TEXT" by the code, "read" by the
  // text or error (no waiting), "leave" by ending.
  Child obeying(ESHMConfig config) const {
    return Child([config](Wire& wire) {
      const Link link = open_link(config);
      wire.say(link ? "open" : std::to_string(last_error_code()) + " " + last_error());
      if (!link) return 0;
      for (;;) {
        const std::string order = wire.hear();
        if (order.compare(0, 6, "write ") == 0) {
          wire.say(std::to_string(write_text(link.get(), order.substr(6))));
        } else if (order == "read") {
          wire.say(read_text(link.get(), 0));
        } else {
          return 0;
        }
      }
    });
  }

  // A master that counts as hung after a short silence.
  ESHMConfig hung_soon() const {
    ESHMConfig config = this->config(ESHM_ROLE_MASTER);
    config.stale_threshold_ms = kHungMs;
    return config;
  }

  static std::string ask(Child& child, const std::string& order) {
    child.say(order);
    return child.hear();
  }

  static void leave(Child& child) {
    child.say("leave");
    EXPECT_EQ(child.join(), 0);
  }
};

TEST_P(Roles, SecondLiveMasterIsRefusedAndNamesTheFirst) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  EXPECT_FALSE(open_link(config(ESHM_ROLE_MASTER)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_TRUE(names_number(last_error(), first.pid())) << last_error();
  EXPECT_EQ(ask(first, "write still master"), "0");
  leave(first);
}

TEST_P(Roles, SecondSlaveIsRefusedAndNamesTheFirst) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  Child first = obeying(config(ESHM_ROLE_SLAVE));
  ASSERT_EQ(first.hear(), "open");
  EXPECT_FALSE(open_link(config(ESHM_ROLE_SLAVE)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_TRUE(names_number(last_error(), first.pid())) << last_error();
  EXPECT_EQ(ask(first, "write still slave"), "0");
  EXPECT_EQ(read_text(master.get(), 0), "still slave");
  leave(first);
}

TEST_P(Roles, StoppedSlaveKeepsItsSeat) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ESHMConfig hung_soon = for_ever(config(ESHM_ROLE_SLAVE));
  hung_soon.stale_threshold_ms = kHungMs;
  Child first = obeying(hung_soon);
  ASSERT_EQ(first.hear(), "open");
  first.stop();
  pause_ms(2 * kHungMs);
  EXPECT_FALSE(open_link(at_once(hung_soon)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_TRUE(names_number(last_error(), first.pid())) << last_error();
  first.go_on();
  EXPECT_EQ(ask(first, "write here again"), "0");
  EXPECT_EQ(read_text(master.get(), UINT32_MAX), "here again");
  leave(first);
}

TEST_P(Roles, RoleIsFreeOnceItsHolderIsKilled) {
  for (int round = 0; round < 5; ++round) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    Child slave = obeying(config(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    slave.kill_now();
    Child next_slave = obeying(at_once(config(ESHM_ROLE_SLAVE)));
    EXPECT_EQ(next_slave.hear(), "open");
    master.kill_now();
    Child next_master = obeying(config(ESHM_ROLE_MASTER));
    EXPECT_EQ(next_master.hear(), "open");
    next_slave.kill_now();
    next_master.kill_now();
  }
  remove_name_of_the_killed();
}

TEST_P(Roles, MasterThatNeverBeatsIsReplaced) {
  ESHMConfig silent = hung_soon();
  silent.use_threads = false;
  const Link first = open_link(silent);
  ASSERT_TRUE(first) << last_error();
  const Link second = open_link(hung_soon());
  ASSERT_TRUE(second) << last_error();
  EXPECT_EQ(write_text(first.get(), "from the grave"), ESHM_ERROR_SUPERSEDED);
  EXPECT_TRUE(names_number(last_error(), getpid())) << last_error();
  const Link slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
  ASSERT_EQ(write_text(second.get(), "from the living"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), 1000), "from the living");
}

TEST_P(Roles, MasterThatBeatsByItsCallsIsNotReplaced) {
  Child first([this](Wire& wire) {
    ESHMConfig silent = config(ESHM_ROLE_MASTER);
    silent.use_threads = false;
    const Link link = open_link(silent);
    CHILD_CHECK(link);
    wire.say("open");
    while (!wire.has_news()) {
      CHILD_CHECK(eshm_update_heartbeat(link.get()) == ESHM_SUCCESS);
      pause_ms(1);
    }
    return 0;
  });
  ASSERT_EQ(first.hear(), "open");
  EXPECT_FALSE(open_link(config(ESHM_ROLE_MASTER)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
  EXPECT_TRUE(names_number(last_error(), first.pid())) << last_error();
  leave(first);
}

TEST_P(Roles, HungMasterIsReplacedAndItsLaterWritesAreNeverRead) {
  for (uint64_t round = 0; round < count(3, 200); ++round) {
    Child old_master = obeying(hung_soon());
    ASSERT_EQ(old_master.hear(), "open");
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(ask(old_master, "write old"), "0");
    ASSERT_EQ(read_text(slave.get(), UINT32_MAX), "old");
    old_master.stop();

    Child new_master = obeying(hung_soon());
    ASSERT_EQ(new_master.hear(), "open");
    ASSERT_EQ(ask(new_master, "write new"), "0");
    old_master.go_on();
    ASSERT_EQ(ask(old_master, "write from the grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
    EXPECT_EQ(ask(old_master, "read"), error(ESHM_ERROR_SUPERSEDED));
    EXPECT_EQ(ask(old_master, "write again"), std::to_string(ESHM_ERROR_SUPERSEDED));

    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "new");
    EXPECT_EQ(read_text(slave.get(), 50), error(ESHM_ERROR_TIMEOUT));
    ASSERT_EQ(write_text(slave.get(), "answer"), ESHM_SUCCESS) << last_error();
    EXPECT_EQ(ask(new_master, "read"), "answer");
    leave(old_master);
    // The old one's end has taken nothing from its successor.
    ASSERT_EQ(ask(new_master, "write newer"), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "newer");
    EXPECT_FALSE(files_of(name()).empty());
    leave(new_master);
  }
}

// Stopped in the middle of its writes, continued while the slave reads.
TEST_P(Roles, WritingMasterStoppedReplacedAndContinuedIsNotHeardAgain) {
  Child old_master([this](Wire& wire) {
    const Link link = open_link(hung_soon());
    CHILD_CHECK(link);
    wire.say("open");
    int code = ESHM_SUCCESS;
    while (code == ESHM_SUCCESS) code = write_text(link.get(), "old");
    wire.say(std::to_string(code));
    wire.hear();
    return 0;
  });
  ASSERT_EQ(old_master.hear(), "open");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  read_until(slave.get(), "old");
  old_master.stop();
  Child new_master = obeying(hung_soon());
  ASSERT_EQ(new_master.hear(), "open");
  // From here on nothing of the old one may be read, though nothing of the new
  // one is there yet to hide it.
  old_master.go_on();
  EXPECT_EQ(old_master.hear(), std::to_string(ESHM_ERROR_SUPERSEDED));
  EXPECT_EQ(read_text(slave.get(), 200), error(ESHM_ERROR_TIMEOUT));
  ASSERT_EQ(ask(new_master, "write new"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "new");
  leave(old_master);
  leave(new_master);
}

TEST_P(Roles, TwoReplacersAtOnceMakeOneSuccessor) {
  // The winner may not be starved for so long that the other takes it for hung.
  ESHMConfig hung_later = config(ESHM_ROLE_MASTER);
  hung_later.stale_threshold_ms = 5 * kHungMs;
  for (uint64_t round = 0; round < count(2, 60); ++round) {
    Child old_master = obeying(hung_later);
    ASSERT_EQ(old_master.hear(), "open");
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    old_master.stop();

    Child one = obeying(hung_later), other = obeying(hung_later);
    std::string one_says = one.hear(), other_says = other.hear();
    if (one_says != "open") {
      std::swap(one, other);
      std::swap(one_says, other_says);
    }
    ASSERT_EQ(one_says, "open");
    EXPECT_EQ(other_says.find(std::to_string(ESHM_ERROR_ROLE_MISMATCH) + " "), 0u) << other_says;
    EXPECT_TRUE(names_number(other_says, one.pid())) << other_says << " of " << one.pid();
    EXPECT_EQ(other.join(), 0);

    old_master.go_on();
    EXPECT_EQ(ask(old_master, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
    ASSERT_EQ(ask(one, "write successor"), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "successor");
    leave(old_master);
    leave(one);
  }
}

TEST_P(Roles, BothDeadThenSlaveFirstReadsNothingOld) {
  for (uint64_t round = 0; round < count(3, 200); ++round) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    Child slave = obeying(config(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    ASSERT_EQ(ask(master, "write old down"), "0");
    ASSERT_EQ(ask(slave, "write old up"), "0");
    Child* const order[] = {&master, &slave};
    order[round % 2]->kill_now();
    order[1 - round % 2]->kill_now();

    Child new_slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
    pause_ms(50);
    EXPECT_FALSE(new_slave.has_news()) << "attached to two dead ones";
    Child new_master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(new_master.hear(), "open");
    ASSERT_EQ(new_slave.hear(), "open");
    EXPECT_EQ(ask(new_slave, "read"), error(ESHM_ERROR_NO_DATA));
    EXPECT_EQ(ask(new_master, "read"), error(ESHM_ERROR_NO_DATA));
    ASSERT_EQ(ask(new_master, "write new"), "0");
    EXPECT_EQ(ask(new_slave, "read"), "new");
    leave(new_slave);
    leave(new_master);
  }
}

TEST_P(Roles, SlaveNeverAttachesToAnOrphan) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ASSERT_EQ(ask(master, "write old"), "0");
  master.kill_now();
  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT) << last_error();
  remove_name_of_the_killed();
}

// The successor decides sizes anew, and the slave goes along.
TEST_P(Roles, SuccessorWithOtherSizesTakesTheSlaveAlong) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  master.kill_now();
  ESHMConfig larger = config(ESHM_ROLE_MASTER);
  larger.m2s.max_message_size = 100000;
  const Link successor = open_link(larger);
  ASSERT_TRUE(successor) << last_error();
  const std::string message(100000, 'L');
  ASSERT_EQ(write_text(successor.get(), message), ESHM_SUCCESS) << last_error();
  std::vector<char> buffer(message.size());
  int code;
  do {
    code = eshm_read_ex(slave.get(), buffer.data(), buffer.size(), nullptr, 100);
  } while (code == ESHM_ERROR_TIMEOUT);
  ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
  EXPECT_EQ(std::string(buffer.begin(), buffer.end()), message);
}

// The service thread comes, goes and serves the other end meanwhile.
TEST_P(Roles, BothEndsInOneProcessComeAndGoWhileTheOtherReads) {
  const uint64_t rounds = count(30, 1000);
  std::atomic<uint64_t> seen{0};
  std::thread reader([&] {
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    while (seen < rounds) {
      const std::string text = read_text(slave.get(), UINT32_MAX);
      ASSERT_EQ(text.find("round "), 0u) << text << ": " << last_error();
      const uint64_t round = std::stoull(text.substr(6));
      ASSERT_GT(round, seen) << "an old master's";
      seen = round;
    }
  });
  for (uint64_t round = 1; round <= rounds && !HasFailure(); ++round) {
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    ASSERT_EQ(write_text(master.get(), "round " + std::to_string(round)), ESHM_SUCCESS);
    wait_until([&] { return seen == round || HasFailure(); });
  }
  reader.join();
}

ESHM_ON_BOTH_BACKENDS(Roles);

}  // namespace
