// SPDX-License-Identifier: MIT
// Out of memory, of descriptors, of room; calls that the kernel refuses, and
// signals without end: a documented answer, nothing left, and the name works.
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <functional>
#include <set>
#include <thread>

#include "support/counts.h"
#include "support/faults.h"
#include "support/player.h"
#include "support/possessions.h"

namespace {

using namespace test;

constexpr uint32_t kQuietMs = 20;  // after which a master without a thread is hung

// What eshm_init is to do when something fails in it.
enum class Way { kBirth, kEither, kAttach, kAdopt, kStartAfresh, kReplace, kObserve };
const char* const kWayNames[] = {"birth", "either", "attach", "adopt",
                                 "start afresh", "replace", "observe"};
constexpr Way kWays[] = {Way::kBirth, Way::kEither, Way::kAttach, Way::kAdopt,
                         Way::kStartAfresh, Way::kReplace, Way::kObserve};

class Resources : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    prove_that_the_name_works();  // what is made once is there from now on
    before_ = settled();
  }

  // Who is there when eshm_init comes, and how that is called.
  ESHMConfig prepare(Way way) {
    ESHMConfig former = config(ESHM_ROLE_MASTER);
    ESHMConfig next = config(ESHM_ROLE_MASTER);
    former.auto_cleanup = way == Way::kAttach || way == Way::kReplace || way == Way::kObserve;
    if (way == Way::kReplace) {
      former.use_threads = false;
      former.stale_threshold_ms = next.stale_threshold_ms = kQuietMs;
    }
    if (way != Way::kBirth && way != Way::kEither) {
      others_.push_back(open_link(former));
      EXPECT_TRUE(others_.back()) << last_error();
    }
    if (way == Way::kAdopt || way == Way::kReplace) {
      others_.push_back(open_link(for_ever(config(ESHM_ROLE_SLAVE))));
      EXPECT_TRUE(others_.back()) << last_error();
    }
    if (way == Way::kAdopt || way == Way::kStartAfresh) others_.front().reset();
    if (way == Way::kAttach) next = at_once(config(ESHM_ROLE_SLAVE));
    if (way == Way::kEither) next.role = ESHM_ROLE_AUTO;
    if (way == Way::kObserve) next.role = ESHM_ROLE_OBSERVER;
    // What is prefaulted and typed takes a call more each.
    if (way == Way::kBirth || way == Way::kAttach) next.flags = ESHM_FLAG_PREFAULT;
    if (way == Way::kBirth) {
      EXPECT_EQ(eshm_type_of("T{x:u8@0}1", &next.m2s.type), ESHM_SUCCESS);
    }
    return next;
  }

  void expect_documented_failure() {
    const std::set<int> documented = {ESHM_ERROR_SHM_CREATE, ESHM_ERROR_SHM_ATTACH,
                                      ESHM_ERROR_TIMEOUT, ESHM_ERROR_PERMISSION};
    EXPECT_EQ(documented.count(last_error_code()), 1u) << last_error_code() << last_error();
    EXPECT_NE(last_error(), "");
  }

  void prove_that_the_name_works() {
    others_.clear();
    {
      const Link master = open_link(config(ESHM_ROLE_MASTER));
      ASSERT_TRUE(master) << last_error();
      const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      ASSERT_TRUE(slave) << last_error();
      ASSERT_EQ(write_text(master.get(), "works"), ESHM_SUCCESS);
      ASSERT_EQ(read_text(slave.get(), UINT32_MAX), "works");
    }
    ASSERT_EQ(files_of(name()), std::vector<std::string>());
  }

  // Fails the first, the second, ... until one run has none to fail any more.
  uint64_t fail_in_init(Way way, const std::function<void(uint64_t)>& fail) {
    for (uint64_t n = 1;; ++n) {
      SCOPED_TRACE(std::string(kWayNames[int(way)]) + ", number " + std::to_string(n));
      const ESHMConfig config = prepare(way);
      const bool keeps_name = way == Way::kAdopt;  // its auto_cleanup is inherited
      fail(n);
      Link link = open_link(config);
      const bool struck = faults::stop();
      if (link && way == Way::kObserve) {  // it looks again
        EXPECT_EQ(write_text(others_.front().get(), "seen"), ESHM_SUCCESS) << last_error();
        read_until(link.get(), "seen");
      } else if (link) {
        EXPECT_EQ(write_text(link.get(), "x"), ESHM_SUCCESS) << last_error();
      } else {
        EXPECT_TRUE(struck) << last_error();
        expect_documented_failure();
        if (way == Way::kBirth || way == Way::kEither) {
          EXPECT_EQ(files_of(name()), std::vector<std::string>());
        }
      }
      link.reset();
      others_.clear();
      if (keeps_name) unlink(path().c_str());
      prove_that_the_name_works();
      if (HasFailure() || !struck) return n - 1;
    }
  }

  uint64_t fail_in_destroy(ESHMRole role, const std::function<void(uint64_t)>& fail) {
    for (uint64_t n = 1;; ++n) {
      SCOPED_TRACE("destroy, role " + std::to_string(role) + ", number " + std::to_string(n));
      if (role == ESHM_ROLE_SLAVE) others_.push_back(open_link(config(ESHM_ROLE_MASTER)));
      Link link = open_link(config(role));
      EXPECT_TRUE(link) << last_error();
      others_.clear();
      fail(n);
      const int code = eshm_destroy(link.release());
      const bool struck = faults::stop();
      EXPECT_TRUE(code == ESHM_SUCCESS || (struck && code == ESHM_ERROR_SHM_DELETE)) << code;
      prove_that_the_name_works();
      if (HasFailure() || !struck) return n - 1;
    }
  }

  void expect_nothing_left() { expect_same(before_, settled()); }

 private:
  std::vector<Link> others_;
  Possessions before_;
};

