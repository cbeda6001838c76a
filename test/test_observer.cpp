// Those who look on: what they see, through whatever becomes of the link, and
// that the two never notice them.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "support/counts.h"
#include "support/pattern.h"
#include "support/player.h"

namespace {

using namespace test;

struct Kind {
  ESHMBackend backend;
  ESHMDelivery delivery;
};

class ObserverTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    remember_process(getpid());
    alarm(watchdog_seconds());
  }
  void TearDown() override {
    alarm(0);
    EXPECT_EQ(files_of(name_), std::vector<std::string>{});
    EXPECT_EQ(sysv_segments_of_ours(), std::vector<int>{});
  }

  bool is_queue() const { return GetParam().delivery == ESHM_DELIVERY_QUEUE; }
  const std::string& name() const { return name_; }
  ESHMConfig config(ESHMRole role) const {
    ESHMConfig config = config_of(name_, role, GetParam().backend);
    config.m2s.delivery = config.s2m.delivery = GetParam().delivery;
    return config;
  }
  Link open_observer() const {
    Link link = open_link(config(ESHM_ROLE_OBSERVER));
    EXPECT_TRUE(link) << last_error();
    return link;
  }

 private:
  const std::string name_ = unique_name();
};

// What only every message can show.
class QueueObserverTest : public ObserverTest {};

struct Seen {
  int code = ESHM_SUCCESS;
  std::string text;
  ESHMMessageInfo info = {};
};

Seen look(ESHMHandle* observer, uint32_t timeout_ms = kPatientMs) {
  Seen seen;
  char buffer[ESHM_MAX_DATA_SIZE];
  seen.code = eshm_read_msg(observer, buffer, sizeof buffer, &seen.info, timeout_ms);
  if (seen.code == ESHM_SUCCESS) seen.text.assign(buffer, seen.info.size);
  return seen;
}

// Reads what comes until that text does; of others there may be any.
Seen look_for(ESHMHandle* observer, const std::string& text) {
  Seen seen;
  do {
    seen = look(observer);
    EXPECT_TRUE(seen.code == ESHM_SUCCESS || seen.code == ESHM_ERROR_TIMEOUT) << last_error();
  } while (seen.text != text);
  return seen;
}

ESHMStats stats_of(ESHMHandle* link) {
  ESHMStats stats = {};
  EXPECT_EQ(eshm_get_stats(link, &stats), ESHM_SUCCESS) << last_error();
  return stats;
}

// ---- what it sees --------------------------------------------------------------

TEST_P(ObserverTest, OpensBeforeThereIsASegmentAndSeesTheFirstMessage) {
  const Link observer = open_observer();
  EXPECT_EQ(look(observer.get(), 0).code, ESHM_ERROR_NO_DATA);
  EXPECT_EQ(look(observer.get(), 20).code, ESHM_ERROR_TIMEOUT);
  EXPECT_NE(last_error().find("no segment"), std::string::npos) << last_error();
  EXPECT_EQ(remote_state(observer.get()), ESHM_PEER_NEVER_SEEN);
  EXPECT_EQ(stats_of(observer.get()).master_pid, 0);

  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "first"), ESHM_SUCCESS);
  const Seen seen = look(observer.get());
  EXPECT_EQ(seen.text, "first");
  EXPECT_EQ(seen.info.sequence, 1u);
  EXPECT_EQ(seen.info.missed, 0u);
  EXPECT_EQ(seen.info.generation, 1u);
  EXPECT_EQ(seen.info.direction, uint32_t(ESHM_M2S));
  EXPECT_EQ(remote_state(observer.get()), ESHM_PEER_ALIVE);
}

TEST_P(ObserverTest, SeesBothDirectionsInTurnAndTakesNothingFromTheReaders) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  const Link observers[] = {open_observer(), open_observer(), open_observer()};
  for (int round = 1; round <= 50; ++round) {
    const std::string down = "down " + std::to_string(round);
    const std::string up = "up " + std::to_string(round);
    ASSERT_EQ(write_text(master.get(), down), ESHM_SUCCESS);
    ASSERT_EQ(write_text(slave.get(), up), ESHM_SUCCESS);
    for (const Link& observer : observers) {
      std::string texts[2];
      for (int turn = 0; turn < 2; ++turn) {
        const Seen seen = look(observer.get());
        ASSERT_EQ(seen.code, ESHM_SUCCESS) << last_error();
        ASSERT_LE(seen.info.direction, 1u);
        texts[seen.info.direction] = seen.text;
        EXPECT_EQ(seen.info.sequence, uint64_t(round));
        EXPECT_EQ(seen.info.missed, 0u);
      }
      EXPECT_EQ(texts[ESHM_M2S], down);
      EXPECT_EQ(texts[ESHM_S2M], up);
      EXPECT_EQ(look(observer.get(), 0).code, ESHM_ERROR_NO_DATA);
    }
    EXPECT_EQ(read_text(slave.get(), 0), down);
    EXPECT_EQ(read_text(master.get(), 0), up);
  }
}

