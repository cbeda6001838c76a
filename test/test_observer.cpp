// SPDX-License-Identifier: MIT
// Those who look on: what they see, through whatever becomes of the link.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "support/counts.h"
#include "support/pattern.h"
#include "support/observers.h"
#include "support/player.h"

namespace {

using namespace test;

// ---- what it sees --------------------------------------------------------------

TEST_P(ObserverTest, OpensBeforeThereIsASegmentAndSeesTheFirstMessage) {
  const Link observer = open_observer();
  EXPECT_EQ(look(observer.get(), 0).code, ESHM_ERROR_NO_DATA);
  EXPECT_EQ(look(observer.get(), 20).code, ESHM_ERROR_TIMEOUT);
  EXPECT_NE(last_error().find("no segment"), std::string::npos) << last_error();
  EXPECT_EQ(remote_state(observer.get()), ESHM_PEER_NEVER_SEEN);
  EXPECT_EQ(stats_of(observer.get()).master_pid, 0);

  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "first"), ESHM_SUCCESS);
  const Seen seen = look(observer.get());
  EXPECT_EQ(seen.text, "first");
  EXPECT_EQ(seen.info.sequence, 1u);
  EXPECT_EQ(seen.info.missed, 0u);
  EXPECT_EQ(seen.info.generation, 1u);
  EXPECT_EQ(seen.info.direction, uint32_t(ESHM_M2S));
  EXPECT_EQ(remote_state(observer.get()), ESHM_PEER_ALIVE);
}

TEST_P(ObserverTest, SeesBothDirectionsInTurnAndTakesNothingFromTheReaders) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  const Link observers[] = {open_observer(), open_observer(), open_observer()};
  for (int round = 1; round <= 50; ++round) {
    const std::string down = "down " + std::to_string(round);
    const std::string up = "up " + std::to_string(round);
    ASSERT_EQ(write_text(master.get(), down), ESHM_SUCCESS);
    ASSERT_EQ(write_text(slave.get(), up), ESHM_SUCCESS);
    for (const Link& observer : observers) {
      std::string texts[2];
      for (int turn = 0; turn < 2; ++turn) {
        const Seen seen = look(observer.get());
        ASSERT_EQ(seen.code, ESHM_SUCCESS) << last_error();
        ASSERT_LE(seen.info.direction, 1u);
        texts[seen.info.direction] = seen.text;
        EXPECT_EQ(seen.info.sequence, uint64_t(round));
        EXPECT_EQ(seen.info.missed, 0u);
      }
      EXPECT_EQ(texts[ESHM_M2S], down);
      EXPECT_EQ(texts[ESHM_S2M], up);
      EXPECT_EQ(look(observer.get(), 0).code, ESHM_ERROR_NO_DATA);
    }
    EXPECT_EQ(read_text(slave.get(), 0), down);
    EXPECT_EQ(read_text(master.get(), 0), up);
  }
}

TEST_P(ObserverTest, TheTwoAreToldTheDirectionTheyRead) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "down"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "up"), ESHM_SUCCESS);
  EXPECT_EQ(look(master.get()).info.direction, uint32_t(ESHM_S2M));
  EXPECT_EQ(look(slave.get()).info.direction, uint32_t(ESHM_M2S));
}

TEST_P(ObserverTest, OneThatWritesWithoutPauseDoesNotHideTheOther) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  const Link observer = open_observer();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 3; ++i) ASSERT_EQ(write_text(master.get(), "noise"), ESHM_SUCCESS);
    ASSERT_EQ(write_text(slave.get(), "signal"), ESHM_SUCCESS);
    const Seen first = look(observer.get(), 0);
    const Seen second = look(observer.get(), 0);
    EXPECT_TRUE(first.text == "signal" || second.text == "signal");
    while (look(observer.get(), 0).code == ESHM_SUCCESS) {
    }
    while (is_queue() && look(slave.get(), 0).code == ESHM_SUCCESS) {
    }
  }
}

TEST_P(ObserverTest, OneThatComesLateSeesWhatIsUnread) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  for (const char* text : {"1", "2", "3"}) ASSERT_EQ(write_text(master.get(), text), ESHM_SUCCESS);
  const Link observer = open_observer();
  const Seen seen = look(observer.get());
  EXPECT_EQ(seen.text, is_queue() ? "1" : "3");
  EXPECT_EQ(seen.info.sequence, is_queue() ? 1u : 3u);
  EXPECT_EQ(seen.info.missed, 0u) << "what came before it is not missed";
}

