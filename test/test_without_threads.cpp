// SPDX-License-Identifier: MIT
// use_threads = false: the same promises, kept by the calls as they come.
#include <dirent.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

size_t threads_of_this_process() {
  size_t found = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* entry = readdir(tasks)) found += entry->d_name[0] != '.';
  closedir(tasks);
  return found;
}

class WithoutThreads : public LinkTest {
 protected:
  static ESHMConfig unthreaded(ESHMConfig config) {
    config.use_threads = false;
    return config;
  }
  ESHMConfig master_config() const { return unthreaded(config(ESHM_ROLE_MASTER)); }
  ESHMConfig slave_config() const { return unthreaded(for_ever(config(ESHM_ROLE_SLAVE))); }
};

TEST_P(WithoutThreads, NoThreadIsStarted) {
  const size_t before = threads_of_this_process();
  const Link master = open_link(master_config());
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(slave_config());
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "x"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "x");
  EXPECT_EQ(read_text(slave.get(), 20), error(ESHM_ERROR_TIMEOUT));
  EXPECT_EQ(threads_of_this_process(), before);
  const Link threaded = open_link(config_of(unique_name(), ESHM_ROLE_MASTER, GetParam()));
  ASSERT_TRUE(threaded) << last_error();
  EXPECT_EQ(threads_of_this_process(), before + 1);
}