TEST_P(ObserverTest, TheTwoAreToldTheDirectionTheyRead) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "down"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "up"), ESHM_SUCCESS);
  EXPECT_EQ(look(master.get()).info.direction, uint32_t(ESHM_S2M));
  EXPECT_EQ(look(slave.get()).info.direction, uint32_t(ESHM_M2S));
}

TEST_P(ObserverTest, OneThatWritesWithoutPauseDoesNotHideTheOther) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  const Link observer = open_observer();
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 3; ++i) ASSERT_EQ(write_text(master.get(), "noise"), ESHM_SUCCESS);
    ASSERT_EQ(write_text(slave.get(), "signal"), ESHM_SUCCESS);
    const Seen first = look(observer.get(), 0);
    const Seen second = look(observer.get(), 0);
    EXPECT_TRUE(first.text == "signal" || second.text == "signal");
    while (look(observer.get(), 0).code == ESHM_SUCCESS) {
    }
    while (is_queue() && look(slave.get(), 0).code == ESHM_SUCCESS) {
    }
  }
}

TEST_P(ObserverTest, OneThatComesLateSeesWhatIsUnread) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  for (const char* text : {"1", "2", "3"}) ASSERT_EQ(write_text(master.get(), text), ESHM_SUCCESS);
  const Link observer = open_observer();
  const Seen seen = look(observer.get());
  EXPECT_EQ(seen.text, is_queue() ? "1" : "3");
  EXPECT_EQ(seen.info.sequence, is_queue() ? 1u : 3u);
  EXPECT_EQ(seen.info.missed, 0u) << "what came before it is not missed";
}

TEST_P(ObserverTest, CountsWhatItMissed) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  const Link observer = open_observer();
  uint64_t written = 0;
  uint64_t got = 0;
  uint64_t missed = 0;
  std::vector<char> buffer(ESHM_MAX_DATA_SIZE);
  const auto exchange = [&](int messages) {
    for (int i = 0; i < messages; ++i) {
      fill_pattern(buffer.data(), buffer.size(), ++written);
      ASSERT_EQ(eshm_write(master.get(), buffer.data(), buffer.size()), ESHM_SUCCESS);
      ASSERT_EQ(look(slave.get(), 0).code, ESHM_SUCCESS);
    }
  };
  for (int lap = 0; lap < 5; ++lap) {
    exchange(lap == 0 ? 1 : 1000);  // the ring takes some 250 of them
    for (Seen seen = look(observer.get(), 0); seen.code == ESHM_SUCCESS;
         seen = look(observer.get(), 0)) {
      ++got;
      missed += seen.info.missed;
      EXPECT_EQ(seen.info.sequence, got + missed);
      EXPECT_TRUE(is_pattern(seen.text.data(), seen.text.size(), seen.info.sequence));
    }
    EXPECT_EQ(got + missed, written);
  }
  EXPECT_GT(got, 0u);
  EXPECT_GT(missed, 3000u);
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(observer.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.messages_read, got);
  EXPECT_EQ(stats.messages_missed, missed);
}

TEST_P(QueueObserverTest, KeepsUpAtItsEase) {
  const Link observer = open_observer();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  char buffer[300];
  for (uint64_t number = 1; number <= 20000; ++number) {
    const size_t size = pattern_size(number, sizeof buffer);
    fill_pattern(buffer, size, number);
    ASSERT_EQ(eshm_write(master.get(), buffer, size), ESHM_SUCCESS);
    ASSERT_EQ(look(slave.get(), 0).code, ESHM_SUCCESS);
    if (number % 1000 != 0) continue;
    for (uint64_t next = number - 999; next <= number; ++next) {
      const Seen seen = look(observer.get());
      ASSERT_EQ(seen.code, ESHM_SUCCESS) << last_error();
      ASSERT_EQ(seen.info.sequence, next);
      ASSERT_EQ(seen.info.missed, 0u);
      ASSERT_TRUE(is_pattern(seen.text.data(), seen.text.size(), next));
    }
  }
}

TEST_P(ObserverTest, KeepsAMessageThatItsBufferIsTooSmallFor) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "eight by"), ESHM_SUCCESS);
  const Link observer = open_observer();
  char small[7];
  size_t needed = 0;
  EXPECT_EQ(eshm_read_ex(observer.get(), small, sizeof small, &needed, 0),
            ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_EQ(needed, 8u);
  EXPECT_EQ(read_text(observer.get(), 0), "eight by");
}

