// SPDX-License-Identifier: MIT
// What the log is told of a link, in words.
#include "support/log_lines.h"
#include "support/player.h"

namespace {

using namespace test;

class Log : public LinkTest {};

TEST_P(Log, EachEventHasItsLineThoughNobodyListensToEvents) {
  Lines lines;  // before the link: its thread may still tell one
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.stale_threshold_ms = kHungMs;
  config.max_reconnect_attempts = 0;
  config.reconnect_wait_ms = 4000;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  Child second = standing_by(this->config(ESHM_ROLE_MASTER));
  first.stop();
  lines.wait_for("heartbeat stands still", ESHM_LOG_WARNING);
  first.go_on();
  lines.wait_for("beats again", ESHM_LOG_INFO);
  first.kill_now();
  lines.wait_for("process has ended", ESHM_LOG_WARNING);
  ASSERT_EQ(ask(second, "open"), "open");
  lines.wait_for("a new peer", ESHM_LOG_INFO);
  leave(second);
  lines.wait_for("has left", ESHM_LOG_INFO);
  lines.wait_for("given up", ESHM_LOG_WARNING);
  EXPECT_GT(lines.count_of(name()), 0u);
}

TEST_P(Log, LinkThatIsClosedAtOnceIsToldOfAllTheSame) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  for (const bool use_threads : {true, false}) {
    Lines lines;
    ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
    config.use_threads = use_threads;
    for (size_t round = 1; round <= 20; ++round) {
      ASSERT_TRUE(open_link(config)) << last_error();
      EXPECT_EQ(lines.count_of("the peer is there"), round);
    }
  }
  leave(master);
}

TEST_P(Log, EventWaitsForTheFirstListenerThoughItsLineIsUntold) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  for (int round = 0; round < 20; ++round) {
    Lines lines;
    EventLog events;
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    events.listen_to(slave.get());
    events.wait_for(ESHM_EVENT_CONNECTED);
    wait_until([&] { return lines.count_of("the peer is there") > 0; });
    eshm_set_event_callback(slave.get(), nullptr, nullptr);
    EXPECT_EQ(events.count_of(ESHM_EVENT_CONNECTED), 1u);
    EXPECT_EQ(lines.count_of("the peer is there"), 1u);
  }
  leave(master);
}

// The next master takes larger messages of another type: the slave stays away.
TEST_P(Log, SlaveThatIsRefusedByItsNextMasterTellsWhy) {
  ESHMConfig typed = config(ESHM_ROLE_MASTER);
  ASSERT_EQ(eshm_type_of("A{x:f64@0}8", &typed.m2s.type), ESHM_SUCCESS);
  Child first = obeying(typed);
  ASSERT_EQ(first.hear(), "open");
  ESHMConfig as_slave = for_ever(typed);
  as_slave.role = ESHM_ROLE_SLAVE;
  as_slave.reconnect_retry_interval_ms = 5;
  Lines lines;
  const Link slave = open_link(as_slave);
  ASSERT_TRUE(slave) << last_error();
  first.kill_now();
  ASSERT_EQ(eshm_type_of("A{x:f32@0}4", &typed.m2s.type), ESHM_SUCCESS);
  const Link next = open_link(typed);
  ASSERT_TRUE(next) << last_error();
  lines.wait_for("x:f32@0 there, x:f64@0 here", ESHM_LOG_WARNING);
}

ESHM_ON_BOTH_BACKENDS(Log);

}  // namespace
