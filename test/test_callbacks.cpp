// SPDX-License-Identifier: MIT
// What a link tells by its event callback: each change once, in order, on the
// service thread.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <thread>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

using Events = std::vector<ESHMEvent>;

class Callbacks : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
};

// Any function as a callback.
class Listener {
 public:
  explicit Listener(std::function<void(ESHMHandle*, ESHMEvent)> body) : body_(std::move(body)) {}
  void listen_to(ESHMHandle* link) {
    EXPECT_EQ(eshm_set_event_callback(link, &Listener::call, this), ESHM_SUCCESS) << last_error();
  }
  int calls() const { return calls_; }

 private:
  static void call(ESHMHandle* link, ESHMEvent event, void* self) {
    auto& listener = *static_cast<Listener*>(self);
    listener.body_(link, event);
    ++listener.calls_;
  }

  std::function<void(ESHMHandle*, ESHMEvent)> body_;
  std::atomic<int> calls_{0};
};

TEST_P(Callbacks, MasterIsToldItsSlavesWholeStoryInOrder) {
  EventLog events;
  ESHMConfig config = patient(ESHM_ROLE_MASTER);
  config.stale_threshold_ms = kHungMs;
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child first = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(first.hear(), "open");
  events.wait_for(ESHM_EVENT_CONNECTED);
  first.stop();
  events.wait_for(ESHM_EVENT_STALE);
  first.go_on();
  events.wait_for(ESHM_EVENT_ALIVE);
  first.kill_now();
  events.wait_for(ESHM_EVENT_DEAD);
  Child second = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(second.hear(), "open");
  events.wait_for(ESHM_EVENT_RECONNECTED);
  leave(second);
  events.wait_for(ESHM_EVENT_LEFT);
  // Starved, a slave may be stale between any two of them; that tells nothing.
  Events story;
  for (ESHMEvent event : events.all()) {
    if (event != ESHM_EVENT_STALE && event != ESHM_EVENT_ALIVE) story.push_back(event);
  }
  EXPECT_EQ(story, (Events{ESHM_EVENT_CONNECTED, ESHM_EVENT_DEAD, ESHM_EVENT_RECONNECTED,
                           ESHM_EVENT_LEFT}));
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(Callbacks, SlaveIsToldOfTheMasterThatItHasOfItsLossAndOfGivingUp) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  EventLog events;
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.max_reconnect_attempts = 0;
  config.reconnect_wait_ms = 4000;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  events.listen_to(slave.get());
  events.wait_for(ESHM_EVENT_CONNECTED);
  Child second = standing_by(this->config(ESHM_ROLE_MASTER));
  first.kill_now();
  events.wait_for(ESHM_EVENT_DEAD);
  ASSERT_EQ(ask(second, "open"), "open");
  events.wait_for(ESHM_EVENT_RECONNECTED);
  leave(second);
  events.wait_for(ESHM_EVENT_GAVE_UP);
  EXPECT_EQ(events.all(), (Events{ESHM_EVENT_CONNECTED, ESHM_EVENT_DEAD, ESHM_EVENT_RECONNECTED,
                                  ESHM_EVENT_LEFT, ESHM_EVENT_GAVE_UP}));
  eshm_set_event_callback(slave.get(), nullptr, nullptr);
}

// Lost before anybody listened: the first listener is told the story so far.
TEST_P(Callbacks, FirstListenerIsToldOfALossBeforeItListened) {
  for (bool use_threads : {true, false}) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    EventLog events;
    ESHMConfig config = patient(ESHM_ROLE_SLAVE);
    config.use_threads = use_threads;
    const Link slave = open_link(config);
    ASSERT_TRUE(slave) << last_error();
    leave(master);
    wait_for_state(slave.get(), ESHM_PEER_LEFT);
    events.listen_to(slave.get());
    wait_until([&] { return remote_is_alive(slave.get()) || events.all().size() >= 2; });
    EXPECT_EQ(events.all(), (Events{ESHM_EVENT_CONNECTED, ESHM_EVENT_LEFT}));
  }
}

TEST_P(Callbacks, FirstListenerOfALinkThatIsOverIsToldItsStory) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  EventLog events;
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  leave(master);
  wait_until([&] { return write_text(slave.get(), "x") == ESHM_ERROR_MASTER_STALE; });
  pause_ms(20);
  events.listen_to(slave.get());
  events.wait_for(ESHM_EVENT_GAVE_UP);
  EXPECT_EQ(events.all(), (Events{ESHM_EVENT_CONNECTED, ESHM_EVENT_LEFT, ESHM_EVENT_GAVE_UP}));
  eshm_set_event_callback(slave.get(), nullptr, nullptr);
}

