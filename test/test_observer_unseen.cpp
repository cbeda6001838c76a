// SPDX-License-Identifier: MIT
// Those who look on: what they may not, that the two never notice them, and what a
// hostile segment does to them.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "support/counts.h"
#include "support/pattern.h"
#include "support/observers.h"
#include "support/player.h"

namespace {

using namespace test;

class UnseenObserver : public ObserverTest {};

// ---- what it may not -----------------------------------------------------------------

TEST_P(UnseenObserver, IsRefusedWhatTakesAnEnd) {
  const Link observer = open_observer();
  const auto expect_mismatch = [](int code) {
    EXPECT_EQ(code, ESHM_ERROR_ROLE_MISMATCH);
    EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH);
    EXPECT_NE(last_error().find("observer"), std::string::npos) << last_error();
  };
  char byte = 0;
  void* loan = nullptr;
  ESHMView view = {};
  for (const bool has_segment : {false, true}) {
    const Link master = has_segment ? open_link(config(ESHM_ROLE_MASTER)) : nullptr;
    expect_mismatch(eshm_write(observer.get(), &byte, 1));
    expect_mismatch(eshm_write_ex(observer.get(), &byte, 1, 10));
    expect_mismatch(eshm_loan(observer.get(), 1, &loan));
    expect_mismatch(eshm_publish(observer.get(), &byte, 1));
    expect_mismatch(eshm_discard(observer.get(), &byte));
    expect_mismatch(eshm_borrow(observer.get(), &view, 0));
    expect_mismatch(eshm_release(observer.get(), &view));
    expect_mismatch(eshm_update_heartbeat(observer.get()));
    ESHMHandle* const handles[] = {observer.get()};
    EXPECT_EQ(eshm_wait_any(handles, 1, 0), ESHM_ERROR_UNSUPPORTED);
    EXPECT_EQ(eshm_get_fd(observer.get()), ESHM_ERROR_UNSUPPORTED);
    EXPECT_EQ(eshm_set_event_callback(observer.get(), nullptr, nullptr), ESHM_ERROR_UNSUPPORTED);
    ESHMRole role = ESHM_ROLE_AUTO;
    EXPECT_EQ(eshm_get_role(observer.get(), &role), ESHM_SUCCESS);
    EXPECT_EQ(role, ESHM_ROLE_OBSERVER);
  }
}

TEST_P(UnseenObserver, RefusesWhatCannotBeLookedAtAndIsRefusedByTheMode) {
  {
    std::ofstream(path_of(name())) << "not a segment";
    EXPECT_FALSE(open_link(config(ESHM_ROLE_OBSERVER)));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_PERMISSION) << last_error();  // its mode is too wide
    ASSERT_EQ(chmod(path_of(name()).c_str(), 0600), 0);
    EXPECT_FALSE(open_link(config(ESHM_ROLE_OBSERVER)));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_SHM_ATTACH) << last_error();
    ASSERT_EQ(unlink(path_of(name()).c_str()), 0);
  }
  // What comes later is refused in its reads.
  const Link observer = open_observer();
  std::ofstream(path_of(name())) << "not a segment";
  wait_until([&] {
    EXPECT_EQ(look(observer.get(), 5).code, ESHM_ERROR_TIMEOUT);
    return last_error().find("no segment") == std::string::npos;
  });
  ASSERT_EQ(unlink(path_of(name()).c_str()), 0);
}

