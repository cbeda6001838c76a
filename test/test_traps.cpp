// SPDX-License-Identifier: MIT
// Nine faults of the program that this library replaces, each as a promise.
// Their other tests stand with what they belong to.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"

namespace {

using namespace test;

class Traps : public LinkTest {
 protected:
  // A process that holds a role until it is told to leave, or is killed.
  Child holder(ESHMRole role, uint32_t stale_threshold_ms = kPatientMs) const {
    return Child([this, role, stale_threshold_ms](Wire& wire) {
      ESHMConfig config = for_ever(this->config(role));
      config.stale_threshold_ms = stale_threshold_ms;
      const Link link = open_link(config);
      CHILD_CHECK(link);
      wire.say("open");
      wire.hear();
      return 0;
    });
  }
};

TEST_P(Traps, Trap1FirstMessageIsNotLostThoughWrittenBeforeTheSlaveAttached) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "early"), ESHM_SUCCESS);
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  EXPECT_EQ(read_text(slave.get(), 0), "early");
  EXPECT_EQ(read_text(slave.get(), 0), "error " + std::to_string(ESHM_ERROR_NO_DATA));
}

TEST_P(Traps, Trap1FirstMessageIsNotLostThoughWrittenBeforeTheFirstReadCall) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "down"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "up"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), 0), "down");
  EXPECT_EQ(read_text(master.get(), 0), "up");
}

// Large messages, so that most kills fall into a write.
TEST_P(Traps, Trap2WriterKilledInAWriteHangsNoReader) {
  const size_t size = 1 << 20;
  Random random;
  Child slave([&](Wire& wire) {
    const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(link);
    std::vector<char> buffer(size);
    for (uint64_t last = 0; !wire.has_news();) {
      const int code = eshm_read_ex(link.get(), buffer.data(), size, nullptr, 20);
      CHILD_CHECK(code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT);
      if (code == ESHM_ERROR_TIMEOUT) continue;
      uint64_t number;
      std::memcpy(&number, buffer.data(), sizeof number);
      CHILD_CHECK(number > last);
      CHILD_CHECK(is_pattern(buffer.data() + sizeof number, size - sizeof number, number));
      last = number;
      const int answered = write_text(link.get(), std::to_string(number));
      CHILD_CHECK(answered == ESHM_SUCCESS || answered == ESHM_ERROR_TIMEOUT);
    }
    return 0;
  });
  // Numbers go on over the writers' lives; they live in memory of this test.
  auto* next = static_cast<std::atomic<uint64_t>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(next, MAP_FAILED);
  for (uint64_t round = 1; round <= count(12, 1000); ++round) {
    Child writer([&](Wire& wire) {
      ESHMConfig large = config(ESHM_ROLE_MASTER);
      large.m2s.max_message_size = size;
      const Link link = open_link(large);
      CHILD_CHECK(link);
      std::vector<char> buffer(size);
      const uint64_t first = *next + 1;
      for (bool heard = false;;) {
        const uint64_t number = ++*next;
        std::memcpy(buffer.data(), &number, sizeof number);
        fill_pattern(buffer.data() + sizeof number, size - sizeof number, number);
        CHILD_CHECK(eshm_write(link.get(), buffer.data(), size) == ESHM_SUCCESS);
        const std::string answer = read_text(link.get(), 0);
        if (!heard && answer.find("error") != 0 && std::stoull(answer) >= first) {
          heard = true;
          wire.say("heard");
        }
      }
      return 0;
    });
    ASSERT_EQ(writer.hear(), "heard") << "round " << round;
    usleep(static_cast<useconds_t>(random.up_to(3000)));
    writer.kill_now();
  }
  slave.say("end");
  EXPECT_EQ(slave.join(), 0);
  munmap(next, 4096);
}

// A thread sits in a read, others read and write, while masters come and go:
// no crash, no silence, and numbers that begin again are read all the same.
TEST_P(Traps, Trap3ReaderSurvivesReconnectsAndHearsCountersThatWentBack) {
  std::atomic<bool> over{false};
  std::atomic<int> newest_life{0};
  const auto master_of_life = [this](int life, int messages) {
    return Child([=](Wire& wire) {
      const Link link = open_link(config(ESHM_ROLE_MASTER));
      CHILD_CHECK(link);
      for (int i = 0; i < messages; ++i) {
        CHILD_CHECK(write_text(link.get(), std::to_string(life)) == ESHM_SUCCESS);
      }
      wire.say("open");
      wire.hear();
      return 0;
    });
  };
  // The first writes many, those that follow one: their numbers are smaller.
  Child master = master_of_life(1, 1000);
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  std::thread reader([&] {
    while (!over) {
      const std::string text = read_text(slave.get(), 20);
      if (text.find("error") == 0) continue;
      EXPECT_GE(std::stoi(text), newest_life) << "older than what was read before";
      newest_life = std::stoi(text);
    }
  });
  std::thread bystander([&] {
    ESHMStats stats;
    while (!over) {
      EXPECT_EQ(eshm_get_stats(slave.get(), &stats), ESHM_SUCCESS);
      write_text(slave.get(), "noise");
      std::this_thread::yield();
    }
  });
  const int lives = static_cast<int>(count(12, 500));
  for (int life = 2; life <= lives; ++life) {
    if (life % 2 == 0) {
      master.kill_now();
    } else {
      master.say("leave");
      EXPECT_EQ(master.join(), 0);
    }
    master = master_of_life(life, 1);
    EXPECT_EQ(master.hear(), "open");
    wait_until([&] { return newest_life == life; });
  }
  over = true;
  reader.join();
  bystander.join();
  master.say("leave");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(Traps, Trap4RemoteIsAliveOnlyOnceAPeerHasCome) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EXPECT_FALSE(remote_is_alive(master.get()));
  EXPECT_EQ(remote_state(master.get()), ESHM_PEER_NEVER_SEEN);
  pause_ms(50);
  EXPECT_FALSE(remote_is_alive(master.get()));

  Child slave = holder(ESHM_ROLE_SLAVE);
  ASSERT_EQ(slave.hear(), "open");
  wait_until([&] { return remote_is_alive(master.get()); });
  slave.say("leave");
  ASSERT_EQ(slave.join(), 0);
  wait_until([&] { return !remote_is_alive(master.get()); });
  EXPECT_EQ(remote_state(master.get()), ESHM_PEER_LEFT);
}

