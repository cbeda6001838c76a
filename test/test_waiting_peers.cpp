// SPDX-License-Identifier: MIT
// Waiting for many, and the descriptor, when processes come and go: killed,
// replaced and forked ones, old kernels, and a closed descriptor.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <thread>

#include "support/counts.h"
#include "support/crowd.h"
#include "support/event_fd.h"
#include "support/player.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

namespace {

using namespace test;

// As if the kernel were older than 5.16, for this process from now on.
void forbid_futex_waitv() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex_waitv, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program = {sizeof rules / sizeof rules[0], rules};
  CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHILD_CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  CHILD_CHECK(syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) == -1 && errno == ENOSYS);
}

class WaitAnyPeers : public CrowdTest {};
class EventFdPeers : public EventFdTest {};

TEST_P(WaitAnyPeers, PeerIsKilledAndRestartedMeanwhile) {
  for (size_t others : {3, 140}) {
    Crowd links = crowd(others);
    ASSERT_TRUE(links.is_open()) << last_error();
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    links.handles.push_back(slave.get());
    std::atomic<int> found{-100};
    std::thread waiter([&] { found = links.wait(UINT32_MAX); });
    master.kill_now();
    wait_for_state(slave.get(), ESHM_PEER_DEAD);
    pause_ms(20);
    EXPECT_EQ(found, -100);  // nothing to read, and not given up
    Child next = obeying(config(ESHM_ROLE_MASTER));
    EXPECT_EQ(next.hear(), "open");
    EXPECT_EQ(ask(next, "write back"), "0");
    waiter.join();
    EXPECT_EQ(found, int(others));
    EXPECT_EQ(read_text(slave.get(), 0), "back");
    leave(next);
  }
}

TEST_P(WaitAnyPeers, HungPeerIsReplacedMeanwhile) {
  for (size_t others : {3, 140}) {
    Crowd links = crowd(others);
    ASSERT_TRUE(links.is_open()) << last_error();
    ESHMConfig nervous = config(ESHM_ROLE_MASTER);
    nervous.stale_threshold_ms = kHungMs;
    Child master = obeying(nervous);
    ASSERT_EQ(master.hear(), "open");
    ESHMConfig slave_config = for_ever(config(ESHM_ROLE_SLAVE));
    slave_config.stale_threshold_ms = kHungMs;
    const Link slave = open_link(slave_config);
    ASSERT_TRUE(slave) << last_error();
    links.handles.push_back(slave.get());
    int found = -100;
    std::thread waiter([&] { found = links.wait(UINT32_MAX); });
    master.stop();
    {
      const Link next = open_link(nervous);
      ASSERT_TRUE(next) << last_error();
      wait_for_state(next.get(), ESHM_PEER_ALIVE);
      EXPECT_EQ(write_text(next.get(), "new"), ESHM_SUCCESS);
      waiter.join();
      EXPECT_EQ(found, int(others));
      EXPECT_EQ(read_text(slave.get(), 0), "new");
      // And in the new segment it is waited for again.
      std::thread again([&] { found = links.wait(UINT32_MAX); });
      pause_ms(20);
      EXPECT_EQ(write_text(next.get(), "newer"), ESHM_SUCCESS);
      again.join();
      EXPECT_EQ(found, int(others));
    }
    master.kill_now();
  }
}

TEST_P(WaitAnyPeers, HandleThatGaveUpCountsAsReady) {
  Crowd links = crowd(2);
  ASSERT_TRUE(links.is_open()) << last_error();
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig hasty = config(ESHM_ROLE_SLAVE);
  hasty.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(hasty);
  ASSERT_TRUE(slave) << last_error();
  links.handles.push_back(slave.get());
  int found = -100;
  std::thread waiter([&] { found = links.wait(UINT32_MAX); });
  pause_ms(20);
  master.kill_now();
  waiter.join();
  EXPECT_EQ(found, 2);
  EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_MASTER_STALE));
  remove_name_of_the_killed();
}

