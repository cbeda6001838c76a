// SPDX-License-Identifier: MIT
// What each call answers to what it cannot do: a code, a sentence, no crash.
#include <algorithm>
#include <chrono>
#include <climits>
#include <cstring>
#include <functional>
#include <thread>

#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;
using Clock = std::chrono::steady_clock;

int64_t ms_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

class Errors : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    master_ = open_link(config(ESHM_ROLE_MASTER));
    ASSERT_TRUE(master_) << last_error();
    slave_ = open_link(config(ESHM_ROLE_SLAVE));
    ASSERT_TRUE(slave_) << last_error();
  }

  void TearDown() override {
    slave_.reset();
    master_.reset();
    LinkTest::TearDown();
  }

  Link master_;
  Link slave_;
};

// A configuration that eshm_init refuses before it touches anything.
class Refused : public LinkTest {
 protected:
  void expect_refused(const char* what, const std::function<void(ESHMConfig&)>& spoil) {
    for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE, ESHM_ROLE_AUTO}) {
      ESHMConfig config = at_once(this->config(role));
      spoil(config);
      EXPECT_FALSE(open_link(config)) << what;
      EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM) << what << ": " << last_error();
      EXPECT_NE(last_error(), "") << what;
    }
  }
};

TEST_P(Refused, Names) {
  const std::string base = name();
  const std::string too_long(ESHM_MAX_NAME_BYTES + 1, 'x');
  const std::string slash_inside = base + "/b", two_slashes = "//" + base;
  const std::string control = base + "\n", deleted = base + "\x7f";
  const char* names[] = {nullptr,
                         "",
                         "/",
                         slash_inside.c_str(),
                         two_slashes.c_str(),
                         too_long.c_str(),
                         control.c_str(),
                         deleted.c_str()};
  for (const char* bad : names) {
    expect_refused(bad ? bad : "NULL", [bad](ESHMConfig& config) { config.shm_name = bad; });
  }
}

