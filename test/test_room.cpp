// SPDX-License-Identifier: MIT
// Segments that do not fit: refused before anything is taken, in numbers, and never by the
// kernel, which kills. Signals and the hook while large ones are made.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "support/counts.h"
#include "support/link.h"
#include "support/may_unshare.h"
#include "support/memory_group.h"
#include "support/player.h"
#include "support/shared_page.h"
#include "support/tally.h"

namespace {

// Calls of this process, its children's counted in themselves.
std::atomic<unsigned> allocations{0};
std::atomic<unsigned> looks_at_space{0};
std::atomic<unsigned> pauses_in_steps_ms{0};
std::atomic<unsigned> pauses_in_prefaulting_ms{0};
// The calling thread gets SIGUSR1 in this allocation, counted from 1; 0: never.
std::atomic<unsigned> signal_in_allocation{0};

}  // namespace

// In place of the C library's.
extern "C" int posix_fallocate(int file, off_t offset, off_t length) {
  using Function = int (*)(int, off_t, off_t);
  static const auto original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "posix_fallocate"));
  if (++allocations == signal_in_allocation) pthread_kill(pthread_self(), SIGUSR1);
  if (const unsigned pause = pauses_in_steps_ms) usleep(pause * 1000);
  return original(file, offset, length);
}

extern "C" int statvfs(const char* path, struct statvfs* space) noexcept {
  using Function = int (*)(const char*, struct statvfs*);
  static const auto original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "statvfs"));
  ++looks_at_space;
  return original(path, space);
}

extern "C" int madvise(void* at, size_t size, int advice) noexcept {
  using Function = int (*)(void*, size_t, int);
  static const auto original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "madvise"));
  if (const unsigned pause = pauses_in_prefaulting_ms) usleep(pause * 1000);
  return original(at, size, advice);
}

namespace {

using namespace test;

constexpr uint64_t kMegabyte = 1 << 20;
constexpr uint64_t kSpace = 64 * kMegabyte;
constexpr uint64_t kMemory = 128 * kMegabyte;
// Retries of a second would be thousands of looks.
constexpr unsigned kLooksOfOneRefusal = 10;

void enter_own_dev_shm(const std::string& size) {
  CHILD_CHECK(enter_own_mounts());
  CHILD_CHECK(mount("tmpfs", "/dev/shm", "tmpfs", 0, ("size=" + size).c_str()) == 0);
}

uint64_t free_bytes() {
  struct statvfs space;
  CHILD_CHECK(statvfs("/dev/shm", &space) == 0);
  return space.f_bavail * space.f_frsize;
}

// The least that /dev/shm had free since the last question.
class Sampler {
 public:
  Sampler() : thread_([this] { run(); }) {}
  ~Sampler() {
    ends_ = true;
    thread_.join();
  }
  void restart() {
    wait_for_a_whole_sample();
    least_ = UINT64_MAX;
  }
  uint64_t least() {
    wait_for_a_whole_sample();
    return least_;
  }

 private:
  // One that began after this call.
  void wait_for_a_whole_sample() const {
    const uint64_t samples = samples_;
    while (samples_ < samples + 2) sched_yield();
  }
  void run() {
    while (!ends_) {
      const uint64_t now = free_bytes();
      uint64_t least = least_;
      while (now < least && !least_.compare_exchange_weak(least, now)) {
      }
      ++samples_;
    }
  }

