// SPDX-License-Identifier: MIT
// A peer that stands still is told stale, and never dead; what is late is not
// lost.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

class StaleDetection : public LinkTest {
 protected:
  ESHMConfig of(ESHMRole role, uint32_t stale_threshold_ms) const {
    ESHMConfig config = for_ever(this->config(role));
    config.stale_threshold_ms = stale_threshold_ms;
    return config;
  }
  static ESHMRole other(ESHMRole role) {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }

  // A link here and a process at its other end, both open and met.
  struct Pair {
    Link here;
    Child there;
  };
  Pair open_pair(ESHMRole role_here, uint32_t stale_threshold_ms) const {
    const ESHMConfig here = of(role_here, stale_threshold_ms);
    const ESHMConfig there = of(other(role_here), kPatientMs);
    Pair pair = role_here == ESHM_ROLE_MASTER ? Pair{open_link(here), obeying(there)}
                                              : Pair{Link(), obeying(there)};
    EXPECT_EQ(pair.there.hear(), "open");
    if (!pair.here) pair.here = open_link(here);
    EXPECT_TRUE(pair.here) << last_error();
    wait_for_state(pair.here.get(), ESHM_PEER_ALIVE);
    return pair;
  }
};

constexpr ESHMRole kBothRoles[] = {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE};

uint64_t peer_heartbeat(ESHMHandle* link, ESHMRole peer) {
  ESHMStats stats = {};
  EXPECT_EQ(eshm_get_stats(link, &stats), ESHM_SUCCESS);
  return peer == ESHM_ROLE_MASTER ? stats.master_heartbeat : stats.slave_heartbeat;
}

TEST_P(StaleDetection, StopOfHalfTheThresholdIsNotTold) {
  for (ESHMRole here : kBothRoles) {
    EventLog events;
    Pair pair = open_pair(here, 4000);
    events.listen_to(pair.here.get());
    for (uint64_t round = 0; round < count(1, 50); ++round) {
      pair.there.stop();
      for (const uint64_t stopped = now_ms(); now_ms() - stopped < 2000;) {
        EXPECT_EQ(remote_state(pair.here.get()), ESHM_PEER_ALIVE);
        pause_ms(10);
      }
      const uint64_t before = peer_heartbeat(pair.here.get(), other(here));
      pair.there.go_on();
      // Two stops without a beat between them would be one.
      wait_until([&] { return peer_heartbeat(pair.here.get(), other(here)) > before; });
    }
    EXPECT_EQ(stale_reports_of(pair.here.get()), 0u);
    EXPECT_EQ(events.count_of(ESHM_EVENT_STALE), 0u);
    EXPECT_EQ(ask(pair.there, "write here"), "0");
    EXPECT_EQ(read_text(pair.here.get(), 0), "here");
    leave(pair.there);
  }
}

TEST_P(StaleDetection, LongStopIsToldStaleAndAliveAgainWithoutAReconnectAndNothingIsLost) {
  for (ESHMRole here : kBothRoles) {
    EventLog events;
    Pair pair = open_pair(here, kHungMs);
    ESHMHandle* const link = pair.here.get();
    events.listen_to(link);
    const uint32_t reconnects = reconnects_of(link);
    const uint64_t rounds = count(2, 30);
    for (uint64_t round = 1; round <= rounds; ++round) {
      const std::string number = std::to_string(round);
      ASSERT_EQ(ask(pair.there, "write before " + number), "0");
      pair.there.stop();
      wait_for_state(link, ESHM_PEER_STALE);
      EXPECT_FALSE(remote_is_alive(link));
      EXPECT_EQ(read_text(link, 0), "before " + number);
      EXPECT_EQ(read_text(link, 0), error(ESHM_ERROR_NO_DATA));
      // It may read this when it goes on.
      EXPECT_EQ(write_text(link, "meanwhile " + number), ESHM_SUCCESS) << last_error();
      pair.there.go_on();
      wait_for_state(link, ESHM_PEER_ALIVE);
      EXPECT_EQ(ask(pair.there, "read"), "meanwhile " + number);
      ASSERT_EQ(ask(pair.there, "write after " + number), "0");
      EXPECT_EQ(read_text(link, 0), "after " + number);
    }
    EXPECT_EQ(reconnects_of(link), reconnects);
    EXPECT_GE(stale_reports_of(link), rounds);
    events.wait_for(ESHM_EVENT_ALIVE, rounds);
    EXPECT_EQ(events.count_of(ESHM_EVENT_DEAD), 0u);
    EXPECT_EQ(events.count_of(ESHM_EVENT_LEFT), 0u);
    EXPECT_EQ(events.count_of(ESHM_EVENT_RECONNECTED), 0u);
    EXPECT_EQ(events.count_of(ESHM_EVENT_GAVE_UP), 0u);
    leave(pair.there);
    pair.here.reset();
  }
}