TEST_P(Refused, NullConfig) {
  EXPECT_FALSE(Link(eshm_init(nullptr)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
}

// As C and Python programs can: C++ has no such values.
template <class Enum>
void set_enum(Enum& place, int value) {
  static_assert(sizeof place == sizeof value, "");
  std::memcpy(&place, &value, sizeof value);
}

TEST_P(Refused, EnumsOutOfRange) {
  for (int value : {4, 255, -1, INT32_MAX}) {
    expect_refused("role", [=](ESHMConfig& c) { set_enum(c.role, value); });
    expect_refused("disconnect", [=](ESHMConfig& c) { set_enum(c.disconnect_behavior, value); });
    expect_refused("backend", [=](ESHMConfig& c) { set_enum(c.backend, value); });
    expect_refused("m2s.delivery", [=](ESHMConfig& c) { set_enum(c.m2s.delivery, value); });
    expect_refused("s2m.delivery", [=](ESHMConfig& c) { set_enum(c.s2m.delivery, value); });
  }
  expect_refused("disconnect 3", [](ESHMConfig& c) { set_enum(c.disconnect_behavior, 3); });
  expect_refused("backend 2", [](ESHMConfig& c) { set_enum(c.backend, 2); });
  expect_refused("m2s.delivery 2", [](ESHMConfig& c) { set_enum(c.m2s.delivery, 2); });
}

TEST_P(Refused, TimesOutOfRange) {
  expect_refused("stale 0", [](ESHMConfig& c) { c.stale_threshold_ms = 0; });
  expect_refused("stale", [](ESHMConfig& c) { c.stale_threshold_ms = 3600001; });
  expect_refused("retry 0", [](ESHMConfig& c) { c.reconnect_retry_interval_ms = 0; });
  expect_refused("retry", [](ESHMConfig& c) { c.reconnect_retry_interval_ms = 3600001; });
}

TEST_P(Refused, ChannelSizesOutOfRange) {
  for (ESHMChannelConfig ESHMConfig::*channel : {&ESHMConfig::m2s, &ESHMConfig::s2m}) {
    expect_refused("size 0", [=](ESHMConfig& c) { (c.*channel).max_message_size = 0; });
    expect_refused("size", [=](ESHMConfig& c) { (c.*channel).max_message_size = 1ull << 31; });
    expect_refused("size max", [=](ESHMConfig& c) { (c.*channel).max_message_size = UINT64_MAX; });
    expect_refused("borrows",
                   [=](ESHMConfig& c) { (c.*channel).max_borrows = ESHM_MAX_BORROWS + 1; });
    expect_refused("loans", [=](ESHMConfig& c) { (c.*channel).max_loans = ESHM_MAX_LOANS + 1; });
    expect_refused("reserved", [=](ESHMConfig& c) { (c.*channel).reserved = 1; });
  }
}

TEST_P(Refused, BitsAndReservedWordsThatMeanNothing) {
  expect_refused("flags", [](ESHMConfig& c) { c.flags = 64; });
  expect_refused("permissions", [](ESHMConfig& c) { c.permissions = 010600; });
  expect_refused("unread_policy", [](ESHMConfig& c) { c.unread_policy = ESHMUnread(2); });
  expect_refused("reserved", [](ESHMConfig& c) { c.reserved[0] = 1; });
  expect_refused("reserved", [](ESHMConfig& c) { c.reserved[7] = 1; });
  expect_refused("struct_size", [](ESHMConfig& c) { c.struct_size = 1; });
  expect_refused("struct_size", [](ESHMConfig& c) { c.struct_size = 4096; });
}

TEST_P(Errors, SmallestAndLargestThresholdsAreAccepted) {
  slave_.reset();
  for (uint32_t ms : {1u, 3600000u}) {
    ESHMConfig extreme = config(ESHM_ROLE_SLAVE);
    extreme.stale_threshold_ms = ms;
    extreme.reconnect_retry_interval_ms = ms;
    EXPECT_TRUE(open_link(extreme)) << last_error();
  }
}

TEST_P(Errors, NullHandleIsRefusedByEveryCall) {
  char buffer[8];
  size_t bytes = 0;
  bool alive = false;
  void* data = buffer;
  ESHMChannelConfig channel = {};
  ESHMType type = {};
  ESHMRole role;
  ESHMPeerState state;
  ESHMStats stats;
  ESHMStatsEx stats_ex = {};
  ESHMMessageInfo info = {};
  ESHMView view = {};
  ESHMHandle* const none[] = {nullptr};
  const std::function<int()> calls[] = {
      [&] { return eshm_destroy(nullptr); },
      [&] { return eshm_write(nullptr, buffer, 1); },
      [&] { return eshm_write_ex(nullptr, buffer, 1, 0); },
      [&] { return eshm_read(nullptr, buffer, sizeof buffer); },
      [&] { return eshm_read_ex(nullptr, buffer, sizeof buffer, &bytes, 0); },
      [&] { return eshm_read_msg(nullptr, buffer, sizeof buffer, &info, 0); },
      [&] { return eshm_loan(nullptr, 1, &data); },
      [&] { return eshm_publish(nullptr, data, 1); },
      [&] { return eshm_discard(nullptr, data); },
      [&] { return eshm_borrow(nullptr, &view, 0); },
      [&] { return eshm_release(nullptr, &view); },
      [&] { return eshm_wait_any(nullptr, 1, 0); },
      [&] { return eshm_wait_any(none, 1, 0); },
      [&] { return eshm_get_fd(nullptr); },
      [&] { return eshm_update_heartbeat(nullptr); },
      [&] { return eshm_hold_heartbeat(nullptr, true); },
      [&] { return eshm_list(nullptr, nullptr); },
      [&] { return eshm_inspect("a", nullptr); },
      [&] { return eshm_get_type_text(nullptr, ESHM_M2S, nullptr, 0, nullptr); },
      [&] { return eshm_remove(nullptr, 0); },
      [&] { return eshm_remove("a/b", 0); },
      [&] { return eshm_remove("a", 2); },
      [&] { return eshm_check_remote_alive(nullptr, &alive); },
      [&] { return eshm_get_remote_state(nullptr, &state); },
      [&] { return eshm_get_stats(nullptr, &stats); },
      [&] { return eshm_get_stats_ex(nullptr, &stats_ex); },
      [&] { return eshm_get_role(nullptr, &role); },
      [&] { return eshm_get_channel(nullptr, ESHM_M2S, &channel); },
      [&] { return eshm_type_of(nullptr, &type); },
      [&] { return eshm_type_of("A{x:i8@0}1", nullptr); },
      [&] { return eshm_type_of("A{x:i8@0}", &type); },
      [&] { return eshm_set_event_callback(nullptr, nullptr, nullptr); },
  };
  size_t index = 0;
  for (const auto& call : calls) {
    // Another failure in between, so that the sentence is this call's own.
    eshm_write(master_.get(), buffer, SIZE_MAX);
    ASSERT_EQ(last_error_code(), ESHM_ERROR_BUFFER_TOO_SMALL);
    EXPECT_EQ(call(), ESHM_ERROR_INVALID_PARAM) << "call " << index;
    EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM) << "call " << index;
    EXPECT_NE(last_error(), "") << "call " << index;
    ++index;
  }
}

TEST_P(Errors, NullForWhereTheAnswerGoesIsRefused) {
  ESHMHandle* link = master_.get();
  EXPECT_EQ(eshm_check_remote_alive(link, nullptr), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_get_remote_state(link, nullptr), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_get_stats(link, nullptr), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_get_stats_ex(link, nullptr), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_get_role(link, nullptr), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_get_channel(link, ESHM_S2M, nullptr), ESHM_ERROR_INVALID_PARAM);
}

TEST_P(Errors, NullDataOrBufferWithASizeIsRefused) {
  ESHMHandle* link = slave_.get();
  EXPECT_EQ(eshm_write(link, nullptr, 1), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_write_ex(link, nullptr, 1, 0), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_read(link, nullptr, 1), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_read_ex(link, nullptr, 1, nullptr, 0), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_read_msg(link, nullptr, 1, nullptr, 0), ESHM_ERROR_INVALID_PARAM);
}

// A message that is only an event needs no buffer; one with bytes stays.
TEST_P(Errors, NullBufferOfNoSizeTakesAnEmptyMessage) {
  size_t bytes = 99;
  ASSERT_EQ(eshm_write(master_.get(), nullptr, 0), ESHM_SUCCESS);
  EXPECT_EQ(eshm_read_ex(slave_.get(), nullptr, 0, &bytes, 0), ESHM_SUCCESS);
  EXPECT_EQ(bytes, 0u);
  ASSERT_EQ(eshm_write(master_.get(), "12", 2), ESHM_SUCCESS);
  EXPECT_EQ(eshm_read_ex(slave_.get(), nullptr, 0, &bytes, 0), ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_EQ(bytes, 2u);
  EXPECT_EQ(read_text(slave_.get(), 0), "12");
}

// Programs built against an older header have smaller structs.
TEST_P(Errors, NothingIsWrittenBehindTheStructSize) {
  char buffer[8];
  for (uint32_t size : {1u, 4u, 7u, 8u, 24u, 40u}) {
    union {
      ESHMStatsEx stats;
      ESHMMessageInfo info;
      unsigned char bytes[sizeof(ESHMStatsEx)];
    } place;
    const auto expect_untouched = [&](const char* call) {
      for (size_t i = std::max<size_t>(size, sizeof size); i < sizeof place; ++i) {
        ASSERT_EQ(place.bytes[i], 0xAB) << call << " of " << size << " wrote byte " << i;
      }
    };
    std::memset(&place, 0xAB, sizeof place);
    place.stats.struct_size = size;
    eshm_get_stats_ex(master_.get(), &place.stats);
    expect_untouched("eshm_get_stats_ex");

    ASSERT_EQ(write_text(master_.get(), "x"), ESHM_SUCCESS);
    std::memset(&place, 0xAB, sizeof place);
    place.info.struct_size = size;
    eshm_read_msg(slave_.get(), buffer, sizeof buffer, &place.info, 0);
    expect_untouched("eshm_read_msg");
  }
}

// The caller's struct and the memory after it. All bytes begin as 0xAB.
template <class Struct>
union Place {
  Struct value;
  unsigned char bytes[sizeof(Struct) + 256];

  explicit Place(uint32_t struct_size) {
    std::memset(bytes, 0xAB, sizeof bytes);
    value.struct_size = struct_size;
  }
  // Filled as far as the library's struct reaches, then zeroed, then untouched.
  void expect_written(size_t filled, size_t room, const char* call) const {
    for (size_t i = filled; i < sizeof bytes; ++i) {
      ASSERT_EQ(bytes[i], i < room ? 0 : 0xAB) << call << " of " << room << ", byte " << i;
    }
  }
};

constexpr size_t kFirstStats = 152, kFirstInfo = 64, kFirstView = 120;  // release 0.1

TEST_P(Errors, StructSizeSaysWhatIsFilledAndWhatIsZeroed) {
  char buffer[8];
  for (const uint32_t more : {0u, 1u, 8u, 200u}) {
    for (const bool is_zero : {false, true}) {
      if (is_zero && more != 0) continue;
      const auto size_of = [&](size_t first) { return is_zero ? 0 : uint32_t(first + more); };

      Place<ESHMStatsEx> stats(size_of(kFirstStats));
      ASSERT_EQ(eshm_get_stats_ex(master_.get(), &stats.value), ESHM_SUCCESS);
      EXPECT_EQ(stats.value.struct_size, size_of(kFirstStats));
      EXPECT_EQ(stats.value.max_write_size, 4096u);
      stats.expect_written(kFirstStats, kFirstStats + more, "eshm_get_stats_ex");

      Place<ESHMMessageInfo> info(size_of(kFirstInfo));
      ASSERT_EQ(write_text(master_.get(), "four"), ESHM_SUCCESS);
      ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &info.value, 0), ESHM_SUCCESS);
      EXPECT_EQ(info.value.struct_size, size_of(kFirstInfo));
      EXPECT_EQ(info.value.size, 4u);
      info.expect_written(kFirstInfo, kFirstInfo + more, "eshm_read_msg");

      Place<ESHMView> view(size_of(kFirstView));
      ASSERT_EQ(write_text(master_.get(), "seventh"), ESHM_SUCCESS);
      ASSERT_EQ(eshm_borrow(slave_.get(), &view.value, 0), ESHM_SUCCESS);
      EXPECT_EQ(view.value.struct_size, size_of(kFirstView));
      EXPECT_EQ(view.value.size, 7u);
      view.expect_written(kFirstView, kFirstView + more, "eshm_borrow");
      EXPECT_EQ(eshm_release(slave_.get(), &view.value), ESHM_SUCCESS);
      view.expect_written(kFirstView, kFirstView + more, "eshm_release");
    }
  }
}