  std::atomic<bool> ends_{false};
  std::atomic<uint64_t> least_{UINT64_MAX};
  std::atomic<uint64_t> samples_{0};
  std::thread thread_;
};

// Any size of up to `largest` bytes, small ones as often as large ones.
uint64_t any_size(Random& random, uint64_t largest) {
  const double exponent = std::log2(double(largest)) * double(random.up_to(1 << 20)) / (1 << 20);
  return std::min(largest, uint64_t(std::exp2(exponent)));
}

void choose_shape(Random& random, uint64_t usual, ESHMChannelConfig& channel) {
  const bool is_any = random.up_to(3) == 0;
  channel.delivery = random.up_to(1) == 0 ? ESHM_DELIVERY_LATEST : ESHM_DELIVERY_QUEUE;
  channel.max_message_size = any_size(random, is_any ? INT32_MAX : usual / 4);
  channel.queue_capacity = any_size(random, is_any ? uint64_t(1) << 40 : usual);
}

// Bytes to write that take no memory of their own: the zero page.
const void* zeros(uint64_t bytes) {
  void* const at = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHILD_CHECK(at != MAP_FAILED);
  return at;
}

// Until each byte of the outgoing channel has been written.
void write_everywhere(ESHMHandle* link, uint64_t message_bytes, const void* bytes) {
  for (int i = 0; i < 12; ++i) {
    const int code = eshm_write_ex(link, bytes, message_bytes, 0);
    if (code == ESHM_ERROR_BUFFER_FULL) return;
    CHILD_CHECK(code == ESHM_SUCCESS);
  }
}

class RoomTest : public LinkTest {
 protected:
  // A link that takes a little more than that.
  ESHMConfig large(ESHMRole role, uint64_t bytes) const {
    ESHMConfig config = this->config(role);
    config.m2s.delivery = ESHM_DELIVERY_QUEUE;
    config.m2s.queue_capacity = bytes;
    return config;
  }
  bool uses_files() const { return GetParam() == ESHM_BACKEND_POSIX; }

  // Opens, uses and closes random links. Each is made, or is refused and takes nothing.
  void try_random_shapes(uint64_t usual, uint64_t rounds) const;

  static void expect_refused_at_once(const ESHMConfig& config) {
    allocations = looks_at_space = 0;
    CHILD_CHECK(!open_link(config));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(allocations == 0);
    CHILD_CHECK(looks_at_space < kLooksOfOneRefusal);
  }
};

class Room : public RoomTest {};         // both backends
class SpaceInDevShm : public RoomTest {};  // where messages lie in /dev/shm
class SystemVRoom : public RoomTest {};

void RoomTest::try_random_shapes(uint64_t usual, uint64_t rounds) const {
  Random random;
  Sampler sampler;
  const uint64_t all = free_bytes();
  uint64_t opened = 0, refused = 0;
  for (uint64_t round = 0; round < rounds; ++round) {
    ESHMConfig config = this->config(round % 2 == 0 ? ESHM_ROLE_MASTER : ESHM_ROLE_AUTO);
    choose_shape(random, usual, config.m2s);
    choose_shape(random, usual / 4, config.s2m);
    allocations = 0;
    sampler.restart();
    Link link = open_link(config);
    if (link) {
      ++opened;
      const uint64_t bytes = config.m2s.max_message_size;
      const void* const message = zeros(bytes);
      write_everywhere(link.get(), bytes, message);
      munmap(const_cast<void*>(message), bytes);
      link.reset();
    } else if (last_error_code() == ESHM_ERROR_SHM_CREATE) {
      ++refused;
      if (last_error().find(": no room for ") == std::string::npos) {
        std::fprintf(stderr, "%s\n", last_error().c_str());
        CHILD_CHECK(false);
      }
      CHILD_CHECK(allocations == 0);
      CHILD_CHECK(sampler.least() == all);
    } else {
      CHILD_CHECK(last_error_code() == ESHM_ERROR_INVALID_PARAM);  // no message fits
    }
    CHILD_CHECK(free_bytes() == all);
    CHILD_CHECK(files_of(name()).empty());
  }
  CHILD_CHECK(opened > 0 && refused > 0);
  tally("random-segments-made", opened);
  tally("random-segments-refused", refused);
}

// ---- refused, and nothing taken -----------------------------------------------------

TEST_P(SpaceInDevShm, RandomShapesAreMadeOrRefusedAndTakeNothing) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire&) {
    enter_own_dev_shm("64m");
    try_random_shapes(2 * kSpace, count(150, 1500));
    return 0;
  });
  EXPECT_EQ(child.join(), 0) << "seed " << seed();
}

TEST_P(Room, RandomShapesUnderAMemoryLimitAreNeverKilled) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const MemoryGroup group(kMemory);
  if (!group.is_ready()) GTEST_SKIP() << group.why_not();
  Child child([&](Wire&) {
    enter_own_dev_shm("4g");
    CHILD_CHECK(group.enter());
    try_random_shapes(2 * kMemory, count(80, 800));
    return 0;
  });
  EXPECT_EQ(child.join(), 0) << "seed " << seed();
}

