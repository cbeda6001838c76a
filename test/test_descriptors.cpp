// SPDX-License-Identifier: MIT
// The library's descriptors, threads and mappings: they survive an application
// that closes what it did not open, and go when the link goes.
#include <fcntl.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "support/counts.h"
#include "support/player.h"
#include "support/possessions.h"

namespace {

using namespace test;

// What an application's close_range(3, ...) does, but for the wire of the test.
std::vector<int> close_all_but_sockets() {
  std::vector<int> closed;
  std::vector<int> all;
  for_each_entry("/proc/self/fd", [&](const char* name) { all.push_back(std::atoi(name)); });
  for (int fd : all) {
    struct stat meta;
    if (fd < 3 || fstat(fd, &meta) != 0 || S_ISSOCK(meta.st_mode)) continue;
    close(fd);
    closed.push_back(fd);
  }
  return closed;
}

// Those that mean the file of one link. Answers how many.
size_t close_descriptors_of(const std::string& name) {
  struct stat wanted, meta;
  if (stat(path_of(name).c_str(), &wanted) != 0) return 0;
  std::vector<int> found;
  for_each_entry("/proc/self/fd", [&](const char* number) {
    const int fd = std::atoi(number);
    if (fstat(fd, &meta) == 0 && meta.st_ino == wanted.st_ino && meta.st_dev == wanted.st_dev) {
      found.push_back(fd);
    }
  });
  for (int fd : found) close(fd);
  return found.size();
}

class Descriptors : public LinkTest {
 protected:
  static ESHMRole other(ESHMRole role) {
    return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  }
};

TEST_P(Descriptors, ManyRoundsOfInitAndDestroyLeaveNothing) {
  const auto round = [&] {
    Link master = open_link(config(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(write_text(master.get(), "x"), ESHM_SUCCESS);
    ASSERT_EQ(read_text(slave.get(), UINT32_MAX), "x");
    const std::string another = unique_name();
    ESHMConfig unthreaded = config_of(another, ESHM_ROLE_AUTO, GetParam());
    unthreaded.use_threads = false;
    const Link third = open_link(unthreaded);
    ASSERT_TRUE(third) << last_error();
    // Refused in each role, and one that waits in vain.
    EXPECT_FALSE(open_link(config(ESHM_ROLE_MASTER)));
    EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
    const std::string nobodys = unique_name();
    EXPECT_FALSE(open_link(at_once(config_of(nobodys, ESHM_ROLE_SLAVE, GetParam()))));
    slave.reset();
    master.reset();
  };
  for (int warming = 0; warming < 10; ++warming) round();
  const Possessions before = settled();
  const size_t heap_before = mallinfo2().uordblks;
  const uint64_t rounds = count(100, 1000);
  for (uint64_t i = 0; i < rounds && !HasFatalFailure(); ++i) round();
  wait_for(before);
  // The smallest leak that comes each round is more than this.
  EXPECT_LT(mallinfo2().uordblks, heap_before + 16 * rounds);
}

// Masters that come and go leave nothing in their slave: each move to another
// segment gives all of the last one back.
TEST_P(Descriptors, ManyReconnectsLeaveNothing) {
  const Link slave = [&] {
    const Link first = open_link(config(ESHM_ROLE_MASTER));
    return open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  }();
  ASSERT_TRUE(slave) << last_error();
  const auto round = [&](uint64_t number) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    ASSERT_EQ(ask(master, "write " + std::to_string(number)), "0");
    ASSERT_EQ(read_text(slave.get(), UINT32_MAX), std::to_string(number));
    if (number % 2 == 0) {
      leave(master);
    } else {
      master.kill_now();
    }
    wait_until([&] { return !remote_is_alive(slave.get()); });
  };
  for (uint64_t warming = 1; warming <= 4; ++warming) round(warming);
  const Possessions before = settled();
  for (uint64_t i = 5; i <= 4 + 2 * count(10, 300); ++i) {
    round(i);
    if (HasFatalFailure()) return;
  }
  wait_for(before);
}

TEST_P(Descriptors, LastLinkTakesTheServiceThreadWithIt) {
  const Possessions before;
  {
    std::vector<Link> links;
    for (int i = 0; i < 20; ++i) {
      links.push_back(open_link(config_of(unique_name(), ESHM_ROLE_MASTER, GetParam())));
      ASSERT_TRUE(links.back()) << last_error();
      EXPECT_EQ(entries_of("/proc/self/task"), before.threads + 1);
    }
  }
  wait_for(before);
}

TEST_P(Descriptors, HolderWhoseDescriptorsWereClosedIsTold) {
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    for (bool use_threads : {true, false}) {
      ESHMConfig config = for_ever(this->config(role));
      config.use_threads = use_threads;
      Child holder([config](Wire& wire) {
        const Link link = open_link(config);
        wire.say(outcome(link));
        void* loan = nullptr;
        CHILD_CHECK(eshm_loan(link.get(), 1, &loan) == ESHM_SUCCESS);
        wire.hear();
        CHILD_CHECK(!close_all_but_sockets().empty());
        int code;
        while ((code = write_text(link.get(), "x")) == ESHM_SUCCESS) pause_ms(1);
        CHILD_CHECK(code == ESHM_ERROR_NOT_INITIALIZED);
        CHILD_CHECK(last_error().find("closed") != std::string::npos);
        CHILD_CHECK(write_text(link.get(), "x") == ESHM_ERROR_NOT_INITIALIZED);
        CHILD_CHECK(read_text(link.get(), UINT32_MAX) == error(ESHM_ERROR_NOT_INITIALIZED));
        CHILD_CHECK(eshm_publish(link.get(), loan, 1) == ESHM_ERROR_NOT_INITIALIZED);
        CHILD_CHECK(eshm_discard(link.get(), loan) == ESHM_SUCCESS);
        wire.say("told");
        wire.hear();
        return 0;
      });
      if (role == ESHM_ROLE_MASTER) {
        ASSERT_EQ(holder.hear(), "open");
      }
      const Link link = open_link(for_ever(this->config(other(role))));
      ASSERT_TRUE(link) << last_error();
      if (role == ESHM_ROLE_SLAVE) {
        ASSERT_EQ(holder.hear(), "open");
      }
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      ASSERT_EQ(ask(holder, "close"), "told");
      wait_until([&] { return !remote_is_alive(link.get()); });
      // Its role is free, and the next one has it in peace.
      Child next = obeying(for_ever(this->config(role)));
      ASSERT_EQ(next.hear(), "open");
      ASSERT_EQ(ask(next, "write from the next"), "0");
      read_until(link.get(), "from the next");
      leave(holder);
      ASSERT_EQ(ask(next, "write again"), "0");
      EXPECT_EQ(read_text(link.get(), UINT32_MAX), "again");
      leave(next);
    }
  }
}

// Before anything was noticed: destroy says at once why the name stays.
TEST_P(Descriptors, DestroyAfterTheDescriptorsWereClosedSaysWhyTheNameStays) {
  Child holder([this](Wire&) {
    ESHMConfig unthreaded = config(ESHM_ROLE_MASTER);
    unthreaded.use_threads = false;
    Link link = open_link(unthreaded);
    CHILD_CHECK(link);
    close_all_but_sockets();
    CHILD_CHECK(eshm_destroy(link.release()) == ESHM_ERROR_SHM_DELETE);
    CHILD_CHECK(last_error().find("closed") != std::string::npos);
    return 0;
  });
  EXPECT_EQ(holder.join(), 0);
  remove_name_of_the_killed();
}

// Descriptors are checked in turn; none is left out, and no other link is hurt.
TEST_P(Descriptors, OfManyLinksThoseWhoseDescriptorsWereClosedAreToldAndNoOther) {
  constexpr size_t kLinks = 40;
  std::vector<std::string> names;
  for (size_t i = 0; i < kLinks; ++i) names.push_back(unique_name());
  Child holder([&](Wire&) {
    std::vector<Link> links;
    for (const std::string& one : names) {
      links.push_back(open_link(config_of(one, ESHM_ROLE_MASTER, GetParam())));
      CHILD_CHECK(links.back());
    }
    CHILD_CHECK(close_descriptors_of(names[kLinks / 2]) > 0);
    while (write_text(links[kLinks / 2].get(), "x") != ESHM_ERROR_NOT_INITIALIZED) pause_ms(1);
    pause_ms(20);
    for (size_t i = 0; i < kLinks; ++i) {
      CHILD_CHECK(i == kLinks / 2 || write_text(links[i].get(), "x") == ESHM_SUCCESS);
    }
    close_all_but_sockets();
    for (const Link& link : links) {
      while (write_text(link.get(), "x") != ESHM_ERROR_NOT_INITIALIZED) pause_ms(1);
    }
    return 0;
  });
  EXPECT_EQ(holder.join(), 0);
  for (const std::string& one : names) unlink(path_of(one).c_str());
}

// The successor comes at once, before anything could have been noticed.
TEST_P(Descriptors, ItsFirstCallAfterASuccessorCameFails) {
  for (bool slave_lives : {true, false}) {
    for (uint64_t round = 0; round < count(3, 100); ++round) {
      Child holder([config = config(ESHM_ROLE_MASTER)](Wire& wire) {
        const Link link = open_link(config);
        wire.say(outcome(link));
        wire.hear();
        close_all_but_sockets();
        wire.say("closed");
        return obey(wire, link);
      });
      ASSERT_EQ(holder.hear(), "open");
      Link slave;
      if (slave_lives) slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      ASSERT_EQ(ask(holder, "close"), "closed");
      const Link next = open_link(config(ESHM_ROLE_MASTER));
      ASSERT_TRUE(next) << last_error();
      const std::string code = ask(holder, "write from the grave");
      EXPECT_TRUE(code == std::to_string(ESHM_ERROR_SUPERSEDED) ||
                  code == std::to_string(ESHM_ERROR_NOT_INITIALIZED))
          << code;
      if (!slave) slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      ASSERT_TRUE(slave) << last_error();
      ASSERT_EQ(write_text(next.get(), "from the next"), ESHM_SUCCESS);
      EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "from the next");
      leave(holder);
      EXPECT_FALSE(files_of(name()).empty()) << "the name is the successor's";
    }
  }
}