TEST_P(WaitAnyPeers, WithoutThreadsTheWaitBeats) {
  ESHMConfig unthreaded = config(ESHM_ROLE_MASTER);
  unthreaded.use_threads = false;
  const Link first = open_link(unthreaded);
  unthreaded.shm_name = nullptr;
  const std::string other_name = unique_name();
  unthreaded.shm_name = other_name.c_str();
  const Link second = open_link(unthreaded);
  ASSERT_TRUE(first && second) << last_error();
  Child slave([&](Wire& wire) {
    ESHMConfig watching = for_ever(config(ESHM_ROLE_SLAVE));
    watching.stale_threshold_ms = kHungMs;
    const Link link = open_link(watching);
    CHILD_CHECK(link);
    wait_for_state(link.get(), ESHM_PEER_STALE);  // nobody calls there
    wire.say("stale");
    wait_for_state(link.get(), ESHM_PEER_ALIVE);
    CHILD_CHECK(write_text(link.get(), "x") == ESHM_SUCCESS);
    return 0;
  });
  EXPECT_EQ(slave.hear(), "stale");
  ESHMHandle* const handles[] = {second.get(), first.get()};
  EXPECT_EQ(eshm_wait_any(handles, 2, UINT32_MAX), 1);
  EXPECT_EQ(read_text(first.get(), 0), "x");
  EXPECT_EQ(slave.join(), 0);
  EXPECT_EQ(threads_named("eshm-wait"), 0u);
}

TEST_P(WaitAnyPeers, KernelWithoutFutexWaitvIsPolled) {
  Child child([this](Wire&) {
    forbid_futex_waitv();
    for (size_t size : {2, 140}) {
      Crowd links = crowd(size);
      each_is_found(links, 50);
      CHILD_CHECK(!testing::Test::HasFailure());
    }
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(WaitAnyPeers, ForkedChildIsRefusedAndMayWaitForItsOwn) {
  Crowd links = crowd(140);
  ASSERT_TRUE(links.is_open()) << last_error();
  each_is_found(links, 20);  // the parent's threads run
  Child child([&](Wire&) {
    CHILD_CHECK(links.wait(0) == ESHM_ERROR_NOT_INITIALIZED);
    {
      Crowd own = crowd(140);
      each_is_found(own, 20);
      CHILD_CHECK(!testing::Test::HasFailure());
      CHILD_CHECK(threads_named("eshm-wait") == 2);
    }
    wait_until([] { return threads_named("eshm-wait") == 0; });
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
  each_is_found(links, 20);
}

// ---- the descriptor

TEST_P(EventFdPeers, KilledMasterIsToldAndItsSuccessorHeard) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  const int fd = eshm_get_fd(slave.get());
  read_until_quiet(slave.get(), fd);
  master.kill_now();
  EXPECT_TRUE(is_readable(fd, -1));  // a change, but nothing to read
  wait_for_state(slave.get(), ESHM_PEER_DEAD);
  wait_until([&] {
    EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
    return !is_readable(fd, 20);
  });
  Child next = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(next.hear(), "open");
  read_until_quiet(slave.get(), fd);
  EXPECT_EQ(ask(next, "write back"), "0");
  EXPECT_TRUE(is_readable(fd, -1));
  EXPECT_EQ(read_text(slave.get(), 0), "back");
  leave(next);
}

TEST_P(EventFdPeers, FollowsItsSlaveToAnotherSegment) {
  ESHMConfig nervous = config(ESHM_ROLE_MASTER);
  nervous.stale_threshold_ms = kHungMs;
  Child master = obeying(nervous);
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig slave_config = for_ever(config(ESHM_ROLE_SLAVE));
  slave_config.stale_threshold_ms = kHungMs;
  const Link slave = open_link(slave_config);
  ASSERT_TRUE(slave) << last_error();
  const int fd = eshm_get_fd(slave.get());
  read_until_quiet(slave.get(), fd);
  master.stop();
  {
    const Link next = open_link(nervous);
    ASSERT_TRUE(next) << last_error();
    read_until_quiet(next.get(), eshm_get_fd(next.get()));
    read_until_quiet(slave.get(), fd);
    for (int i = 0; i < 20; ++i) {
      ASSERT_EQ(write_text(next.get(), "new"), ESHM_SUCCESS);
      ASSERT_TRUE(is_readable(fd, -1));
      ASSERT_EQ(read_text(slave.get(), 0), "new");
    }
  }
  master.kill_now();
}

TEST_P(EventFdPeers, StaysReadableWhileReadsAnswerAnError) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig hasty = config(ESHM_ROLE_SLAVE);
  hasty.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
  const Link slave = open_link(hasty);
  ASSERT_TRUE(slave) << last_error();
  const int fd = eshm_get_fd(slave.get());
  read_until_quiet(slave.get(), fd);
  master.kill_now();
  EXPECT_EQ(first_answer(slave.get()), error(ESHM_ERROR_MASTER_STALE));
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(is_readable(fd, -1));
    EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_MASTER_STALE));
  }
  remove_name_of_the_killed();
}

