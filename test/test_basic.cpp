// SPDX-License-Identifier: MIT
// What a first program does with the library: open, talk, look, close.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

class Basic : public LinkTest {
 protected:
  void open_both() {
    master_ = open_link(config(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master_) << last_error();
    slave_ = open_link(config(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave_) << last_error();
  }

  Link master_;
  Link slave_;

  void TearDown() override {
    slave_.reset();
    master_.reset();
    LinkTest::TearDown();
  }
};

// Every field of a configuration, with its default: the documentation and programs rely
// on each.
TEST(Defaults, AreThoseThatProgramsRelyOn) {
  const char* name = "defaults";
  const ESHMConfig config = eshm_default_config(name);
  struct Row {
    const char* field;
    uint64_t value, expected;
  };
  std::vector<Row> rows = {
      {"role", config.role, ESHM_ROLE_AUTO},
      {"disconnect_behavior", config.disconnect_behavior, ESHM_DISCONNECT_ON_TIMEOUT},
      {"stale_threshold_ms", config.stale_threshold_ms, 100},
      {"reconnect_wait_ms", config.reconnect_wait_ms, 5000},
      {"reconnect_retry_interval_ms", config.reconnect_retry_interval_ms, 100},
      {"max_reconnect_attempts", config.max_reconnect_attempts, 50},
      {"auto_cleanup", config.auto_cleanup, true},
      {"use_threads", config.use_threads, true},
      {"struct_size", config.struct_size, 256},
      {"backend", config.backend, ESHM_BACKEND_POSIX},
      {"spin_us", config.spin_us, ESHM_SPIN_ADAPTIVE},
      {"permissions", config.permissions, 0600},
      {"flags", config.flags, 0},
      {"unread_policy", config.unread_policy, ESHM_UNREAD_KEEP},
      {"thread_policy", uint64_t(config.thread_policy), 0},
      {"thread_priority", uint64_t(config.thread_priority), 0},
  };
  for (const ESHMChannelConfig& channel : {config.m2s, config.s2m}) {
    rows.push_back({"delivery", channel.delivery, ESHM_DELIVERY_LATEST});
    rows.push_back({"max_borrows", channel.max_borrows, 2});
    rows.push_back({"max_loans", channel.max_loans, 1});
    rows.push_back({"reserved", channel.reserved, 0});
    rows.push_back({"max_message_size", channel.max_message_size, 4096});
    rows.push_back({"queue_capacity", channel.queue_capacity, 1 << 20});
    rows.push_back({"type.fingerprint", channel.type.fingerprint, 0});
    EXPECT_EQ(channel.type.text, nullptr);
  }
  for (const uint64_t word : config.reserved) rows.push_back({"reserved[]", word, 0});
  for (const Row& row : rows) EXPECT_EQ(row.value, row.expected) << row.field;
  EXPECT_EQ(config.shm_name, name);
  EXPECT_EQ(config.interrupt, nullptr);
  EXPECT_EQ(config.interrupt_context, nullptr);
  EXPECT_EQ(config.thread_cpus, nullptr);
}

TEST(ErrorTexts, OfTheTwoThatAreFixed) {
  EXPECT_STREQ(eshm_error_string(ESHM_SUCCESS), "Success");
  EXPECT_STREQ(eshm_error_string(ESHM_ERROR_INVALID_PARAM), "Invalid parameter");
}

TEST(ErrorTexts, OfEachCodeAreItsOwn) {
  std::set<std::string> texts;
  for (int code = ESHM_ERROR_UNSUPPORTED; code <= ESHM_SUCCESS; ++code) {
    ASSERT_NE(eshm_error_string(code), nullptr);
    EXPECT_STRNE(eshm_error_string(code), "");
    const bool reserved = code <= ESHM_ERROR_MUTEX_INIT && code >= ESHM_ERROR_MUTEX_UNLOCK;
    if (reserved) continue;  // nothing returns them
    EXPECT_TRUE(texts.insert(eshm_error_string(code)).second) << eshm_error_string(code);
  }
}

TEST(ErrorTexts, OfUnknownCodesAreNeverNull) {
  for (int code : {1, 4711, -22, -1000, INT32_MAX, INT32_MIN}) {
    ASSERT_NE(eshm_error_string(code), nullptr);
    EXPECT_STRNE(eshm_error_string(code), "");
    EXPECT_STRNE(eshm_error_string(code), "Success");
  }
}

TEST(Version, IsThreeNumbers) {
  int major = -1, minor = -1, patch = -1, end = 0;
  ASSERT_EQ(std::sscanf(eshm_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
  EXPECT_EQ(static_cast<size_t>(end), std::strlen(eshm_version()));
}

TEST(Version, IsThatOfTheHeaderAndOfTheBuild) {
  EXPECT_EQ(eshm_version(), std::to_string(ESHM_VERSION_MAJOR) + "." +
                                std::to_string(ESHM_VERSION_MINOR) + "." +
                                std::to_string(ESHM_VERSION_PATCH));
  EXPECT_STREQ(eshm_version(), ESHM_PROJECT_VERSION);
}

TEST_P(Basic, MasterAndSlaveTalkBothWays) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  ASSERT_EQ(write_text(master_.get(), "to the slave"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave_.get(), 1000), "to the slave");
  ASSERT_EQ(write_text(slave_.get(), "to the master"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(master_.get(), 1000), "to the master");
}

TEST_P(Basic, SimpleReadAnswersTheNumberOfBytes) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  char buffer[256] = {};
  ASSERT_EQ(eshm_write(master_.get(), "Hello", 6), ESHM_SUCCESS);
  EXPECT_EQ(eshm_read(slave_.get(), buffer, sizeof buffer), 6);
  EXPECT_STREQ(buffer, "Hello");
  ASSERT_EQ(eshm_write(master_.get(), nullptr, 0), ESHM_SUCCESS);
  EXPECT_EQ(eshm_read(slave_.get(), buffer, sizeof buffer), 0);
}

TEST_P(Basic, ExtendedReadNeedsNoPlaceForTheSize) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  char buffer[16] = {};
  ASSERT_EQ(eshm_write_ex(master_.get(), "four", 4, 0), ESHM_SUCCESS);
  EXPECT_EQ(eshm_read_ex(slave_.get(), buffer, sizeof buffer, nullptr, 0), ESHM_SUCCESS);
  EXPECT_STREQ(buffer, "four");
}

TEST_P(Basic, ReadWritesNothingBehindTheMessage) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  unsigned char buffer[64];
  std::memset(buffer, 0xAB, sizeof buffer);
  ASSERT_EQ(eshm_write(master_.get(), "12345", 5), ESHM_SUCCESS);
  ASSERT_EQ(eshm_read(slave_.get(), buffer, sizeof buffer), 5);
  for (size_t i = 5; i < sizeof buffer; ++i) EXPECT_EQ(buffer[i], 0xAB) << i;
}

TEST_P(Basic, RolesAreThoseAskedFor) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  ESHMRole role = ESHM_ROLE_AUTO;
  ASSERT_EQ(eshm_get_role(master_.get(), &role), ESHM_SUCCESS);
  EXPECT_EQ(role, ESHM_ROLE_MASTER);
  ASSERT_EQ(eshm_get_role(slave_.get(), &role), ESHM_SUCCESS);
  EXPECT_EQ(role, ESHM_ROLE_SLAVE);
}