TEST_P(Resources, EachAllocationOfInitAndDestroyMayFail) {
  const auto once = [](uint64_t n) { faults::fail_allocation(n); };
  for (const Way way : kWays) {
    EXPECT_GT(fail_in_init(way, once), 3u);
    if (HasFailure()) return;
  }
  EXPECT_GT(fail_in_destroy(ESHM_ROLE_MASTER, once), 0u);
  fail_in_destroy(ESHM_ROLE_SLAVE, once);
  expect_nothing_left();
}

TEST_P(Resources, EachSystemCallOfInitAndDestroyMayFail) {
  const int errors[] = {ENOSPC, ENOMEM, EMFILE, ENFILE, EACCES, EINTR, EPERM};
  const uint64_t rounds = count(2, 7);
  for (uint64_t round = 0; round < rounds; ++round) {
    // The long form has each errno at each call; the short one has them in turn.
    const auto once = [&](uint64_t n) { faults::fail_call(n, errors[(n + 3 * round) % 7]); };
    for (const Way way : kWays) {
      EXPECT_GT(fail_in_init(way, once), 5u);
      if (HasFailure()) return;
    }
    EXPECT_GT(fail_in_destroy(ESHM_ROLE_MASTER, once), 3u);
    EXPECT_GT(fail_in_destroy(ESHM_ROLE_SLAVE, once), 3u);
  }
  expect_nothing_left();
}

