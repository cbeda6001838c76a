// SPDX-License-Identifier: MIT
// The wall clock is stepped by an hour, forth and back: nothing happens. The
// stepped process is this program run again under libfaketime; the machine's
// own clock is left alone.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string>

#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

const char* faketime_library() {
  static const char* const kPlaces[] = {
      "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
      "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
      "/usr/lib/faketime/libfaketimeMT.so.1", "/usr/lib64/faketime/libfaketimeMT.so.1",
      "/usr/local/lib/faketime/libfaketimeMT.so.1"};
  for (const char* place : kPlaces) {
    if (access(place, R_OK) == 0) return place;
  }
  return nullptr;
}

// Seconds by which this process's wall clock is wrong.
long wall_clock_is_ahead() {
  for (;;) {
    timespec before, shown, after;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &before);  // past the library
    clock_gettime(CLOCK_REALTIME, &shown);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &after);
    if (after.tv_sec != before.tv_sec) continue;  // a second began, or we stood still
    return static_cast<long>(shown.tv_sec - before.tv_sec);
  }
}

// The stepped process. Obeys as any, and tells how wrong its clock is.
int play(int wire_fd, const std::string& name, const char* role, const char* backend, const char* threads) {
  arm_watchdog();
  Wire wire(wire_fd);
  ESHMConfig config = for_ever(config_of(name, static_cast<ESHMRole>(std::atoi(role)),
                                         static_cast<ESHMBackend>(std::atoi(backend))));
  config.use_threads = std::atoi(threads) != 0;
  EventLog events;
  const Link link = open_link(config);
  wire.say(outcome(link));
  if (!link) return 0;
  events.listen_to(link.get());
  for (;;) {
    const std::string order = wire.hear();
    if (order == "ahead") {
      wire.say(std::to_string(wall_clock_is_ahead()));
    } else if (order == "state") {
      wire.say(std::to_string(remote_state(link.get())));
    } else if (order == "read 300") {
      timespec before, after;
      syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &before);
      const std::string text = read_text(link.get(), 300);
      syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &after);
      const long ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
      wire.say(ms >= 299 ? text : text + " after " + std::to_string(ms) + " ms");
    } else if (order == "wait") {
      wire.say(read_text(link.get(), UINT32_MAX));
    } else if (order.compare(0, 6, "write ") == 0) {
      wire.say(std::to_string(write_text(link.get(), order.substr(6))));
    } else if (order == "events") {
      std::string told;
      for (ESHMEvent event : events.all()) told += std::to_string(event) + " ";
      wire.say(told);
    } else {
      return 0;
    }
  }
}

// Runs this program again as a process whose wall clock stands in a file.
class SteppedPeer {
 public:
  SteppedPeer(const std::string& rate_file, const std::string& name, ESHMRole role,
              ESHMBackend backend, bool use_threads)
      : SteppedPeer(Ends(), rate_file, name, role, backend, use_threads) {}

  void say(const std::string& text) { wire_.say(text); }
  std::string hear() { return wire_.hear(); }
  std::string ask(const std::string& order) {
    say(order);
    return hear();
  }
  int join() { return child_.join(); }

 private:
  // A wire that survives exec in the child.
  struct Ends {
    Ends() {
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
      fcntl(fds[0], F_SETFD, FD_CLOEXEC);
    }
    int fds[2];
  };
  SteppedPeer(const Ends& ends, const std::string& rate_file, const std::string& name,
              ESHMRole role, ESHMBackend backend, bool use_threads)
      : child_([&](Wire&) {
          setenv("LD_PRELOAD", faketime_library(), 1);
          setenv("FAKETIME_TIMESTAMP_FILE", rate_file.c_str(), 1);
          setenv("FAKETIME_NO_CACHE", "1", 1);
          for (const char* name : {"FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC"}) {
            setenv(name, "1", 1);  // the new name, and the old one
          }
          execl("/proc/self/exe", "test_clock", "--play", std::to_string(ends.fds[1]).c_str(),
                name.c_str(), std::to_string(role).c_str(), std::to_string(backend).c_str(),
                use_threads ? "1" : "0", static_cast<char*>(nullptr));
          return 1;
        }),
        wire_(ends.fds[0]) {
    close(ends.fds[1]);
  }

