// SPDX-License-Identifier: MIT
// A watcher that was itself kept from running does not take its own absence for its peer's
// silence; and a peer that hangs is found all the same.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <functional>
#include <string>

#include "support/counts.h"
#include "support/freezer.h"
#include "support/player.h"
#include "support/shared_page.h"
#include "support/tally.h"

namespace {

using namespace test;

constexpr uint32_t kThresholdMs = 100;
// A stop counts a sixth of the threshold, so the rest of it is enough for a true report.
constexpr uint64_t kLongGapNs = uint64_t{kThresholdMs} * 1000000 * 5 / 6;

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return uint64_t(time.tv_sec) * 1000000000 + uint64_t(time.tv_nsec);
}

struct EndCounters {
  std::atomic<uint64_t> rounds{0};     // of its loop
  std::atomic<uint64_t> long_gaps{0};  // times that it did not run, though it was not stopped
  std::atomic<uint64_t> stale_reports{0};
  std::atomic<uint64_t> stale_events{0};
  std::atomic<uint64_t> other_events{0};  // DEAD, LEFT, RECONNECTED, GAVE_UP, SUPERSEDED
  std::atomic<uint64_t> received{0};
  std::atomic<uint64_t> own_beats{0};
  std::atomic<int> peer_state{ESHM_PEER_NEVER_SEEN};
};

struct Stage {
  std::atomic<bool> is_over{false};
  std::atomic<uint64_t> stopped_ns{0};    // both stood still by then, at the last stop
  std::atomic<uint64_t> continued_ns{0};  // just before both were continued
  EndCounters master, slave;

  EndCounters& of(ESHMRole role) { return role == ESHM_ROLE_MASTER ? master : slave; }
};

// What an end's own clock says of how long it showed no life.
class OwnClock {
 public:
  explicit OwnClock(const Stage& stage) : stage_(stage) {}

  void begin_round() { this_began_ = now_ns(); }
  // True: for a long time it showed no life, the stop not counted. A round shows it
  // somewhere between its begin and its end: from the begin of the round before to the end
  // of this one is the longest that it can have been.
  bool had_long_gap() {
    const uint64_t now = now_ns(), last = last_began_;
    const uint64_t stopped = stage_.stopped_ns, continued = stage_.continued_ns;
    uint64_t gap = now - last;
    if (last < continued) gap = now - continued + (stopped > last ? stopped - last : 0);
    const bool was_long = gap >= kLongGapNs;
    last_began_ = was_long ? now : this_began_;  // each is told once
    return was_long;
  }

 private:
  const Stage& stage_;
  uint64_t last_began_ = now_ns();
  uint64_t this_began_ = last_began_;
};

void note_event(ESHMHandle*, ESHMEvent event, void* counters) {
  EndCounters& self = *static_cast<EndCounters*>(counters);
  if (event == ESHM_EVENT_STALE) ++self.stale_events;
  const bool is_expected = event == ESHM_EVENT_STALE || event == ESHM_EVENT_ALIVE ||
                           event == ESHM_EVENT_CONNECTED;
  if (!is_expected) ++self.other_events;
}

void note_stats(ESHMHandle* link, ESHMRole role, EndCounters& counters) {
  ESHMStatsEx more = {};
  ESHMStats stats = {};
  CHILD_CHECK(eshm_get_stats_ex(link, &more) == ESHM_SUCCESS);
  CHILD_CHECK(eshm_get_stats(link, &stats) == ESHM_SUCCESS);
  counters.stale_reports = more.stale_reports;
  counters.peer_state = more.peer_state;
  counters.own_beats = role == ESHM_ROLE_MASTER ? stats.master_heartbeat : stats.slave_heartbeat;
}

// Each millisecond: a call or two, or only a look at the clock.
void run_end(ESHMHandle* link, ESHMRole role, bool talks, Stage& stage) {
  EndCounters& counters = stage.of(role);
  eshm_set_event_callback(link, note_event, &counters);
  OwnClock clock(stage);
  while (!stage.is_over) {
    clock.begin_round();
    if (talks) {
      uint64_t message = counters.rounds;
      eshm_write(link, &message, sizeof message);
      counters.received += eshm_read_ex(link, &message, sizeof message, nullptr, 0) == 0;
    }
    note_stats(link, role, counters);
    counters.long_gaps += clock.had_long_gap();
    ++counters.rounds;
    pause_ms(1);
  }
  eshm_set_event_callback(link, nullptr, nullptr);
}

