// SPDX-License-Identifier: MIT
// Either process is killed or leaves, and comes back: the other goes on by
// itself.
#include <unistd.h>

#include <functional>
#include <thread>
#include <utility>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

class Reconnect : public LinkTest {
 protected:
  // A master that writes "<tag> 1", "<tag> 2", ... each millisecond until it
  // is killed, or told to end.
  Child writing_master(const std::string& tag) const {
    return Child([this, tag](Wire& wire) {
      const Link link = open_link(for_ever(config(ESHM_ROLE_MASTER)));
      CHILD_CHECK(link);
      wire.say("open");
      for (int number = 1; !wire.has_news(); ++number) {
        CHILD_CHECK(write_text(link.get(), tag + " " + std::to_string(number)) == ESHM_SUCCESS);
        pause_ms(1);
      }
      return 0;
    });
  }

  // A process that only holds a role, and has written one text.
  Child holder(ESHMRole role, const std::string& text) const {
    return Child([this, role, text](Wire& wire) {
      const Link link = open_link(for_ever(config(role)));
      CHILD_CHECK(link);
      CHILD_CHECK(write_text(link.get(), text) == ESHM_SUCCESS);
      wire.say("open");
      wire.hear();
      return 0;
    });
  }
};

// Reads until a text of that tag comes; until then only texts of `before`, and
// no error but those of waiting.
void read_on_to(ESHMHandle* link, const std::string& tag, const std::string& before) {
  for (;;) {
    const std::string text = read_text(link, 50);
    if (text.compare(0, tag.size(), tag) == 0) return;
    const bool waiting = text == "error " + std::to_string(ESHM_ERROR_TIMEOUT);
    ASSERT_TRUE(waiting || text.compare(0, before.size(), before) == 0)
        << text << " on the way to " << tag << ": " << last_error();
  }
}