TEST_P(Room, ShortageNamesNeedSpaceMemoryAndLimit) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const MemoryGroup group(kMemory);
  if (!group.is_ready()) GTEST_SKIP() << group.why_not();
  constexpr uint64_t kAsked = 150 * kMegabyte;
  Child child([&](Wire& wire) {
    enter_own_dev_shm("256m");
    CHILD_CHECK(group.enter());
    expect_refused_at_once(large(ESHM_ROLE_MASTER, kAsked));
    wire.say(last_error());
    return 0;
  });
  const std::string text = child.hear();
  EXPECT_EQ(child.join(), 0);
  const std::vector<long long> numbers = numbers_in(text.substr(text.find(": ")));
  const auto has = [&](const std::function<bool(uint64_t)>& fits) {
    return std::any_of(numbers.begin(), numbers.end(),
                       [&](long long number) { return fits(uint64_t(number)); });
  };
  EXPECT_TRUE(has([](uint64_t n) { return n > kAsked && n < kAsked + kMegabyte; })) << text;
  EXPECT_NE(text.find("/dev/shm has 268435456 of 268435456 bytes left"), std::string::npos) << text;
  EXPECT_TRUE(has([](uint64_t n) { return n == kMemory; })) << text;
  EXPECT_TRUE(has([](uint64_t n) { return n > kMemory / 2 && n < kMemory; })) << "left: " << text;
  std::ifstream meminfo("/proc/meminfo");
  std::string word;
  uint64_t total_kilobytes = 0;
  meminfo >> word >> total_kilobytes;
  EXPECT_TRUE(has([=](uint64_t n) { return n >= total_kilobytes * 1024; })) << "memory: " << text;
}

