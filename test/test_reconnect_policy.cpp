// SPDX-License-Identifier: MIT
// A slave whose master is gone: what it answers meanwhile, when it gives up,
// and what brings it back.
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

constexpr uint32_t kOneHourMs = 3'600'000;

enum class End { kKilled, kLeaves };

class ReconnectPolicy : public LinkTest {
 protected:
  ESHMConfig slave_config(ESHMDisconnectBehavior behavior, uint32_t interval_ms, uint32_t attempts,
                          uint32_t wait_ms) const {
    ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
    config.disconnect_behavior = behavior;
    config.reconnect_retry_interval_ms = interval_ms;
    config.max_reconnect_attempts = attempts;
    config.reconnect_wait_ms = wait_ms;
    return config;
  }

  void open_master() {
    master_.emplace_back(obeying(config(ESHM_ROLE_MASTER)));
    ASSERT_EQ(master().hear(), "open");
  }
  Child& master() { return master_.back(); }
  void end_master(End end) {
    if (end == End::kKilled) master().kill_now();
    if (end == End::kLeaves) leave(master());
  }

  std::vector<Child> master_;
};

constexpr End kBothEnds[] = {End::kKilled, End::kLeaves};

TEST_P(ReconnectPolicy, ImmediatelyGivesUpAtOnceButShowsWhatIsUnreadFirst) {
  for (End end : kBothEnds) {
    open_master();
    EventLog events;
    // Limits that would allow more mean nothing here.
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_IMMEDIATELY, 100, 0, 0));
    ASSERT_TRUE(slave) << last_error();
    events.listen_to(slave.get());
    ASSERT_EQ(ask(master(), "write last words"), "0");
    end_master(end);
    events.wait_for(ESHM_EVENT_GAVE_UP);
    EXPECT_EQ(read_text(slave.get(), 0), "last words");
    EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_MASTER_STALE);
    EXPECT_EQ(last_error_code(), ESHM_ERROR_MASTER_STALE);
    EXPECT_FALSE(remote_is_alive(slave.get()));
  }
}

TEST_P(ReconnectPolicy, ThreeAttemptsAreMadeTwoIntervalsApartAtLeast) {
  for (End end : kBothEnds) {
    open_master();
    EventLog events;
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 80, 3, 0));
    ASSERT_TRUE(slave) << last_error();
    events.listen_to(slave.get());
    const uint64_t lost_after = now_ms();
    end_master(end);
    EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_GE(now_ms() + 1, lost_after + 2 * 80);
    events.wait_for(ESHM_EVENT_GAVE_UP);
    EXPECT_EQ(events.count_of(ESHM_EVENT_GAVE_UP), 1u);
    EXPECT_EQ(events.all().back(), ESHM_EVENT_GAVE_UP);
  }
}

TEST_P(ReconnectPolicy, WaitOf300MsIsOverAfter300Ms) {
  for (End end : kBothEnds) {
    open_master();
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 50, 0, 300));
    ASSERT_TRUE(slave) << last_error();
    const uint64_t lost_after = now_ms();
    end_master(end);
    EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_GE(now_ms() + 1, lost_after + 300);
  }
}

// The interval is longer than the whole wait: it must not stretch it.
TEST_P(ReconnectPolicy, WaitEndsThoughTheNextAttemptIsFarOff) {
  open_master();
  const Link slave = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, kOneHourMs, 0, 200));
  ASSERT_TRUE(slave) << last_error();
  end_master(End::kLeaves);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), error(ESHM_ERROR_MASTER_STALE));
}

TEST_P(ReconnectPolicy, UnlimitedOnesNeverGiveUp) {
  const ESHMConfig unlimited[] = {slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 10, 0, 0),
                                  slave_config(ESHM_DISCONNECT_NEVER, 10, 1, 1)};
  for (const ESHMConfig& config : unlimited) {
    for (End end : kBothEnds) {
      open_master();
      EventLog events;
      const Link slave = open_link(config);
      ASSERT_TRUE(slave) << last_error();
      events.listen_to(slave.get());
      end_master(end);
      wait_until([&] { return !remote_is_alive(slave.get()); });
      for (uint64_t i = 0; i < count(8, 200); ++i) {
        EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
        EXPECT_EQ(read_text(slave.get(), 50), error(ESHM_ERROR_TIMEOUT));
        EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_TIMEOUT);
      }
      EXPECT_EQ(events.count_of(ESHM_EVENT_GAVE_UP), 0u);
      open_master();
      ASSERT_EQ(ask(master(), "write back"), "0");
      EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "back");
      wait_until([&] { return write_text(slave.get(), "too") == ESHM_SUCCESS; });
      EXPECT_EQ(ask(master(), "wait"), "too");
      leave(master());
    }
  }
}

