// SPDX-License-Identifier: MIT
// A hung master is replaced: one successor, whoever dies or wakes up meanwhile,
// and its slave comes along. More of this in test_roles.cpp.
#include <sys/stat.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "support/counts.h"
#include "support/player.h"
#include "support/traced_opener.h"

namespace {

using namespace test;

class Replace : public LinkTest {
 protected:
  static constexpr uint32_t kThresholdMs = 60;

  ESHMConfig impatient_master() const {
    ESHMConfig config = this->config(ESHM_ROLE_MASTER);
    config.stale_threshold_ms = kThresholdMs;
    return config;
  }
  // One that is not taken for hung itself when it is starved a little.
  ESHMConfig successor() const {
    ESHMConfig config = this->config(ESHM_ROLE_MASTER);
    config.stale_threshold_ms = kHungMs;
    return config;
  }
  ESHMConfig patient_slave() const { return for_ever(config(ESHM_ROLE_SLAVE)); }

  Child open_hung_master(const std::string& last_words = {}) const {
    Child master = obeying(impatient_master());
    EXPECT_EQ(master.hear(), "open");
    if (!last_words.empty()) {
      EXPECT_EQ(ask(master, "write " + last_words), "0");
    }
    return master;
  }
};

TEST_P(Replace, OldMasterInABlockedReadLearnsOfItsSuccessor) {
  Child old_master = open_hung_master();
  const Link slave = open_link(patient_slave());
  ASSERT_TRUE(slave) << last_error();
  old_master.say("wait");
  pause_ms(20);
  old_master.stop();
  Child next = obeying(successor());
  ASSERT_EQ(next.hear(), "open");
  old_master.go_on();
  EXPECT_EQ(old_master.hear(), error(ESHM_ERROR_SUPERSEDED));
  const std::string why = ask(old_master, "why");
  EXPECT_TRUE(names_number(why, next.pid())) << why << " of " << next.pid();
  leave(old_master);
  leave(next);
}

TEST_P(Replace, OldMasterIsToldByAnEventToo) {
  Child old_master([config = impatient_master()](Wire& wire) {
    EventLog events;
    const Link link = open_link(config);
    CHILD_CHECK(link);
    events.listen_to(link.get());
    wire.say("open");
    events.wait_for(ESHM_EVENT_SUPERSEDED);
    CHILD_CHECK(events.count_of(ESHM_EVENT_SUPERSEDED) == 1);
    return 0;
  });
  ASSERT_EQ(old_master.hear(), "open");
  old_master.stop();
  const Link next = open_link(successor());
  ASSERT_TRUE(next) << last_error();
  old_master.go_on();
  EXPECT_EQ(old_master.join(), 0);
}

TEST_P(Replace, SlavesBlockedReadGetsTheSuccessorsMessage) {
  for (uint64_t round = 0; round < count(2, 100); ++round) {
    Child old_master = open_hung_master();
    const Link slave = open_link(patient_slave());
    ASSERT_TRUE(slave) << last_error();
    std::thread reader(
        [&] { EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "new") << last_error(); });
    old_master.stop();
    Child next = obeying(successor());
    EXPECT_EQ(next.hear(), "open");
    old_master.go_on();
    EXPECT_EQ(ask(old_master, "write old"), std::to_string(ESHM_ERROR_SUPERSEDED));
    EXPECT_EQ(ask(next, "write new"), "0");
    reader.join();
    leave(old_master);
    leave(next);
  }
}

// Stopped before it could read what the old master said last: that is not to
// be accepted any more.
TEST_P(Replace, UnreadWordsOfTheOldMasterAreNotReadAfterTheMark) {
  Child old_master = open_hung_master();
  Child slave = obeying(patient_slave());
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  ASSERT_EQ(ask(old_master, "write old"), "0");
  old_master.stop();
  Child next = obeying(successor());
  ASSERT_EQ(next.hear(), "open");
  slave.go_on();
  slave.say("wait");
  pause_ms(20);
  ASSERT_EQ(ask(next, "write new"), "0");
  EXPECT_EQ(slave.hear(), "new");
  old_master.go_on();
  leave(old_master);
  leave(slave);
  leave(next);
}

