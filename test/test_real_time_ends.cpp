// SPDX-License-Identifier: MIT
// An end that keeps a core and never sleeps is alive: its calls show it, and do what its
// service thread, which never gets that core, cannot do.
#include <sys/resource.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>

#include "support/counts.h"
#include "support/player.h"
#include "support/real_time.h"
#include "support/shared_page.h"

namespace {

using namespace test;

constexpr uint32_t kThresholdMs = 100;

// The one call that an end makes over and over.
enum class Act { kWrites, kReads, kBorrows, kWaits };
// Which scheduling the end has, and since when.
enum class Scheduling { kFifoBeforeInit, kFifoAfterInit, kOther };

const char* name_of(Scheduling scheduling) {
  switch (scheduling) {
    case Scheduling::kFifoBeforeInit:
      return "SCHED_FIFO before eshm_init";
    case Scheduling::kFifoAfterInit:
      return "SCHED_FIFO after eshm_init";
    case Scheduling::kOther:
      return "SCHED_OTHER";
  }
  return "";
}

// What the end shows of itself: it never waits for an order.
struct Progress {
  std::atomic<bool> shall_leave{false};
  std::atomic<uint64_t> calls{0};
  std::atomic<uint64_t> received{0};        // messages that it read or saw
  std::atomic<int> last_code{-1};           // of its calls
  std::atomic<int> wrong_code{0};           // one that a healthy end never gets
  std::atomic<int> peer_state{ESHM_PEER_NEVER_SEEN};
  std::atomic<uint32_t> reconnects{0};
  std::atomic<uint64_t> stale_reports{0};   // of its peer
};

int call_once(ESHMHandle* link, Act act, uint64_t number) {
  uint64_t message = number;
  switch (act) {
    case Act::kWrites:
      return eshm_write(link, &message, sizeof message);
    case Act::kReads:
      return eshm_read_ex(link, &message, sizeof message, nullptr, 0);
    case Act::kBorrows: {
      ESHMView view = {};
      const int code = eshm_borrow(link, &view, 0);
      return code == ESHM_SUCCESS ? eshm_release(link, &view) : code;
    }
    case Act::kWaits:
      return eshm_wait_any(&link, 1, 0);  // 0 is the index, and SUCCESS
  }
  return ESHM_ERROR_INVALID_PARAM;
}

void note_stats(ESHMHandle* link, Progress& progress) {
  ESHMStatsEx stats = {};
  if (eshm_get_stats_ex(link, &stats) != ESHM_SUCCESS) return;
  progress.reconnects = stats.reconnects;
  progress.stale_reports = stats.stale_reports;
  progress.peer_state = stats.peer_state;
}

// A slave's writes answer TIMEOUT while it has no master.
bool is_expected(int code, Act act, ESHMRole role) {
  if (code == ESHM_SUCCESS) return true;
  if (act == Act::kWrites) return role == ESHM_ROLE_SLAVE && code == ESHM_ERROR_TIMEOUT;
  return code == ESHM_ERROR_NO_DATA;
}

void call_without_pause(ESHMHandle* link, Act act, ESHMRole role, Progress& progress) {
  constexpr uint64_t kCallsBetweenLooks = 64;
  for (uint64_t number = 1; !progress.shall_leave; ++number) {
    const int code = call_once(link, act, number);
    if (!is_expected(code, act, role)) progress.wrong_code = code;
    if (code == ESHM_SUCCESS) progress.received.fetch_add(1, std::memory_order_relaxed);
    progress.last_code.store(code, std::memory_order_relaxed);
    progress.calls.store(number, std::memory_order_relaxed);
    if (number % kCallsBetweenLooks == 0) note_stats(link, progress);
  }
}

// The peer, on another core: looks at the end each millisecond.
struct Looks {
  uint64_t made = 0;
  uint64_t not_alive = 0;
  uint64_t received = 0;
};

// "look MS" looks in silence, "talk MS" writes a message each time; both answer the
// counts. Anything else: leaves.
int look_on(Wire& wire, const Link& link) {
  for (;;) {
    const std::string order = wire.hear();
    const bool talks = order.compare(0, 5, "talk ") == 0;
    if (!talks && order.compare(0, 5, "look ") != 0) return 0;
    // A master meets its slave at the next check.
    wait_until([&] { return remote_state(link.get()) != ESHM_PEER_NEVER_SEEN; });
    Looks looks;
    for (const uint64_t end = now_ms() + std::stoull(order.substr(5)); now_ms() < end;) {
      uint64_t message = looks.made++;
      looks.not_alive += remote_state(link.get()) != ESHM_PEER_ALIVE;
      if (talks) eshm_write(link.get(), &message, sizeof message);
      looks.received += eshm_read_ex(link.get(), &message, sizeof message, nullptr, 0) == 0;
      pause_ms(1);
    }
    ESHMStatsEx stats = {};
    eshm_get_stats_ex(link.get(), &stats);
    wire.say(std::to_string(looks.made) + " looks, " + std::to_string(looks.not_alive) +
             " not alive, " + std::to_string(looks.received) + " received, " +
             std::to_string(stats.stale_reports) + " stale reports");
  }
}

class RealTimeEnds : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    if (!core_.is_there()) GTEST_SKIP() << "it needs two cores";
  }

  ESHMConfig of(ESHMRole role) const {
    ESHMConfig config = this->config(role);
    config.stale_threshold_ms = kThresholdMs;
    return config;
  }
  static ESHMRole other(ESHMRole role) {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }

  // Opens, waits for the order to begin, and calls without pause.
  Child start_end(ESHMRole role, Act act, Scheduling scheduling, Progress& progress) const {
    return Child([this, role, act, scheduling, &progress](Wire& wire) {
      CHILD_CHECK(pin_to(core_.number()));
      CHILD_CHECK(limit_time_without_sleep((soak() ? 60 : 10) * ESHM_TEST_PATIENCE));
      if (scheduling == Scheduling::kFifoBeforeInit) CHILD_CHECK(become_fifo() == 0);
      const Link link = open_link(of(role));
      if (scheduling == Scheduling::kFifoAfterInit) CHILD_CHECK(become_fifo() == 0);
      wire.say(outcome(link));
      if (!link || wire.hear() != "begin") return 1;
      call_without_pause(link.get(), act, role, progress);
      return 0;
    });
  }
  Child start_peer(ESHMConfig config) const {
    return Child([config](Wire& wire) {
      const Link link = open_link(config);
      wire.say(outcome(link));
      return link ? look_on(wire, link) : 0;
    });
  }

  static Looks ask_looks(Child& peer, const std::string& order) {
    const std::string answer = ask(peer, order);
    const std::vector<long long> numbers = numbers_in(answer);
    if (numbers.size() != 4) {
      ADD_FAILURE() << "the peer answered: " << answer;
      return {};
    }
    const Looks looks = {uint64_t(numbers[0]), uint64_t(numbers[1]), uint64_t(numbers[2])};
    EXPECT_GT(looks.made, 0u);
    EXPECT_EQ(looks.not_alive, 0u) << answer;
    EXPECT_EQ(numbers[3], 0) << answer;
    return looks;
  }

  // The end keeps a core meanwhile: what does not come is a failure soon, not a hang.
  template <class Condition>
  static bool comes_true(Condition condition) {
    const uint64_t end = now_ms() + 3000 * ESHM_TEST_PATIENCE;
    while (!condition()) {
      if (now_ms() > end) return false;
      pause_ms(1);
    }
    return true;
  }

  void expect_refusal(ESHMRole role, pid_t holder) const {
    const Link second = open_link(at_once(of(role)));
    EXPECT_FALSE(second) << "a second process took the role of a living one";
    if (second) return;
    EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
    EXPECT_TRUE(names_number(last_error(), holder)) << last_error();
  }

  // The whole life of such an end: looked at, its role asked for, its peer ended and
  // begun again, by a process with the same configuration or with another.
  void lead_a_life(ESHMRole role, Act act, Scheduling scheduling, uint64_t next_message_size) {
    SCOPED_TRACE(name_of(scheduling));
    const SharedPage<Progress> progress;
    const ESHMConfig peers = of(other(role));
    // The slave waits for its master.
    std::deque<Child> processes;
    const auto open_end = [&] {
      processes.push_back(start_end(role, act, scheduling, *progress));
      ASSERT_EQ(processes.back().hear(), "open");
    };
    if (role == ESHM_ROLE_MASTER) open_end();
    Child peer = start_peer(peers);
    ASSERT_EQ(peer.hear(), "open");
    if (role == ESHM_ROLE_SLAVE) open_end();
    Child& end = processes.front();
    end.say("begin");
    ASSERT_TRUE(comes_true([&] { return progress->calls >= 64; }));

    // Looked at for some thresholds, while a second process asks for its role.
    const uint64_t look_ms = count(5, 30) * kThresholdMs;
    ask_looks(peer, "look " + std::to_string(look_ms));
    expect_refusal(ESHM_ROLE_MASTER, role == ESHM_ROLE_MASTER ? end.pid() : peer.pid());
    expect_refusal(role, end.pid());
    EXPECT_EQ(progress->reconnects, 0u);
    if (HasFailure()) return;

    // The peer ends, and another process takes its place.
    peer.kill_now();
    EXPECT_TRUE(comes_true([&] { return progress->peer_state == ESHM_PEER_DEAD; }))
        << "the death of its peer went unnoticed";
    ESHMConfig next_config = peers;
    next_config.m2s.max_message_size = next_message_size;
    Child next = start_peer(next_config);
    ASSERT_EQ(next.hear(), "open");
    EXPECT_TRUE(comes_true([&] {
      return progress->reconnects >= 1 && progress->peer_state == ESHM_PEER_ALIVE;
    })) << "the new peer went unnoticed";
    const uint64_t received = progress->received;
    const Looks looks = ask_looks(next, "talk " + std::to_string(look_ms));
    if (act == Act::kWrites) {
      EXPECT_GT(looks.received, 0u);
    } else {
      EXPECT_TRUE(comes_true([&] { return progress->received > received; }));
    }
    EXPECT_EQ(progress->stale_reports, 0u) << "of the peer, in the end's eyes";

    progress->shall_leave = true;
    EXPECT_EQ(end.join(), 0);
    EXPECT_EQ(progress->wrong_code, 0);
    EXPECT_GT(progress->received, 0u) << "no call ended with SUCCESS";
    if (act == Act::kWrites) {
      EXPECT_EQ(progress->last_code, ESHM_SUCCESS);
    }
    leave(next);
  }

  void lead_lives_under_fifo(ESHMRole role, Act act,
                             uint64_t next_message_size = ESHM_MAX_DATA_SIZE) {
    for (const std::string& reason : {no_fifo_because(), no_throttling_because()}) {
      if (!reason.empty()) GTEST_SKIP() << reason;
    }
    for (const Scheduling scheduling : {Scheduling::kFifoBeforeInit, Scheduling::kFifoAfterInit}) {
      lead_a_life(role, act, scheduling, next_message_size);
      remove_name_of_the_killed();
    }
  }

  // With so many processes on its core that its turns are rare.
  void keep_role_among_hogs(ESHMRole role, Act act) {
    const SharedPage<Progress> progress;
    std::deque<Child> hogs;
    for (int i = 0; i < 8; ++i) {
      hogs.emplace_back([this](Wire&) {
        CHILD_CHECK(pin_to(core_.number()));
        for (volatile uint64_t spins = 0;; spins = spins + 1) {
        }
        return 0;
      });
    }
    std::deque<Child> ends;
    const auto open_end = [&] {
      ends.push_back(start_end(role, act, Scheduling::kOther, *progress));
      ASSERT_EQ(ends.back().hear(), "open");
    };
    if (role == ESHM_ROLE_MASTER) open_end();
    Child peer = start_peer(of(other(role)));
    ASSERT_EQ(peer.hear(), "open");
    if (role == ESHM_ROLE_SLAVE) open_end();
    ends.front().say("begin");
    wait_until([&] { return progress->calls >= 64; });
    for (uint64_t tries = 0; tries < count(5, 50); ++tries) {
      const uint64_t calls = progress->calls;
      expect_refusal(ESHM_ROLE_MASTER, role == ESHM_ROLE_MASTER ? ends.front().pid() : peer.pid());
      expect_refusal(role, ends.front().pid());
      wait_until([&] { return progress->calls > calls; });
    }
    progress->shall_leave = true;
    EXPECT_EQ(ends.front().join(), 0);
    EXPECT_EQ(progress->wrong_code, 0);
    EXPECT_EQ(progress->reconnects, 0u);
    leave(peer);
  }

 private:
  const CoreOfItsOwn core_;
};