// Zeroing so much would destroy what the caller has there.
TEST_P(Errors, StructSizeThatWasNotSetIsRefusedBeforeAnythingIsRead) {
  char buffer[8];
  ASSERT_EQ(write_text(master_.get(), "kept"), ESHM_SUCCESS);
  for (const uint32_t size : {4097u, 0xABABABABu, UINT32_MAX}) {
    Place<ESHMStatsEx> stats(size);
    EXPECT_EQ(eshm_get_stats_ex(master_.get(), &stats.value), ESHM_ERROR_INVALID_PARAM) << size;
    stats.expect_written(sizeof size, 0, "eshm_get_stats_ex");
    Place<ESHMMessageInfo> info(size);
    EXPECT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &info.value, 0),
              ESHM_ERROR_INVALID_PARAM)
        << size;
    info.expect_written(sizeof size, 0, "eshm_read_msg");
    Place<ESHMView> view(size);
    EXPECT_EQ(eshm_borrow(slave_.get(), &view.value, 0), ESHM_ERROR_INVALID_PARAM) << size;
    view.expect_written(sizeof size, 0, "eshm_borrow");
  }
  EXPECT_EQ(read_text(slave_.get(), 0), "kept");
}

TEST_P(Errors, ViewThatCouldNotBeGivenBackIsRefused) {
  ASSERT_EQ(write_text(master_.get(), "kept"), ESHM_SUCCESS);
  for (const uint32_t size : {1u, 64u, uint32_t(kFirstView - 1)}) {
    Place<ESHMView> view(size);
    EXPECT_EQ(eshm_borrow(slave_.get(), &view.value, 0), ESHM_ERROR_INVALID_PARAM) << size;
    view.expect_written(sizeof size, 0, "eshm_borrow");
  }
  EXPECT_EQ(read_text(slave_.get(), 0), "kept");
}