TEST_P(WithoutThreads, MasterIsToldWhatBecomesOfItsSlave) {
  ESHMConfig config = master_config();
  config.stale_threshold_ms = kHungMs;
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(remote_state(master.get()), ESHM_PEER_NEVER_SEEN);
  Child slave = obeying(slave_config());
  ASSERT_EQ(slave.hear(), "open");
  // It makes no call, so it does not beat.
  wait_for_state(master.get(), ESHM_PEER_STALE);
  // A call that waits beats while it does.
  slave.say("wait");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  ASSERT_EQ(write_text(master.get(), "x"), ESHM_SUCCESS);
  EXPECT_EQ(slave.hear(), "x");
  slave.kill_now();
  wait_for_state(master.get(), ESHM_PEER_DEAD);
  Child next = obeying(for_ever(this->config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(next.hear(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  leave(next);
  wait_for_state(master.get(), ESHM_PEER_LEFT);
}

// It looks at its slave in its calls, and makes none while that one lives.
TEST_P(WithoutThreads, SlaveThatCameAndWentBetweenTwoLooksIsTold) {
  EventLog events;
  const Link master = open_link(master_config());
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  const auto come_and_say = [this](const char* text, bool leaves) {
    Child slave([this, text, leaves](Wire&) {
      Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      CHILD_CHECK(write_text(link.get(), text) == ESHM_SUCCESS);
      if (!leaves) raise(SIGKILL);
      return 0;
    });
    EXPECT_EQ(slave.join(), leaves ? 0 : 128 + SIGKILL);
  };
  std::vector<ESHMEvent> told;
  const auto expect_told = [&](ESHMEvent came, ESHMEvent went) {
    wait_until([&] {
      (void)remote_state(master.get());
      return events.all().size() >= told.size() + 2;
    });
    told.insert(told.end(), {came, went});
    EXPECT_EQ(events.all(), told);
  };
  come_and_say("killed", false);
  expect_told(ESHM_EVENT_CONNECTED, ESHM_EVENT_DEAD);
  EXPECT_EQ(remote_state(master.get()), ESHM_PEER_DEAD);
  EXPECT_EQ(read_text(master.get(), 0), "killed");
  for (const char* text : {"left", "left again"}) {
    come_and_say(text, true);
    expect_told(ESHM_EVENT_RECONNECTED, ESHM_EVENT_LEFT);
    EXPECT_EQ(remote_state(master.get()), ESHM_PEER_LEFT);
    EXPECT_EQ(read_text(master.get(), 0), text);
  }
  EXPECT_EQ(reconnects_of(master.get()), 2u);
}

TEST_P(WithoutThreads, BlockedReadBeatsForAsLongAsItWaits) {
  ESHMConfig watching = config(ESHM_ROLE_MASTER);
  watching.stale_threshold_ms = 2000;
  EventLog events;
  const Link master = open_link(watching);
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child slave = obeying(slave_config());
  ASSERT_EQ(slave.hear(), "open");
  slave.say("wait");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  const uint64_t end = now_ms() + 2600;
  while (now_ms() < end) {
    EXPECT_EQ(remote_state(master.get()), ESHM_PEER_ALIVE);
    pause_ms(20);
  }
  EXPECT_EQ(events.count_of(ESHM_EVENT_STALE), 0u);
  ASSERT_EQ(write_text(master.get(), "x"), ESHM_SUCCESS);
  EXPECT_EQ(slave.hear(), "x");
  leave(slave);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(WithoutThreads, SlaveGoesOnWithEachMasterThatFollows) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(slave_config());
  ASSERT_TRUE(slave) << last_error();
  for (uint64_t round = 0; round < count(8, 500); ++round) {
    // In turn: killed (adopted), left (the slave moves).
    if (round % 2 == 0) {
      master.kill_now();
    } else {
      leave(master);
    }
    master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    const std::string text = "round " + std::to_string(round);
    ASSERT_EQ(ask(master, "write " + text), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), text);
    wait_until([&] { return write_text(slave.get(), text) == ESHM_SUCCESS; });
    EXPECT_EQ(ask(master, "wait"), text);
  }
  leave(master);
}

TEST_P(WithoutThreads, SlaveComesOverWhenItsHungMasterIsReplaced) {
  ESHMConfig hung_soon = config(ESHM_ROLE_MASTER);
  hung_soon.stale_threshold_ms = 60;
  Child old_master = obeying(hung_soon);
  ASSERT_EQ(old_master.hear(), "open");
  const Link slave = open_link(slave_config());
  ASSERT_TRUE(slave) << last_error();
  old_master.stop();
  hung_soon.stale_threshold_ms = kHungMs;
  Child successor = obeying(hung_soon);
  ASSERT_EQ(successor.hear(), "open");
  old_master.go_on();
  EXPECT_EQ(ask(old_master, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
  ASSERT_EQ(ask(successor, "write new"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "new");
  leave(old_master);
  leave(successor);
}

TEST_P(WithoutThreads, PolicyIsFollowedByTheCallsAlone) {
  struct Case {
    ESHMDisconnectBehavior behavior;
    uint32_t attempts, wait_ms;
    bool gives_up;
    uint64_t at_least_ms;
  };
  for (const Case& one : {Case{ESHM_DISCONNECT_IMMEDIATELY, 0, 0, true, 0},
                          Case{ESHM_DISCONNECT_ON_TIMEOUT, 3, 0, true, 100},
                          Case{ESHM_DISCONNECT_ON_TIMEOUT, 0, 200, true, 200},
                          Case{ESHM_DISCONNECT_ON_TIMEOUT, 0, 0, false, 300},
                          Case{ESHM_DISCONNECT_NEVER, 1, 1, false, 300}}) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    ESHMConfig config = slave_config();
    config.disconnect_behavior = one.behavior;
    config.max_reconnect_attempts = one.attempts;
    config.reconnect_wait_ms = one.wait_ms;
    config.reconnect_retry_interval_ms = 50;
    const Link slave = open_link(config);
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(ask(master, "write unread"), "0");
    leave(master);
    const uint64_t began = now_ms();
    EXPECT_EQ(read_text(slave.get(), 0), "unread");
    if (one.gives_up) {
      // Also inside one call.
      EXPECT_EQ(read_text(slave.get(), UINT32_MAX), error(ESHM_ERROR_MASTER_STALE));
      EXPECT_GE(now_ms() + 1, began + one.at_least_ms);
      EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_MASTER_STALE);
    } else {
      EXPECT_EQ(read_text(slave.get(), static_cast<uint32_t>(one.at_least_ms)),
                error(ESHM_ERROR_TIMEOUT));
      EXPECT_GE(now_ms() + 1, began + one.at_least_ms);
      EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
      EXPECT_EQ(write_text(slave.get(), "x"), ESHM_ERROR_TIMEOUT);
    }
  }
}

TEST_P(WithoutThreads, ManyThreadsMayCallAtOnceWhileMastersComeAndGo) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(slave_config());
  ASSERT_TRUE(slave) << last_error();
  std::atomic<bool> over{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 2; ++i) {
    callers.emplace_back([&] {
      while (!over) {
        const int code = write_text(slave.get(), "x");
        EXPECT_TRUE(code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT) << code;
        remote_state(slave.get());
        pause_ms(1);
      }
    });
  }
  for (uint64_t round = 0; round < count(6, 300); ++round) {
    if (round % 2 == 0) {
      master.kill_now();
    } else {
      leave(master);
    }
    master = obeying(config(ESHM_ROLE_MASTER));
    EXPECT_EQ(master.hear(), "open");
    EXPECT_EQ(ask(master, "write " + std::to_string(round)), "0");
    EXPECT_EQ(read_text(slave.get(), UINT32_MAX), std::to_string(round));
  }
  over = true;
  for (std::thread& caller : callers) caller.join();
  leave(master);
}

// How often it must call: twice in each threshold of the peer.
TEST_P(WithoutThreads, HeartbeatByCallsTwiceAThresholdKeepsItAlive) {
  ESHMConfig watching = config(ESHM_ROLE_MASTER);
  watching.stale_threshold_ms = 1500;
  const Link master = open_link(watching);
  ASSERT_TRUE(master) << last_error();
  Child slave([config = slave_config()](Wire& wire) {
    const Link link = open_link(config);
    wire.say(outcome(link));
    while (!wire.has_news()) {
      CHILD_CHECK(eshm_update_heartbeat(link.get()) == ESHM_SUCCESS);
      pause_ms(300);
    }
    return 0;
  });
  ASSERT_EQ(slave.hear(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(remote_state(master.get()), ESHM_PEER_ALIVE);
    pause_ms(10);
  }
  slave.say("enough");
  EXPECT_EQ(slave.join(), 0);
  wait_for_state(master.get(), ESHM_PEER_LEFT);
}

ESHM_ON_BOTH_BACKENDS(WithoutThreads);

}  // namespace