TEST_P(StaleDetection, StaleIsNotToldBeforeTheThresholdIsOver) {
  for (ESHMRole here : kBothRoles) {
    Pair pair = open_pair(here, kHungMs);
    std::atomic<bool> stopped{false};
    std::thread stopper([&] {
      pause_ms(20);
      pair.there.stop();
      stopped = true;
    });
    // The last heartbeat came after `beat_after`: the counter was still the old one then.
    uint64_t beat_after = now_ms(), looked_at = beat_after;
    uint64_t beats = peer_heartbeat(pair.here.get(), other(here));
    for (;;) {
      const bool stale = remote_state(pair.here.get()) == ESHM_PEER_STALE;
      if (stale) {
        EXPECT_GE(now_ms() + 1, beat_after + kHungMs);
      }
      if (stale && stopped) break;
      const uint64_t now = now_ms(), newest = peer_heartbeat(pair.here.get(), other(here));
      if (newest != beats) beat_after = looked_at;
      beats = newest;
      looked_at = now;
    }
    stopper.join();
    pair.there.go_on();
    leave(pair.there);
  }
}

TEST_P(StaleDetection, StoppedForManyThresholdsIsStillNotDeadUntilItIsKilled) {
  for (ESHMRole here : kBothRoles) {
    Pair pair = open_pair(here, 100);
    pair.there.stop();
    wait_for_state(pair.here.get(), ESHM_PEER_STALE);
    const uint64_t told = stale_reports_of(pair.here.get());
    for (uint64_t i = 0; i < count(50, 300); ++i) {
      ASSERT_EQ(remote_state(pair.here.get()), ESHM_PEER_STALE);
      pause_ms(10);
    }
    EXPECT_EQ(stale_reports_of(pair.here.get()), told) << "told again and again";
    pair.there.kill_now();
    wait_for_state(pair.here.get(), ESHM_PEER_DEAD);
  }
}

TEST_P(StaleDetection, StatsCallAStalePeerNotAlive) {
  Pair pair = open_pair(ESHM_ROLE_SLAVE, kHungMs);
  pair.there.stop();
  wait_for_state(pair.here.get(), ESHM_PEER_STALE);
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(pair.here.get(), &stats), ESHM_SUCCESS);
  EXPECT_FALSE(stats.master_alive);
  EXPECT_TRUE(stats.slave_alive);
  EXPECT_EQ(stats.stale_threshold, kHungMs);
  EXPECT_EQ(stats.master_pid, pair.there.pid());
  pair.there.go_on();
  leave(pair.there);
}

TEST_P(StaleDetection, ReadFromAStalePeerWaitsItsWholeTime) {
  for (ESHMRole here : kBothRoles) {
    Pair pair = open_pair(here, 100);
    pair.there.stop();
    wait_for_state(pair.here.get(), ESHM_PEER_STALE);
    const uint64_t began = now_ms();
    EXPECT_EQ(read_text(pair.here.get(), 250), error(ESHM_ERROR_TIMEOUT));
    EXPECT_GE(now_ms() + 1, began + 250);
    pair.there.go_on();
    leave(pair.there);
  }
}

// Begun while it stood still, ended by what it says when it goes on.
TEST_P(StaleDetection, BlockedReadIsEndedByAPeerThatGoesOn) {
  for (ESHMRole here : kBothRoles) {
    Pair pair = open_pair(here, 100);
    pair.there.stop();
    wait_for_state(pair.here.get(), ESHM_PEER_STALE);
    pair.there.say("write late");
    std::thread reader(
        [&] { EXPECT_EQ(read_text(pair.here.get(), UINT32_MAX), "late") << last_error(); });
    pause_ms(50);
    pair.there.go_on();
    reader.join();
    EXPECT_EQ(pair.there.hear(), "0");
    leave(pair.there);
  }
}