TEST_P(Errors, HugeSizesOfWritesAreTooLarge) {
  char byte = 0;
  for (size_t size : {size_t{4097}, size_t{INT32_MAX}, size_t{UINT32_MAX}, SIZE_MAX}) {
    EXPECT_EQ(eshm_write(master_.get(), &byte, size), ESHM_ERROR_BUFFER_TOO_SMALL) << size;
    EXPECT_TRUE(names_number(last_error(), 4096)) << last_error();
  }
}

TEST_P(Errors, HugeBufferSizesAreFine) {
  char buffer[8] = {};
  ASSERT_EQ(eshm_write(master_.get(), "seven", 5), ESHM_SUCCESS);
  EXPECT_EQ(eshm_read(slave_.get(), buffer, SIZE_MAX), 5);
  EXPECT_STREQ(buffer, "seven");
}

TEST_P(Errors, ReadOfNothingAnswersAtOnceOrAfterItsWholeWait) {
  char buffer[8];
  size_t bytes = 99;
  EXPECT_EQ(eshm_read_ex(slave_.get(), buffer, sizeof buffer, &bytes, 0), ESHM_ERROR_NO_DATA);

  Clock::time_point start = Clock::now();
  EXPECT_EQ(eshm_read_ex(slave_.get(), buffer, sizeof buffer, &bytes, 120), ESHM_ERROR_TIMEOUT);
  EXPECT_GE(ms_since(start), 120);

  start = Clock::now();
  EXPECT_EQ(eshm_read(master_.get(), buffer, sizeof buffer), ESHM_ERROR_TIMEOUT);
  EXPECT_GE(ms_since(start), 1000);
}

