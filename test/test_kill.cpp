// SPDX-License-Identifier: MIT
// kill -9, over and over, at random moments: the other one is told the truth,
// and goes on.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "support/counts.h"
#include "support/kill_test.h"

namespace {

using namespace test;

class Kill : public KillTest {};

constexpr ESHMRole kBothRoles[] = {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE};

// One thread does nothing but ask for the state.
TEST_P(Kill, KilledAtRandomMomentsIsToldDeadAndNeverWhileItLives) {
  Random random;
  for (ESHMRole victims_role : kBothRoles) {
    Child victim = talker(victims_role);
    if (victims_role == ESHM_ROLE_MASTER) {
      ASSERT_EQ(victim.hear(), "open");
    }
    Link link = open_link(patient(other(victims_role)));
    ASSERT_TRUE(link) << last_error();
    if (victims_role == ESHM_ROLE_SLAVE) {
      ASSERT_EQ(victim.hear(), "open");
    }
    wait_for_state(link.get(), ESHM_PEER_ALIVE);

    std::atomic<uint64_t> phase{0};  // even: was seen alive, and is not yet killed
    std::atomic<bool> is_over{false};
    std::atomic<uint64_t> looks{0};
    std::thread watcher([&] {
      while (!is_over) {
        const uint64_t phase_before = phase;
        const ESHMPeerState state = remote_state(link.get());
        if (phase_before % 2 == 0 && phase == phase_before) {
          EXPECT_EQ(state, ESHM_PEER_ALIVE);
        }
        EXPECT_NE(state, ESHM_PEER_LEFT);
        EXPECT_NE(state, ESHM_PEER_NEVER_SEEN);
        ++looks;
      }
    });
    for (uint64_t round = 0; round < count(20, 1000); ++round) {
      usleep(static_cast<useconds_t>(random.up_to(4000)));
      ++phase;
      victim.kill_now();
      wait_for_state(link.get(), ESHM_PEER_DEAD);
      EXPECT_FALSE(lock_is_held(victims_role));
      victim = talker(victims_role);
      EXPECT_EQ(victim.hear(), "open");
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      ++phase;
    }
    is_over = true;
    watcher.join();
    EXPECT_GT(looks, 0u);
    victim.kill_now();
    wait_for_state(link.get(), ESHM_PEER_DEAD);
  }
}

// In eshm_init and in eshm_destroy, too.
TEST_P(Kill, KilledAtAnyMomentOfALinksLifeTheNextOneWorks) {
  Random random;
  for (ESHMRole victims_role : kBothRoles) {
    Link link;
    if (victims_role == ESHM_ROLE_SLAVE) link = open_link(patient(ESHM_ROLE_MASTER));
    for (uint64_t round = 0; round < count(30, 1000); ++round) {
      Child victim([config = patient(victims_role)](Wire&) {
        for (;;) {
          const Link mortal = open_link(config);
          CHILD_CHECK(mortal);
          write_text(mortal.get(), "old");
        }
        return 0;
      });
      usleep(static_cast<useconds_t>(random.up_to(4000)));
      victim.kill_now();

      Child next = obeying(patient(victims_role));
      ASSERT_EQ(next.hear(), "open");
      const std::string text = "round " + std::to_string(round);
      if (victims_role == ESHM_ROLE_MASTER && !link) {
        link = open_link(patient(ESHM_ROLE_SLAVE));
        ASSERT_TRUE(link) << last_error();
      }
      ASSERT_EQ(ask(next, "write " + text), "0");
      read_until(link.get(), text);
      if (round % 2 == 0) {
        leave(next);
      } else {
        next.kill_now();
      }
    }
  }
}

// A thread that reads numbers with all sorts of time-outs.
class ReaderForEver {
 public:
  explicit ReaderForEver(ESHMHandle* link) : thread_([this, link] { read(link); }) {}
  ~ReaderForEver() { end(); }
  int newest() const { return newest_; }
  void end() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void read(ESHMHandle* link) {
    for (uint32_t timeout_ms = 1; !is_over_; timeout_ms = timeout_ms % 40 + 1) {
      const std::string text = read_text(link, timeout_ms);
      if (text == error(ESHM_ERROR_TIMEOUT)) continue;
      ASSERT_EQ(text.find("error"), std::string::npos) << text << ": " << last_error();
      EXPECT_GT(std::stoi(text), newest_) << "read again";
      newest_ = std::stoi(text);
    }
  }