TEST_P(Replace, SlavesNewestValueMovesAlong) {
  Child old_master = open_hung_master();
  const Link slave = open_link(patient_slave());
  ASSERT_TRUE(slave) << last_error();
  old_master.stop();
  ASSERT_EQ(write_text(slave.get(), "before last"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "said to the hung one"), ESHM_SUCCESS);
  Child next = obeying(successor());
  ASSERT_EQ(next.hear(), "open");
  EXPECT_EQ(ask(next, "wait"), "said to the hung one");
  EXPECT_EQ(ask(next, "read"), error(ESHM_ERROR_NO_DATA));
  old_master.go_on();
  leave(old_master);
  leave(next);
}

TEST_P(Replace, NewcomerSlaveIsRefusedWhileTheOldOneLives) {
  for (uint64_t round = 0; round < count(2, 100); ++round) {
    Child old_master = open_hung_master();
    Child slave = obeying(patient_slave());
    ASSERT_EQ(slave.hear(), "open");
    slave.stop();  // it cannot come over yet
    old_master.stop();
    Child next = obeying(successor());
    ASSERT_EQ(next.hear(), "open");
    for (int i = 0; i < 5; ++i) {
      EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
      EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
      EXPECT_TRUE(names_number(last_error(), slave.pid())) << last_error();
    }
    slave.go_on();
    ASSERT_EQ(ask(next, "write come over"), "0");
    EXPECT_EQ(ask(slave, "wait"), "come over");
    EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
    EXPECT_TRUE(names_number(last_error(), slave.pid())) << last_error();
    old_master.go_on();
    leave(old_master);
    leave(slave);
    leave(next);
  }
}

TEST_P(Replace, SeatOfASlaveThatDiedInsteadOfComingOverIsFree) {
  Child old_master = open_hung_master();
  Child slave = obeying(patient_slave());
  ASSERT_EQ(slave.hear(), "open");
  slave.stop();
  old_master.stop();
  Child next = obeying(successor());
  ASSERT_EQ(next.hear(), "open");
  slave.kill_now();
  Link newcomer;
  wait_until([&] {
    newcomer = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    return newcomer != nullptr;
  });
  ASSERT_EQ(ask(next, "write for the newcomer"), "0");
  EXPECT_EQ(read_text(newcomer.get(), UINT32_MAX), "for the newcomer");
  old_master.go_on();
  leave(old_master);
  leave(next);
}

TEST_P(Replace, SeatOfASlaveThatGaveUpIsFree) {
  Child old_master = open_hung_master();
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  old_master.stop();
  Child next = obeying(successor());
  ASSERT_EQ(next.hear(), "open");
  EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
  Link newcomer;
  wait_until([&] {
    newcomer = open_link(at_once(this->config(ESHM_ROLE_SLAVE)));
    return newcomer != nullptr;
  });
  ASSERT_EQ(ask(next, "write for the newcomer"), "0");
  EXPECT_EQ(read_text(newcomer.get(), UINT32_MAX), "for the newcomer");
  EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_MASTER_STALE));
  old_master.go_on();
  leave(old_master);
  leave(next);
}