TEST_P(Errors, ReadWithoutLimitWaitsUntilSomethingComes) {
  std::thread late([&] {
    pause_ms(1200);  // longer than the default wait
    EXPECT_EQ(write_text(master_.get(), "at last"), ESHM_SUCCESS);
  });
  EXPECT_EQ(read_text(slave_.get(), UINT32_MAX), "at last");
  late.join();
}

TEST_P(Errors, SlaveWithoutMasterFailsWithTimeout) {
  const std::string nobody = unique_name();
  EXPECT_FALSE(open_link(at_once(config_of(nobody, ESHM_ROLE_SLAVE, GetParam()))));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT) << last_error();
  EXPECT_NE(last_error().find(nobody), std::string::npos) << last_error();
  EXPECT_TRUE(files_of(nobody).empty());
}

TEST_P(Errors, SlaveWaitsForItsAttempts) {
  const std::string nobody = unique_name();
  ESHMConfig slave = config_of(nobody, ESHM_ROLE_SLAVE, GetParam());
  slave.max_reconnect_attempts = 4;
  slave.reconnect_retry_interval_ms = 50;
  const Clock::time_point start = Clock::now();
  EXPECT_FALSE(open_link(slave));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT) << last_error();
  EXPECT_GE(ms_since(start), 3 * 50);  // the first is at once
}

TEST_P(Errors, SlaveWaitsForItsTotalTime) {
  const std::string nobody = unique_name();
  ESHMConfig slave = config_of(nobody, ESHM_ROLE_SLAVE, GetParam());
  slave.max_reconnect_attempts = 0;
  slave.reconnect_wait_ms = 250;
  const Clock::time_point start = Clock::now();
  EXPECT_FALSE(open_link(slave));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TIMEOUT) << last_error();
  EXPECT_GE(ms_since(start), 250);
}

int end_at_third_call(void* calls) { return ++*static_cast<int*>(calls) >= 3; }

TEST_P(Errors, InterruptEndsTheWaitForAMaster) {
  const std::string nobody = unique_name();
  int calls = 0;
  ESHMConfig slave = for_ever(config_of(nobody, ESHM_ROLE_SLAVE, GetParam()));
  slave.reconnect_retry_interval_ms = 3600000;
  slave.interrupt = end_at_third_call;
  slave.interrupt_context = &calls;
  EXPECT_FALSE(open_link(slave));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INTERRUPTED) << last_error();
  EXPECT_EQ(calls, 3);
}

TEST_P(Errors, InterruptEndsARead) {
  int calls = 0;
  slave_.reset();
  ESHMConfig slave = config(ESHM_ROLE_SLAVE);
  slave.interrupt = end_at_third_call;
  slave.interrupt_context = &calls;
  slave_ = open_link(slave);
  ASSERT_TRUE(slave_) << last_error();
  calls = 0;
  char buffer[8];
  EXPECT_EQ(eshm_read_ex(slave_.get(), buffer, sizeof buffer, nullptr, UINT32_MAX),
            ESHM_ERROR_INTERRUPTED);
  EXPECT_EQ(calls, 3);
}

TEST_P(Errors, LastErrorIsTheThreadsOwnAndStaysOverSuccess) {
  ASSERT_EQ(eshm_write(master_.get(), nullptr, 1), ESHM_ERROR_INVALID_PARAM);
  const std::string mine = last_error();
  EXPECT_NE(mine, "");
  std::thread([] {
    int code = 4711;
    ASSERT_NE(eshm_last_error(&code), nullptr);
    EXPECT_EQ(code, ESHM_SUCCESS);
    EXPECT_EQ(eshm_destroy(nullptr), ESHM_ERROR_INVALID_PARAM);
  }).join();
  ASSERT_EQ(eshm_write(master_.get(), "fine", 4), ESHM_SUCCESS);
  EXPECT_EQ(last_error(), mine);
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
}

TEST_P(Errors, EventCallbackMayBeTakenAway) {
  const auto callback = [](ESHMHandle*, ESHMEvent, void*) {};
  EXPECT_EQ(eshm_set_event_callback(master_.get(), callback, nullptr), ESHM_SUCCESS);
  EXPECT_EQ(eshm_set_event_callback(master_.get(), nullptr, nullptr), ESHM_SUCCESS);
}

ESHM_ON_BOTH_BACKENDS(Refused);
ESHM_ON_BOTH_BACKENDS(Errors);

}  // namespace