TEST_P(ObserverTest, SeesTheLifeOfBothSides) {
  const Link observer = open_observer();
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.hear(), "open");
  wait_until([&] { return stats_of(observer.get()).slave_alive; });
  ESHMStats stats = stats_of(observer.get());
  EXPECT_TRUE(stats.master_alive);
  EXPECT_EQ(stats.master_pid, master.pid());
  EXPECT_EQ(stats.slave_pid, slave.pid());
  wait_until([&] { return stats_of(observer.get()).master_heartbeat > stats.master_heartbeat; });
  wait_until([&] { return stats_of(observer.get()).slave_heartbeat > stats.slave_heartbeat; });
  ASSERT_EQ(ask(master, "write one"), "0");
  EXPECT_EQ(stats_of(observer.get()).m2s_write_count, 1u);
  EXPECT_EQ(stats_of(observer.get()).s2m_write_count, 0u);

  slave.kill_now();
  wait_until([&] { return !stats_of(observer.get()).slave_alive; });
  EXPECT_TRUE(stats_of(observer.get()).master_alive);
  leave(master);
  wait_for_state(observer.get(), ESHM_PEER_LEFT);
  bool is_alive = true;
  EXPECT_EQ(eshm_check_remote_alive(observer.get(), &is_alive), ESHM_SUCCESS);
  EXPECT_FALSE(is_alive);
}

TEST_P(ObserverTest, TellsAStoppedMasterStale) {
  ESHMConfig impatient = config(ESHM_ROLE_OBSERVER);
  impatient.stale_threshold_ms = kHungMs;
  const Link observer = open_link(impatient);
  ASSERT_TRUE(observer) << last_error();
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  wait_for_state(observer.get(), ESHM_PEER_ALIVE);
  master.stop();
  wait_for_state(observer.get(), ESHM_PEER_STALE);
  master.go_on();
  wait_for_state(observer.get(), ESHM_PEER_ALIVE);
  leave(master);
}

// ---- through restarts ------------------------------------------------------------

TEST_P(ObserverTest, GoesOnAcrossARestartOfTheMaster) {
  const Link observer = open_observer();
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  uint32_t generation = 0;
  for (int life = 0; life < 3; ++life) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    if (life == 0) {
      ASSERT_EQ(slave.hear(), "open");
    }
    const std::string text = "life " + std::to_string(life);
    ASSERT_EQ(ask(master, "write " + text), "0");
    const Seen seen = look_for(observer.get(), text);
    EXPECT_GT(seen.info.generation, generation);
    generation = seen.info.generation;
    wait_for_state(observer.get(), ESHM_PEER_ALIVE);
    master.kill_now();
    wait_for_state(observer.get(), ESHM_PEER_DEAD);
  }
  EXPECT_EQ(reconnects_of(observer.get()), 2u);
  leave(slave);  // the last one out
}