TEST_P(Replace, HealthyMasterIsReplacedByNoneOfManyChallengers) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  struct stat before, after;
  ASSERT_EQ(stat(path().c_str(), &before), 0);
  std::vector<Child> challengers;
  for (uint64_t i = 0; i < count(10, 100); ++i) {
    // Its own patience is short; the holder's counts.
    ESHMConfig hasty = impatient_master();
    hasty.stale_threshold_ms = 1;
    challengers.push_back(obeying(hasty));
  }
  for (Child& challenger : challengers) {
    const std::string says = challenger.hear();
    EXPECT_EQ(says.find(std::to_string(ESHM_ERROR_ROLE_MISMATCH) + " "), 0u) << says;
    EXPECT_TRUE(names_number(says, master.pid())) << says;
    EXPECT_EQ(challenger.join(), 0);
  }
  ASSERT_EQ(stat(path().c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(ask(master, "write unmoved"), "0");
  leave(master);
}

// After a replacer was killed somewhere: either the old master is master
// still, and the next one is refused, or it never is again. Never both.
void expect_one_master(const ESHMConfig& next_config, Child& old_master, ESHMHandle* slave,
                       const std::string& where) {
  Child next = obeying(next_config);
  const std::string says = next.hear();
  if (says == "open") {
    EXPECT_EQ(ask(old_master, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED)) << where;
    EXPECT_EQ(ask(next, "write next"), "0") << where;
    EXPECT_EQ(read_text(slave, UINT32_MAX), "next") << where << ": " << last_error();
    leave(old_master);
    // Its end took nothing from its successor.
    EXPECT_EQ(ask(next, "write later"), "0") << where;
    EXPECT_EQ(read_text(slave, UINT32_MAX), "later") << where << ": " << last_error();
    leave(next);
  } else {
    EXPECT_EQ(says.find(std::to_string(ESHM_ERROR_ROLE_MISMATCH) + " "), 0u) << where << says;
    EXPECT_TRUE(names_number(says, old_master.pid())) << where << ": " << says;
    EXPECT_EQ(next.join(), 0);
    EXPECT_EQ(ask(old_master, "write still"), "0") << where;
    EXPECT_EQ(read_text(slave, UINT32_MAX), "still") << where << ": " << last_error();
    leave(old_master);
  }
}

TEST_P(Replace, ReplacerKilledAtRandomMomentsTheNextStartHeals) {
  Random random;
  for (uint64_t round = 0; round < count(6, 300); ++round) {
    Child old_master = open_hung_master();
    const Link slave = open_link(patient_slave());
    ASSERT_TRUE(slave) << last_error();
    old_master.stop();
    {
      Child replacer = obeying(impatient_master());
      usleep(static_cast<useconds_t>(1000 * (kThresholdMs - 2) + random.up_to(8000)));
      replacer.kill_now();
    }
    old_master.go_on();
    expect_one_master(successor(), old_master, slave.get(), "round " + std::to_string(round));
  }
}

// ---- killed at each system call -------------------------------------------------

#if defined(__x86_64__)

// Killed before its system call number `steps` after it first asked for a lock that
// can be had. False: it was through before.
bool kill_at_step(TracedOpener& opener, uint64_t steps) {
  bool counts = false;
  for (uint64_t taken = 0; taken < steps; taken += counts) {
    if (!opener.to_next_stop()) return false;
    counts |= opener.call().asks_for_a_lock();
  }
  opener.child().kill_now();
  return true;
}

TEST_P(Replace, ReplacerKilledAtEachSystemCallTheNextStartHeals) {
  Random random;
  const uint64_t stride = count(14, 1);
  uint64_t killed = 0;
  for (uint64_t step = 1 + random.up_to(stride - 1);; step += stride) {
    Child old_master = open_hung_master();
    const Link slave = open_link(patient_slave());
    ASSERT_TRUE(slave) << last_error();
    old_master.stop();
    TracedOpener replacer(impatient_master());
    const bool is_through = !kill_at_step(replacer, step);
    if (is_through) replacer.child().kill_now();
    killed += !is_through;
    old_master.go_on();
    expect_one_master(successor(), old_master, slave.get(), "step " + std::to_string(step));
    if (is_through || HasFailure()) break;
  }
  EXPECT_GT(killed, 2u);
}

#endif

ESHM_ON_BOTH_BACKENDS(Replace);

}  // namespace