TEST_P(ReconnectPolicy, MeanwhileReadsShowTheUnreadThenWaitTheirWholeTimeAndWritesTimeOut) {
  for (End end : kBothEnds) {
    open_master();
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_NEVER, 100, 0, 0));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(ask(master(), "write unread"), "0");
    end_master(end);
    wait_for_state(slave.get(), end == End::kKilled ? ESHM_PEER_DEAD : ESHM_PEER_LEFT);
    wait_until([&] { return write_text(slave.get(), "x") == ESHM_ERROR_TIMEOUT; });
    EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT);
    EXPECT_EQ(read_text(slave.get(), 0), "unread");
    EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
    const uint64_t began = now_ms();
    EXPECT_EQ(read_text(slave.get(), 200), error(ESHM_ERROR_TIMEOUT));
    EXPECT_GE(now_ms() + 1, began + 200);
  }
}

TEST_P(ReconnectPolicy, GivingUpEndsABlockedRead) {
  for (End end : kBothEnds) {
    open_master();
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 50, 0, 150));
    ASSERT_TRUE(slave) << last_error();
    std::string answer;
    std::thread reader([&] { answer = read_text(slave.get(), UINT32_MAX); });
    pause_ms(20);
    end_master(end);
    reader.join();
    EXPECT_EQ(answer, error(ESHM_ERROR_MASTER_STALE));
  }
}

TEST_P(ReconnectPolicy, BackInTimeNothingIsGivenUp) {
  for (End end : kBothEnds) {
    open_master();
    EventLog events;
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 100, 0, 30000));
    ASSERT_TRUE(slave) << last_error();
    events.listen_to(slave.get());
    for (uint64_t round = 0; round < count(3, 100); ++round) {
      end_master(end);
      wait_until([&] { return !remote_is_alive(slave.get()); });
      open_master();
      ASSERT_EQ(ask(master(), "write back"), "0");
      EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "back");
      wait_for_state(slave.get(), ESHM_PEER_ALIVE);
      EXPECT_EQ(reconnects_of(slave.get()), round + 1);
    }
    EXPECT_EQ(events.count_of(ESHM_EVENT_GAVE_UP), 0u);
    leave(master());
  }
}

TEST_P(ReconnectPolicy, GivenUpForGoodTheSeatIsFreeForAnother) {
  for (End end : kBothEnds) {
    open_master();
    const Link given_up = open_link(slave_config(ESHM_DISCONNECT_IMMEDIATELY, 100, 0, 0));
    ASSERT_TRUE(given_up) << last_error();
    end_master(end);
    EXPECT_EQ(first_answer(given_up.get()), error(ESHM_ERROR_MASTER_STALE));
    open_master();
    const Link next = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(next) << last_error();
    ASSERT_EQ(ask(master(), "write for the next"), "0");
    EXPECT_EQ(read_text(next.get(), UINT32_MAX), "for the next");
    EXPECT_EQ(read_text(given_up.get(), 0), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_EQ(write_text(given_up.get(), "x"), ESHM_ERROR_MASTER_STALE);
    EXPECT_FALSE(remote_is_alive(given_up.get()));
    leave(master());
  }
}

// The killed master could not remove the name; whoever is the last one out does.
TEST_P(ReconnectPolicy, SlaveThatGaveUpRemovesTheNameWhenItLeavesLast) {
  open_master();
  Link slave = open_link(slave_config(ESHM_DISCONNECT_IMMEDIATELY, 100, 0, 0));
  ASSERT_TRUE(slave) << last_error();
  end_master(End::kKilled);
  EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
  slave.reset();
  EXPECT_TRUE(files_of(name()).empty());
  remove_name_of_the_killed();
}

// And the name of a link that goes on without it is left alone.
TEST_P(ReconnectPolicy, SlaveThatGaveUpLeavesTheNextLinksNameAlone) {
  for (End end : kBothEnds) {
    open_master();
    Link slave = open_link(slave_config(ESHM_DISCONNECT_IMMEDIATELY, 100, 0, 0));
    ASSERT_TRUE(slave) << last_error();
    end_master(end);
    EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
    open_master();
    slave.reset();
    EXPECT_EQ(files_of(name()).size(), 1u);
    leave(master());
  }
}

// With an interval of an hour only the notice of the name can do it.
TEST_P(ReconnectPolicy, InitAttachesTheMomentThatTheSegmentAppears) {
  for (uint64_t round = 0; round < count(3, 100); ++round) {
    Child slave = obeying(slave_config(ESHM_DISCONNECT_NEVER, kOneHourMs, 0, 0));
    pause_ms(30);
    EXPECT_FALSE(slave.has_news());
    open_master();
    ASSERT_EQ(slave.hear(), "open");
    ASSERT_EQ(ask(master(), "write hello"), "0");
    EXPECT_EQ(ask(slave, "wait"), "hello");
    leave(slave);
    leave(master());
  }
}

TEST_P(ReconnectPolicy, InitAttachesTheMomentThatAnOrphanIsStartedAfresh) {
  for (uint64_t round = 0; round < count(3, 100); ++round) {
    open_master();
    ASSERT_EQ(ask(master(), "write old"), "0");
    master().kill_now();
    Child slave = obeying(slave_config(ESHM_DISCONNECT_NEVER, kOneHourMs, 0, 0));
    pause_ms(30);
    EXPECT_FALSE(slave.has_news());
    open_master();
    ASSERT_EQ(slave.hear(), "open");
    EXPECT_EQ(ask(slave, "read"), error(ESHM_ERROR_NO_DATA));
    leave(slave);
    leave(master());
  }
}

TEST_P(ReconnectPolicy, LostMastersReturnIsNoticedThoughTheIntervalIsAnHour) {
  for (End end : kBothEnds) {
    open_master();
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_NEVER, kOneHourMs, 0, 0));
    ASSERT_TRUE(slave) << last_error();
    for (uint64_t round = 0; round < count(3, 100); ++round) {
      end_master(end);
      wait_until([&] { return !remote_is_alive(slave.get()); });
      open_master();
      ASSERT_EQ(ask(master(), "write back"), "0");
      EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "back");
    }
    leave(master());
  }
}