TEST_P(ObserverTest, CountsWhatItMissed) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  const Link observer = open_observer();
  uint64_t written = 0;
  uint64_t got = 0;
  uint64_t missed = 0;
  std::vector<char> buffer(ESHM_MAX_DATA_SIZE);
  const auto exchange = [&](int messages) {
    for (int i = 0; i < messages; ++i) {
      fill_pattern(buffer.data(), buffer.size(), ++written);
      ASSERT_EQ(eshm_write(master.get(), buffer.data(), buffer.size()), ESHM_SUCCESS);
      ASSERT_EQ(look(slave.get(), 0).code, ESHM_SUCCESS);
    }
  };
  for (int lap = 0; lap < 5; ++lap) {
    exchange(lap == 0 ? 1 : 1000);  // the ring takes some 250 of them
    for (Seen seen = look(observer.get(), 0); seen.code == ESHM_SUCCESS;
         seen = look(observer.get(), 0)) {
      ++got;
      missed += seen.info.missed;
      EXPECT_EQ(seen.info.sequence, got + missed);
      EXPECT_TRUE(is_pattern(seen.text.data(), seen.text.size(), seen.info.sequence));
    }
    EXPECT_EQ(got + missed, written);
  }
  EXPECT_GT(got, 0u);
  EXPECT_GT(missed, 3000u);
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(observer.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.messages_read, got);
  EXPECT_EQ(stats.messages_missed, missed);
}

TEST_P(QueueObserverTest, KeepsUpAtItsEase) {
  const Link observer = open_observer();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  char buffer[300];
  for (uint64_t number = 1; number <= 20000; ++number) {
    const size_t size = pattern_size(number, sizeof buffer);
    fill_pattern(buffer, size, number);
    ASSERT_EQ(eshm_write(master.get(), buffer, size), ESHM_SUCCESS);
    ASSERT_EQ(look(slave.get(), 0).code, ESHM_SUCCESS);
    if (number % 1000 != 0) continue;
    for (uint64_t next = number - 999; next <= number; ++next) {
      const Seen seen = look(observer.get());
      ASSERT_EQ(seen.code, ESHM_SUCCESS) << last_error();
      ASSERT_EQ(seen.info.sequence, next);
      ASSERT_EQ(seen.info.missed, 0u);
      ASSERT_TRUE(is_pattern(seen.text.data(), seen.text.size(), next));
    }
  }
}

TEST_P(ObserverTest, KeepsAMessageThatItsBufferIsTooSmallFor) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "eight by"), ESHM_SUCCESS);
  const Link observer = open_observer();
  char small[7];
  size_t needed = 0;
  EXPECT_EQ(eshm_read_ex(observer.get(), small, sizeof small, &needed, 0),
            ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_EQ(needed, 8u);
  EXPECT_EQ(read_text(observer.get(), 0), "eight by");
}

TEST_P(ObserverTest, SeesTheLifeOfBothSides) {
  const Link observer = open_observer();
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.hear(), "open");
  wait_until([&] { return stats_of(observer.get()).slave_alive; });
  ESHMStats stats = stats_of(observer.get());
  EXPECT_TRUE(stats.master_alive);
  EXPECT_EQ(stats.master_pid, master.pid());
  EXPECT_EQ(stats.slave_pid, slave.pid());
  wait_until([&] { return stats_of(observer.get()).master_heartbeat > stats.master_heartbeat; });
  wait_until([&] { return stats_of(observer.get()).slave_heartbeat > stats.slave_heartbeat; });
  ASSERT_EQ(ask(master, "write one"), "0");
  EXPECT_EQ(stats_of(observer.get()).m2s_write_count, 1u);
  EXPECT_EQ(stats_of(observer.get()).s2m_write_count, 0u);

  slave.kill_now();
  wait_until([&] { return !stats_of(observer.get()).slave_alive; });
  EXPECT_TRUE(stats_of(observer.get()).master_alive);
  leave(master);
  wait_for_state(observer.get(), ESHM_PEER_LEFT);
  bool is_alive = true;
  EXPECT_EQ(eshm_check_remote_alive(observer.get(), &is_alive), ESHM_SUCCESS);
  EXPECT_FALSE(is_alive);
}

TEST_P(ObserverTest, TellsAStoppedMasterStale) {
  ESHMConfig impatient = config(ESHM_ROLE_OBSERVER);
  impatient.stale_threshold_ms = kHungMs;
  const Link observer = open_link(impatient);
  ASSERT_TRUE(observer) << last_error();
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  wait_for_state(observer.get(), ESHM_PEER_ALIVE);
  master.stop();
  wait_for_state(observer.get(), ESHM_PEER_STALE);
  master.go_on();
  wait_for_state(observer.get(), ESHM_PEER_ALIVE);
  leave(master);
}

// ---- through restarts ------------------------------------------------------------