TEST_P(Basic, AutoIsMasterFirstAndSlaveThen) {
  const Link first = open_link(config(ESHM_ROLE_AUTO));
  ASSERT_TRUE(first) << last_error();
  const Link second = open_link(config(ESHM_ROLE_AUTO));
  ASSERT_TRUE(second) << last_error();
  ESHMRole role = ESHM_ROLE_AUTO;
  ASSERT_EQ(eshm_get_role(first.get(), &role), ESHM_SUCCESS);
  EXPECT_EQ(role, ESHM_ROLE_MASTER);
  ASSERT_EQ(eshm_get_role(second.get(), &role), ESHM_SUCCESS);
  EXPECT_EQ(role, ESHM_ROLE_SLAVE);
  EXPECT_FALSE(open_link(at_once(config(ESHM_ROLE_AUTO))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH);
}

TEST_P(Basic, StatsNameBothSidesAndCountMessages) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  ASSERT_EQ(write_text(master_.get(), "1"), ESHM_SUCCESS);
  ASSERT_EQ(read_text(slave_.get(), 1000), "1");
  ASSERT_EQ(write_text(master_.get(), "2"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave_.get(), "3"), ESHM_SUCCESS);
  ASSERT_EQ(read_text(master_.get(), 1000), "3");

  for (ESHMHandle* link : {master_.get(), slave_.get()}) {
    wait_until([&] { return remote_is_alive(link); });
    ESHMStats stats;
    std::memset(&stats, 0xff, sizeof stats);
    ASSERT_EQ(eshm_get_stats(link, &stats), ESHM_SUCCESS);
    EXPECT_EQ(stats.master_pid, getpid());
    EXPECT_EQ(stats.slave_pid, getpid());
    EXPECT_TRUE(stats.master_alive);
    EXPECT_TRUE(stats.slave_alive);
    EXPECT_EQ(stats.stale_threshold, kPatientMs);
    EXPECT_EQ(stats.m2s_write_count, 2u);
    EXPECT_EQ(stats.m2s_read_count, 1u);
    EXPECT_EQ(stats.s2m_write_count, 1u);
    EXPECT_EQ(stats.s2m_read_count, 1u);
  }
}