TEST_P(StaleDetection, GivingUpOnAStaleMasterEndsWithItsHeartbeat) {
  for (ESHMDisconnectBehavior behavior :
       {ESHM_DISCONNECT_IMMEDIATELY, ESHM_DISCONNECT_ON_TIMEOUT}) {
    Child master = obeying(of(ESHM_ROLE_MASTER, kPatientMs));
    ASSERT_EQ(master.hear(), "open");
    ESHMConfig config = of(ESHM_ROLE_SLAVE, kHungMs);
    config.disconnect_behavior = behavior;
    config.max_reconnect_attempts = 2;
    config.reconnect_retry_interval_ms = 20;
    const Link slave = open_link(config);
    ASSERT_TRUE(slave) << last_error();
    master.stop();
    EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_MASTER_STALE);
    EXPECT_EQ(read_text(slave.get(), 1000), error(ESHM_ERROR_MASTER_STALE));
    EXPECT_EQ(remote_state(slave.get()), ESHM_PEER_STALE);
    master.go_on();
    wait_for_state(slave.get(), ESHM_PEER_ALIVE);
    ASSERT_EQ(ask(master, "write again"), "0");
    // Said and heard again, as soon as the verdict is taken back.
    std::string text;
    wait_until([&] {
      return (text = read_text(slave.get(), 0)) != error(ESHM_ERROR_MASTER_STALE);
    });
    EXPECT_EQ(text, "again");
    wait_until([&] { return write_text(slave.get(), "answer") == ESHM_SUCCESS; });
    EXPECT_EQ(ask(master, "read"), "answer");
    leave(master);
  }
}

// The policy's clock runs while the master is stale.
TEST_P(StaleDetection, UnlimitedSlaveNeverGivesUpOnAStaleMaster) {
  Pair pair = open_pair(ESHM_ROLE_SLAVE, 100);
  pair.there.stop();
  wait_for_state(pair.here.get(), ESHM_PEER_STALE);
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(read_text(pair.here.get(), 0), error(ESHM_ERROR_NO_DATA));
    pause_ms(10);
  }
  pair.there.go_on();
  leave(pair.there);
}

// Starved is stale at worst. How often that is so depends on the machine, and
// is printed.
TEST_P(StaleDetection, NobodyIsToldDeadOnAMachineThatIsTwiceTooBusy) {
  std::vector<Child> busy;
  for (long i = 0; i < 2 * sysconf(_SC_NPROCESSORS_ONLN); ++i) {
    busy.emplace_back([](Wire& wire) {
      while (!wire.has_news()) {
        for (volatile int spin = 0; spin < 100000; spin = spin + 1) {
        }
      }
      return 0;
    });
  }
  EventLog events;
  Pair pair = open_pair(ESHM_ROLE_MASTER, 100);
  events.listen_to(pair.here.get());
  uint64_t answers = 0;
  const uint64_t end = now_ms() + count(2000, 60000);
  while (now_ms() < end) {
    const ESHMPeerState state = remote_state(pair.here.get());
    ASSERT_TRUE(state == ESHM_PEER_ALIVE || state == ESHM_PEER_STALE) << state;
    ASSERT_EQ(write_text(pair.here.get(), "x"), ESHM_SUCCESS);
    answers += ask(pair.there, "read") == "x";
  }
  EXPECT_GT(answers, 0u);
  const uint64_t stale = stale_reports_of(pair.here.get());
  std::printf("          stale reports: %llu, messages: %llu\n",
              static_cast<unsigned long long>(stale), static_cast<unsigned long long>(answers));
  RecordProperty("stale_reports", std::to_string(stale));
  EXPECT_EQ(events.count_of(ESHM_EVENT_DEAD), 0u);
  EXPECT_EQ(reconnects_of(pair.here.get()), 0u);
  EXPECT_EQ(ask(pair.there, "state"), std::to_string(ESHM_PEER_ALIVE));
  for (Child& child : busy) leave(child);
  leave(pair.there);
  pair.here.reset();
}

ESHM_ON_BOTH_BACKENDS(StaleDetection);

}  // namespace