TEST_P(Reconnect, SlaveGoesOnWithEachMasterThatFollowsAKilledOne) {
  Child master = writing_master("master 0");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  read_on_to(slave.get(), "master 0", "nothing");
  for (uint64_t round = 1; round <= count(8, 1000); ++round) {
    master.kill_now();
    Child next = writing_master("master " + std::to_string(round));
    ASSERT_EQ(next.hear(), "open");
    read_on_to(slave.get(), "master " + std::to_string(round),
               "master " + std::to_string(round - 1));
    if (HasFatalFailure()) return;
    // From the slave's side it works as well, at the latest after a retry interval.
    int code;
    while ((code = write_text(slave.get(), "x")) == ESHM_ERROR_TIMEOUT) pause_ms(1);
    ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
    master = std::move(next);
  }
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(Reconnect, SlaveGoesOnWithEachMasterThatFollowsOneThatLeft) {
  Child master = writing_master("master 0");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  read_on_to(slave.get(), "master 0", "nothing");
  for (uint64_t round = 1; round <= count(8, 1000); ++round) {
    master.say("end");
    ASSERT_EQ(master.join(), 0);
    Child next = writing_master("master " + std::to_string(round));
    ASSERT_EQ(next.hear(), "open");
    read_on_to(slave.get(), "master " + std::to_string(round),
               "master " + std::to_string(round - 1));
    if (HasFatalFailure()) return;
    master = std::move(next);
  }
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(Reconnect, BlockedReadGetsTheNextMastersMessage) {
  Child master = holder(ESHM_ROLE_MASTER, "first");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(read_text(slave.get(), UINT32_MAX), "first");
  for (uint64_t round = 1; round <= count(5, 500); ++round) {
    const std::string text = "next " + std::to_string(round);
    std::string read;
    std::thread reader([&] { read = read_text(slave.get(), UINT32_MAX); });
    pause_ms(5);
    master.kill_now();
    Child next = holder(ESHM_ROLE_MASTER, text);
    reader.join();
    ASSERT_EQ(read, text);
    ASSERT_EQ(next.hear(), "open");
    master = std::move(next);
  }
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(Reconnect, WhatAKilledMasterPublishedIsStillRead) {
  Child master = holder(ESHM_ROLE_MASTER, "last words");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(master.hear(), "open");
  master.kill_now();
  EXPECT_EQ(read_text(slave.get(), 0), "last words");
  EXPECT_EQ(read_text(slave.get(), 0), "error " + std::to_string(ESHM_ERROR_NO_DATA));
}

TEST_P(Reconnect, MasterGoesOnWithEachSlaveThatFollowsAKilledOne) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (uint64_t round = 1; round <= count(8, 1000); ++round) {
    const std::string tag = "slave " + std::to_string(round);
    ASSERT_EQ(write_text(master.get(), tag), ESHM_SUCCESS);
    Child slave([&](Wire& wire) {
      const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      CHILD_CHECK(link);
      CHILD_CHECK(read_text(link.get(), UINT32_MAX) == tag);
      for (;;) {
        CHILD_CHECK(write_text(link.get(), tag) == ESHM_SUCCESS);
        if (wire.has_news()) return 0;
      }
    });
    read_on_to(master.get(), tag, "slave " + std::to_string(round - 1));
    if (HasFatalFailure()) return;
    wait_until([&] { return remote_is_alive(master.get()); });
    slave.kill_now();
  }
}

TEST_P(Reconnect, SlaveThatLeftMayComeBack) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (int round = 1; round <= 20; ++round) {
    const std::string text = std::to_string(round);
    ASSERT_EQ(write_text(master.get(), text), ESHM_SUCCESS);
    const Link slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    EXPECT_EQ(read_text(slave.get(), 0), text);
    ASSERT_EQ(write_text(slave.get(), text), ESHM_SUCCESS);
    EXPECT_EQ(read_text(master.get(), 0), text);
  }
}

TEST_P(Reconnect, BothKilledAndStartedAgainInEitherOrder) {
  for (bool slave_first : {false, true}) {
    Child master = holder(ESHM_ROLE_MASTER, "old");
    Child slave = holder(ESHM_ROLE_SLAVE, "old");
    ASSERT_EQ(master.hear(), "open");
    ASSERT_EQ(slave.hear(), "open");
    for (Child* child : {slave_first ? &master : &slave, slave_first ? &slave : &master}) {
      child->kill_now();
    }

    const auto new_slave = [this](Wire& wire) {
      const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      CHILD_CHECK(link);
      wire.say(read_text(link.get(), UINT32_MAX));
      wire.hear();
      return 0;
    };
    const auto new_master = [this](Wire& wire) {
      const Link link = open_link(config(ESHM_ROLE_MASTER));
      CHILD_CHECK(link);
      pause_ms(100);  // time enough to read something old
      CHILD_CHECK(write_text(link.get(), "new") == ESHM_SUCCESS);
      wire.hear();
      return 0;
    };
    Child first(slave_first ? std::function<int(Wire&)>(new_slave) : new_master);
    pause_ms(50);
    Child second(slave_first ? std::function<int(Wire&)>(new_master) : new_slave);
    Child& reader = slave_first ? first : second;
    EXPECT_EQ(reader.hear(), "new");
    for (Child* child : {&first, &second}) {
      child->say("leave");
      EXPECT_EQ(child->join(), 0);
    }
  }
}

TEST_P(Reconnect, SlaveWithOneAttemptGivesUpOnceItsMasterIsGone) {
  Child master = holder(ESHM_ROLE_MASTER, "only");
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(read_text(slave.get(), 0), "only");
  master.kill_now();
  wait_until([&] {
    const std::string answer = read_text(slave.get(), 0);
    if (answer == "error " + std::to_string(ESHM_ERROR_MASTER_STALE)) return true;
    EXPECT_EQ(answer, "error " + std::to_string(ESHM_ERROR_NO_DATA));
    return false;
  });
  EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_MASTER_STALE);
}

ESHM_ON_BOTH_BACKENDS(Reconnect);

}  // namespace