TEST_P(Basic, StatsExCountsWhatThisHandleDid) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  for (const char* text : {"1", "2", "3"}) {
    ASSERT_EQ(write_text(master_.get(), text), ESHM_SUCCESS);
  }
  ASSERT_EQ(read_text(slave_.get(), 0), "3");

  ESHMStatsEx written = {};
  ASSERT_EQ(eshm_get_stats_ex(master_.get(), &written), ESHM_SUCCESS);
  EXPECT_EQ(written.messages_written, 3u);
  EXPECT_EQ(written.messages_read, 0u);
  EXPECT_EQ(written.max_write_size, 4096u);
  EXPECT_GT(written.segment_bytes, 2u * 4096u);
  EXPECT_LE(written.segment_bytes, 72u * 1024u);

  ESHMStatsEx read = {};
  read.struct_size = sizeof read;
  ASSERT_EQ(eshm_get_stats_ex(slave_.get(), &read), ESHM_SUCCESS);
  EXPECT_EQ(read.messages_written, 0u);
  EXPECT_EQ(read.messages_read, 1u);
  EXPECT_EQ(read.messages_missed, 2u);
  wait_until([&] { return remote_is_alive(slave_.get()); });
  ASSERT_EQ(eshm_get_stats_ex(slave_.get(), &read), ESHM_SUCCESS);
  EXPECT_EQ(read.peer_state, ESHM_PEER_ALIVE);
}

TEST_P(Basic, MasterIsAliveFromTheStartWithAndWithoutThreads) {
  for (bool use_threads : {true, false}) {
    ESHMConfig alone = config(ESHM_ROLE_MASTER);
    alone.use_threads = use_threads;
    const Link master = open_link(alone);
    ASSERT_TRUE(master) << last_error();
    ESHMStats stats = {};
    ASSERT_EQ(eshm_get_stats(master.get(), &stats), ESHM_SUCCESS);
    EXPECT_TRUE(stats.master_alive);
    EXPECT_FALSE(stats.slave_alive);
    EXPECT_EQ(stats.master_pid, getpid());
    EXPECT_EQ(stats.slave_pid, 0);
  }
}

// At most about one a millisecond, and no standing still; a busy machine may
// beat as late as it likes.
TEST_P(Basic, HeartbeatRisesByItselfWithThreads) {
  using Clock = std::chrono::steady_clock;
  ASSERT_NO_FATAL_FAILURE(open_both());
  ESHMStats stats = {};
  const Clock::time_point start = Clock::now();
  ASSERT_EQ(eshm_get_stats(slave_.get(), &stats), ESHM_SUCCESS);
  const uint64_t first = stats.master_heartbeat;
  uint64_t deltas = 0;
  while (deltas < 100) {
    pause_ms(20);
    ASSERT_EQ(eshm_get_stats(slave_.get(), &stats), ESHM_SUCCESS);
    deltas += stats.master_heartbeat_delta;
    ASSERT_EQ(stats.master_heartbeat - first, deltas);
  }
  const auto passed =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
  EXPECT_LE(deltas, static_cast<uint64_t>(2 * passed + 10));
}

TEST_P(Basic, HeartbeatRisesByCallsAloneWithoutThreads) {
  ESHMConfig alone = config(ESHM_ROLE_MASTER);
  alone.use_threads = false;
  const Link master = open_link(alone);
  ASSERT_TRUE(master) << last_error();
  ESHMStats before = {}, after = {};
  ASSERT_EQ(eshm_get_stats(master.get(), &before), ESHM_SUCCESS);
  pause_ms(2);
  ASSERT_EQ(eshm_update_heartbeat(master.get()), ESHM_SUCCESS);
  ASSERT_EQ(eshm_get_stats(master.get(), &after), ESHM_SUCCESS);
  EXPECT_GT(after.master_heartbeat, before.master_heartbeat);
}