// The code is the same, and a text is there.
TEST_P(Resources, CallsAnswerAsEverWithoutMemory) {
  for (const bool use_threads : {true, false}) {
    ESHMConfig config = this->config(ESHM_ROLE_MASTER);
    config.use_threads = use_threads;
    const Link master = open_link(config);
    ASSERT_TRUE(master) << last_error();
    const Link slave = open_link(for_ever(this->config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(write_text(slave.get(), "too long for four"), ESHM_SUCCESS);
    const std::vector<char> large(ESHM_MAX_DATA_SIZE + 1);
    char room[4];
    void* loan = nullptr;
    void* second = nullptr;
    ESHMView view = {};
    size_t size = 0;
    bool alive = false;
    const auto expect = [](int expected, int code) {
      const bool has_text = eshm_last_error(nullptr)[0] != 0;
      faults::stop();
      EXPECT_EQ(code, expected);
      EXPECT_TRUE(has_text);
      faults::fail_allocation(1, true);
    };
    faults::fail_allocation(1, true);
    expect(ESHM_ERROR_BUFFER_TOO_SMALL, eshm_write(master.get(), large.data(), large.size()));
    expect(ESHM_ERROR_BUFFER_TOO_SMALL, eshm_read_ex(master.get(), room, sizeof room, &size, 0));
    expect(ESHM_SUCCESS, eshm_borrow(master.get(), &view, 0));
    expect(ESHM_SUCCESS, eshm_release(master.get(), &view));
    expect(ESHM_ERROR_NO_DATA, eshm_read_ex(master.get(), room, sizeof room, &size, 0));
    expect(ESHM_ERROR_TIMEOUT, eshm_read_ex(master.get(), room, sizeof room, &size, 5));
    expect(ESHM_SUCCESS, eshm_loan(master.get(), 8, &loan));
    expect(ESHM_ERROR_BUFFER_FULL, eshm_loan(master.get(), 8, &second));
    expect(ESHM_SUCCESS, eshm_publish(master.get(), loan, 8));
    expect(ESHM_ERROR_INVALID_PARAM, eshm_discard(master.get(), loan));
    expect(ESHM_SUCCESS, eshm_check_remote_alive(master.get(), &alive));
    expect(ESHM_SUCCESS, eshm_set_event_callback(master.get(), [](ESHMHandle*, ESHMEvent, void*) {},
                                                 nullptr));
    eshm_set_log_callback([](ESHMLogLevel, const char*, void*) {}, nullptr);
    faults::stop();
    eshm_set_log_callback(nullptr, nullptr);
  }
}

// A slave that tends itself loses its master, and finds the next one, while
// each of its allocations fails in turn.
TEST_P(Resources, UnthreadedSlaveFindsItsNextMasterWhicheverAllocationFails) {
  for (uint64_t n = 1; n <= 40; ++n) {
    Link master = open_link(config(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    ESHMConfig unthreaded = for_ever(config(ESHM_ROLE_SLAVE));
    unthreaded.use_threads = false;
    unthreaded.reconnect_retry_interval_ms = 1;
    const Link slave = open_link(unthreaded);
    ASSERT_TRUE(slave) << last_error();
    master.reset();
    master = open_link(config(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master) << last_error();
    ASSERT_EQ(write_text(master.get(), "next"), ESHM_SUCCESS);
    faults::fail_allocation(n);
    char text[8];
    size_t size = 0;
    int code;
    while ((code = eshm_read_ex(slave.get(), text, sizeof text, &size, 5)) != ESHM_SUCCESS) {
      if (code != ESHM_ERROR_TIMEOUT) break;
    }
    faults::stop();
    ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
    ASSERT_EQ(std::string(text, size), "next");
  }
  expect_nothing_left();
}

// The thread that tends all links lives on, and nothing of what it did half stays.
class Elsewhere : public Resources {
 protected:
  void expect_reconnects_while(const std::function<void(bool)>& failing) {
    const uint64_t before = faults::failed_elsewhere();
    {
      Link master = open_link(config(ESHM_ROLE_MASTER));
      ESHMConfig patient = for_ever(config(ESHM_ROLE_SLAVE));
      patient.reconnect_retry_interval_ms = 5;
      const Link slave = open_link(patient);
      ASSERT_TRUE(slave) << last_error();
      for (uint64_t round = 1; round <= count(20, 500); ++round) {
        failing(true);
        if (round % 2 == 0) {
          master.reset();
          pause_ms(5);
          master = open_link(config(ESHM_ROLE_MASTER));
        } else {
          Child other = obeying(at_once(config_of(name() + "x", ESHM_ROLE_MASTER, GetParam())));
          other.hear();
          other.kill_now();
          unlink(path_of(name() + "x").c_str());
        }
        ASSERT_TRUE(master) << last_error();
        pause_ms(5);
        failing(false);
        const std::string text = std::to_string(round);
        ASSERT_EQ(write_text(master.get(), text), ESHM_SUCCESS);
        ASSERT_EQ(read_text(slave.get(), UINT32_MAX), text);
      }
    }
    EXPECT_GT(faults::failed_elsewhere(), before);
    prove_that_the_name_works();
    expect_nothing_left();
  }
};

// A peer that stands still is looked at: first its words, then its lock.
TEST_P(Elsewhere, PeerThatLeavesBetweenTwoLooksHasLeft) {
  const Link master = open_link(for_ever(config(ESHM_ROLE_MASTER)));
  ASSERT_TRUE(master) << last_error();
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.hear(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  slave.stop();
  faults::at_next(faults::kBeforeALockProbe, [&slave] {
    slave.go_on();
    leave(slave);
  });
  wait_until([&] { return remote_state(master.get()) > ESHM_PEER_STALE; });
  EXPECT_EQ(remote_state(master.get()), ESHM_PEER_LEFT);
}

// The lock that is found free is somebody's again at once.
TEST_P(Elsewhere, PeerThatComesBehindTheLookThatFoundItsForerunnerDeadIsMet) {
  const Link master = open_link(for_ever(config(ESHM_ROLE_MASTER)));
  ASSERT_TRUE(master) << last_error();
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.hear(), "open");
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  Child next = standing_by(for_ever(config(ESHM_ROLE_SLAVE)));
  slave.stop();
  faults::at_next(faults::kBeforeALockProbe, [&] {
    slave.kill_now();
    faults::at_next(faults::kAfterALockProbe, [&] { EXPECT_EQ(ask(next, "open"), "open"); });
  });
  wait_until([&] { return reconnects_of(master.get()) == 1; });
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  ASSERT_EQ(ask(next, "write met"), "0");
  EXPECT_EQ(read_text(master.get(), UINT32_MAX), "met");
  leave(next);
}

// Its heart is counted from the moment that it was met, not from the one in which the
// slave set out for it.
TEST_P(Elsewhere, MasterOfASlowMoveIsNotStale) {
  Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ESHMConfig slow = for_ever(config(ESHM_ROLE_SLAVE));
  slow.use_threads = false;
  slow.reconnect_retry_interval_ms = 10;
  slow.stale_threshold_ms = kHungMs;
  const Link slave = open_link(slow);
  ASSERT_TRUE(slave) << last_error();
  Child next = standing_by(config(ESHM_ROLE_MASTER));
  std::atomic<bool> has_lost{false};
  std::thread reader([&] {
    while (read_text(slave.get(), 5) != "found") {
      has_lost = remote_state(slave.get()) == ESHM_PEER_LEFT;
    }
  });
  master.reset();
  wait_until([&] { return has_lost.load(); });
  faults::at_next(faults::kBeforeALockProbe, [] { pause_ms(2 * kHungMs); });
  EXPECT_EQ(ask(next, "open"), "open");
  EXPECT_EQ(ask(next, "write found"), "0");
  reader.join();
  EXPECT_EQ(stale_reports_of(slave.get()), 0u);
  leave(next);
}

TEST_P(Elsewhere, ServiceThreadLivesOnWithoutMemory) {
  for (const uint32_t one_in : {1u, 2u, 5u}) {
    expect_reconnects_while(
        [&](bool on) { faults::fail_allocations_elsewhere(on ? one_in : 0); });
  }
}

TEST_P(Elsewhere, ServiceThreadLivesOnWithoutDescriptors) {
  for (const uint32_t one_in : {1u, 2u, 5u}) {
    expect_reconnects_while(
        [&](bool on) { faults::fail_calls_elsewhere(on ? one_in : 0, EMFILE); });
  }
}

// ---- limits that the kernel keeps -----------------------------------------------------

class Limits : public Resources {};

void set_limit(__rlimit_resource_t resource, uint64_t value) {
  rlimit limit;
  CHILD_CHECK(getrlimit(resource, &limit) == 0);
  limit.rlim_cur = value;
  CHILD_CHECK(setrlimit(resource, &limit) == 0);
}

TEST_P(Limits, WithoutDescriptorsInitSaysSoAndLeavesNothing) {
  Child child([this](Wire&) {
    rlimit whole;
    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &whole) == 0);
    const int lowest = dup(0);
    close(lowest);
    uint64_t refused = 0;
    for (int more = 0;; ++more) {
      set_limit(RLIMIT_NOFILE, uint64_t(lowest + more));
      Link master = open_link(config(ESHM_ROLE_MASTER));
      CHILD_CHECK(master || last_error_code() == ESHM_ERROR_SHM_CREATE ||
                  last_error_code() == ESHM_ERROR_SHM_ATTACH);
      Link slave;
      if (master) slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
      CHILD_CHECK(slave || last_error_code() != ESHM_SUCCESS);
      const bool works = master && slave;
      refused += works ? 0 : 1;
      slave.reset();
      master.reset();
      set_limit(RLIMIT_NOFILE, whole.rlim_cur);
      CHILD_CHECK(files_of(name()).empty());
      const int now = dup(0);
      close(now);
      CHILD_CHECK(now == lowest);
      if (works) break;
    }
    CHILD_CHECK(refused > 1);
    const Link again = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(again);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(Limits, FileSizeLimitIsAnErrorAndNoSignal) {
  Child child([this](Wire&) {
    signal(SIGXFSZ, SIG_DFL);
    set_limit(RLIMIT_FSIZE, 2048);
    CHILD_CHECK(!open_link(config(ESHM_ROLE_MASTER)));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(last_error().find("large") != std::string::npos);
    set_limit(RLIMIT_FSIZE, 1 << 20);
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(master);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

uint64_t address_space_bytes() {
  uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * uint64_t(sysconf(_SC_PAGESIZE));
}

TEST_P(Limits, WithoutAddressSpaceInitSaysSoAndLeavesNothing) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs the address space";
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer needs the address space";
#endif
#endif
  Child child([this](Wire&) {
    constexpr uint64_t kMegabyte = 1 << 20;
    ESHMConfig large = config(ESHM_ROLE_MASTER);
    large.m2s.max_message_size = large.s2m.max_message_size = kMegabyte;
    rlimit whole;
    CHILD_CHECK(getrlimit(RLIMIT_AS, &whole) == 0);
    const uint64_t before = address_space_bytes();
    uint64_t refused = 0;
    for (uint64_t more = 0;; more += kMegabyte) {
      set_limit(RLIMIT_AS, before + more);
      Link master = open_link(large);
      set_limit(RLIMIT_AS, whole.rlim_cur);
      if (master) break;
      CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE ||
                  last_error_code() == ESHM_ERROR_SHM_ATTACH);
      CHILD_CHECK(files_of(name()).empty());
      ++refused;
    }
    CHILD_CHECK(refused > 3);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// ---- signals without end -----------------------------------------------------------

std::atomic<uint64_t> signals{0};

// One each 100 us, and no call is begun again by the kernel.
void begin_storm() {
  struct sigaction action = {};
  action.sa_handler = [](int) { signals.fetch_add(1, std::memory_order_relaxed); };
  CHILD_CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  timer_t timer;
  CHILD_CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  itimerspec period = {};
  period.it_value.tv_nsec = period.it_interval.tv_nsec = 100'000;
  CHILD_CHECK(timer_settime(timer, 0, &period, nullptr) == 0);
}

class Storm : public Resources {};

TEST_P(Storm, TimeoutsKeepTheirLengthAndInitWorks) {
  for (const bool use_threads : {true, false}) {
    Child child([this, use_threads](Wire&) {
      begin_storm();
      constexpr uint64_t kWaitMs = 200;
      const auto lasts = [&](const std::function<int()>& call, int expected) {
        const uint64_t began = now_ms();
        CHILD_CHECK(call() == expected);
        CHILD_CHECK(now_ms() - began >= kWaitMs - 1);
      };
      ESHMConfig early = config(ESHM_ROLE_SLAVE);
      early.max_reconnect_attempts = 0;
      early.reconnect_wait_ms = kWaitMs;
      lasts([&] { return open_link(early) ? ESHM_SUCCESS : last_error_code(); },
            ESHM_ERROR_TIMEOUT);
      ESHMConfig queue = config(ESHM_ROLE_MASTER);
      queue.use_threads = use_threads;
      queue.m2s.delivery = ESHM_DELIVERY_QUEUE;
      queue.m2s.queue_capacity = 4 << 20;  // four pieces of a megabyte
      queue.m2s.max_message_size = 1 << 20;
      const Link master = open_link(queue);
      CHILD_CHECK(master);
      const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
      CHILD_CHECK(slave);
      char room[8];
      size_t size;
      for (ESHMHandle* const link : {master.get(), slave.get()}) {
        lasts([&] { return eshm_read_ex(link, room, sizeof room, &size, kWaitMs); },
              ESHM_ERROR_TIMEOUT);
      }
      const std::vector<char> large(1 << 20);
      while (eshm_write(master.get(), large.data(), large.size()) == ESHM_SUCCESS) {
      }
      lasts([&] { return eshm_write_ex(master.get(), large.data(), large.size(), kWaitMs); },
            ESHM_ERROR_TIMEOUT);
      CHILD_CHECK(signals.load() > 100);
      return 0;
    });
    EXPECT_EQ(child.join(), 0);
  }
}

ESHM_ON_BOTH_BACKENDS(Resources);
ESHM_ON_BOTH_BACKENDS(Elsewhere);
ESHM_ON_BOTH_BACKENDS(Limits);
ESHM_ON_BOTH_BACKENDS(Storm);

}  // namespace