TEST_P(Callbacks, RunOnTheServiceThreadWithAllSignalsBlocked) {
  std::atomic<bool> checked{false};
  const pthread_t test_thread = pthread_self();
  Listener listener([&](ESHMHandle*, ESHMEvent) {
    EXPECT_FALSE(pthread_equal(pthread_self(), test_thread));
    char name[16] = "";
    EXPECT_EQ(pthread_getname_np(pthread_self(), name, sizeof name), 0);
    EXPECT_STREQ(name, "eshm");
    sigset_t blocked;
    EXPECT_EQ(pthread_sigmask(SIG_BLOCK, nullptr, &blocked), 0);
    for (int signal : {SIGINT, SIGTERM, SIGALRM, SIGUSR1, SIGCHLD, SIGIO}) {
      EXPECT_EQ(sigismember(&blocked, signal), 1) << strsignal(signal);
    }
    checked = true;
  });
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  listener.listen_to(master.get());
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  wait_until([&] { return checked.load(); });
  leave(slave);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(Callbacks, MayCallWhatTheyLikeButInitAndDestroy) {
  std::atomic<bool> checked{false};
  Listener listener([&](ESHMHandle* link, ESHMEvent event) {
    if (event != ESHM_EVENT_CONNECTED) return;
    EXPECT_EQ(remote_state(link), ESHM_PEER_ALIVE) << "older than the event";
    EXPECT_TRUE(remote_is_alive(link));
    EXPECT_EQ(write_text(link, "from a callback"), ESHM_SUCCESS);
    char buffer[8];
    EXPECT_EQ(eshm_read_ex(link, buffer, sizeof buffer, nullptr, 0), ESHM_ERROR_NO_DATA);
    EXPECT_EQ(eshm_read_ex(link, buffer, sizeof buffer, nullptr, 5), ESHM_ERROR_TIMEOUT);
    ESHMStats stats = {};
    EXPECT_EQ(eshm_get_stats(link, &stats), ESHM_SUCCESS);
    EXPECT_EQ(eshm_update_heartbeat(link), ESHM_SUCCESS);
    ESHMRole role = ESHM_ROLE_AUTO;
    EXPECT_EQ(eshm_get_role(link, &role), ESHM_SUCCESS);
    EXPECT_EQ(eshm_destroy(link), ESHM_ERROR_INVALID_PARAM);
    EXPECT_FALSE(open_link(config_of(unique_name(), ESHM_ROLE_MASTER, GetParam())));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM) << last_error();
    checked = true;
  });
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  listener.listen_to(master.get());
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  EXPECT_EQ(ask(slave, "wait"), "from a callback");
  wait_until([&] { return checked.load(); });
  leave(slave);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

// A child that returns from the callback ends; it does not tend its parent's links.
TEST_P(Callbacks, ForkInsideOneLeavesTheParentsLinkAlone) {
  std::atomic<pid_t> forked{0};
  Listener listener([&](ESHMHandle*, ESHMEvent event) {
    if (event == ESHM_EVENT_CONNECTED) forked = fork();
  });
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EventLog slaves_events;
  listener.listen_to(master.get());
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  slaves_events.listen_to(slave.get());
  wait_until([&] { return forked != 0; });
  ASSERT_GT(forked, 0);
  EXPECT_EQ(waitpid(forked, nullptr, 0), forked) << "it is at its parent's work";
  EXPECT_EQ(write_text(master.get(), "still here"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "still here");
  EXPECT_EQ(slaves_events.count_of(ESHM_EVENT_LEFT), 0u);
  eshm_set_event_callback(slave.get(), nullptr, nullptr);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(Callbacks, TakenAwayNoneRunsAndNoneWillRun) {
  std::atomic<bool> inside{false}, is_valid{true};
  Listener slow([&](ESHMHandle*, ESHMEvent) {
    inside = true;
    pause_ms(100);
    EXPECT_TRUE(is_valid);
    inside = false;
  });
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (uint64_t round = 0; round < count(2, 50); ++round) {
    is_valid = true;
    slow.listen_to(master.get());
    Child slave = obeying(patient(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    wait_until([&] { return inside.load(); });
    ASSERT_EQ(eshm_set_event_callback(master.get(), nullptr, nullptr), ESHM_SUCCESS);
    EXPECT_FALSE(inside) << "it is still running";
    is_valid = false;
    const int calls = slow.calls();
    leave(slave);
    wait_for_state(master.get(), ESHM_PEER_LEFT);
    pause_ms(20);
    EXPECT_EQ(slow.calls(), calls);
  }
}

// The state is there for all to see a moment before the event.
TEST_P(Callbacks, ListenerThatComesWithThePeerIsToldOnce) {
  for (uint64_t round = 0; round < count(30, 1000); ++round) {
    EventLog events;
    const Link master = open_link(patient(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave) << last_error();
    while (!remote_is_alive(master.get())) std::this_thread::yield();
    events.listen_to(master.get());
    events.wait_for(ESHM_EVENT_CONNECTED);
    pause_ms(3);
    EXPECT_EQ(events.all(), Events{ESHM_EVENT_CONNECTED});
    eshm_set_event_callback(master.get(), nullptr, nullptr);
  }
}

TEST_P(Callbacks, MayBeExchangedFromInsideOne) {
  EventLog after;
  Listener first([&](ESHMHandle* link, ESHMEvent) { after.listen_to(link); });
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  first.listen_to(master.get());
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  wait_until([&] { return first.calls() == 1; });
  leave(slave);
  after.wait_for(ESHM_EVENT_LEFT);
  EXPECT_EQ(first.calls(), 1);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(Callbacks, DestroyWaitsForTheOneThatRuns) {
  std::atomic<bool> inside{false}, over{false};
  Listener slow([&](ESHMHandle* link, ESHMEvent) {
    inside = true;
    pause_ms(100);
    EXPECT_EQ(write_text(link, "still here"), ESHM_SUCCESS);
    over = true;
  });
  Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  slow.listen_to(master.get());
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  wait_until([&] { return inside.load(); });
  master.reset();
  EXPECT_TRUE(over);
  slave.kill_now();
}

TEST_P(Callbacks, OfManyLinksGoToTheirOwnContext) {
  constexpr int kLinks = 8;
  std::vector<std::string> names;
  for (int i = 0; i < kLinks; ++i) names.push_back(unique_name());
  std::vector<EventLog> logs(kLinks);
  std::vector<Link> masters;
  for (int i = 0; i < kLinks; ++i) {
    masters.push_back(open_link(config_of(names[static_cast<size_t>(i)], ESHM_ROLE_MASTER, GetParam())));
    ASSERT_TRUE(masters.back()) << last_error();
    logs[static_cast<size_t>(i)].listen_to(masters.back().get());
  }
  for (size_t i = 0; i < kLinks; i += 2) {
    Child slave = obeying(at_once(config_of(names[i], ESHM_ROLE_SLAVE, GetParam())));
    ASSERT_EQ(slave.hear(), "open");
    logs[i].wait_for(ESHM_EVENT_CONNECTED);
    slave.kill_now();
    logs[i].wait_for(ESHM_EVENT_DEAD);
  }
  for (size_t i = 0; i < kLinks; ++i) {
    EXPECT_EQ(logs[i].all(),
              i % 2 == 0 ? (Events{ESHM_EVENT_CONNECTED, ESHM_EVENT_DEAD}) : Events{});
  }
  masters.clear();
}

// Without threads they come inside the call that noticed.
TEST_P(Callbacks, WithoutThreadsRunInsideACall) {
  ESHMConfig config = patient(ESHM_ROLE_MASTER);
  config.use_threads = false;
  const pthread_t test_thread = pthread_self();
  Listener listener([&](ESHMHandle* link, ESHMEvent) {
    EXPECT_TRUE(pthread_equal(pthread_self(), test_thread));
    EXPECT_EQ(eshm_destroy(link), ESHM_ERROR_INVALID_PARAM);
    EXPECT_EQ(write_text(link, "from a callback"), ESHM_SUCCESS);
    EXPECT_TRUE(eshm_update_heartbeat(link) == ESHM_SUCCESS);
  });
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  listener.listen_to(master.get());
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  pause_ms(50);
  EXPECT_EQ(listener.calls(), 0) << "nobody called";
  wait_until([&] { return remote_state(master.get()) == ESHM_PEER_ALIVE; });
  EXPECT_EQ(listener.calls(), 1);
  EXPECT_EQ(ask(slave, "read"), "from a callback");
  leave(slave);
  wait_until([&] { return remote_state(master.get()) == ESHM_PEER_LEFT; });
  EXPECT_EQ(listener.calls(), 2);
}

ESHM_ON_BOTH_BACKENDS(Callbacks);

}  // namespace