  Child child_;
  Wire wire_;
};

class SteppedClock : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    if (faketime_library() == nullptr) GTEST_SKIP() << "libfaketime is not installed";
    step_to(0);
  }
  void TearDown() override {
    std::remove(rate_file().c_str());
    LinkTest::TearDown();
  }

  std::string rate_file() const { return testing::TempDir() + "eshm_" + name() + ".faketime"; }
  void step_to(long seconds) const {
    const std::string fresh = rate_file() + ".new";
    std::ofstream(fresh) << (seconds < 0 ? "" : "+") << seconds << "\n";
    std::rename(fresh.c_str(), rate_file().c_str());
  }

};

TEST_P(SteppedClock, ByAnHourForthAndBackNothingHappens) {
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    for (bool use_threads : {true, false}) {
      SteppedPeer there(rate_file(), name(), role, GetParam(), use_threads);
      if (role == ESHM_ROLE_MASTER) {
        ASSERT_EQ(there.hear(), "open");
      }
      EventLog events;
      const Link here = open_link(
          for_ever(config(role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER)));
      ASSERT_TRUE(here) << last_error();
      if (role == ESHM_ROLE_SLAVE) {
        ASSERT_EQ(there.hear(), "open");
      }
      wait_for_state(here.get(), ESHM_PEER_ALIVE);
      events.listen_to(here.get());
      if (there.ask("ahead") != "0") GTEST_SKIP() << "this libfaketime does otherwise";

      for (long seconds : {3600L, -3600L, 0L}) {
        // Stepped in the middle of a read, too: it has its whole length.
        there.say("read 300");
        pause_ms(50);
        step_to(seconds);
        EXPECT_EQ(there.hear(), error(ESHM_ERROR_TIMEOUT)) << seconds;
        const long ahead = std::stol(there.ask("ahead"));
        EXPECT_LE(std::labs(ahead - seconds), 1) << "the clock was not stepped";
        EXPECT_EQ(there.ask("state"), std::to_string(ESHM_PEER_ALIVE));
        ASSERT_EQ(write_text(here.get(), "there"), ESHM_SUCCESS);
        EXPECT_EQ(there.ask("wait"), "there");
        ASSERT_EQ(there.ask("write back"), "0");
        EXPECT_EQ(read_text(here.get(), UINT32_MAX), "back");
        EXPECT_EQ(remote_state(here.get()), ESHM_PEER_ALIVE);
      }
      // Nobody takes it over.
      if (role == ESHM_ROLE_MASTER && use_threads) {
        EXPECT_FALSE(open_link(this->config(ESHM_ROLE_MASTER)));
        EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
      }
      const std::string told = there.ask("events");
      EXPECT_EQ(told.find_first_not_of("0 "), std::string::npos) << "it was told " << told;
      there.say("leave");
      EXPECT_EQ(there.join(), 0);
      eshm_set_event_callback(here.get(), nullptr, nullptr);
      for (ESHMEvent bad : {ESHM_EVENT_STALE, ESHM_EVENT_DEAD, ESHM_EVENT_RECONNECTED}) {
        EXPECT_EQ(events.count_of(bad), 0u) << bad;
      }
    }
  }
}

ESHM_ON_BOTH_BACKENDS(SteppedClock);

}  // namespace

int main(int count, char** arguments) {
  if (count == 7 && std::strcmp(arguments[1], "--play") == 0) {
    return play(std::atoi(arguments[2]), arguments[3], arguments[4], arguments[5], arguments[6]);
  }
  testing::InitGoogleTest(&count, arguments);
  return RUN_ALL_TESTS();
}
