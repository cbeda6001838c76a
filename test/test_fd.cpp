// SPDX-License-Identifier: MIT
// os::Fd and what it is used for: a descriptor that a forked child does not keep, and
// that is not touched after the application has given its number to a file of its own.
#include "os/fd.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "os/clock.h"
#include "os/event_fd.h"
#include "os/process.h"
#include "support/child.h"

namespace {

using eshm::os::EventFd;
using eshm::os::Fd;

int open_null() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool is_open(int number) { return fcntl(number, F_GETFD) >= 0; }

bool is_readable(int number) {
  pollfd one = {number, POLLIN, 0};
  return poll(&one, 1, 0) == 1;
}

// The kinds that have one inode in common on some kernels.
int open_eventfd() { return eventfd(7, EFD_NONBLOCK | EFD_CLOEXEC); }
int open_inotify() { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }
int open_pidfd() { return int(syscall(SYS_pidfd_open, getpid(), 0u)); }
int open_timerfd() { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }
constexpr int (*kAnonymous[])() = {open_eventfd, open_inotify, open_pidfd, open_timerfd};

// What an application does that closes what it did not open, and opens a file.
int put_stranger_at(int number, int (*opener)()) {
  close(number);
  const int stranger = opener();
  EXPECT_EQ(stranger, number);
  return stranger;
}

TEST(Fd, HighNumberTakesNoMoreMemoryThanALowOne) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit before = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1'000'000);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  {
    Fd low;
    ASSERT_EQ(Fd::open(open_null, low), 0);
    const size_t heap_before = mallinfo2().uordblks;
    Fd high;
    ASSERT_EQ(Fd::open([&] { return fcntl(low.get(), F_DUPFD_CLOEXEC, int(limit.rlim_cur) - 1); },
                       high),
              0);
    EXPECT_EQ(high.get(), int(limit.rlim_cur) - 1);
    EXPECT_LT(mallinfo2().uordblks, heap_before + 512);
    EXPECT_TRUE(high.is_still_ours());
  }
  EXPECT_FALSE(is_open(int(limit.rlim_cur) - 1));
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(Fd, RecordsOfManyDescriptorsGoWithThem) {
  { Fd warming; ASSERT_EQ(Fd::open(open_null, warming), 0); }
  const size_t heap_before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) {
    Fd one, other;
    ASSERT_EQ(Fd::open(open_null, one), 0);
    ASSERT_EQ(Fd::open(open_null, other), 0);
    one = std::move(other);
  }
  EXPECT_LE(mallinfo2().uordblks, heap_before);
}

