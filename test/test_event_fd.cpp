// SPDX-License-Identifier: MIT
// The descriptor that an event loop watches in place of a handle.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "support/counts.h"
#include "support/event_fd.h"
#include "support/player.h"

namespace {

using namespace test;

class EventFd : public EventFdTest {};

TEST_P(EventFd, IsReadableWhileThereIsSomethingToRead) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  ASSERT_EQ(write_text(writer.get(), "before"), ESHM_SUCCESS);
  const int fd = eshm_get_fd(reader.get());
  ASSERT_GE(fd, 0) << last_error();
  EXPECT_EQ(eshm_get_fd(reader.get()), fd);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_TRUE(is_readable(fd));
  EXPECT_EQ(read_text(reader.get(), 0), "before");
  read_until_quiet(reader.get(), fd);
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(write_text(writer.get(), "x"), ESHM_SUCCESS);
    ASSERT_TRUE(is_readable(fd, -1));
    ASSERT_TRUE(is_readable(fd));  // looking takes nothing away
    ASSERT_EQ(read_text(reader.get(), 0), "x");
    ASSERT_EQ(read_text(reader.get(), 0), error(ESHM_ERROR_NO_DATA));
    ASSERT_FALSE(is_readable(fd));
  }
}

TEST_P(EventFd, BorrowTakesTheSignalAwayAsReadDoes) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  ASSERT_GE(fd, 0) << last_error();
  read_until_quiet(reader.get(), fd);
  ASSERT_EQ(write_text(writer.get(), "x"), ESHM_SUCCESS);
  ASSERT_TRUE(is_readable(fd, -1));
  ESHMView view = {};
  ASSERT_EQ(eshm_borrow(reader.get(), &view, 0), ESHM_SUCCESS);
  EXPECT_FALSE(is_readable(fd));
  EXPECT_EQ(eshm_release(reader.get(), &view), ESHM_SUCCESS);
  ASSERT_EQ(write_text(writer.get(), "y"), ESHM_SUCCESS);
  EXPECT_TRUE(is_readable(fd, -1));
}

TEST_P(EventFd, StaysReadableWhenTheBufferIsTooSmall) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  read_until_quiet(reader.get(), fd);
  ASSERT_EQ(write_text(writer.get(), "long"), ESHM_SUCCESS);
  ASSERT_TRUE(is_readable(fd, -1));
  char byte;
  EXPECT_EQ(eshm_read_ex(reader.get(), &byte, 1, nullptr, 0), ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_TRUE(is_readable(fd));
}

TEST_P(EventFd, WithoutThreadsThereIsNoneAndTheTextSaysWhy) {
  ESHMConfig unthreaded = config(ESHM_ROLE_MASTER);
  unthreaded.use_threads = false;
  const Link link = open_link(unthreaded);
  ASSERT_TRUE(link) << last_error();
  EXPECT_EQ(eshm_get_fd(link.get()), ESHM_ERROR_INVALID_PARAM);
  EXPECT_NE(last_error().find("use_threads"), std::string::npos);
}

// ---- many, under way