  std::atomic<bool> is_over_{false};
  std::atomic<int> newest_{0};
  std::thread thread_;
};

// Masters are killed in their eshm_init, in their first write and after it.
TEST_P(Kill, BlockedReadsOverManyMastersFailWithNothingButTimeout) {
  Random random;
  Child master = obeying(patient(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ReaderForEver reader(slave.get());
  const int lives = static_cast<int>(count(20, 1000));
  for (int life = 1; life <= lives; ++life) {
    master.kill_now();
    // One that may not come far.
    Child hasty = obeying(patient(ESHM_ROLE_MASTER));
    usleep(static_cast<useconds_t>(random.up_to(2500)));
    hasty.kill_now();
    master = obeying(patient(ESHM_ROLE_MASTER));
    EXPECT_EQ(master.hear(), "open");
    EXPECT_EQ(ask(master, "write " + std::to_string(life)), "0");
    wait_until([&] { return reader.newest() == life; });
  }
  reader.end();
  leave(master);
}

TEST_P(Kill, MastersBlockedReadsOverManySlavesFailWithNothingButTimeout) {
  Random random;
  const Link master = open_link(patient(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ReaderForEver reader(master.get());
  const int lives = static_cast<int>(count(20, 1000));
  for (int life = 1; life <= lives; ++life) {
    Child hasty = obeying(patient(ESHM_ROLE_SLAVE));
    usleep(static_cast<useconds_t>(random.up_to(2500)));
    hasty.kill_now();
    Child slave = obeying(patient(ESHM_ROLE_SLAVE));
    EXPECT_EQ(slave.hear(), "open");
    EXPECT_EQ(write_text(master.get(), "to " + std::to_string(life)), ESHM_SUCCESS);
    EXPECT_EQ(ask(slave, "wait"), "to " + std::to_string(life));
    EXPECT_EQ(ask(slave, "write " + std::to_string(life)), "0");
    wait_until([&] { return reader.newest() == life; });
    slave.kill_now();
  }
}

TEST_P(Kill, BothKilledAndStartedInAnyOrderNeverReadAnOldValue) {
  Random random;
  const auto start = [&](ESHMRole role, uint64_t life) {
    return Child([config = patient(role), life](Wire& wire) {
      const Link link = open_link(config);
      CHILD_CHECK(link);
      const std::string ours = "life " + std::to_string(life);
      for (bool heard = false;;) {
        const int code = write_text(link.get(), ours);
        CHILD_CHECK(code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT);  // its master was killed
        const std::string text = read_text(link.get(), 1);
        CHILD_CHECK(text == ours || text == error(ESHM_ERROR_TIMEOUT));
        if (!heard && text == ours) wire.say("heard");
        heard |= text == ours;
      }
      return 0;
    });
  };
  for (uint64_t life = 1; life <= count(25, 1000); ++life) {
    const ESHMRole first_role = kBothRoles[random.up_to(1)];
    Child first = start(first_role, life);
    usleep(static_cast<useconds_t>(random.up_to(3000)));
    Child second = start(other(first_role), life);
    ASSERT_EQ(first.hear(), "heard") << "life " << life;
    ASSERT_EQ(second.hear(), "heard") << "life " << life;
    Child* const order[] = {&first, &second};
    const uint64_t victim = random.up_to(1);
    for (Child* child : {order[victim], order[1 - victim]}) {
      EXPECT_FALSE(child->has_news()) << "it has ended by itself";
      child->kill_now();
    }
  }
  remove_name_of_the_killed();
}

TEST_P(Kill, BlockedReadOfOneThatGivesUpImmediatelyIsEndedByTheKill) {
  Child master = talker(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  std::thread reader([&] {
    std::string text;
    while ((text = read_text(slave.get(), UINT32_MAX)).find("error") != 0) {
    }
    EXPECT_EQ(text, error(ESHM_ERROR_MASTER_STALE));
  });
  pause_ms(20);
  master.kill_now();
  reader.join();
  remove_name_of_the_killed();
}

// ---- other ways to end ----------------------------------------------------------

TEST_P(Kill, ExecInTheHolderIsDeath) {
  for (ESHMRole victims_role : kBothRoles) {
    const auto start = [&] {
      return Child([config = patient(victims_role)](Wire& wire) {
        const Link link = open_link(config);
        wire.say(outcome(link));
        wire.hear();
        execlp("sleep", "sleep", "1000", static_cast<char*>(nullptr));
        return 1;
      });
    };
    Child victim = start();
    if (victims_role == ESHM_ROLE_MASTER) {
      ASSERT_EQ(victim.hear(), "open");
    }
    const Link link = open_link(patient(other(victims_role)));
    ASSERT_TRUE(link) << last_error();
    if (victims_role == ESHM_ROLE_SLAVE) {
      ASSERT_EQ(victim.hear(), "open");
    }
    wait_for_state(link.get(), ESHM_PEER_ALIVE);
    victim.say("exec");
    wait_for_state(link.get(), ESHM_PEER_DEAD);
    EXPECT_EQ(kill(victim.pid(), 0), 0) << "the process is another program, but has not ended";
    // Its seat is free, though it lives on.
    Child next = obeying(patient(victims_role));
    ASSERT_EQ(next.hear(), "open");
    ASSERT_EQ(ask(next, "write after exec"), "0");
    EXPECT_EQ(read_text(link.get(), UINT32_MAX), "after exec");
    leave(next);
  }
}

TEST_P(Kill, EndWithoutDestroyIsDeathAndDestroyIsLeaving) {
  enum class End { kDestroy, kUnderscoreExit, kExit, kAbort };
  for (ESHMRole role : kBothRoles) {
    for (End end : {End::kDestroy, End::kUnderscoreExit, End::kExit, End::kAbort}) {
      Child peer([config = patient(role), end](Wire& wire) {
        Link link = open_link(config);
        wire.say(outcome(link));
        wire.hear();
        if (end == End::kDestroy) link.reset();
        if (end == End::kUnderscoreExit) _exit(0);
        if (end == End::kExit) std::exit(0);
        if (end == End::kAbort) raise(SIGTERM);
        return 0;
      });
      if (role == ESHM_ROLE_MASTER) {
        ASSERT_EQ(peer.hear(), "open");
      }
      const Link link = open_link(patient(other(role)));
      ASSERT_TRUE(link) << last_error();
      if (role == ESHM_ROLE_SLAVE) {
        ASSERT_EQ(peer.hear(), "open");
      }
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      peer.say("end");
      peer.join();
      wait_until([&] { return !remote_is_alive(link.get()); });
      EXPECT_EQ(remote_state(link.get()), end == End::kDestroy ? ESHM_PEER_LEFT : ESHM_PEER_DEAD);
    }
  }
}

// Exit watches of several peers in one process: one may serve several links.
TEST_P(Kill, EachLinkIsToldOfItsOwnPeersDeathAlone) {
  std::vector<Link> masters;
  std::vector<std::string> names;
  for (int i = 0; i < 3; ++i) {
    names.push_back(unique_name());
    masters.push_back(open_link(config_of(names.back(), ESHM_ROLE_MASTER, GetParam())));
    ASSERT_TRUE(masters.back()) << last_error();
  }
  const auto slave_of = [&](int i) {
    return for_ever(config_of(names[size_t(i)], ESHM_ROLE_SLAVE, GetParam()));
  };
  Child of_two([&](Wire& wire) {
    const Link one = open_link(slave_of(0));
    const Link other = open_link(slave_of(1));
    CHILD_CHECK(one && other);
    wire.say("open");
    wire.hear();
    return 0;
  });
  Child of_one = obeying(slave_of(2));
  ASSERT_EQ(of_two.hear(), "open");
  ASSERT_EQ(of_one.hear(), "open");
  for (const Link& master : masters) wait_for_state(master.get(), ESHM_PEER_ALIVE);
  pause_ms(5);  // by now there are exit watches
  of_one.kill_now();
  wait_for_state(masters[2].get(), ESHM_PEER_DEAD);
  for (int i = 0; i < 2; ++i) EXPECT_NE(remote_state(masters[size_t(i)].get()), ESHM_PEER_DEAD);
  of_two.kill_now();
  for (int i = 0; i < 2; ++i) wait_for_state(masters[size_t(i)].get(), ESHM_PEER_DEAD);
}

ESHM_ON_BOTH_BACKENDS(Kill);

}  // namespace
