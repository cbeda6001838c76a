// SPDX-License-Identifier: MIT
// eshm_hold_heartbeat silences every sign of life of one end but eshm_update_heartbeat, and
// nothing else: it talks, watches its peer and follows it as before.
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

constexpr ESHMRole kBothRoles[] = {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE};

class HoldHeartbeat : public LinkTest {
 protected:
  ESHMConfig of(ESHMRole role, bool use_threads = true) const {
    ESHMConfig config = for_ever(this->config(role));
    config.stale_threshold_ms = kHungMs;
    config.use_threads = use_threads;
    return config;
  }
  static ESHMRole other(ESHMRole role) {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }

  struct Pair {
    Link here;
    Child there;
  };
  Pair open_pair(ESHMRole role_here, bool use_threads = true) const {
    const ESHMConfig here = of(role_here, use_threads), there = of(other(role_here));
    Pair pair = role_here == ESHM_ROLE_MASTER ? Pair{open_link(here), obeying(there)}
                                              : Pair{Link(), obeying(there)};
    EXPECT_EQ(pair.there.hear(), "open");
    if (!pair.here) pair.here = open_link(here);
    EXPECT_TRUE(pair.here) << last_error();
    wait_for_state(pair.here.get(), ESHM_PEER_ALIVE);
    return pair;
  }

  // What the peer thinks of this end becomes that, while this end makes every kind of call.
  static void call_until(ESHMHandle* link, Child& there, ESHMPeerState state) {
    uint64_t message = 0;
    while (ask(there, "state") != std::to_string(state)) {
      EXPECT_EQ(write_text(link, "called"), ESHM_SUCCESS) << last_error();
      eshm_read_ex(link, &message, sizeof message, nullptr, 0);
      eshm_wait_any(&link, 1, 0);
      void* loan = nullptr;
      if (eshm_loan(link, sizeof message, &loan) == ESHM_SUCCESS) eshm_discard(link, loan);
      pause_ms(1);
    }
  }
  static uint64_t own_heartbeat(ESHMHandle* link, ESHMRole role) {
    ESHMStats stats = {};
    EXPECT_EQ(eshm_get_stats(link, &stats), ESHM_SUCCESS) << last_error();
    return role == ESHM_ROLE_MASTER ? stats.master_heartbeat : stats.slave_heartbeat;
  }
};

TEST_P(HoldHeartbeat, HeldEndThatCallsIsReportedStaleAndAliveAgainWhenItIsReleased) {
  for (const bool use_threads : {true, false}) {
    for (const ESHMRole role : kBothRoles) {
      Pair pair = open_pair(role, use_threads);
      ESHMHandle* const link = pair.here.get();
      call_until(link, pair.there, ESHM_PEER_ALIVE);
      for (uint64_t round = 0; round < count(2, 20); ++round) {
        ASSERT_EQ(eshm_hold_heartbeat(link, true), ESHM_SUCCESS) << last_error();
        call_until(link, pair.there, ESHM_PEER_STALE);
        ASSERT_EQ(eshm_hold_heartbeat(link, false), ESHM_SUCCESS) << last_error();
        call_until(link, pair.there, ESHM_PEER_ALIVE);
      }
      leave(pair.there);
    }
  }
}

TEST_P(HoldHeartbeat, StaysReportedStaleWhileItIsHeld) {
  for (const ESHMRole role : kBothRoles) {
    Pair pair = open_pair(role);
    ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), true), ESHM_SUCCESS);
    call_until(pair.here.get(), pair.there, ESHM_PEER_STALE);
    for (uint64_t i = 0; i < count(100, 2000); ++i) {
      ASSERT_EQ(write_text(pair.here.get(), "x"), ESHM_SUCCESS);
      ASSERT_EQ(ask(pair.there, "state"), std::to_string(ESHM_PEER_STALE));
      pause_ms(5);
    }
    leave(pair.there);
  }
}

TEST_P(HoldHeartbeat, MessagesPassEachWayWhileItIsHeld) {
  for (const ESHMRole role : kBothRoles) {
    Pair pair = open_pair(role);
    ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), true), ESHM_SUCCESS);
    call_until(pair.here.get(), pair.there, ESHM_PEER_STALE);
    ASSERT_EQ(write_text(pair.here.get(), "there"), ESHM_SUCCESS) << last_error();
    EXPECT_EQ(ask(pair.there, "read"), "there");
    ASSERT_EQ(ask(pair.there, "write here"), "0");
    EXPECT_EQ(read_text(pair.here.get(), UINT32_MAX), "here");
    leave(pair.there);
  }
}

TEST_P(HoldHeartbeat, CountedHeartbeatsRestWhileItIsHeld) {
  for (const ESHMRole role : kBothRoles) {
    Pair pair = open_pair(role);
    ESHMHandle* const link = pair.here.get();
    ASSERT_EQ(eshm_hold_heartbeat(link, true), ESHM_SUCCESS);
    pause_ms(10);  // a beat that had begun
    const uint64_t held = own_heartbeat(link, role);
    call_until(link, pair.there, ESHM_PEER_STALE);
    EXPECT_EQ(own_heartbeat(link, role), held);
    ASSERT_EQ(eshm_hold_heartbeat(link, false), ESHM_SUCCESS);
    wait_until([&] { return own_heartbeat(link, role) > held; });
    leave(pair.there);
  }
}