// Every message of each link is the newest for a while; none may be the last
// word of its link without the loop's being told.
TEST_P(EventFd, WithoutDescriptorsThereIsNoneForNowAndTheTextSaysWhy) {
  Child child([this](Wire&) {
    const Link link = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    // All threads run already: GCC's undefined behaviour sanitizer takes descriptors
    // to look at an object, and a thread's beginning is one.
    const Link slave = open_link(config(ESHM_ROLE_SLAVE));
    CHILD_CHECK(slave);
    const int fd = eshm_get_fd(slave.get());
    CHILD_CHECK(fd >= 0);
    CHILD_CHECK(write_text(link.get(), "rings") == ESHM_SUCCESS);
    CHILD_CHECK(is_readable(fd, -1));
    rlimit limit;
    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    rlimit none = limit;
    none.rlim_cur = 0;
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHILD_CHECK(eshm_get_fd(link.get()) == ESHM_ERROR_UNSUPPORTED);
    CHILD_CHECK(last_error().find("descriptor") != std::string::npos);
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHILD_CHECK(eshm_get_fd(link.get()) >= 0);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(EventFd, HundredLinksOfRandomTrafficLoseNoWakeAndMakeNoStorm) {
  constexpr size_t kLinks = 100;
  std::vector<Link> writers, readers;
  const int loop = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = 0; i < kLinks; ++i) {
    const std::string name = unique_name();
    writers.push_back(open_link(config_of(name, ESHM_ROLE_MASTER, GetParam())));
    readers.push_back(open_link(config_of(name, ESHM_ROLE_SLAVE, GetParam())));
    ASSERT_TRUE(writers[i] && readers[i]) << last_error();
    wait_for_state(readers[i].get(), ESHM_PEER_ALIVE);
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = i;
    const int fd = eshm_get_fd(readers[i].get());
    ASSERT_GE(fd, 0) << last_error();
    ASSERT_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event), 0);
  }
  const uint64_t messages = count(20000, 1000000);
  const uint64_t began = now_ms();
  // The writer waits for an answer each so many: a lost wake would end the test
  // in a hang, for nothing else comes on that link.
  std::vector<std::atomic<uint64_t>> answered(kLinks);
  std::thread writer([&] {
    Random random;
    std::vector<uint64_t> sent(kLinks);
    for (uint64_t number = 1; number <= messages; ++number) {
      const size_t link = random.up_to(kLinks - 1);
      ASSERT_EQ(eshm_write(writers[link].get(), &number, sizeof number), ESHM_SUCCESS);
      sent[link] = number;
      if (random.up_to(15) != 0) continue;
      for (size_t i = 0; i < kLinks; ++i) {
        while (answered[i].load() < sent[i]) std::this_thread::yield();
      }
    }
    for (size_t i = 0; i < kLinks; ++i) {
      while (answered[i].load() < sent[i]) std::this_thread::yield();
      const uint64_t end = 0;
      ASSERT_EQ(eshm_write(writers[i].get(), &end, sizeof end), ESHM_SUCCESS);
    }
  });
  uint64_t empty_wakes = 0;
  for (size_t ended = 0; ended < kLinks;) {
    epoll_event events[16];
    const int ready = epoll_wait(loop, events, 16, -1);
    ASSERT_GT(ready, 0);
    for (int i = 0; i < ready; ++i) {
      const size_t link = size_t(events[i].data.u64);
      uint64_t number = 0;
      const int code = eshm_read_ex(readers[link].get(), &number, sizeof number, nullptr, 0);
      if (code == ESHM_ERROR_NO_DATA) {
        ++empty_wakes;
        continue;
      }
      ASSERT_EQ(code, ESHM_SUCCESS);
      if (number == 0) {
        ++ended;
      } else {
        answered[link].store(number);
      }
    }
  }
  writer.join();
  uint64_t rings = 0;
  for (const Link& each : writers) {
    ESHMStatsEx stats = {};
    EXPECT_EQ(eshm_get_stats_ex(each.get(), &stats), ESHM_SUCCESS);
    rings += stats.wakes;
  }
  EXPECT_GT(rings, 0u);
  // One for a ring whose message was read already, some for changes of the
  // peer's state, and for a look of the thread's own each half second.
  const uint64_t looks = (now_ms() - began) / 500 + 1;
  EXPECT_LE(empty_wakes, rings + (4 + looks) * kLinks);
  RecordProperty("rings", std::to_string(rings));
  RecordProperty("empty_wakes", std::to_string(empty_wakes));
  ::close(loop);
}

TEST_P(EventFd, MoreHandlesThanOneThreadCanSleepFor) {
  constexpr size_t kLinks = 130;
  std::vector<Link> writers, readers;
  std::vector<int> fds;
  for (size_t i = 0; i < kLinks; ++i) {
    const std::string name = unique_name();
    writers.push_back(open_link(config_of(name, ESHM_ROLE_MASTER, GetParam())));
    readers.push_back(open_link(config_of(name, ESHM_ROLE_SLAVE, GetParam())));
    ASSERT_TRUE(writers[i] && readers[i]) << last_error();
    fds.push_back(eshm_get_fd(readers[i].get()));
    read_until_quiet(readers[i].get(), fds[i]);
  }
  EXPECT_EQ(threads_named("eshm-wait"), 2u);
  for (size_t i = 0; i < kLinks; ++i) {
    ASSERT_EQ(write_text(writers[i].get(), "x"), ESHM_SUCCESS);
    ASSERT_TRUE(is_readable(fds[i], -1));
    ASSERT_EQ(read_text(readers[i].get(), 0), "x");
  }
  readers.resize(3);  // the second thread has nobody left
  wait_until([] { return threads_named("eshm-wait") == 1; });
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(write_text(writers[i].get(), "y"), ESHM_SUCCESS);
    ASSERT_TRUE(is_readable(fds[i], -1));
  }
}

TEST_P(EventFd, WaitAnyAndDescriptorServeTheSameHandle) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  read_until_quiet(reader.get(), fd);
  ESHMHandle* const handle = reader.get();
  for (int i = 0; i < 100; ++i) {
    std::thread other([&] {
      if (i % 3 != 0) pause_ms(1);
      write_text(writer.get(), "x");
    });
    EXPECT_EQ(eshm_wait_any(&handle, 1, UINT32_MAX), 0);
    EXPECT_TRUE(is_readable(fd, -1));
    EXPECT_EQ(read_text(reader.get(), 0), "x");
    other.join();
  }
}

// ---- the host

TEST_P(EventFd, HandlesAreOpenedAndDestroyedWhileOthersAreBusy) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  std::atomic<bool> over{false};
  std::thread busy([&] {
    while (!over) {
      write_text(writer.get(), "x");
      std::this_thread::yield();
    }
  });
  std::thread loop([&] {
    while (!over) {
      if (is_readable(fd, 1)) read_text(reader.get(), 0);
    }
  });
  for (int round = 0; round < 100; ++round) {
    const Link link = open_link(config_of(unique_name(), ESHM_ROLE_MASTER, GetParam()));
    ASSERT_TRUE(link) << last_error();
    ASSERT_GE(eshm_get_fd(link.get()), 0) << last_error();
  }
  over = true;
  busy.join();
  loop.join();
}

ESHM_ON_BOTH_BACKENDS(EventFd);

}  // namespace