// The same file at the same number: only the registration tells them apart.
TEST(Fd, KnowsThatALaterOneHasItsNumber) {
  Fd former;
  ASSERT_EQ(Fd::open(open_null, former), 0);
  const int number = former.get();
  close(number);
  Fd later;
  ASSERT_EQ(Fd::open(open_null, later), 0);
  ASSERT_EQ(later.get(), number);
  EXPECT_FALSE(former.is_still_ours());
  EXPECT_TRUE(later.is_still_ours());
  former.reset();
  EXPECT_TRUE(later.is_still_ours());
  Fd third;
  close(number);
  ASSERT_EQ(Fd::open(open_null, third), 0);
  ASSERT_EQ(third.get(), number);
  EXPECT_FALSE(later.is_still_ours()) << "the record of the later one went with the former";
  third.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, ForkedChildHasTheNumberForItsOwn) {
  Fd parents;
  ASSERT_EQ(Fd::open(open_null, parents), 0);
  const int number = parents.get();
  test::Child child([&](test::Wire&) {
    CHILD_CHECK(!is_open(number));
    CHILD_CHECK(!parents.is_still_ours());
    Fd own;
    CHILD_CHECK(Fd::open(open_null, own) == 0);
    CHILD_CHECK(own.get() == number);
    parents.reset();
    CHILD_CHECK(own.is_still_ours());
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
  EXPECT_TRUE(parents.is_still_ours());
}

TEST(Fd, StrangerOfTheSameKindAtItsNumberIsNotClosed) {
  for (const auto ours : kAnonymous) {
    for (const auto strangers : kAnonymous) {
      Fd fd;
      ASSERT_EQ(Fd::open(ours, fd), 0);
      EXPECT_TRUE(fd.is_still_ours());
      const int stranger = put_stranger_at(fd.get(), strangers);
      EXPECT_FALSE(fd.is_still_ours());
      fd.reset();
      EXPECT_TRUE(is_open(stranger));
      close(stranger);
    }
  }
}

TEST(Fd, StrangerOfTheSameKindIsNotClosedInAForkedChild) {
  for (const auto opener : kAnonymous) {
    Fd fd, kept;
    ASSERT_EQ(Fd::open(opener, fd), 0);
    ASSERT_EQ(Fd::open(opener, kept), 0);
    const int stranger = put_stranger_at(fd.get(), opener);
    test::Child child([&](test::Wire&) {
      CHILD_CHECK(is_open(stranger));
      CHILD_CHECK(!is_open(kept.get()));
      return 0;
    });
    EXPECT_EQ(child.join(), 0);
    close(stranger);
  }
}

// With no descriptor left to open anything with.
TEST(Fd, IsRecognizedWithoutAnotherDescriptor) {
  for (const auto opener : kAnonymous) {
    Fd fd;
    ASSERT_EQ(Fd::open(opener, fd), 0);
    const int number = fd.get();
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none = {0, limit.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    EXPECT_TRUE(fd.is_still_ours());
    fd.reset();
    EXPECT_FALSE(is_open(number));
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

TEST(Fd, PidfdOfAProcessThatHasEndedIsClosed) {
  test::Child child([](test::Wire& wire) { return wire.hear().empty() ? 1 : 0; });
  Fd fd;
  ASSERT_EQ(eshm::os::open_pidfd(child.pid(), fd), 0);
  child.kill_now();
  EXPECT_TRUE(is_readable(fd.get()));
  EXPECT_TRUE(fd.is_still_ours());
  const int number = fd.get();
  fd.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, EventFdNeitherSetsNorDrainsAStrangersAtItsNumber) {
  EventFd event;
  ASSERT_EQ(event.open(), 0);
  event.set();
  EXPECT_TRUE(is_readable(event.get()));
  const int stranger = put_stranger_at(event.get(), open_eventfd);
  event.set();
  event.clear();
  uint64_t value = 0;
  ASSERT_EQ(read(stranger, &value, sizeof value), ssize_t(sizeof value));
  EXPECT_EQ(value, 7u);
  ASSERT_EQ(event.open(), 0);
  EXPECT_TRUE(is_open(stranger));
  event.set();
  EXPECT_TRUE(is_readable(event.get()));
  close(stranger);
}

TEST(PollUntil, WaitsForAnEventOrTheDeadlineWhicheverIsFirst) {
  using eshm::os::Deadline;
  using eshm::os::poll_until;
  EventFd event;
  ASSERT_EQ(event.open(), 0);
  pollfd one = {event.get(), POLLIN, 0};
  const uint64_t begin = eshm::os::monotonic_ns();
  constexpr uint64_t kWaitNs = 20 * eshm::os::kNsPerMs;
  EXPECT_EQ(poll_until(&one, 1, Deadline::at(begin + kWaitNs)), 0);
  EXPECT_GE(eshm::os::monotonic_ns(), begin + kWaitNs);
  EXPECT_EQ(poll_until(&one, 1, Deadline::at(begin)), 0) << "the deadline has passed";
  event.set();
  for (const Deadline deadline :
       {Deadline::at(begin), Deadline::after_ms(60'000), Deadline::never()}) {
    EXPECT_EQ(poll_until(&one, 1, deadline), 1);
    EXPECT_EQ(one.revents, POLLIN);
  }
}

}  // namespace