// With an interval of an hour only the name can tell of a master.
TEST_P(ReconnectPolicy, NameAloneTellsOfEachMasterThatFollows) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  const Link slave = open_link(slave_config(ESHM_DISCONNECT_NEVER, 3'600'000, 0, 0));
  ASSERT_TRUE(slave) << last_error();
  leave(first);
  for (int round = 0; round < 5; ++round) {
    Child next = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(next.hear(), "open");
    ASSERT_EQ(ask(next, "write " + std::to_string(round)), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), std::to_string(round));
    leave(next);
  }
}

TEST_P(ReconnectPolicy, NameAloneTellsASlaveThatWaitsInInit) {
  Child slave = standing_by(slave_config(ESHM_DISCONNECT_NEVER, 3'600'000, 0, 0));
  slave.say("open");
  pause_ms(50);
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  EXPECT_EQ(slave.hear(), "open");
  leave(slave);
  leave(master);
}

TEST_P(ReconnectPolicy, MasterThatIsRenamedToTheNameIsFound) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  const Link slave = open_link(slave_config(ESHM_DISCONNECT_NEVER, 3'600'000, 0, 0));
  ASSERT_TRUE(slave) << last_error();
  first.kill_now();
  wait_for_state(slave.get(), ESHM_PEER_DEAD);
  const std::string elsewhere = name() + "x";
  ESHMConfig other = config(ESHM_ROLE_MASTER);
  other.shm_name = elsewhere.c_str();
  Child next = obeying(other);
  ASSERT_EQ(next.hear(), "open");
  ASSERT_EQ(ask(next, "write found"), "0");
  ASSERT_EQ(rename(path_of(elsewhere).c_str(), path().c_str()), 0);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "found");
  next.kill_now();
  for (const std::string& file : {path(), path_of(elsewhere)}) unlink(file.c_str());
}

TEST_P(ReconnectPolicy, InitGivesUpByTheSamePolicy) {
  uint64_t began = now_ms();
  EXPECT_FALSE(open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 80, 3, 0)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT) << last_error();
  EXPECT_GE(now_ms() + 1, began + 2 * 80);
  began = now_ms();
  EXPECT_FALSE(open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 50, 0, 300)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT) << last_error();
  EXPECT_GE(now_ms() + 1, began + 300);
}

// ---- signals ------------------------------------------------------------------

std::atomic<uint64_t> signals_seen{0};