TEST_P(Room, WhatCanNeverFitIsRefusedWithoutAnAllocationOrARetry) {
  Child child([this](Wire&) {
    expect_refused_at_once(large(ESHM_ROLE_MASTER, uint64_t(200) << 30));
    ESHMConfig config = this->config(ESHM_ROLE_AUTO);
    config.m2s.max_message_size = config.s2m.max_message_size = INT32_MAX;
    config.m2s.delivery = config.s2m.delivery = ESHM_DELIVERY_QUEUE;
    config.m2s.queue_capacity = config.s2m.queue_capacity = uint64_t(1) << 40;
    expect_refused_at_once(config);
    CHILD_CHECK(files_of(name()).empty());
    CHILD_CHECK(sysv_segments_of_ours().empty());
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// Limits as files in place of the kernel's, with what they leave. UINT64_MAX: enough.
struct Limits {
  const char* what;
  std::vector<std::pair<const char*, const char*>> files;  // in /sys/fs/cgroup
  uint64_t swap_kilobytes;
  uint64_t left;
};

const Limits kLimits[] = {
    {"no group", {}, 0, UINT64_MAX},
    {"version 2 without a limit",
     {{"memory.max", "max\n"}, {"memory.current", "31457280\n"}},
     0,
     UINT64_MAX},
    {"version 2",
     {{"memory.max", "33554432\n"}, {"memory.current", "31457280\n"}},
     0,
     2 * kMegabyte},
    {"version 2 with file pages",
     {{"memory.max", "33554432\n"},
      {"memory.current", "31457280\n"},
      {"memory.stat", "anon 7\nfile 9\ninactive_file 1048576\nactive_file 1048576\n"}},
     0,
     4 * kMegabyte},
    {"version 2 with swap",
     {{"memory.max", "33554432\n"},
      {"memory.current", "31457280\n"},
      {"memory.swap.max", "max\n"},
      {"memory.swap.current", "0\n"}},
     16384,
     UINT64_MAX},
    {"version 2 with a limit of swap",
     {{"memory.max", "33554432\n"},
      {"memory.current", "31457280\n"},
      {"memory.swap.max", "2097152\n"},
      {"memory.swap.current", "1048576\n"}},
     16384,
     3 * kMegabyte},
    {"version 2 beside version 1",
     {{"unified/memory.max", "33554432\n"}, {"unified/memory.current", "31457280\n"}},
     0,
     2 * kMegabyte},
    {"version 1 without a limit",
     {{"memory/memory.limit_in_bytes", "9223372036854771712\n"},
      {"memory/memory.usage_in_bytes", "31457280\n"}},
     0,
     UINT64_MAX},
    {"version 1 with file pages",
     {{"memory/memory.limit_in_bytes", "33554432\n"},
      {"memory/memory.usage_in_bytes", "31457280\n"},
      {"memory/memory.stat",
       "active_file 5\ntotal_inactive_file 1048576\ntotal_active_file 1048576\n"}},
     0,
     4 * kMegabyte},
    {"version 1 with swap",
     {{"memory/memory.limit_in_bytes", "33554432\n"},
      {"memory/memory.usage_in_bytes", "31457280\n"}},
     16384,
     UINT64_MAX},
    {"version 1 with a limit of memory and swap",
     {{"memory/memory.limit_in_bytes", "33554432\n"},
      {"memory/memory.usage_in_bytes", "31457280\n"},
      {"memory/memory.memsw.limit_in_bytes", "34603008\n"},
      {"memory/memory.memsw.usage_in_bytes", "31457280\n"}},
     16384,
     3 * kMegabyte},
};

void put_memory_in_place(uint64_t available_kilobytes, uint64_t kilobytes, uint64_t swap_kilobytes) {
  const std::string swap = std::to_string(swap_kilobytes) + " kB\n";
  std::ofstream("/sys/fs/cgroup/meminfo")
      << "MemTotal: " << kilobytes << " kB\nMemFree: 1 kB\nMemAvailable: " << available_kilobytes
      << " kB\nSwapCached: 1 kB\nSwapTotal: " << swap << "SwapFree: " << swap;
  CHILD_CHECK(mount("/sys/fs/cgroup/meminfo", "/proc/meminfo", nullptr, MS_BIND, nullptr) == 0);
}

void put_limits_in_place(const Limits& limits) {
  CHILD_CHECK(mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "size=1m") == 0);
  CHILD_CHECK(mkdir("/sys/fs/cgroup/memory", 0755) == 0);
  CHILD_CHECK(mkdir("/sys/fs/cgroup/unified", 0755) == 0);
  for (const auto& [file, text] : limits.files) {
    std::ofstream(std::string("/sys/fs/cgroup/") + file) << text;
  }
  put_memory_in_place(4194304, 8388608, limits.swap_kilobytes);
}

// The own groups are not there, as in a container that sees its own as the root.
TEST_P(SpaceInDevShm, EachKindOfLimitOfAControlGroupCounts) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  for (const Limits& limits : kLimits) {
    Child child([&](Wire& wire) {
      enter_own_dev_shm("64m");
      put_limits_in_place(limits);
      const uint64_t asked = limits.left == UINT64_MAX ? 8 : 40;
      const Link link = open_link(large(ESHM_ROLE_MASTER, asked * kMegabyte));
      wire.say(link ? "open" : last_error());
      return 0;
    });
    const std::string text = child.hear();
    if (limits.left == UINT64_MAX) {
      EXPECT_EQ(text, "open") << limits.what;
    } else {
      EXPECT_NE(text.find(" " + std::to_string(limits.left) + " of 33554432 bytes"),
                std::string::npos)
          << limits.what << ": " << text;
    }
    EXPECT_EQ(child.join(), 0) << limits.what;
  }
}

TEST_P(Room, MemoryThatCanBeHadAndSwapCount) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire& wire) {
    enter_own_dev_shm("1g");
    put_limits_in_place({"", {}, 0, 0});
    put_memory_in_place(16384, 65536, 0);
    expect_refused_at_once(large(ESHM_ROLE_MASTER, 200 * kMegabyte));
    const ESHMConfig config = large(ESHM_ROLE_MASTER, 20 * kMegabyte);
    CHILD_CHECK(!open_link(config));  // others may give some back
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    wire.say(last_error());
    put_memory_in_place(16384, 65536, 16384);
    CHILD_CHECK(open_link(config));
    return 0;
  });
  const std::string text = child.hear();
  EXPECT_NE(text.find("memory 16777216 of 67108864 bytes"), std::string::npos) << text;
  EXPECT_EQ(child.join(), 0);
}