TEST_P(Basic, OnlyTheNineFieldsCountWithoutAStructSize) {
  ESHMConfig old = config(ESHM_ROLE_MASTER);
  const size_t nine = offsetof(ESHMConfig, struct_size);
  std::memset(reinterpret_cast<char*>(&old) + nine, 0xff, sizeof old - nine);
  old.struct_size = 0;
  const Link master = open_link(old);
  ASSERT_TRUE(master) << last_error();
  ESHMStatsEx stats = {};
  ASSERT_EQ(eshm_get_stats_ex(master.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.max_write_size, 4096u);
  EXPECT_EQ(stats.max_read_size, 4096u);
  struct stat found;
  ASSERT_EQ(stat(path().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
  EXPECT_TRUE(sysv_segments_of_ours().empty());
}

TEST_P(Basic, NameWithALeadingSlashIsTheNameWithoutIt) {
  const std::string slashed = "/" + name();
  ESHMConfig with_slash = config(ESHM_ROLE_MASTER);
  with_slash.shm_name = slashed.c_str();
  const Link master = open_link(with_slash);
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "same link"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), 1000), "same link");
  EXPECT_EQ(files_of(name()), std::vector<std::string>{"eshm_" + name()});
}

TEST_P(Basic, MessagesLieWhereTheBackendSays) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  EXPECT_EQ(sysv_segments_of_ours().size(), GetParam() == ESHM_BACKEND_SYSV ? 2u : 0u);
  EXPECT_EQ(files_of(name()), std::vector<std::string>{"eshm_" + name()});
}

TEST_P(Basic, LongestNameWorks) {
  const std::string longest = name() + std::string(ESHM_MAX_NAME_BYTES - name().size(), 'x');
  ESHMConfig config = config_of(longest, ESHM_ROLE_MASTER, GetParam());
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
}

TEST_P(Basic, ConfigMayGoOnceInitIsBack) {
  auto* gone = new std::string(name());
  ESHMConfig config = config_of(*gone, ESHM_ROLE_MASTER, GetParam());
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  gone->assign(gone->size(), '?');
  delete gone;
  const Link slave = open_link(at_once(this->config(ESHM_ROLE_SLAVE)));
  EXPECT_TRUE(slave) << last_error();
}

// Whoever leaves last: the checks of LinkTest see that nothing remains.
TEST_P(Basic, NothingRemainsWhenTheMasterLeavesFirst) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  EXPECT_FALSE(files_of(name()).empty());
  EXPECT_EQ(eshm_destroy(master_.release()), ESHM_SUCCESS);
  EXPECT_EQ(eshm_destroy(slave_.release()), ESHM_SUCCESS);
}

TEST_P(Basic, NothingRemainsWhenTheSlaveLeavesFirst) {
  ASSERT_NO_FATAL_FAILURE(open_both());
  EXPECT_EQ(eshm_destroy(slave_.release()), ESHM_SUCCESS);
  EXPECT_EQ(eshm_destroy(master_.release()), ESHM_SUCCESS);
}

TEST_P(Basic, NameRemainsWithoutAutoCleanup) {
  ESHMConfig keep = config(ESHM_ROLE_MASTER);
  keep.auto_cleanup = false;
  ESHMConfig guest = config(ESHM_ROLE_SLAVE);
  guest.auto_cleanup = false;
  master_ = open_link(keep);
  ASSERT_TRUE(master_) << last_error();
  slave_ = open_link(guest);
  ASSERT_TRUE(slave_) << last_error();
  slave_.reset();
  master_.reset();
  EXPECT_EQ(files_of(name()), std::vector<std::string>{"eshm_" + name()});

  // The next master takes the name, and may remove it.
  master_ = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(master_) << last_error();
}

TEST_P(Basic, ModeIsOwnerOnlyOrAsAskedWhateverTheUmask) {
  for (uint32_t permissions : {0600u, 0660u}) {
    ESHMConfig shared = config(ESHM_ROLE_MASTER);
    shared.permissions = permissions;
    const mode_t before = umask(077);
    const Link master = open_link(shared);
    umask(before);
    ASSERT_TRUE(master) << last_error();
    struct stat found;
    ASSERT_EQ(stat(path().c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, permissions);
  }
}

ESHM_ON_BOTH_BACKENDS(Basic);

}  // namespace
