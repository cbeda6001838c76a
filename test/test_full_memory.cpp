// SPDX-License-Identifier: MIT
// No room for a segment: an error of eshm_init that names what was asked and
// what is left, and nothing remains.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/may_unshare.h"

namespace {

using namespace test;

constexpr uint64_t kTmpfsBytes = 80 * 1024;

class FullMemory : public LinkTest {
 protected:
  // A link that does not fit into what the tests leave.
  ESHMConfig too_large(ESHMRole role) const {
    ESHMConfig config = this->config(role);
    config.m2s.max_message_size = 1 << 20;
    config.s2m.max_message_size = 1 << 20;
    return config;
  }
};

class FullDevShm : public FullMemory {};     // where messages lie in /dev/shm
class SystemVLimits : public FullMemory {};  // and where they do not

// Into a /dev/shm of its own, which is small.
void enter_small_dev_shm() {
  CHILD_CHECK(enter_own_mounts());
  CHILD_CHECK(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=80k") == 0);
}

uint64_t free_bytes() {
  struct statvfs space;
  CHILD_CHECK(statvfs("/dev/shm", &space) == 0);
  return space.f_bavail * space.f_bsize;
}

TEST_P(FullDevShm, SmallDevShmIsToldInNumbersAndLeftEmpty) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire& wire) {
    enter_small_dev_shm();
    for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_AUTO}) {
      CHILD_CHECK(!open_link(too_large(role)));
      wire.say(last_error());
      CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
      CHILD_CHECK(files_of("").size() == 2);  // "." and ".."
      CHILD_CHECK(free_bytes() == kTmpfsBytes);
    }
    // What fits still works.
    const Link small = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(small);
    CHILD_CHECK(write_text(small.get(), "x") == ESHM_SUCCESS);
    return 0;
  });
  for (int role = 0; role < 2; ++role) {
    const std::string text = child.hear();
    const std::vector<long long> numbers = numbers_in(text);
    EXPECT_TRUE(std::any_of(numbers.begin(), numbers.end(),
                            [](long long number) { return number > 2 * (1 << 20); }))
        << "size asked: " << text;
    EXPECT_TRUE(names_number(text, kTmpfsBytes)) << "space left: " << text;
  }
  EXPECT_EQ(child.join(), 0);
}

TEST_P(FullMemory, FullDevShmIsToldAndNothingIsAdded) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire& wire) {
    enter_small_dev_shm();
    const int filler = open("/dev/shm/filler", O_CREAT | O_RDWR, 0600);
    CHILD_CHECK(filler >= 0);
    CHILD_CHECK(posix_fallocate(filler, 0, kTmpfsBytes) == 0);
    CHILD_CHECK(!open_link(config(ESHM_ROLE_MASTER)));
    wire.say(last_error());
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(files_of("").size() == 3);  // ".", ".." and the filler
    CHILD_CHECK(sysv_segments_of_ours().empty());
    // With room again the same name works.
    CHILD_CHECK(ftruncate(filler, 0) == 0);
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(master);
    return 0;
  });
  const std::string text = child.hear();
  EXPECT_TRUE(names_number(text, 0)) << "space left: " << text;
  EXPECT_EQ(child.join(), 0);
}

TEST_P(SystemVLimits, SystemVLimitIsToldAndNothingIsAdded) {
  if (!may_unshare(CLONE_NEWIPC)) GTEST_SKIP() << "may not unshare the IPC namespace";
  Child child([this](Wire& wire) {
    CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
    std::ofstream("/proc/sys/kernel/shmmax") << 100000;
    CHILD_CHECK(!open_link(too_large(ESHM_ROLE_MASTER)));
    wire.say(last_error());
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(files_of(name()).empty());
    CHILD_CHECK(sysv_segments_of_ours().empty());
    const Link small = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(small);
    return 0;
  });
  const std::string text = child.hear();
  EXPECT_NE(text, "");
  EXPECT_EQ(child.join(), 0);
}

// What two dead ones left is given up before there is room for the next: a
// failure leaves nothing of theirs to be read, and the name heals.
TEST_P(FullDevShm, OrphanThatCannotBeRenewedHealsWhenThereIsRoom) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire&) {
    enter_small_dev_shm();
    Child master([this](Wire& wire) {
      const Link link = open_link(config(ESHM_ROLE_MASTER));
      CHILD_CHECK(link && write_text(link.get(), "old") == ESHM_SUCCESS);
      wire.say("open");
      wire.hear();
      return 0;
    });
    CHILD_CHECK(master.hear() == "open");
    master.kill_now();
    CHILD_CHECK(!open_link(too_large(ESHM_ROLE_MASTER)));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(!open_link(at_once(config(ESHM_ROLE_SLAVE))));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_TIMEOUT);
    const Link next = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(next);
    const Link slave = open_link(config(ESHM_ROLE_SLAVE));
    CHILD_CHECK(slave);
    CHILD_CHECK(read_text(slave.get(), 0) == "error " + std::to_string(ESHM_ERROR_NO_DATA));
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// No room for its successor: a hung master is not touched.
TEST_P(FullMemory, HungMasterWhoseSuccessorHasNoRoomGoesOnUnharmed) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire&) {
    enter_small_dev_shm();
    ESHMConfig silent = config(ESHM_ROLE_MASTER);
    silent.use_threads = false;
    silent.stale_threshold_ms = kHungMs;
    const Link master = open_link(silent);
    CHILD_CHECK(master);
    const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(slave);
    const uint64_t room = free_bytes();
    const int filler = open("/dev/shm/filler", O_CREAT | O_RDWR, 0600);
    CHILD_CHECK(filler >= 0 && posix_fallocate(filler, 0, static_cast<off_t>(room)) == 0);
    CHILD_CHECK(!open_link(silent));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(files_of(name()).size() == 1);
    CHILD_CHECK(write_text(master.get(), "unharmed") == ESHM_SUCCESS);
    CHILD_CHECK(read_text(slave.get(), UINT32_MAX) == "unharmed");
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

ESHM_ON_BOTH_BACKENDS(FullMemory);
ESHM_ON_BACKEND_ALONE(FullDevShm, ESHM_BACKEND_POSIX);
ESHM_ON_BACKEND_ALONE(SystemVLimits, ESHM_BACKEND_SYSV);

}  // namespace