std::vector<std::string> lines_of(const std::string& file) {
  std::ifstream in(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST_P(UnseenObserver, OpensAndMapsNothingThatItCouldWriteAndTakesNoLock) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ASSERT_EQ(ask(master, "write something"), "0");
  const auto before = lines_of("/proc/self/maps");
  const Link observer = open_observer();
  EXPECT_EQ(look(observer.get()).text, "something");
  EXPECT_EQ(remote_state(observer.get()), ESHM_PEER_ALIVE);

  int maps = 0;
  for (const std::string& line : lines_of("/proc/self/maps")) {
    const bool is_segment = line.find(name()) != std::string::npos ||
                            (line.find("/SYSV") != std::string::npos &&
                             std::find(before.begin(), before.end(), line) == before.end());
    if (!is_segment) continue;
    ++maps;
    EXPECT_NE(line.find(" r--s "), std::string::npos) << line;
  }
  EXPECT_EQ(maps, 3);

  int descriptors = 0;
  DIR* const folder = opendir("/proc/self/fd");
  ASSERT_NE(folder, nullptr);
  while (const dirent* entry = readdir(folder)) {
    char target[512] = {};
    if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) < 0) continue;
    if (std::string(target).find(name()) == std::string::npos) continue;
    ++descriptors;
    EXPECT_EQ(fcntl(std::atoi(entry->d_name), F_GETFL) & O_ACCMODE, O_RDONLY) << target;
    for (const std::string& line : lines_of(std::string("/proc/self/fdinfo/") + entry->d_name)) {
      EXPECT_EQ(line.find("lock:"), std::string::npos) << line;
    }
  }
  closedir(folder);
  EXPECT_EQ(descriptors, 1);

  master.kill_now();
  const int third = open(path_of(name()).c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(third, 0);
  wait_until([&] { return remote_state(observer.get()) == ESHM_PEER_DEAD; });
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(third, F_OFD_GETLK, &whole), 0);
  EXPECT_EQ(whole.l_type, F_UNLCK) << "somebody else than the dead holds a lock";
  close(third);
  const Link last = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(last) << last_error();
}

TEST_P(UnseenObserver, LeavesNothingAndNeverTakesASeat) {
  for (int i = 0; i < 20; ++i) {
    const Link observer = open_observer();
    EXPECT_EQ(files_of(name()), std::vector<std::string>{});
  }
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Link observers[] = {open_observer(), open_observer()};
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  EXPECT_TRUE(slave) << last_error();
}

int always(void*) { return 1; }

TEST_P(UnseenObserver, AWaitEndsForTheInterruptHook) {
  ESHMConfig interruptible = config(ESHM_ROLE_OBSERVER);
  interruptible.interrupt = always;
  const Link observer = open_link(interruptible);
  ASSERT_TRUE(observer) << last_error();
  EXPECT_EQ(look(observer.get(), UINT32_MAX).code, ESHM_ERROR_INTERRUPTED);
}

TEST_P(UnseenObserver, AWaitGoesOnWhileTheHookLetsIt) {
  int asked = 0;
  ESHMConfig interruptible = config(ESHM_ROLE_OBSERVER);
  interruptible.interrupt = [](void* context) { return ++*static_cast<int*>(context) == 3 ? 1 : 0; };
  interruptible.interrupt_context = &asked;
  const Link observer = open_link(interruptible);
  ASSERT_TRUE(observer) << last_error();
  EXPECT_EQ(look(observer.get(), UINT32_MAX).code, ESHM_ERROR_INTERRUPTED);
  EXPECT_EQ(asked, 3);
}