// Both directions count: each alone fits.
TEST_P(Room, BothDirectionsCountTogether) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const MemoryGroup group(kMemory);
  if (!group.is_ready()) GTEST_SKIP() << group.why_not();
  Child child([&](Wire&) {
    enter_own_dev_shm("1g");
    CHILD_CHECK(group.enter());
    ESHMConfig config = large(ESHM_ROLE_MASTER, 80 * kMegabyte);
    CHILD_CHECK(open_link(config));
    config.s2m = config.m2s;
    expect_refused_at_once(config);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(SpaceInDevShm, FileSystemWithoutASizeIsNotTakenForAFullOne) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire&) {
    enter_own_dev_shm("0");
    CHILD_CHECK(open_link(large(ESHM_ROLE_MASTER, 4 * kMegabyte)));
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(SpaceInDevShm, RoomThatComesBackIsWaitedForWithoutAnAllocation) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  Child child([this](Wire&) {
    enter_own_dev_shm("64m");
    const int filler = open("/dev/shm/filler", O_CREAT | O_RDWR, 0600);
    CHILD_CHECK(filler >= 0 && posix_fallocate(filler, 0, 32 * kMegabyte) == 0);
    allocations = 0;
    std::atomic<unsigned> meanwhile{1};
    std::thread giver([&] {
      pause_ms(200);
      meanwhile = allocations.load();
      CHILD_CHECK(ftruncate(filler, 0) == 0);
    });
    const Link link = open_link(large(ESHM_ROLE_MASTER, 40 * kMegabyte));
    giver.join();
    CHILD_CHECK(link);
    CHILD_CHECK(meanwhile == 0);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(SystemVRoom, KernelsLimitsAreNamed) {
  if (!may_unshare(CLONE_NEWIPC)) GTEST_SKIP() << "may not unshare the IPC namespace";
  for (const char* const limit : {"shmmax", "shmall"}) {
    Child child([&](Wire& wire) {
      CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
      std::ofstream(std::string("/proc/sys/kernel/") + limit) << 1000;
      expect_refused_at_once(large(ESHM_ROLE_MASTER, 8 * kMegabyte));
      CHILD_CHECK(sysv_segments_of_ours().empty());
      wire.say(last_error());
      return 0;
    });
    const std::string text = child.hear();
    EXPECT_NE(text.find(std::string("kernel.") + limit + " is 1000 "), std::string::npos) << text;
    EXPECT_EQ(child.join(), 0);
  }
}

TEST_P(SystemVRoom, TooManySegmentsAreNamed) {
  if (!may_unshare(CLONE_NEWIPC)) GTEST_SKIP() << "may not unshare the IPC namespace";
  Child child([this](Wire& wire) {
    CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
    std::ofstream("/proc/sys/kernel/shmmni") << 1;
    CHILD_CHECK(!open_link(config(ESHM_ROLE_MASTER)));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    CHILD_CHECK(sysv_segments_of_ours().empty());
    wire.say(last_error());
    return 0;
  });
  const std::string text = child.hear();
  EXPECT_NE(text.find("kernel.shmmni is 1 "), std::string::npos) << text;
  EXPECT_EQ(child.join(), 0);
}

// ---- two at a time -------------------------------------------------------------------

struct Start {
  std::atomic<unsigned> ready;
};

// Opens when the other one does, says how that ended, and keeps the link until told.
Child racer(const ESHMConfig& config, Start& start, const MemoryGroup* group = nullptr) {
  return Child([&start, config, group](Wire& wire) {
    if (group != nullptr) CHILD_CHECK(group->enter());
    ++start.ready;
    while (start.ready < 2) sched_yield();
    const Link link = open_link(config);
    ESHMRole role = ESHM_ROLE_AUTO;
    if (link) CHILD_CHECK(eshm_get_role(link.get(), &role) == ESHM_SUCCESS);
    if (!link) CHILD_CHECK(last_error_code() == ESHM_ERROR_SHM_CREATE);
    wire.say(!link ? "refused" : role == ESHM_ROLE_MASTER ? "master" : "slave");
    wire.hear();
    return 0;
  });
}

// Enters a /dev/shm of that size and lets two race, again and again. Links of two names:
// one of them is made. Of one name: they meet, or one is refused.
void race(const char* size, uint64_t rounds, const ESHMConfig& first, const ESHMConfig& second,
          bool is_one_link, const MemoryGroup* group = nullptr) {
  Child child([&](Wire&) {
    enter_own_dev_shm(size);
    const uint64_t all = free_bytes();
    for (uint64_t round = 0; round < rounds; ++round) {
      const SharedPage<Start> start;
      Child one = racer(first, *start, group);
      Child other = racer(second, *start, group);
      const std::string outcomes[] = {one.hear(), other.hear()};
      one.say("end");
      other.say("end");
      CHILD_CHECK(one.join() == 0 && other.join() == 0);
      const auto count_of = [&](const char* outcome) {
        return std::count(outcomes, outcomes + 2, outcome);
      };
      CHILD_CHECK(count_of("master") == 1);
      CHILD_CHECK(is_one_link || count_of("refused") == 1);
      CHILD_CHECK(free_bytes() == all);
    }
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(SpaceInDevShm, TwoOfOneLinkWithRoomForOneAgree) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const ESHMConfig either = large(ESHM_ROLE_AUTO, 40 * kMegabyte);
  race("64m", count(20, 300), either, either, true);
}

TEST_P(SpaceInDevShm, OneOfTwoLinksGetsTheLastRoom) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const std::string other_name = name() + "b";
  ESHMConfig other = large(ESHM_ROLE_MASTER, 40 * kMegabyte);
  other.shm_name = other_name.c_str();
  race("64m", count(3, 60), large(ESHM_ROLE_MASTER, 40 * kMegabyte), other, false);
}

TEST_P(SpaceInDevShm, OneOfTwoLinksGetsTheLastMemoryAndNoneIsKilled) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const MemoryGroup group(kMemory);
  if (!group.is_ready()) GTEST_SKIP() << group.why_not();
  const std::string other_name = name() + "b";
  ESHMConfig other = large(ESHM_ROLE_MASTER, 80 * kMegabyte);
  other.shm_name = other_name.c_str();
  race("1g", count(3, 60), large(ESHM_ROLE_MASTER, 80 * kMegabyte), other, false, &group);
}

TEST_P(SpaceInDevShm, TwoOfOneLinkWithMemoryForOneAgree) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  const MemoryGroup group(kMemory);
  if (!group.is_ready()) GTEST_SKIP() << group.why_not();
  const ESHMConfig either = large(ESHM_ROLE_AUTO, 80 * kMegabyte);
  race("1g", count(10, 150), either, either, true, &group);
}

// ---- signals and the hook ------------------------------------------------------------

std::atomic<unsigned> signals_served{0};
std::atomic<unsigned> served_in_allocation{0};

void note_signal(int) {
  ++signals_served;
  served_in_allocation = allocations.load();
}

void serve_signals() {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  CHILD_CHECK(sigaction(SIGUSR1, &action, nullptr) == 0);
}

TEST_P(SpaceInDevShm, SignalIsServedBetweenTwoStepsOfAnAllocation) {
  Child child([this](Wire&) {
    serve_signals();
    signal_in_allocation = 3;
    const Link link = open_link(large(ESHM_ROLE_MASTER, 8 * kMegabyte));
    CHILD_CHECK(link);
    CHILD_CHECK(signals_served == 1);
    CHILD_CHECK(served_in_allocation == 3);
    CHILD_CHECK(allocations > 8);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// A signal that the application itself blocks waits, and is none for the hook.
TEST_P(SpaceInDevShm, BlockedSignalStaysBlocked) {
  Child child([this](Wire&) {
    serve_signals();
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    CHILD_CHECK(pthread_sigmask(SIG_BLOCK, &mask, nullptr) == 0);
    signal_in_allocation = 3;
    const Link link = open_link(large(ESHM_ROLE_MASTER, 8 * kMegabyte));
    CHILD_CHECK(link && signals_served == 0);
    CHILD_CHECK(pthread_sigmask(SIG_UNBLOCK, &mask, nullptr) == 0);
    CHILD_CHECK(signals_served == 1);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

int after_a_signal(void*) { return signals_served > 0; }

// How a link's name was left when the master comes that is to be stopped.
void leave_orphan(const ESHMConfig& config) {
  Child former([config](Wire& wire) {
    const Link link = open_link(config);
    CHILD_CHECK(link);
    wire.say("open");
    wire.hear();
    return 0;
  });
  CHILD_CHECK(former.hear() == "open");
  former.kill_now();
}

TEST_P(SpaceInDevShm, HookEndsAnAllocationAfterASignalAndAllIsGivenBack) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  for (const bool is_orphaned : {false, true}) {
    for (const ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_AUTO}) {
      Child child([&](Wire&) {
        enter_own_dev_shm("64m");
        const uint64_t all = free_bytes();
        if (is_orphaned) leave_orphan(config(ESHM_ROLE_MASTER));
        serve_signals();
        ESHMConfig interrupted = large(role, 32 * kMegabyte);
        interrupted.interrupt = after_a_signal;
        allocations = 0;
        signal_in_allocation = 3;
        CHILD_CHECK(!open_link(interrupted));
        CHILD_CHECK(last_error_code() == ESHM_ERROR_INTERRUPTED);
        CHILD_CHECK(allocations == 3);
        CHILD_CHECK(all - free_bytes() <= (is_orphaned ? 64 * 1024 : 0));
        signals_served = 0;
        {
          const Link link = open_link(interrupted);
          CHILD_CHECK(link && write_text(link.get(), "works") == ESHM_SUCCESS);
        }
        CHILD_CHECK(free_bytes() == all);
        return 0;
      });
      EXPECT_EQ(child.join(), 0) << role << is_orphaned;
    }
  }
}

int at_the_second_question(void* asked) { return ++*static_cast<unsigned*>(asked) > 1; }

// Without a signal: once in 50 ms, of which each step of 20 ms does not make one.
TEST_P(SpaceInDevShm, HookIsAskedDuringAnAllocation) {
  Child child([this](Wire&) {
    pauses_in_steps_ms = 20;
    unsigned asked = 0;
    ESHMConfig interrupted = large(ESHM_ROLE_MASTER, 100 * kMegabyte);
    interrupted.interrupt = at_the_second_question;
    interrupted.interrupt_context = &asked;
    CHILD_CHECK(!open_link(interrupted));
    CHILD_CHECK(last_error_code() == ESHM_ERROR_INTERRUPTED);
    CHILD_CHECK(asked == 2);
    CHILD_CHECK(allocations < 100);
    CHILD_CHECK(files_of(name()).empty());
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_P(Room, HookEndsPrefaultingAndAllIsGivenBack) {
  Child child([this](Wire&) {
    unsigned asked = 0;
    ESHMConfig interrupted = large(ESHM_ROLE_MASTER, 100 * kMegabyte);
    interrupted.flags = ESHM_FLAG_PREFAULT;
    interrupted.interrupt = at_the_second_question;
    interrupted.interrupt_context = &asked;
    pauses_in_prefaulting_ms = 60;
    CHILD_CHECK(!open_link(interrupted));
    pauses_in_prefaulting_ms = 0;
    CHILD_CHECK(last_error_code() == ESHM_ERROR_INTERRUPTED);
    CHILD_CHECK(asked == 2);
    CHILD_CHECK(files_of(name()).empty());
    CHILD_CHECK(sysv_segments_of_ours().empty());
    interrupted.interrupt = nullptr;
    CHILD_CHECK(open_link(interrupted));
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

struct Callers {
  pthread_t own;
  std::atomic<unsigned> others;
};

int note_caller(void* context) {
  Callers& callers = *static_cast<Callers*>(context);
  if (!pthread_equal(callers.own, pthread_self())) ++callers.others;
  return 0;
}

TEST_P(SpaceInDevShm, RenewalByTheServiceThreadDoesNotAskTheHook) {
  Child child([this](Wire&) {
    Callers callers{pthread_self(), {0}};
    ESHMConfig config = large(ESHM_ROLE_MASTER, 8 * kMegabyte);
    config.interrupt = note_caller;
    config.interrupt_context = &callers;
    EventLog events;
    const Link link = open_link(config);
    CHILD_CHECK(link);
    events.listen_to(link.get());
    allocations = 0;
    pauses_in_steps_ms = 20;
    CHILD_CHECK(unlink(path().c_str()) == 0);
    events.wait_for(ESHM_EVENT_RENEWED);
    CHILD_CHECK(allocations > 8);
    CHILD_CHECK(callers.others == 0);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

ESHM_ON_BOTH_BACKENDS(Room);
ESHM_ON_BACKEND_ALONE(SpaceInDevShm, ESHM_BACKEND_POSIX);
ESHM_ON_BACKEND_ALONE(SystemVRoom, ESHM_BACKEND_SYSV);

}  // namespace