class StoppedTogether : public LinkTest {
 protected:
  ESHMConfig of(ESHMRole role, bool use_threads = true) const {
    ESHMConfig config = for_ever(this->config(role));
    config.stale_threshold_ms = kThresholdMs;
    config.use_threads = use_threads;
    return config;
  }
  static ESHMRole other(ESHMRole role) {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }

  // An end in a process of its own, which does `first` before it opens.
  Child start(ESHMRole role, bool talks, bool use_threads = true,
              const std::function<void()>& first = [] {}) const {
    return Child([this, role, talks, use_threads, &first](Wire& wire) {
      first();
      const Link link = open_link(of(role, use_threads));
      wire.say(outcome(link));
      if (!link) return 1;
      run_end(link.get(), role, talks, *stage_);
      return 0;
    });
  }

  // Both have met, and run.
  void wait_until_both_run() const {
    for (const ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
      EndCounters& end = stage_->of(role);
      wait_until([&] { return end.peer_state == ESHM_PEER_ALIVE; });
    }
  }

  static void wait_until_stopped(pid_t pid) {
    siginfo_t info = {};
    ASSERT_EQ(waitid(P_PID, id_t(pid), &info, WSTOPPED | WEXITED | WNOWAIT), 0);
    ASSERT_EQ(info.si_code, CLD_STOPPED) << "it ended";
    ASSERT_EQ(waitid(P_PID, id_t(pid), &info, WSTOPPED), 0);
  }

  // Both are stopped and continued by `stop` and `go_on`, many times.
  void stop_both_often(const std::function<void()>& stop, const std::function<void()>& go_on) {
    wait_until_both_run();
    const uint64_t rounds = count(30, 300);
    for (uint64_t round = 0; round < rounds; ++round) {
      pause_ms(unsigned(10 + random_.up_to(60)));
      stop();
      if (HasFatalFailure()) return;
      stage_->stopped_ns = now_ns();
      pause_ms(unsigned(kThresholdMs + random_.up_to(kThresholdMs)));
      const uint64_t of_master = stage_->master.rounds, of_slave = stage_->slave.rounds;
      stage_->continued_ns = now_ns();
      go_on();
      wait_until([&] {
        return stage_->master.rounds > of_master + 1 && stage_->slave.rounds > of_slave + 1;
      });
    }
    tally("stop_continue", 2 * rounds);
    pause_ms(2 * kThresholdMs);
  }

  void expect_no_false_report() const {
    for (const ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
      const EndCounters& watcher = stage_->of(role);
      const uint64_t excuses = stage_->of(other(role)).long_gaps;
      SCOPED_TRACE(role == ESHM_ROLE_MASTER ? "the master watches" : "the slave watches");
      EXPECT_LE(watcher.stale_reports, excuses) << "more than the long gaps that the peer's own clock shows";
      EXPECT_LE(watcher.stale_events, watcher.stale_reports);
      EXPECT_EQ(watcher.other_events, 0u);
    }
  }
  void leave_both(Child& slave, Child& master) const {
    stage_->is_over = true;
    EXPECT_EQ(slave.join(), 0);
    EXPECT_EQ(master.join(), 0);
    stage_.reset();
  }

  void stop_process_group(bool talks, bool use_threads) {
    pid_t group = 0;
    Child master = start(ESHM_ROLE_MASTER, talks, use_threads, [] { setpgid(0, 0); });
    ASSERT_EQ(master.hear(), "open");
    group = master.pid();
    Child slave = start(ESHM_ROLE_SLAVE, talks, use_threads, [group] { setpgid(0, group); });
    ASSERT_EQ(slave.hear(), "open");
    stop_both_often(
        [&] {
          ASSERT_EQ(kill(-group, SIGSTOP), 0);
          wait_until_stopped(master.pid());
          wait_until_stopped(slave.pid());
        },
        [&] { kill(-group, SIGCONT); });
    if (HasFatalFailure()) return;
    expect_no_false_report();
    if (talks) {
      EXPECT_GT(stage_->master.received, 0u);
      EXPECT_GT(stage_->slave.received, 0u);
    }
    leave_both(slave, master);
  }

  Stage& stage() const { return *stage_; }
  Random& random() { return random_; }

 private:
  const SharedPage<Stage> stage_;
  Random random_;
};

TEST_P(StoppedTogether, EndsThatTalkAreNotReportedStale) { stop_process_group(true, true); }
TEST_P(StoppedTogether, IdleEndsAreNotReportedStale) { stop_process_group(false, true); }
TEST_P(StoppedTogether, EndsWithoutThreadsAreNotReportedStale) { stop_process_group(true, false); }