TEST_P(RealTimeEnds, MasterThatOnlyWritesIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_MASTER, Act::kWrites);
}
TEST_P(RealTimeEnds, MasterThatOnlyReadsIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_MASTER, Act::kReads);
}
TEST_P(RealTimeEnds, MasterThatOnlyBorrowsIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_MASTER, Act::kBorrows);
}
TEST_P(RealTimeEnds, MasterThatOnlyWaitsForAnyIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_MASTER, Act::kWaits);
}
TEST_P(RealTimeEnds, SlaveThatOnlyWritesIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_SLAVE, Act::kWrites);
}
TEST_P(RealTimeEnds, SlaveThatOnlyReadsIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_SLAVE, Act::kReads);
}
TEST_P(RealTimeEnds, SlaveThatOnlyBorrowsIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_SLAVE, Act::kBorrows);
}
TEST_P(RealTimeEnds, SlaveThatOnlyWaitsForAnyIsAliveAndFollows) {
  lead_lives_under_fifo(ESHM_ROLE_SLAVE, Act::kWaits);
}

// Other sizes are another segment: the calls move the slave there.
TEST_P(RealTimeEnds, SlaveThatOnlyReadsMovesToTheSegmentOfANewMaster) {
  lead_lives_under_fifo(ESHM_ROLE_SLAVE, Act::kReads, ESHM_MAX_DATA_SIZE / 2);
}
TEST_P(RealTimeEnds, SlaveThatOnlyWritesMovesToTheSegmentOfANewMaster) {
  lead_lives_under_fifo(ESHM_ROLE_SLAVE, Act::kWrites, ESHM_MAX_DATA_SIZE / 2);
}

TEST_P(RealTimeEnds, MasterAmongEightHogsIsNeverReplaced) {
  for (const Act act : {Act::kWrites, Act::kReads, Act::kBorrows, Act::kWaits}) {
    keep_role_among_hogs(ESHM_ROLE_MASTER, act);
  }
}
TEST_P(RealTimeEnds, SlaveAmongEightHogsIsNeverReplaced) {
  for (const Act act : {Act::kWrites, Act::kReads, Act::kBorrows, Act::kWaits}) {
    keep_role_among_hogs(ESHM_ROLE_SLAVE, act);
  }
}

ESHM_ON_BOTH_BACKENDS(RealTimeEnds);

}  // namespace