// A signal each half millisecond, whose handler returns, without SA_RESTART.
class SignalStorm {
 public:
  SignalStorm() {
    signals_seen = 0;
    struct sigaction action = {};
    action.sa_handler = [](int) { ++signals_seen; };
    sigaction(SIGALRM, &action, &former_);
    const itimerval often{{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
  ~SignalStorm() {
    const itimerval off{};
    setitimer(ITIMER_REAL, &off, nullptr);
    sigaction(SIGALRM, &former_, nullptr);
  }

 private:
  struct sigaction former_;
};

// In a child, since the storm takes the alarm that is this process's watchdog.
template <class Body>
void in_a_storm(Body body) {
  Child child([&](Wire& wire) {
    wire.hear();  // until the test looks
    const SignalStorm storm;
    body();
    CHILD_CHECK(signals_seen > 10);
    return 0;
  });
  child.say("go");
  EXPECT_EQ(child.join(), 0);
}

TEST_P(ReconnectPolicy, SignalsDoNotEndTheWaitForAMasterEarly) {
  in_a_storm([&] {
    const uint64_t began = now_ms();
    const Link none = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 50, 0, 300));
    CHILD_CHECK(!none && last_error_code() == ESHM_ERROR_TIMEOUT);
    CHILD_CHECK(now_ms() + 1 >= began + 300);
  });
}

TEST_P(ReconnectPolicy, SignalsCostNoAttempts) {
  in_a_storm([&] {
    const uint64_t began = now_ms();
    const Link none = open_link(slave_config(ESHM_DISCONNECT_ON_TIMEOUT, 100, 3, 0));
    CHILD_CHECK(!none && last_error_code() == ESHM_ERROR_TIMEOUT);
    CHILD_CHECK(now_ms() + 1 >= began + 200);
  });
}

TEST_P(ReconnectPolicy, SignalsDoNotEndAReadEarly) {
  open_master();
  in_a_storm([&] {
    const Link slave = open_link(slave_config(ESHM_DISCONNECT_NEVER, 100, 0, 0));
    CHILD_CHECK(slave);
    const uint64_t began = now_ms();
    CHILD_CHECK(read_text(slave.get(), 300) == error(ESHM_ERROR_TIMEOUT));
    CHILD_CHECK(now_ms() + 1 >= began + 300);
  });
  leave(master());
}

TEST_P(ReconnectPolicy, SignalsDoNotKeepASlaveFromItsMaster) {
  Child slave([&](Wire& wire) {
    const SignalStorm storm;
    const Link link = open_link(slave_config(ESHM_DISCONNECT_NEVER, 100, 0, 0));
    wire.say(outcome(link));
    return link ? obey(wire, link) : 0;
  });
  pause_ms(50);
  open_master();
  EXPECT_EQ(slave.hear(), "open");
  ASSERT_EQ(ask(master(), "write hello"), "0");
  EXPECT_EQ(ask(slave, "wait"), "hello");
  leave(slave);
  leave(master());
}

// ---- the interrupt hook ---------------------------------------------------------

struct Hook {
  std::atomic<int> calls{0};
  int allowed = 3;

  void attach_to(ESHMConfig& config) {
    config.interrupt = [](void* self) {
      Hook& hook = *static_cast<Hook*>(self);
      return ++hook.calls > hook.allowed ? 1 : 0;
    };
    config.interrupt_context = this;
  }
};

TEST_P(ReconnectPolicy, InterruptEndsTheWaitForAMasterThatIsDead) {
  open_master();
  master().kill_now();
  Hook hook;
  ESHMConfig config = slave_config(ESHM_DISCONNECT_NEVER, kOneHourMs, 0, 0);
  hook.attach_to(config);
  EXPECT_FALSE(open_link(config));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INTERRUPTED) << last_error();
  EXPECT_GT(hook.calls, hook.allowed);
  remove_name_of_the_killed();
}

TEST_P(ReconnectPolicy, InterruptEndsTheWatchOverASilentMaster) {
  open_master();
  master().stop();
  Hook hook;
  ESHMConfig config = this->config(ESHM_ROLE_MASTER);
  config.stale_threshold_ms = kOneHourMs;
  hook.attach_to(config);
  EXPECT_FALSE(open_link(config));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INTERRUPTED) << last_error();
  master().go_on();
  leave(master());
}

TEST_P(ReconnectPolicy, InterruptEndsAReadWhoseMasterIsGone) {
  for (End end : kBothEnds) {
    open_master();
    Hook hook;
    ESHMConfig config = slave_config(ESHM_DISCONNECT_NEVER, 100, 0, 0);
    hook.attach_to(config);
    const Link slave = open_link(config);
    ASSERT_TRUE(slave) << last_error();
    end_master(end);
    wait_until([&] { return !remote_is_alive(slave.get()); });
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), error(ESHM_ERROR_INTERRUPTED));
    hook.calls = -1'000'000;  // the next wait is a new one
    open_master();
    ASSERT_EQ(ask(master(), "write after all"), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "after all");
    leave(master());
  }
}

ESHM_ON_BOTH_BACKENDS(ReconnectPolicy);

}  // namespace