TEST_P(ObserverTest, GoesOnAcrossARestartOfTheMaster) {
  const Link observer = open_observer();
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  uint32_t generation = 0;
  for (int life = 0; life < 3; ++life) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    if (life == 0) {
      ASSERT_EQ(slave.hear(), "open");
    }
    const std::string text = "life " + std::to_string(life);
    ASSERT_EQ(ask(master, "write " + text), "0");
    const Seen seen = look_for(observer.get(), text);
    EXPECT_GT(seen.info.generation, generation);
    generation = seen.info.generation;
    wait_for_state(observer.get(), ESHM_PEER_ALIVE);
    master.kill_now();
    wait_for_state(observer.get(), ESHM_PEER_DEAD);
  }
  EXPECT_EQ(reconnects_of(observer.get()), 2u);
  leave(slave);  // the last one out
}

TEST_P(ObserverTest, GoesOnAcrossARestartOfTheSlave) {
  const Link observer = open_observer();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (int life = 0; life < 3; ++life) {
    Child slave = obeying(config(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    const std::string text = "life " + std::to_string(life);
    ASSERT_EQ(ask(slave, "write " + text), "0");
    EXPECT_EQ(look_for(observer.get(), text).info.direction, uint32_t(ESHM_S2M));
    slave.kill_now();
  }
}

TEST_P(ObserverTest, GoesOnAcrossTheDeathOfBoth) {
  const Link observer = open_observer();
  for (int life = 0; life < 3; ++life) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    Child slave = obeying(config(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    const std::string down = "down " + std::to_string(life);
    const std::string up = "up " + std::to_string(life);
    ASSERT_EQ(ask(master, "write " + down), "0");
    look_for(observer.get(), down);
    ASSERT_EQ(ask(slave, "write " + up), "0");
    look_for(observer.get(), up);
    master.kill_now();
    slave.kill_now();
  }
  const Link last = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(last) << last_error();  // who removes the name
}

TEST_P(ObserverTest, GoesOnAcrossCleanEndsAndKeepsNoMemoryOfThem) {
  const Link observer = open_observer();
  for (int life = 0; life < 3; ++life) {
    {
      const Link master = open_link(config(ESHM_ROLE_MASTER));
      ASSERT_TRUE(master) << last_error();
      ASSERT_EQ(write_text(master.get(), "life " + std::to_string(life)), ESHM_SUCCESS);
    }
    if (life == 0) continue;  // not seen at all: it was over too soon
    while (look(observer.get(), 20).code == ESHM_SUCCESS) {
    }
    wait_until([&] {
      remote_state(observer.get());
      std::ifstream maps("/proc/self/maps");
      std::stringstream text;
      text << maps.rdbuf();
      return text.str().find(name()) == std::string::npos && sysv_segments_of_ours().empty();
    });
  }
}

TEST_P(ObserverTest, FollowsToTheSegmentOfAMasterThatReplacedAHungOne) {
  ESHMConfig hung_soon = config(ESHM_ROLE_MASTER);
  hung_soon.stale_threshold_ms = kHungMs;
  const Link observer = open_observer();
  Child hung = obeying(hung_soon);
  ASSERT_EQ(hung.hear(), "open");
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.hear(), "open");
  ASSERT_EQ(ask(hung, "write old"), "0");
  look_for(observer.get(), "old");
  hung.stop();
  const Link master = open_link(hung_soon);
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "new"), ESHM_SUCCESS);
  // Of a queue it sees the copies of the former master's messages before.
  EXPECT_GE(look_for(observer.get(), "new").info.generation, 2u);
  wait_until([&] { return remote_is_alive(master.get()); });
  // It is seen there a moment before it has left the old segment.
  wait_until([&] { return ask(slave, "write here") == "0"; });
  look_for(observer.get(), "here");
  hung.kill_now();
  leave(slave);
}

TEST_P(ObserverTest, ShowsWhatADeadLinkLeft) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ASSERT_EQ(ask(master, "write last words"), "0");
  if (GetParam().backend == ESHM_BACKEND_SYSV) {
    const Link observer = open_observer();  // its attachment keeps the data
    master.kill_now();
    EXPECT_EQ(look(observer.get()).text, "last words");
  } else {
    master.kill_now();
    const Link observer = open_observer();
    EXPECT_EQ(look(observer.get()).text, "last words");
    EXPECT_EQ(remote_state(observer.get()), ESHM_PEER_DEAD);
  }
  const Link last = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(last) << last_error();
}

INSTANTIATE_TEST_SUITE_P(Kinds, ObserverTest,
                         testing::Values(Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_LATEST},
                                         Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_QUEUE},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_LATEST},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_QUEUE}),
                         kind_name);
INSTANTIATE_TEST_SUITE_P(Kinds, QueueObserverTest,
                         testing::Values(Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_QUEUE},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_QUEUE}),
                         kind_name);

}  // namespace