TEST_P(StoppedTogether, FrozenEndsAreNotReportedStale) {
  for (const bool talks : {true, false}) {
    Freezer freezer;
    if (!freezer.is_ready()) GTEST_SKIP() << freezer.why_not();
    const auto enter = [&] { CHILD_CHECK(freezer.enter()); };
    Child master = start(ESHM_ROLE_MASTER, talks, true, enter);
    ASSERT_EQ(master.hear(), "open");
    Child slave = start(ESHM_ROLE_SLAVE, talks, true, enter);
    ASSERT_EQ(slave.hear(), "open");
    stop_both_often([&] { freezer.freeze(); }, [&] { freezer.thaw(); });
    expect_no_false_report();
    leave_both(slave, master);
  }
}

// The order in which the kernel lets the two run again is not the watcher's to know.
TEST_P(StoppedTogether, WatcherThatContinuesFirstDoesNotJudgeItsPeer) {
  Child master = start(ESHM_ROLE_MASTER, false);
  ASSERT_EQ(master.hear(), "open");
  Child slave = start(ESHM_ROLE_SLAVE, false);
  ASSERT_EQ(slave.hear(), "open");
  wait_until_both_run();
  uint64_t judged_rounds = 0;
  for (uint64_t round = 0; judged_rounds < count(10, 100); ++round) {
    Child& watcher = round % 2 == 0 ? master : slave;
    Child& peer = round % 2 == 0 ? slave : master;
    const EndCounters& seen = stage().of(round % 2 == 0 ? ESHM_ROLE_MASTER : ESHM_ROLE_SLAVE);
    pause_ms(20);
    const uint64_t reports = seen.stale_reports;
    const uint64_t began = now_ns();
    peer.stop();
    pause_ms(15);  // the watcher has seen the last sign of life
    watcher.stop();
    const uint64_t stopped = now_ns();
    pause_ms(2 * kThresholdMs);
    const uint64_t rounds_before = seen.rounds, continued = now_ns();
    watcher.go_on();
    wait_until([&] { return seen.rounds > rounds_before + 12; });  // and some checks
    peer.go_on();
    wait_until([&] { return seen.peer_state == ESHM_PEER_ALIVE; });
    pause_ms(20);
    // Where this test itself was late, the peer was silent for long indeed.
    const uint64_t silent = (stopped - began) + (now_ns() - continued);
    if (silent >= kLongGapNs) continue;
    ++judged_rounds;
    EXPECT_EQ(seen.stale_reports, reports) << "round " << round;
  }
  EXPECT_EQ(stage().master.other_events + stage().slave.other_events, 0u);
  leave_both(slave, master);
}

// While it was stopped, its peer ran.
TEST_P(StoppedTogether, WatcherThatWasStoppedAloneReportsNothing) {
  Child master = start(ESHM_ROLE_MASTER, false);
  ASSERT_EQ(master.hear(), "open");
  Child slave = start(ESHM_ROLE_SLAVE, false);
  ASSERT_EQ(slave.hear(), "open");
  wait_until_both_run();
  for (uint64_t round = 0; round < count(5, 50); ++round) {
    master.stop();
    pause_ms(2 * kThresholdMs);
    const uint64_t rounds = stage().master.rounds;
    master.go_on();
    wait_until([&] { return stage().master.rounds > rounds + 20; });
  }
  EXPECT_LE(stage().master.stale_reports, stage().slave.long_gaps);
  leave_both(slave, master);
}

// Each of its checks comes after a pause of half a threshold: six of them are enough, and
// one more where the last sign of life came between the stop and the first check.
TEST_P(StoppedTogether, HangIsFoundByAWatcherThatIsLateAtEachCheck) {
  constexpr uint64_t kMostLateChecks = 8;
  for (const ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    SCOPED_TRACE(role == ESHM_ROLE_MASTER ? "the master watches" : "the slave watches");
    Child master = start(ESHM_ROLE_MASTER, false);
    ASSERT_EQ(master.hear(), "open");
    Child slave = start(ESHM_ROLE_SLAVE, false);
    ASSERT_EQ(slave.hear(), "open");
    wait_until_both_run();
    Child& watcher = role == ESHM_ROLE_MASTER ? master : slave;
    Child& peer = role == ESHM_ROLE_MASTER ? slave : master;
    const EndCounters& seen = stage().of(role);
    ASSERT_EQ(seen.peer_state, ESHM_PEER_ALIVE);
    peer.stop();
    uint64_t late_checks = 0;
    for (; seen.peer_state != ESHM_PEER_STALE && late_checks < 100; ++late_checks) {
      watcher.stop();
      const uint64_t beats = seen.own_beats, rounds = seen.rounds;
      pause_ms(kThresholdMs / 2);
      watcher.go_on();
      // A beat comes with a check that is due.
      wait_until([&] { return seen.own_beats >= beats + 2 && seen.rounds >= rounds + 2; });
    }
    EXPECT_LE(late_checks, kMostLateChecks);
    EXPECT_EQ(seen.peer_state, ESHM_PEER_STALE);
    peer.go_on();
    wait_until([&] { return seen.peer_state == ESHM_PEER_ALIVE; });
    leave_both(slave, master);
  }
}