TEST_P(ObserverTest, GoesOnAcrossARestartOfTheSlave) {
  const Link observer = open_observer();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (int life = 0; life < 3; ++life) {
    Child slave = obeying(config(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    const std::string text = "life " + std::to_string(life);
    ASSERT_EQ(ask(slave, "write " + text), "0");
    EXPECT_EQ(look_for(observer.get(), text).info.direction, uint32_t(ESHM_S2M));
    slave.kill_now();
  }
}

TEST_P(ObserverTest, GoesOnAcrossTheDeathOfBoth) {
  const Link observer = open_observer();
  for (int life = 0; life < 3; ++life) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    Child slave = obeying(config(ESHM_ROLE_SLAVE));
    ASSERT_EQ(slave.hear(), "open");
    const std::string down = "down " + std::to_string(life);
    const std::string up = "up " + std::to_string(life);
    ASSERT_EQ(ask(master, "write " + down), "0");
    look_for(observer.get(), down);
    ASSERT_EQ(ask(slave, "write " + up), "0");
    look_for(observer.get(), up);
    master.kill_now();
    slave.kill_now();
  }
  const Link last = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(last) << last_error();  // who removes the name
}

TEST_P(ObserverTest, GoesOnAcrossCleanEndsAndKeepsNoMemoryOfThem) {
  const Link observer = open_observer();
  for (int life = 0; life < 3; ++life) {
    {
      const Link master = open_link(config(ESHM_ROLE_MASTER));
      ASSERT_TRUE(master) << last_error();
      ASSERT_EQ(write_text(master.get(), "life " + std::to_string(life)), ESHM_SUCCESS);
    }
    if (life == 0) continue;  // not seen at all: it was over too soon
    while (look(observer.get(), 20).code == ESHM_SUCCESS) {
    }
    wait_until([&] {
      remote_state(observer.get());
      std::ifstream maps("/proc/self/maps");
      std::stringstream text;
      text << maps.rdbuf();
      return text.str().find(name()) == std::string::npos && sysv_segments_of_ours().empty();
    });
  }
}

TEST_P(ObserverTest, FollowsToTheSegmentOfAMasterThatReplacedAHungOne) {
  ESHMConfig hung_soon = config(ESHM_ROLE_MASTER);
  hung_soon.stale_threshold_ms = kHungMs;
  const Link observer = open_observer();
  Child hung = obeying(hung_soon);
  ASSERT_EQ(hung.hear(), "open");
  Child slave = obeying(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_EQ(slave.hear(), "open");
  ASSERT_EQ(ask(hung, "write old"), "0");
  look_for(observer.get(), "old");
  hung.stop();
  const Link master = open_link(hung_soon);
  ASSERT_TRUE(master) << last_error();
  ASSERT_EQ(write_text(master.get(), "new"), ESHM_SUCCESS);
  EXPECT_EQ(look_for(observer.get(), "new").info.generation, 2u);
  wait_until([&] { return remote_is_alive(master.get()); });
  ASSERT_EQ(ask(slave, "write here"), "0");
  look_for(observer.get(), "here");
  hung.kill_now();
  leave(slave);
}

TEST_P(ObserverTest, ShowsWhatADeadLinkLeft) {
  Child master = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  ASSERT_EQ(ask(master, "write last words"), "0");
  if (GetParam().backend == ESHM_BACKEND_SYSV) {
    const Link observer = open_observer();  // its attachment keeps the data
    master.kill_now();
    EXPECT_EQ(look(observer.get()).text, "last words");
  } else {
    master.kill_now();
    const Link observer = open_observer();
    EXPECT_EQ(look(observer.get()).text, "last words");
    EXPECT_NE(remote_state(observer.get()), ESHM_PEER_ALIVE);
  }
  const Link last = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(last) << last_error();
}

// ---- what it may not -----------------------------------------------------------------

TEST_P(ObserverTest, IsRefusedWhatTakesAnEnd) {
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

TEST_P(ObserverTest, RefusesWhatCannotBeLookedAtAndIsRefusedByTheMode) {
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

TEST_P(ObserverTest, OpensAndMapsNothingThatItCouldWriteAndTakesNoLock) {
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

TEST_P(ObserverTest, LeavesNothingAndNeverTakesASeat) {
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

TEST_P(ObserverTest, AWaitEndsForTheInterruptHook) {
  ESHMConfig interruptible = config(ESHM_ROLE_OBSERVER);
  interruptible.interrupt = always;
  const Link observer = open_link(interruptible);
  ASSERT_TRUE(observer) << last_error();
  EXPECT_EQ(look(observer.get(), UINT32_MAX).code, ESHM_ERROR_INTERRUPTED);
}

TEST_P(ObserverTest, AWaitGoesOnWhileTheHookLetsIt) {
  int asked = 0;
  ESHMConfig interruptible = config(ESHM_ROLE_OBSERVER);
  interruptible.interrupt = [](void* context) { return ++*static_cast<int*>(context) == 3 ? 1 : 0; };
  interruptible.interrupt_context = &asked;
  const Link observer = open_link(interruptible);
  ASSERT_TRUE(observer) << last_error();
  EXPECT_EQ(look(observer.get(), UINT32_MAX).code, ESHM_ERROR_INTERRUPTED);
  EXPECT_EQ(asked, 3);
}

TEST_P(ObserverTest, AForkedChildsCallsAreRefused) {
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

TEST_P(ObserverTest, StoppedAndKilledAtAnyPointTheyAreNotFelt) {
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

TEST_P(ObserverTest, RubbishInTheSegmentIsAnErrorAndNeverACrash) {
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

std::string kind_name(const testing::TestParamInfo<Kind>& info) {
  return std::string(info.param.backend == ESHM_BACKEND_POSIX ? "Posix" : "Sysv") +
         (info.param.delivery == ESHM_DELIVERY_QUEUE ? "Queue" : "Latest");
}

INSTANTIATE_TEST_SUITE_P(Kinds, ObserverTest,
                         testing::Values(Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_LATEST},
                                         Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_QUEUE},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_LATEST},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_QUEUE}),
                         kind_name);
INSTANTIATE_TEST_SUITE_P(Kinds, QueueObserverTest,
                         testing::Values(Kind{ESHM_BACKEND_POSIX, ESHM_DELIVERY_QUEUE},
                                         Kind{ESHM_BACKEND_SYSV, ESHM_DELIVERY_QUEUE}),
                         kind_name);

}  // namespace