// What a bridge does: it beats when it has heard of the process that it stands for.
TEST_P(HoldHeartbeat, UpdateHeartbeatIsASignOfLifeWhileItIsHeld) {
  for (const bool use_threads : {true, false}) {
    Pair pair = open_pair(ESHM_ROLE_MASTER, use_threads);
    ESHMHandle* const link = pair.here.get();
    ASSERT_EQ(eshm_hold_heartbeat(link, true), ESHM_SUCCESS);
    call_until(link, pair.there, ESHM_PEER_STALE);
    while (ask(pair.there, "state") != std::to_string(ESHM_PEER_ALIVE)) {
      ASSERT_EQ(eshm_update_heartbeat(link), ESHM_SUCCESS) << last_error();
      pause_ms(1);
    }
    call_until(link, pair.there, ESHM_PEER_STALE);
    leave(pair.there);
  }
}

TEST_P(HoldHeartbeat, OneReleaseEndsAnyNumberOfHolds) {
  Pair pair = open_pair(ESHM_ROLE_MASTER);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), true), ESHM_SUCCESS);
  call_until(pair.here.get(), pair.there, ESHM_PEER_STALE);
  ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), false), ESHM_SUCCESS);
  call_until(pair.here.get(), pair.there, ESHM_PEER_ALIVE);
  EXPECT_EQ(eshm_hold_heartbeat(pair.here.get(), false), ESHM_SUCCESS) << "released twice";
  leave(pair.there);
}

TEST_P(HoldHeartbeat, OtherHandlesOfTheProcessBeat) {
  Pair held = open_pair(ESHM_ROLE_MASTER);
  const std::string other_name = name() + "b";
  ESHMConfig config = of(ESHM_ROLE_MASTER);
  config.shm_name = other_name.c_str();
  const Link beating = open_link(config);
  ASSERT_TRUE(beating) << last_error();
  ASSERT_EQ(eshm_hold_heartbeat(held.here.get(), true), ESHM_SUCCESS);
  call_until(held.here.get(), held.there, ESHM_PEER_STALE);
  const uint64_t before = own_heartbeat(beating.get(), ESHM_ROLE_MASTER);
  wait_until([&] { return own_heartbeat(beating.get(), ESHM_ROLE_MASTER) > before; });
  leave(held.there);
}

TEST_P(HoldHeartbeat, HeldMasterIsReplacedThoughItCalls) {
  Link held = open_link(of(ESHM_ROLE_MASTER));
  ASSERT_TRUE(held) << last_error();
  Child second = standing_by(of(ESHM_ROLE_MASTER));
  ASSERT_EQ(eshm_hold_heartbeat(held.get(), true), ESHM_SUCCESS);
  std::atomic<bool> is_over{false};
  std::thread caller([&] {
    while (!is_over) {
      write_text(held.get(), "x");
      pause_ms(1);
    }
  });
  EXPECT_EQ(ask(second, "go"), "open");
  is_over = true;
  caller.join();
  wait_until([&] { return write_text(held.get(), "late") == ESHM_ERROR_SUPERSEDED; });
  held.reset();
  leave(second);
}

TEST_P(HoldHeartbeat, HeldEndNoticesTheDeathOfItsPeerAndTheNextOne) {
  for (const ESHMRole role : kBothRoles) {
    Pair pair = open_pair(role);
    ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), true), ESHM_SUCCESS);
    pair.there.kill_now();
    wait_for_state(pair.here.get(), ESHM_PEER_DEAD);
    Child next = obeying(of(other(role)));
    ASSERT_EQ(next.hear(), "open");
    wait_for_state(pair.here.get(), ESHM_PEER_ALIVE);
    call_until(pair.here.get(), next, ESHM_PEER_STALE);
    leave(next);
  }
}

// Other sizes are another segment.
TEST_P(HoldHeartbeat, StaysHeldThroughAMoveToAnotherSegment) {
  Pair pair = open_pair(ESHM_ROLE_SLAVE);
  ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), true), ESHM_SUCCESS);
  pair.there.kill_now();
  wait_for_state(pair.here.get(), ESHM_PEER_DEAD);
  ESHMConfig config = of(ESHM_ROLE_MASTER);
  config.m2s.max_message_size = ESHM_MAX_DATA_SIZE / 2;
  Child next = obeying(config);
  ASSERT_EQ(next.hear(), "open");
  wait_for_state(pair.here.get(), ESHM_PEER_ALIVE);
  call_until(pair.here.get(), next, ESHM_PEER_STALE);
  ASSERT_EQ(eshm_hold_heartbeat(pair.here.get(), false), ESHM_SUCCESS);
  call_until(pair.here.get(), next, ESHM_PEER_ALIVE);
  leave(next);
}

TEST_P(HoldHeartbeat, IsRefusedWhereThereIsNoHeartbeat) {
  EXPECT_EQ(eshm_hold_heartbeat(nullptr, true), ESHM_ERROR_INVALID_PARAM);
  const Link master = open_link(of(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  {
    const Link observer = open_link(of(ESHM_ROLE_OBSERVER));
    ASSERT_TRUE(observer) << last_error();
    EXPECT_EQ(eshm_hold_heartbeat(observer.get(), true), ESHM_ERROR_ROLE_MISMATCH);
  }
  Child forked([&](Wire&) {
    return eshm_hold_heartbeat(master.get(), true) == ESHM_ERROR_NOT_INITIALIZED ? 0 : 1;
  });
  EXPECT_EQ(forked.join(), 0);
}

ESHM_ON_BOTH_BACKENDS(HoldHeartbeat);

}  // namespace