// Its calls are its checks, and they are rare by design.
TEST_P(StoppedTogether, HangIsFoundByAWatcherWithoutThreadsThatLooksRarely) {
  const Link watcher = open_link(of(ESHM_ROLE_MASTER, false));
  ASSERT_TRUE(watcher) << last_error();
  Child peer = start(ESHM_ROLE_SLAVE, false);
  ASSERT_EQ(peer.hear(), "open");
  wait_for_state(watcher.get(), ESHM_PEER_ALIVE);
  for (int i = 0; i < 8; ++i) {
    pause_ms(kThresholdMs / 2);
    EXPECT_NE(remote_state(watcher.get()), ESHM_PEER_DEAD);
  }
  peer.stop();
  uint64_t checks = 1;
  for (; remote_state(watcher.get()) != ESHM_PEER_STALE && checks < 100; ++checks) {
    pause_ms(kThresholdMs / 2);
  }
  EXPECT_LE(checks, 8u);
  peer.go_on();
  stage().is_over = true;
  EXPECT_EQ(peer.join(), 0);
}

// A process that asks for the role of a silent master, and is itself stopped meanwhile.
TEST_P(StoppedTogether, SeekerThatWasStoppedDoesNotReplaceTheMaster) {
  constexpr uint32_t kLongThresholdMs = 600;
  ESHMConfig config = of(ESHM_ROLE_MASTER);
  config.stale_threshold_ms = kLongThresholdMs;
  uint64_t judged_rounds = 0;
  for (uint64_t round = 0; judged_rounds < count(2, 20); ++round) {
    Child master = obeying(config);
    ASSERT_EQ(master.hear(), "open");
    Child seeker = standing_by(config);
    master.stop();
    const uint64_t began = now_ns();
    seeker.say("go");
    pause_ms(50);
    seeker.stop();
    const uint64_t stopped = now_ns();
    pause_ms(kLongThresholdMs + 100);
    const uint64_t continued = now_ns();
    seeker.go_on();
    pause_ms(30);
    master.go_on();
    const std::string answer = seeker.hear();
    const uint64_t silent = (stopped - began) + (now_ns() - continued);
    const bool was_late = silent >= uint64_t{kLongThresholdMs} * 1000000 * 5 / 6;
    if (!was_late) {
      ++judged_rounds;
      EXPECT_EQ(answer.compare(0, 4, std::to_string(ESHM_ERROR_ROLE_MISMATCH) + " "), 0)
          << "the seeker answered: " << answer;
    }
    if (answer == "open") leave(seeker);
    leave(master);
    if (HasFailure()) return;
  }
}

// The time in which it was stopped does not count as time in which it tried.
TEST_P(StoppedTogether, SlaveThatWasStoppedWhileItTriedDoesNotGiveUp) {
  constexpr uint32_t kWaitMs = 2000;
  Child master = obeying(of(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig config = of(ESHM_ROLE_SLAVE);
  config.disconnect_behavior = ESHM_DISCONNECT_ON_TIMEOUT;
  config.reconnect_wait_ms = kWaitMs;
  Child slave = obeying(config);
  ASSERT_EQ(slave.hear(), "open");
  master.kill_now();
  while (ask(slave, "state") != std::to_string(ESHM_PEER_DEAD)) pause_ms(1);
  slave.stop();
  pause_ms(kWaitMs + 200);
  slave.go_on();
  pause_ms(20);
  EXPECT_EQ(ask(slave, "read"), error(ESHM_ERROR_NO_DATA)) << "it gave up";
  Child next = obeying(of(ESHM_ROLE_MASTER));
  ASSERT_EQ(next.hear(), "open");
  if (!HasFailure()) {
    ASSERT_EQ(ask(next, "write here"), "0");
    EXPECT_EQ(ask(slave, "wait"), "here");
  }
  leave(slave);
  leave(next);
}

ESHM_ON_BOTH_BACKENDS(StoppedTogether);

}  // namespace
