// SPDX-License-Identifier: MIT
// The two state machines of a link, walked transition by transition: what one
// look at the peer makes of it, and how long a slave is patient.
#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "endpoint/peer_watch.h"
#include "endpoint/retry_policy.h"
#include "endpoint/settings.h"
#include "support/counts.h"

namespace eshm::endpoint {

std::ostream& operator<<(std::ostream& out, RetryPolicy::Advice advice) {
  static const char* const kNames[] = {"idle", "wait", "attempt", "give up"};
  return out << kNames[static_cast<int>(advice)];
}

}  // namespace eshm::endpoint

namespace {

using eshm::endpoint::longest_gap_ns;
using eshm::endpoint::PeerWatch;
using eshm::endpoint::RetryPolicy;
using eshm::endpoint::Sighting;

constexpr uint64_t kThreshold = 100;
constexpr uint64_t kNever = UINT64_MAX;

// Who is known, and who comes after.
constexpr uint64_t kKnown = 11, kOther = 22;

// ---- the peer ---------------------------------------------------------------

constexpr ESHMPeerState kStates[] = {ESHM_PEER_NEVER_SEEN, ESHM_PEER_ALIVE, ESHM_PEER_STALE,
                                     ESHM_PEER_DEAD, ESHM_PEER_LEFT};
const char* const kStateNames[] = {"never seen", "alive", "stale", "dead", "left"};

// At time 1000, having seen kKnown (unless never) with 5 beats at time 1000.
PeerWatch watch_in(ESHMPeerState state) {
  PeerWatch watch(kThreshold);
  if (state == ESHM_PEER_NEVER_SEEN) return watch;
  const uint64_t met_at = state == ESHM_PEER_STALE ? 1000 - kThreshold : 1000;
  watch.see({met_at, true, kKnown, 0, 5});
  if (state == ESHM_PEER_STALE) watch.see({1000, true, kKnown, 0, 5});
  if (state == ESHM_PEER_DEAD) watch.see({1000, false, kKnown, 0, 5});
  if (state == ESHM_PEER_LEFT) watch.see({1000, false, kKnown, kKnown, 5});
  EXPECT_EQ(watch.state(), state);
  return watch;
}

// What one look tells.
std::vector<ESHMEvent> look(PeerWatch& watch, const Sighting& sighting) {
  std::vector<ESHMEvent> told;
  for (int i = 0; i < PeerWatch::kMostEventsPerSighting; ++i) {
    if (const auto event = watch.see(sighting)) told.push_back(*event);
  }
  EXPECT_EQ(watch.see(sighting), std::nullopt) << "there is more to tell";
  return told;
}

struct Outcome {
  ESHMPeerState state;
  std::vector<ESHMEvent> told;
};

constexpr std::nullopt_t kNothing = std::nullopt;
const Outcome kStaysNeverSeen{ESHM_PEER_NEVER_SEEN, {}};
const Outcome kStaysAlive{ESHM_PEER_ALIVE, {}};
const Outcome kStaysStale{ESHM_PEER_STALE, {}};
const Outcome kStaysDead{ESHM_PEER_DEAD, {}};
const Outcome kStaysLeft{ESHM_PEER_LEFT, {}};
const Outcome kConnects{ESHM_PEER_ALIVE, {ESHM_EVENT_CONNECTED}};
const Outcome kReconnects{ESHM_PEER_ALIVE, {ESHM_EVENT_RECONNECTED}};
const Outcome kBeatsAgain{ESHM_PEER_ALIVE, {ESHM_EVENT_ALIVE}};
const Outcome kGoesStale{ESHM_PEER_STALE, {ESHM_EVENT_STALE}};
const Outcome kDies{ESHM_PEER_DEAD, {ESHM_EVENT_DEAD}};
const Outcome kLeaves{ESHM_PEER_LEFT, {ESHM_EVENT_LEFT}};
const Outcome kCameAndDied{ESHM_PEER_DEAD, {ESHM_EVENT_CONNECTED, ESHM_EVENT_DEAD}};
const Outcome kCameAndLeft{ESHM_PEER_LEFT, {ESHM_EVENT_CONNECTED, ESHM_EVENT_LEFT}};
const Outcome kAnotherCameAndDied{ESHM_PEER_DEAD, {ESHM_EVENT_RECONNECTED, ESHM_EVENT_DEAD}};
const Outcome kAnotherCameAndLeft{ESHM_PEER_LEFT, {ESHM_EVENT_RECONNECTED, ESHM_EVENT_LEFT}};

struct Row {
  const char* what_is_seen;
  Sighting sighting;
  Outcome from[5];  // in the order of kStates
};

// {now, holds lock, incarnation, left, beats}
const Row kRows[] = {
    {"an empty record", {1001, false, 0, 0, 0},
     {kStaysNeverSeen, kDies, kDies, kStaysDead, kStaysLeft}},
    {"a newcomer that has the lock and is filling its record in", {1001, true, 0, 0, 5},
     {kStaysNeverSeen, kStaysAlive, kStaysStale, kStaysDead, kStaysLeft}},
    {"the known one beats", {1001, true, kKnown, 0, 6},
     {kConnects, kStaysAlive, kBeatsAgain, kStaysDead, kStaysLeft}},
    {"the known one beats after a long time without a look", {9000, true, kKnown, 0, 6},
     {kConnects, kStaysAlive, kBeatsAgain, kStaysDead, kStaysLeft}},
    {"its counter stands still for less than the threshold",
     {1000 + kThreshold - 1, true, kKnown, 0, 5},
     {kConnects, kStaysAlive, kStaysStale, kStaysDead, kStaysLeft}},
    {"its counter stands still for the threshold", {1000 + kThreshold, true, kKnown, 0, 5},
     {kConnects, kGoesStale, kStaysStale, kStaysDead, kStaysLeft}},
    {"its counter stands still for a day", {86'400'000, true, kKnown, 0, 5},
     {kConnects, kGoesStale, kStaysStale, kStaysDead, kStaysLeft}},
    {"its lock is free", {1001, false, kKnown, 0, 5},
     {kCameAndDied, kDies, kDies, kStaysDead, kStaysLeft}},
    {"its lock is free, and it beat shortly before", {1001, false, kKnown, 0, 6},
     {kCameAndDied, kDies, kDies, kStaysDead, kStaysLeft}},
    {"it has said good-bye, and still has its lock", {1001, true, kKnown, kKnown, 6},
     {kConnects, kStaysAlive, kBeatsAgain, kStaysDead, kStaysLeft}},
    {"it has said good-bye, and its lock is free", {1001, false, kKnown, kKnown, 6},
     {kCameAndLeft, kLeaves, kLeaves, kStaysDead, kStaysLeft}},
    {"its lock is free, and one before it had said good-bye", {1001, false, kKnown, 7, 5},
     {kCameAndDied, kDies, kDies, kStaysDead, kStaysLeft}},
    {"another one holds the role", {1001, true, kOther, 0, 0},
     {kConnects, kReconnects, kReconnects, kReconnects, kReconnects}},
    {"another one after a good-bye of the known one", {1001, true, kOther, kKnown, 0},
     {kConnects, kReconnects, kReconnects, kReconnects, kReconnects}},
    {"another one came and died between two looks", {1001, false, kOther, 0, 0},
     {kCameAndDied, kAnotherCameAndDied, kAnotherCameAndDied, kAnotherCameAndDied,
      kAnotherCameAndDied}},
    {"another one came and left between two looks", {1001, false, kOther, kOther, 0},
     {kCameAndLeft, kAnotherCameAndLeft, kAnotherCameAndLeft, kAnotherCameAndLeft,
      kAnotherCameAndLeft}},
    {"the known one left, another one came and died", {1001, false, kOther, kKnown, 0},
     {kCameAndDied, kAnotherCameAndDied, kAnotherCameAndDied, kAnotherCameAndDied,
      kAnotherCameAndDied}},
};

TEST(PeerWatchRules, EveryTransition) {
  for (const Row& row : kRows) {
    for (size_t i = 0; i < std::size(kStates); ++i) {
      PeerWatch watch = watch_in(kStates[i]);
      EXPECT_EQ(look(watch, row.sighting), row.from[i].told)
          << kStateNames[i] << ": " << row.what_is_seen;
      EXPECT_EQ(watch.state(), row.from[i].state) << kStateNames[i] << ": " << row.what_is_seen;
    }
  }
}

// Where the kernel is not asked, its answer is heard at the next look at the
// latest, and at this one unless the peer has beaten since the last.
TEST(PeerWatchRules, LockIsAskedForWhereverItsAnswerCounts) {
  for (const Row& row : kRows) {
    for (size_t i = 0; i < std::size(kStates); ++i) {
      PeerWatch asking = watch_in(kStates[i]), sparing = asking;
      if (asking.needs_lock_probe(row.sighting)) continue;
      look(asking, row.sighting);
      Sighting unasked = row.sighting;
      unasked.holds_lock = sparing.is_there();
      const bool has_beaten = sparing.is_there() && row.sighting.signs != 5;
      look(sparing, unasked);
      if (!has_beaten) {
        EXPECT_EQ(asking.state(), sparing.state()) << kStateNames[i] << ": " << row.what_is_seen;
      } else {
        EXPECT_TRUE(sparing.needs_lock_probe(row.sighting)) << row.what_is_seen;
        look(sparing, row.sighting);
        EXPECT_EQ(asking.state(), sparing.state()) << kStateNames[i] << ": " << row.what_is_seen;
      }
    }
  }
}

TEST(PeerWatchRules, HeartbeatPutsTheThresholdOff) {
  PeerWatch watch(kThreshold);
  watch.see({0, true, kKnown, 0, 1});
  for (uint64_t beat = 2; beat < 50; ++beat) {
    const uint64_t now = (beat - 1) * (kThreshold - 1);
    EXPECT_EQ(watch.see({now, true, kKnown, 0, beat}), kNothing) << now;
    EXPECT_EQ(watch.see({now + kThreshold - 2, true, kKnown, 0, beat}), kNothing) << now;
  }
  EXPECT_EQ(watch.state(), ESHM_PEER_ALIVE);
}

// A counter that a newcomer set to the old one's value, or that went around.
TEST(PeerWatchRules, AnyChangeOfTheCounterIsAHeartbeat) {
  PeerWatch watch(kThreshold);
  watch.see({0, true, kKnown, 0, UINT64_MAX});
  EXPECT_EQ(watch.see({kThreshold, true, kKnown, 0, 0}), kNothing);
  EXPECT_EQ(watch.see({2 * kThreshold - 1, true, kKnown, 0, 0}), kNothing);
  EXPECT_EQ(watch.see({2 * kThreshold, true, kKnown, 0, 0}), ESHM_EVENT_STALE);
}

TEST(PeerWatchRules, NewcomerHasAWholeThreshold) {
  for (ESHMPeerState state : {ESHM_PEER_STALE, ESHM_PEER_DEAD, ESHM_PEER_LEFT}) {
    PeerWatch watch = watch_in(state);
    EXPECT_EQ(watch.see({5000, true, kOther, 0, 5}), ESHM_EVENT_RECONNECTED);
    EXPECT_EQ(watch.see({5000 + kThreshold - 1, true, kOther, 0, 5}), kNothing);
    EXPECT_EQ(watch.see({5000 + kThreshold, true, kOther, 0, 5}), ESHM_EVENT_STALE);
  }
}

TEST(PeerWatchRules, OldPeerIsNotMetAgainAfterItsSuccessor) {
  PeerWatch watch = watch_in(ESHM_PEER_ALIVE);
  watch.see({1001, true, kOther, 0, 0});
  EXPECT_EQ(watch.see({1002, false, kOther, 0, 0}), ESHM_EVENT_DEAD);
  EXPECT_EQ(watch.incarnation(), kOther);
}

TEST(PeerWatchRules, MovedToAnotherSegmentTheSameNumbersMeanSomebodyElse) {
  for (ESHMPeerState state : kStates) {
    if (state == ESHM_PEER_NEVER_SEEN) continue;  // whoever moves had a master
    PeerWatch watch = watch_in(state);
    watch.forget_segment();
    EXPECT_TRUE(watch.needs_lock_probe({1001, true, kKnown, 0, 5}));
    EXPECT_EQ(watch.see({1001, true, kKnown, 0, 5}), ESHM_EVENT_RECONNECTED) << state;
    EXPECT_EQ(watch.state(), ESHM_PEER_ALIVE);
  }
}

// The successor died between the move and the first look at it.
TEST(PeerWatchRules, MovedToASegmentWhoseHolderIsDeadItIsNotThere) {
  for (ESHMPeerState state : {ESHM_PEER_ALIVE, ESHM_PEER_STALE, ESHM_PEER_DEAD, ESHM_PEER_LEFT}) {
    PeerWatch watch = watch_in(state);
    watch.forget_segment();
    EXPECT_EQ(look(watch, {1001, false, kOther, 0, 0}),
              std::vector<ESHMEvent>({ESHM_EVENT_RECONNECTED, ESHM_EVENT_DEAD}));
    EXPECT_FALSE(watch.is_there()) << "was " << kStateNames[state];
    watch.see({1002, true, kOther + 1, 0, 0});
    EXPECT_EQ(watch.state(), ESHM_PEER_ALIVE) << "was " << kStateNames[state];
  }
}

// ---- a newcomer that does not get ready

constexpr Sighting half_way(uint64_t now) { return {now, true, 0, 0, 5, true}; }

TEST(PeerWatchRules, NewcomerWhoseRecordStaysIncompleteIsStaleAfterTheThreshold) {
  for (ESHMPeerState state : kStates) {
    PeerWatch watch = watch_in(state);
    ASSERT_TRUE(watch.needs_lock_probe(half_way(1001))) << state;
    EXPECT_EQ(watch.see(half_way(1001)), kNothing) << state;
    EXPECT_EQ(watch.see(half_way(1000 + kThreshold)), kNothing) << state;
    EXPECT_EQ(watch.state(), state);
    const auto event = watch.see(half_way(1001 + kThreshold));
    EXPECT_EQ(watch.state(), ESHM_PEER_STALE);
    EXPECT_EQ(event.has_value(), state != ESHM_PEER_STALE) << "told once";
    EXPECT_EQ(watch.see(half_way(9000)), kNothing) << state;
    // It gets ready after all, or dies. A good-bye was its predecessor's.
    PeerWatch dying = watch;
    ASSERT_TRUE(dying.needs_lock_probe({9001, false, 0, kKnown, 5, true}));
    EXPECT_EQ(dying.see({9001, false, 0, kKnown, 5, true}), ESHM_EVENT_DEAD) << state;
    EXPECT_EQ(watch.see({9001, true, kOther, 0, 5, true}),
              state == ESHM_PEER_NEVER_SEEN ? ESHM_EVENT_CONNECTED : ESHM_EVENT_RECONNECTED);
    EXPECT_EQ(watch.state(), ESHM_PEER_ALIVE);
  }
}

// Stopped before it has touched the record, which still shows the last holder.
TEST(PeerWatchRules, NewcomerBehindItsPredecessorsRecordIsStaleAfterTheThreshold) {
  for (ESHMPeerState state : {ESHM_PEER_DEAD, ESHM_PEER_LEFT}) {
    PeerWatch watch = watch_in(state);
    const Sighting behind{1001, true, kKnown, 0, 5, true};
    ASSERT_TRUE(watch.needs_lock_probe(behind));
    EXPECT_EQ(watch.see(behind), kNothing);
    EXPECT_EQ(watch.see({1001 + kThreshold, true, kKnown, 0, 5, true}), ESHM_EVENT_STALE);
    EXPECT_EQ(watch.see({5000, true, 0, 0, 5, true}), kNothing);
    EXPECT_EQ(watch.see({5001, true, kOther, 0, 5, true}), ESHM_EVENT_RECONNECTED);
  }
}

TEST(PeerWatchRules, NewcomersBetweenWhomTheLockWasFreeHaveAThresholdEach) {
  PeerWatch watch(kThreshold);
  watch.see(half_way(1000));
  watch.see({1050, false, 0, 0, 0, true});
  EXPECT_EQ(watch.see(half_way(1060)), kNothing);
  EXPECT_EQ(watch.see(half_way(1059 + kThreshold)), kNothing);
  EXPECT_EQ(watch.see(half_way(1060 + kThreshold)), ESHM_EVENT_STALE);
}

// ---- a slave has a master from the beginning

TEST(PeerWatchRules, MasterThatIsGoneByTheFirstLookIsDeadOrHasLeft) {
  for (bool said_good_bye : {false, true}) {
    for (uint64_t incarnation : {uint64_t(0), kKnown}) {
      PeerWatch watch(kThreshold, true);
      const bool has_left = said_good_bye && incarnation != 0;
      const Sighting gone{1000, false, incarnation, has_left ? kKnown : 0, 5};
      ASSERT_TRUE(watch.needs_lock_probe(gone));
      std::vector<ESHMEvent> told{has_left ? ESHM_EVENT_LEFT : ESHM_EVENT_DEAD};
      if (incarnation != 0) told.insert(told.begin(), ESHM_EVENT_CONNECTED);
      EXPECT_EQ(look(watch, gone), told);
      EXPECT_FALSE(watch.needs_lock_probe(gone)) << "a system call each look";
      EXPECT_EQ(watch.see({1001, true, kOther, 0, 0}), ESHM_EVENT_RECONNECTED);
    }
  }
}

// A peer of which the truth is known, looked at as the tender looks.
TEST(PeerWatchRules, NoWalkOfAPeersLifeIsMistold) {
  test::Random random;
  PeerWatch watch(kThreshold);
  bool lives = false, is_complete = false;
  bool was_complete = false;
  uint64_t now = 1, incarnation = 0, left = 0, beats = 0, last_beat = 0;
  uint64_t next_incarnation = 100;
  bool somebody_came = false;
  size_t alive_told = 0, dead_told = 0, left_told = 0, stale_told = 0;
  for (uint64_t step = 0; step < test::count(200'000, 20'000'000); ++step) {
    now += random.up_to(10);
    switch (random.up_to(30)) {
      case 0:
        lives = false;  // killed; its record stays
        break;
      case 1:
        if (lives && is_complete) {
          left = incarnation;
          lives = false;
        }
        break;
      case 2:
        if (!lives) {
          lives = true;
          is_complete = false;
        } else {
          is_complete = true;
        }
        break;
      case 3:
        now += 2 * kThreshold;  // stopped
        break;
      default:
        if (lives && is_complete && random.up_to(3) != 0) ++beats, last_beat = now;
    }
    if (lives && is_complete && !was_complete) incarnation = ++next_incarnation;
    was_complete = lives && is_complete;

    Sighting sighting{now, false, lives && !is_complete ? 0 : incarnation, left, beats,
                      lives && !is_complete};
    sighting.holds_lock = watch.needs_lock_probe(sighting) ? lives : watch.is_there();
    const ESHMPeerState before = watch.state();
    const uint64_t incarnation_before = watch.incarnation();
    std::vector<ESHMEvent> told = look(watch, sighting);
    const bool is_another = incarnation_before != watch.incarnation();
    ASSERT_EQ(!told.empty(), before != watch.state() || is_another);
    const bool is_known = watch.incarnation() == incarnation && incarnation != 0;
    if (lives && is_complete) {
      ASSERT_TRUE(watch.is_there() && is_known) << "a living peer is told dead, step " << step;
    }
    if (!lives) {  // the second look, at the latest
      sighting.holds_lock = watch.needs_lock_probe(sighting) ? lives : watch.is_there();
      for (ESHMEvent event : look(watch, sighting)) told.push_back(event);
      ASSERT_FALSE(watch.is_there()) << "a dead peer is told alive, step " << step;
      ASSERT_EQ(watch.incarnation(), incarnation) << "one was not seen, step " << step;
    }
    for (ESHMEvent event : told) {
      const bool is_arrival = event == ESHM_EVENT_CONNECTED || event == ESHM_EVENT_RECONNECTED;
      const bool is_end = event == ESHM_EVENT_DEAD || event == ESHM_EVENT_LEFT;
      if (event == ESHM_EVENT_STALE) {
        ASSERT_GE(now - last_beat, kThreshold) << "step " << step;
      }
      if (event == ESHM_EVENT_LEFT) {
        ASSERT_EQ(left, incarnation) << "step " << step;
      }
      if (is_end) {
        ASSERT_TRUE(somebody_came) << "an end without a beginning, step " << step;
      }
      // A newcomer that hangs half-way is told as stale.
      somebody_came = is_arrival || (!is_end && (somebody_came || event == ESHM_EVENT_STALE));
      alive_told += is_arrival;
      stale_told += event == ESHM_EVENT_STALE;
    }
    dead_told += watch.state() == ESHM_PEER_DEAD;
    left_told += watch.state() == ESHM_PEER_LEFT;
  }
  // The walk has been everywhere.
  EXPECT_GT(alive_told, 100u);
  EXPECT_GT(stale_told, 100u);
  EXPECT_GT(dead_told, 100u);
  EXPECT_GT(left_told, 100u);
}

// ---- a watcher that is itself away ---------------------------------------------

constexpr uint64_t kInterval = 10;

// As a link's own watch, with a planned interval of a tenth of the threshold.
PeerWatch fair_watch(bool is_rare = false) {
  PeerWatch watch(kThreshold, false, eshm::endpoint::Silence(longest_gap_ns(kInterval, kThreshold), is_rare));
  watch.see({1000, true, kKnown, 0, 5});
  return watch;
}

TEST(FairWatch, HangIsFoundWithinSixChecksHoweverLateTheyCome) {
  for (const uint64_t gap : {kThreshold / 5, kThreshold, 100 * kThreshold, uint64_t(1) << 60}) {
    PeerWatch watch = fair_watch();
    uint64_t now = 1000;
    int checks = 0;
    while (watch.state() == ESHM_PEER_ALIVE) {
      now += gap;
      look(watch, {now, true, kKnown, 0, 5});
      ++checks;
    }
    EXPECT_EQ(checks, 6) << gap;
  }
}

TEST(FairWatch, AbsenceOfTheWatcherIsNotThePeersSilence) {
  PeerWatch watch = fair_watch();
  uint64_t now = 1000;
  for (uint64_t beats = 5; beats < 1000; ++beats) {
    now += 50 * kThreshold;  // both were stopped, and the peer has not come to its beat yet
    EXPECT_TRUE(look(watch, {now, true, kKnown, 0, beats}).empty());
    now += 10;
    EXPECT_TRUE(look(watch, {now, true, kKnown, 0, beats + 1}).empty());
  }
}

TEST(FairWatch, ChecksInTimeCountWhole) {
  PeerWatch watch = fair_watch();
  for (uint64_t now = 1010; now < 1000 + kThreshold; now += 10) {
    EXPECT_TRUE(look(watch, {now, true, kKnown, 0, 5}).empty()) << now;
  }
  EXPECT_EQ(look(watch, {1000 + kThreshold, true, kKnown, 0, 5}),
            std::vector<ESHMEvent>{ESHM_EVENT_STALE});
}

TEST(FairWatch, WatcherThatChecksRarelyByDesignFindsAHangByItsOwnInterval) {
  PeerWatch watch = fair_watch(true);
  uint64_t now = 1000;
  uint64_t beats = 5;
  for (int i = 0; i < 100; ++i) look(watch, {now += kThreshold / 2, true, kKnown, 0, ++beats});
  ASSERT_EQ(watch.state(), ESHM_PEER_ALIVE);
  look(watch, {now += kThreshold / 2, true, kKnown, 0, beats});
  EXPECT_EQ(watch.state(), ESHM_PEER_ALIVE);
  look(watch, {now += kThreshold / 2, true, kKnown, 0, beats});
  EXPECT_EQ(watch.state(), ESHM_PEER_STALE);
  // One long absence hardly changes what is usual.
  look(watch, {now += 1000 * kThreshold, true, kKnown, 0, ++beats});
  look(watch, {now += 1000 * kThreshold, true, kKnown, 0, beats});
  EXPECT_EQ(watch.state(), ESHM_PEER_ALIVE);
}

TEST(FairWatch, NewcomerHalfWayIsGivenTheSameTime) {
  PeerWatch watch(kThreshold, false, eshm::endpoint::Silence(longest_gap_ns(kInterval, kThreshold), false));
  look(watch, {1000, true, 0, 0, 0});
  EXPECT_TRUE(look(watch, {100'000, true, 0, 0, 0}).empty());
  EXPECT_EQ(watch.state(), ESHM_PEER_NEVER_SEEN);
}

TEST(FairWatch, TimeInWhichASlaveDidNotRunIsNotItsMastersDelay) {
  RetryPolicy policy({ESHM_DISCONNECT_ON_TIMEOUT, 10, 600, 0, 100});
  policy.begin(1000);
  EXPECT_EQ(policy.advise(1000), RetryPolicy::Advice::kAttempt);
  EXPECT_EQ(policy.advise(900'000), RetryPolicy::Advice::kAttempt);
  EXPECT_EQ(policy.next_change_ns(), 900'010u);
  for (int i = 2; i < 6; ++i) {
    EXPECT_EQ(policy.advise(i * 900'000), RetryPolicy::Advice::kAttempt) << i;
  }
  EXPECT_EQ(policy.advise(6 * 900'000), RetryPolicy::Advice::kGiveUp);
}

// ---- a slave's patience -------------------------------------------------------

using Advice = RetryPolicy::Advice;

struct Question {
  uint64_t at;
  Advice advice;
  uint64_t next_change;
};

struct Story {
  const char* title;
  RetryPolicy::Limits limits;  // behaviour, interval, total, attempts
  std::vector<Question> questions;
};

// Lost at 1000.
const Story kStories[] = {
    {"immediately gives up at once",
     {ESHM_DISCONNECT_IMMEDIATELY, 10, 0, 0},
     {{1000, Advice::kGiveUp, 1000}, {1001, Advice::kGiveUp, 1000}}},
    {"immediately does so whatever the limits",
     {ESHM_DISCONNECT_IMMEDIATELY, 10, 500, 50},
     {{1000, Advice::kGiveUp, 1000}}},
    {"first attempt at once, one more each interval, over after the last",
     {ESHM_DISCONNECT_ON_TIMEOUT, 10, 0, 3},
     {{1000, Advice::kAttempt, 1010},
      {1001, Advice::kWait, 1010},
      {1009, Advice::kWait, 1010},
      {1010, Advice::kAttempt, 1020},
      {1020, Advice::kAttempt, 1030},
      {1021, Advice::kGiveUp, 1030}}},
    {"one attempt",
     {ESHM_DISCONNECT_ON_TIMEOUT, 10, 0, 1},
     {{1000, Advice::kAttempt, 1010}, {1001, Advice::kGiveUp, 1010}}},
    {"total time",
     {ESHM_DISCONNECT_ON_TIMEOUT, 100, 250, 0},
     {{1000, Advice::kAttempt, 1100},
      {1100, Advice::kAttempt, 1200},
      {1200, Advice::kAttempt, 1250},
      {1249, Advice::kWait, 1250},
      {1250, Advice::kGiveUp, 1250},
      {9999, Advice::kGiveUp, 1250}}},
    {"total time is over before the attempts are",
     {ESHM_DISCONNECT_ON_TIMEOUT, 100, 150, 50},
     {{1000, Advice::kAttempt, 1100}, {1100, Advice::kAttempt, 1150}, {1150, Advice::kGiveUp, 1150}}},
    {"attempts are over before the total time is",
     {ESHM_DISCONNECT_ON_TIMEOUT, 10, 5000, 2},
     {{1000, Advice::kAttempt, 1010}, {1010, Advice::kAttempt, 1020}, {1011, Advice::kGiveUp, 1020}}},
    {"asked late it makes one attempt, not those it missed",
     {ESHM_DISCONNECT_ON_TIMEOUT, 10, 0, 3},
     {{1000, Advice::kAttempt, 1010}, {1095, Advice::kAttempt, 1105}, {1096, Advice::kWait, 1105},
      {1105, Advice::kAttempt, 1115}, {1105, Advice::kGiveUp, 1115}}},
    {"no limits",
     {ESHM_DISCONNECT_ON_TIMEOUT, 10, 0, 0},
     {{1000, Advice::kAttempt, 1010}, {1'000'000'000, Advice::kAttempt, 1'000'000'010}}},
    {"never ignores both limits",
     {ESHM_DISCONNECT_NEVER, 10, 20, 1},
     {{1000, Advice::kAttempt, 1010},
      {1005, Advice::kWait, 1010},
      {1010, Advice::kAttempt, 1020},
      {1'000'000'000, Advice::kAttempt, 1'000'000'010}}},
};

TEST(RetryPolicyRules, EveryStory) {
  for (const Story& story : kStories) {
    RetryPolicy policy(story.limits);
    EXPECT_EQ(policy.advise(5), Advice::kIdle) << story.title;
    EXPECT_EQ(policy.next_change_ns(), kNever) << story.title;
    policy.begin(1000);
    for (const Question& question : story.questions) {
      EXPECT_EQ(policy.advise(question.at), question.advice) << story.title << ", " << question.at;
      EXPECT_TRUE(policy.is_running()) << story.title;
      if (question.advice != Advice::kGiveUp) {
        EXPECT_EQ(policy.next_change_ns(), question.next_change)
            << story.title << ", " << question.at;
      }
    }
  }
}

TEST(RetryPolicyRules, EachLossIsMeasuredFromItsOwnBeginning) {
  for (const Story& story : kStories) {
    RetryPolicy policy(story.limits);
    for (uint64_t shift : {0, 1'000'000, 7'000'000}) {
      policy.begin(1000 + shift);
      for (const Question& question : story.questions) {
        EXPECT_EQ(policy.advise(question.at + shift), question.advice)
            << story.title << ", " << question.at << " + " << shift;
      }
      policy.end();
      EXPECT_FALSE(policy.is_running());
      EXPECT_EQ(policy.advise(2'000'000'000), Advice::kIdle) << story.title;
      EXPECT_EQ(policy.next_change_ns(), kNever) << story.title;
    }
  }
}

TEST(RetryPolicyRules, LossThatHasBegunIsNotBegunAgain) {
  RetryPolicy policy({ESHM_DISCONNECT_ON_TIMEOUT, 10, 100, 0});
  policy.begin(1000);
  EXPECT_EQ(policy.advise(1000), Advice::kAttempt);
  policy.begin(1090);
  EXPECT_EQ(policy.advise(1005), Advice::kWait);
  EXPECT_EQ(policy.advise(1100), Advice::kGiveUp);
}

}  // namespace
