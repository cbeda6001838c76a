// SPDX-License-Identifier: MIT
// The name of a link is taken away again and again, while both ends talk, come and go.
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "support/counts.h"
#include "support/lost_name.h"
#include "support/pattern.h"
#include "support/shared_page.h"

namespace {

using namespace test;

uint64_t free_bytes() {
  struct statvfs space;
  EXPECT_EQ(statvfs("/dev/shm", &space), 0);
  return uint64_t(space.f_bavail) * space.f_frsize;
}

struct Progress {
  std::atomic<int> written{0};
  std::atomic<int> read{0};
  std::atomic<int> wrong{0};
  std::atomic<bool> is_over{false};
};

class NameStorms : public LostNameTest {
 protected:
  // Writes numbers, and expects numbers, as fast as it can, until it is over.
  static void talk(ESHMHandle* link, Progress& progress) {
    while (!progress.is_over) {
      const int next = progress.written;
      if (eshm_write_ex(link, &next, sizeof next, 0) == ESHM_SUCCESS) ++progress.written;
      int number = 0;
      while (eshm_read_ex(link, &number, sizeof number, nullptr, 0) == ESHM_SUCCESS) {
        progress.wrong += number != progress.read;
        ++progress.read;
      }
    }
  }
  static void read_rest(ESHMHandle* link, Progress& progress, int all) {
    int number = 0;
    while (progress.read < all) {
      if (eshm_read_ex(link, &number, sizeof number, nullptr, kPatientMs) != ESHM_SUCCESS) continue;
      progress.wrong += number != progress.read;
      ++progress.read;
    }
  }

  SharedPage<Progress> masters_;
  SharedPage<Progress> slaves_;
};

// As a hostile process does, a thousand times a second.
TEST_P(NameStorms, ThousandLossesASecondStopNothing) {
  EventLog events;
  const uint64_t seconds = count(3, 60);
  Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Child slave([&](Wire& wire) {
    const Link link = open_link(lively(ESHM_ROLE_SLAVE));
    wire.say(outcome(link));
    CHILD_CHECK(link);
    talk(link.get(), *slaves_);
    wire.hear();  // the master writes no more
    read_rest(link.get(), *slaves_, masters_->written);
    wire.say("read");
    wire.hear();
    return 0;
  });
  ASSERT_EQ(slave.hear(), "open");
  const uint64_t room = free_bytes();
  std::atomic<bool> is_over{false};
  std::thread hostile([&] {
    while (!is_over) {
      unlink(path().c_str());
      pause_ms(1);
    }
  });
  std::thread talker([&] { talk(master.get(), *masters_); });
  const uint64_t began = now_ms();
  uint64_t least_room = room;
  size_t most_segments = 0;
  int last = 0;
  int still = 0;
  while (now_ms() - began < seconds * 1000) {
    pause_ms(100);
    least_room = std::min(least_room, free_bytes());
    most_segments = std::max(most_segments, segments_mapped());
    still += slaves_->read == last;
    last = slaves_->read;
  }
  const uint64_t elapsed_s = (now_ms() - began) / 1000;
  is_over = true;
  hostile.join();
  masters_->is_over = slaves_->is_over = true;
  talker.join();
  slave.say("over");
  EXPECT_EQ(slave.hear(), "read");
  read_rest(master.get(), *masters_, slaves_->written);
  EXPECT_EQ(masters_->wrong, 0);
  EXPECT_EQ(slaves_->wrong, 0);
  const size_t renewals = events.count_of(ESHM_EVENT_RENEWED);
  EXPECT_GE(renewals, 2u);
  EXPECT_LE(renewals, elapsed_s + 1);
  EXPECT_LE(most_segments, 3u) << "two, and one that is being made";
  // Of other tests, too.
  std::printf("%zu renewals, %d and %d messages, %llu KiB less room at the most, %d of the slices "
              "of 100 ms without a message\n",
              renewals, masters_->read.load(), slaves_->read.load(),
              static_cast<unsigned long long>((room - least_room) >> 10), still);
  slave.say("leave");
  EXPECT_EQ(slave.join(), 0);
  master.reset();
  unlink(path().c_str());  // it may have lost its name when the master left
}

// Ends come and go, end well or are killed, and the name vanishes at any moment: whoever
// comes last finds a link that works.
TEST_P(NameStorms, WhoeverComesAndGoesThereIsOneLinkInTheEnd) {
  const uint64_t rounds = count(40, 2000);
  uint64_t random = seed();
  const auto next = [&random](uint64_t below) { return (random = mix(random)) % below; };
  for (uint64_t round = 0; round < rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round) + ", ESHM_SEED=" + std::to_string(seed()));
    std::atomic<bool> is_over{false};
    std::thread hostile([&, pause = 1 + next(40)] {
      while (!is_over) {
        unlink(path().c_str());
        pause_ms(unsigned(pause));
      }
    });
    ESHMConfig master_config = lively(ESHM_ROLE_MASTER);
    master_config.use_threads = next(2) == 0;
    {
      Child master = obeying(master_config);
      Child slave = obeying(lively(ESHM_ROLE_SLAVE));
      master.hear();
      pause_ms(unsigned(next(30)));
      const bool is_master_first = next(2) == 0;
      for (Child* end : {is_master_first ? &master : &slave, is_master_first ? &slave : &master}) {
        if (next(2) == 0) {
          end->kill_now();
        } else {
          end->say("leave");
        }
        pause_ms(unsigned(next(10)));
      }
    }
    is_over = true;
    hostile.join();
    const Link master = open_link(lively(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(write_text(master.get(), "works"), ESHM_SUCCESS);
    ASSERT_EQ(read_text(slave.get(), UINT32_MAX), "works");
  }
}

ESHM_ON_BOTH_BACKENDS(NameStorms);

}  // namespace