// The same number, the same file, and another handle's.
TEST_P(Descriptors, LinkThatWasOpenedAgainIsNotClosedByItsFormerHandle) {
  for (bool use_threads : {true, false}) {
    Child holder([config = config(ESHM_ROLE_MASTER), use_threads](Wire& wire) mutable {
      config.use_threads = use_threads;
      Link former = open_link(config);
      wire.say(outcome(former));
      wire.hear();
      close_all_but_sockets();
      const Link again = open_link(config);
      former.reset();
      wire.say(outcome(again));
      return again ? obey(wire, again) : 0;
    });
    ASSERT_EQ(holder.hear(), "open");
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(ask(holder, "again"), "open");
    wait_for_state(slave.get(), ESHM_PEER_ALIVE);
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(ask(holder, "write " + std::to_string(i)), "0");
      ASSERT_EQ(read_text(slave.get(), UINT32_MAX), std::to_string(i));
      pause_ms(2);
    }
    if (use_threads) {  // else it does not beat now
      EXPECT_FALSE(open_link(config(ESHM_ROLE_MASTER))) << "its role was free";
    }
    leave(holder);
  }
}

// The numbers come to mean the application's own files: those are neither
// read, written, locked nor closed.
TEST_P(Descriptors, StrangersFilesOnTheClosedNumbersAreNotTouched) {
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    // The peer is killed while the strangers' files stand where the exit watch was.
    const auto play = [&](Child& peer, Wire&) {
      std::string pattern = testing::TempDir() + "eshm_test_strangers_XXXXXX";
      const int keep = mkstemp(&pattern[0]);
      CHILD_CHECK(keep >= 0);
      CHILD_CHECK(write(keep, "content", 7) == 7);
      Link link = open_link(for_ever(config(role)));
      CHILD_CHECK(link);
      wait_for_state(link.get(), ESHM_PEER_ALIVE);
      pause_ms(20);  // by now there is an exit watch

      const std::vector<int> closed = close_all_but_sockets();
      CHILD_CHECK(closed.size() >= 2);
      std::vector<int> strangers;
      for (size_t i = 0; i < closed.size() + 4; ++i) {
        strangers.push_back(open(pattern.c_str(), O_RDWR | O_CLOEXEC));
        CHILD_CHECK(strangers.back() >= 0);
      }
      struct stat own;
      CHILD_CHECK(fstat(strangers[0], &own) == 0);
      peer.kill_now();
      while (write_text(link.get(), "x") != ESHM_ERROR_NOT_INITIALIZED) pause_ms(1);
      pause_ms(30);
      link.reset();
      for (int fd : strangers) {
        struct stat now;
        CHILD_CHECK(fstat(fd, &now) == 0 && now.st_ino == own.st_ino && now.st_dev == own.st_dev);
        struct flock range = {};
        range.l_type = F_WRLCK;
        range.l_whence = SEEK_SET;
        CHILD_CHECK(fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type == F_UNLCK);
      }
      char text[16] = "";
      CHILD_CHECK(pread(strangers[0], text, sizeof text, 0) == 7);
      CHILD_CHECK(std::strcmp(text, "content") == 0);
      unlink(pattern.c_str());
      return 0;
    };
    Child child([&](Wire& wire) {
      // Its peer is a child of its own, so that it can end it.
      Child peer = obeying(for_ever(config(other(role))));
      if (role == ESHM_ROLE_SLAVE) {
        CHILD_CHECK(peer.hear() == "open");
      }
      return play(peer, wire);
    });
    EXPECT_EQ(child.join(), 0);
    remove_name_of_the_killed();
  }
}

// A slave that waits for a name has one descriptor more; without it the
// interval does.
TEST_P(Descriptors, WaitingSlaveWhoseDescriptorsWereClosedStillFindsItsMaster) {
  ESHMConfig config = for_ever(this->config(ESHM_ROLE_SLAVE));
  config.reconnect_retry_interval_ms = 20;
  Child slave([config](Wire& wire) {
    std::thread closer([&] {
      pause_ms(50);
      close_all_but_sockets();
      wire.say("closed");
    });
    const Link link = open_link(config);
    closer.join();
    wire.say(outcome(link));
    return link ? obey(wire, link) : 0;
  });
  ASSERT_EQ(slave.hear(), "closed");
  Child master = obeying(this->config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  EXPECT_EQ(slave.hear(), "open");
  ASSERT_EQ(ask(master, "write hello"), "0");
  EXPECT_EQ(ask(slave, "wait"), "hello");
  leave(slave);
  leave(master);
}

ESHM_ON_BOTH_BACKENDS(Descriptors);

}  // namespace