TEST_P(Traps, Trap5SecondLiveMasterAndSecondSlaveAreRefused) {
  Child master = holder(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  Child slave = holder(ESHM_ROLE_SLAVE);
  ASSERT_EQ(slave.hear(), "open");

  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_MASTER))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH);
  EXPECT_TRUE(names_number(last_error(), master.pid())) << last_error();

  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_SLAVE))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH);
  EXPECT_TRUE(names_number(last_error(), slave.pid())) << last_error();

  for (Child* child : {&slave, &master}) {
    child->say("leave");
    EXPECT_EQ(child->join(), 0);
  }
}

// More of this in test_segment_files.cpp.
TEST_P(Traps, Trap6SegmentShorterThanItSaysIsNotMapped) {
  Child master = holder(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  const std::string cut = unique_name();
  char header[64];
  std::FILE* real = std::fopen(path().c_str(), "rb");
  ASSERT_TRUE(real);
  ASSERT_EQ(std::fread(header, 1, sizeof header, real), sizeof header);
  std::fclose(real);
  std::FILE* fake = std::fopen(path_of(cut).c_str(), "wb");
  ASSERT_TRUE(fake);
  ASSERT_EQ(std::fwrite(header, 1, sizeof header, fake), sizeof header);
  std::fclose(fake);
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE, ESHM_ROLE_AUTO}) {
    EXPECT_FALSE(open_link(at_once(config_of(cut, role, GetParam()))));
    EXPECT_NE(last_error().find(cut), std::string::npos) << last_error();
  }
  EXPECT_EQ(unlink(path_of(cut).c_str()), 0);
  master.say("leave");
  EXPECT_EQ(master.join(), 0);
}

// Polling each 100 us would switch 5,000 times here; parking may look up now
// and then. Both figures are of this thread alone, so a busy machine does not
// raise them.
TEST_P(Traps, Trap7BlockedReadParksInsteadOfPolling) {
  for (uint32_t spin_us : {0u, ESHM_SPIN_ADAPTIVE}) {
    ESHMConfig parked = config(ESHM_ROLE_MASTER);
    parked.spin_us = spin_us;
    const Link master = open_link(parked);
    ASSERT_TRUE(master) << last_error();
    const auto cpu_ns = [] {
      timespec used;
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
      return used.tv_sec * 1000000000ll + used.tv_nsec;
    };
    rusage before, after;
    char buffer[8];
    getrusage(RUSAGE_THREAD, &before);
    const long long cpu_before = cpu_ns();
    EXPECT_EQ(eshm_read_ex(master.get(), buffer, sizeof buffer, nullptr, 500), ESHM_ERROR_TIMEOUT);
    const long long used = cpu_ns() - cpu_before;
    getrusage(RUSAGE_THREAD, &after);
    EXPECT_LT(used, 100 * 1000000ll) << "of 500 ms; spin_us " << spin_us;
    EXPECT_LT(after.ru_nvcsw - before.ru_nvcsw, 100) << "spin_us " << spin_us;
  }
}

TEST_P(Traps, Trap8KilledProcessIsNotAliveAnyMore) {
  Child slave([this](Wire& wire) {
    const Link link = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(link);
    wire.say("open");
    wire.hear();
    return 0;
  });
  Child master = holder(ESHM_ROLE_MASTER);
  ASSERT_EQ(master.hear(), "open");
  ASSERT_EQ(slave.hear(), "open");
  slave.kill_now();

  const Link second = open_link(at_once(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(second) << last_error();
  wait_until([&] { return remote_is_alive(second.get()); });
  master.kill_now();
  wait_until([&] { return !remote_is_alive(second.get()); });
  ESHMStats stats = {};
  ASSERT_EQ(eshm_get_stats(second.get(), &stats), ESHM_SUCCESS);
  EXPECT_FALSE(stats.master_alive);
  EXPECT_TRUE(stats.slave_alive);
}

// More of this in test_quiet.cpp.
TEST_P(Traps, Trap9NothingIsPrinted) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Child child([&](Wire&) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    const Link slave = open_link(config(ESHM_ROLE_SLAVE));
    const bool refused = !open_link(at_once(config(ESHM_ROLE_SLAVE)));
    const bool talked = write_text(master.get(), "x") == 0 && read_text(slave.get(), 0) == "x";
    return refused && talked ? 0 : 1;
  });
  EXPECT_EQ(child.join(), 0);
  close(ends[1]);
  char printed[256];
  EXPECT_EQ(read(ends[0], printed, sizeof printed), 0) << printed;
  close(ends[0]);
}

ESHM_ON_BOTH_BACKENDS(Traps);

}  // namespace