TEST_P(UnseenObserver, AForkedChildsCallsAreRefused) {
  const Link observer = open_observer();
  Child child([&](Wire&) {
    char byte;
    CHILD_CHECK(eshm_read(observer.get(), &byte, 1) == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(eshm_destroy(observer.get()) == ESHM_ERROR_NOT_INITIALIZED);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

// ---- not felt ------------------------------------------------------------------------

// Counts what all observers have read, in memory that they share with the test.
class ReadCount {
 public:
  ReadCount()
      : at_(static_cast<std::atomic<uint64_t>*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                                     MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~ReadCount() { munmap(at_, 4096); }
  std::atomic<uint64_t>& operator*() const { return *at_; }

 private:
  std::atomic<uint64_t>* const at_;
};

// Reads what comes, checks it, and never ends by itself.
int look_on_for_ever(const ESHMConfig& config, std::atomic<uint64_t>& reads) {
  const Link observer = open_link(config);
  CHILD_CHECK(observer);
  char buffer[ESHM_MAX_DATA_SIZE];
  for (;;) {
    ESHMMessageInfo info = {};
    const int code = eshm_read_msg(observer.get(), buffer, sizeof buffer, &info, 1);
    CHILD_CHECK(code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT);
    if (code == ESHM_SUCCESS) {
      CHILD_CHECK(is_pattern(buffer, info.size, info.sequence * 2 + info.direction));
      reads.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

TEST_P(UnseenObserver, StoppedAndKilledAtAnyPointTheyAreNotFelt) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  Random random;
  std::vector<std::unique_ptr<Child>> observers(20);
  std::vector<bool> is_stopped(observers.size());
  const ReadCount reads;
  const ESHMConfig looks_on = config(ESHM_ROLE_OBSERVER);
  const auto begin = [&](std::unique_ptr<Child>& observer) {
    observer = std::make_unique<Child>([&](Wire&) { return look_on_for_ever(looks_on, *reads); });
  };
  for (auto& observer : observers) begin(observer);
  ESHMHandle* const ends[2] = {master.get(), slave.get()};
  char buffer[ESHM_MAX_DATA_SIZE];
  const uint64_t rounds = count(200000, 5000000);
  for (uint64_t number = 1; number <= rounds; ++number) {
    for (const uint32_t direction : {ESHM_M2S, ESHM_S2M}) {
      const size_t size = pattern_size(number, 512);
      fill_pattern(buffer, size, number * 2 + direction);
      ASSERT_EQ(eshm_write(ends[direction], buffer, size), ESHM_SUCCESS) << last_error();
      ESHMMessageInfo info = {};
      ASSERT_EQ(eshm_read_msg(ends[1 - direction], buffer, sizeof buffer, &info, 0), ESHM_SUCCESS)
          << last_error();
      ASSERT_EQ(info.sequence, number);
      ASSERT_EQ(info.missed, 0u);
      ASSERT_TRUE(is_pattern(buffer, info.size, number * 2 + direction));
    }
    if (number % 1000 != 0) continue;
    const size_t victim = random.up_to(observers.size() - 1);
    ASSERT_FALSE(observers[victim]->has_news()) << "an observer has ended by itself";
    if (is_stopped[victim] || random.up_to(1) == 0) {
      observers[victim]->kill_now();
      begin(observers[victim]);
      is_stopped[victim] = false;
    } else {
      observers[victim]->stop();
      is_stopped[victim] = true;
    }
  }
  for (auto& observer : observers) {
    EXPECT_FALSE(observer->has_news()) << "an observer has ended by itself";
    observer->kill_now();
  }
  EXPECT_GT((*reads).load(), 0u);
}

// ---- hostile ---------------------------------------------------------------------------

TEST_P(UnseenObserver, RubbishInTheSegmentIsAnErrorAndNeverACrash) {
  Random random;
  uint64_t errors = 0;
  for (uint64_t round = 0; round < count(30, 1000); ++round) {
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    const Link slave = open_link(config(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(master && slave) << last_error();
    ASSERT_EQ(write_text(master.get(), "sound"), ESHM_SUCCESS);
    const Link observer = open_observer();
    EXPECT_EQ(look(observer.get()).text, "sound");
    // The writer's own mapping of its data is the way in: a loan lies there.
    void* loan = nullptr;
    ASSERT_EQ(eshm_loan(master.get(), 1, &loan), ESHM_SUCCESS);
    const auto page = reinterpret_cast<uintptr_t>(loan) & ~uintptr_t(4095);
    auto* const words = reinterpret_cast<std::atomic<uint64_t>*>(page);
    std::mt19937_64 dice(seed() + round);
    const auto scribble = [&] {
      // Half of it such that may be taken for the next message's number.
      const uint64_t word = dice() % 2 == 0 ? dice() % 16 : dice();
      words[8 + dice() % 504].store(word, std::memory_order_relaxed);
    };
    // In turn first: what is seen does not hang on who gets a core.
    for (int turn = 0; turn < 500; ++turn) {
      for (int i = 0; i < 50; ++i) scribble();
      errors += look(observer.get(), 0).code == ESHM_ERROR_CORRUPT;
    }
    std::atomic<bool> is_over{false};
    std::thread hostile([&] {
      while (!is_over) scribble();
    });
    for (int i = 0; i < 300; ++i) (void)look(observer.get(), 0);
    is_over = true;
    hostile.join();
  }
  EXPECT_GT(errors, 0u);
}

INSTANTIATE_TEST_SUITE_P(Kinds, UnseenObserver,
                         testing::Values(Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_LATEST},
                                         Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_QUEUE},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_LATEST},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_QUEUE}),
                         kind_name);

}  // namespace