// The writer is stopped at some point of its write, perhaps between publication
// and wake: the thread looks again by itself.
TEST_P(EventFdPeers, StoppedWritersLastMessageIsToldWithoutItsRing) {
  Child master([&](Wire& wire) {
    const Link link = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    wire.say("open");
    for (uint64_t number = 1;; ++number) {
      CHILD_CHECK(eshm_write(link.get(), &number, sizeof number) == ESHM_SUCCESS);
    }
    return 0;
  });
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig watching = for_ever(config(ESHM_ROLE_SLAVE));
  watching.stale_threshold_ms = 200;
  const Link reader = open_link(watching);
  ASSERT_TRUE(reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  uint64_t last = 0;
  for (uint64_t round = 0; round < count(20, 2000); ++round) {
    uint64_t number = 0;
    ASSERT_TRUE(is_readable(fd, -1));
    while (eshm_read_ex(reader.get(), &number, sizeof number, nullptr, 0) == ESHM_ERROR_NO_DATA) {
      ASSERT_TRUE(is_readable(fd, -1));
    }
    ASSERT_GT(number, last);
    last = number;
    master.stop();
    // Whatever is unread now is told, then nothing more is there.
    while (is_readable(fd, 0)) {
      if (eshm_read_ex(reader.get(), &number, sizeof number, nullptr, 0) == ESHM_SUCCESS) {
        last = number;
      }
    }
    pause_ms(1);
    ESHMHandle* const handle = reader.get();
    if (eshm_wait_any(&handle, 1, 0) == 0) {
      EXPECT_TRUE(is_readable(fd, -1));
    }
    master.go_on();
  }
  master.kill_now();
  remove_name_of_the_killed();
}

TEST_P(EventFdPeers, ClosedByTheApplicationItIsLostAndAStrangersFileIsLeftAlone) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  read_until_quiet(reader.get(), fd);
  ::close(fd);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  ASSERT_TRUE(ends[0] == fd || ends[1] == fd);  // the number is reused
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(write_text(writer.get(), "x"), ESHM_SUCCESS);
    EXPECT_EQ(read_text(reader.get(), UINT32_MAX), "x");
  }
  EXPECT_FALSE(is_readable(ends[0], 20));
  const int another = eshm_get_fd(reader.get());
  ASSERT_GE(another, 0) << last_error();
  EXPECT_NE(another, fd);
  read_until_quiet(reader.get(), another);
  ASSERT_EQ(write_text(writer.get(), "y"), ESHM_SUCCESS);
  EXPECT_TRUE(is_readable(another, -1));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_P(EventFdPeers, ForkedChildHasItNotAndMayHaveItsOwn) {
  const Link writer = open_link(config(ESHM_ROLE_MASTER));
  const Link reader = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(writer && reader) << last_error();
  const int fd = eshm_get_fd(reader.get());
  read_until_quiet(reader.get(), fd);
  Child child([&](Wire&) {
    CHILD_CHECK(fcntl(fd, F_GETFD) == -1);
    CHILD_CHECK(eshm_get_fd(reader.get()) == ESHM_ERROR_NOT_INITIALIZED);
    const std::string name = unique_name();
    const Link own_writer = open_link(config_of(name, ESHM_ROLE_MASTER, GetParam()));
    const Link own_reader = open_link(config_of(name, ESHM_ROLE_SLAVE, GetParam()));
    CHILD_CHECK(own_writer && own_reader);
    const int own = eshm_get_fd(own_reader.get());
    CHILD_CHECK(own >= 0);
    read_until_quiet(own_reader.get(), own);
    CHILD_CHECK(write_text(own_writer.get(), "x") == ESHM_SUCCESS);
    CHILD_CHECK(is_readable(own, -1));
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
  ASSERT_EQ(write_text(writer.get(), "x"), ESHM_SUCCESS);
  EXPECT_TRUE(is_readable(fd, -1));
}

ESHM_ON_BOTH_BACKENDS(WaitAnyPeers);
ESHM_ON_BOTH_BACKENDS(EventFdPeers);

}  // namespace
