// SPDX-License-Identifier: MIT
// The name of a link's segment is taken from under the running ends: by a clean-up at
// log-out, by a careless rm. The master gives the link its name again.
#include <poll.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "support/counts.h"
#include "support/lost_name.h"

namespace {

using namespace test;

class LostName : public LostNameTest {};

TEST_P(LostName, MasterWithoutSlaveGivesItAgain) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  write_numbers(master.get(), "m", 0, 5);
  const uint64_t before = inode();
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED);
  EXPECT_NE(inode(), 0u);
  EXPECT_NE(inode(), before);
  expect_one_master();
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  write_numbers(master.get(), "m", 5, 8);
  expect_numbers(slave.get(), "m", 0, 8);
  write_numbers(slave.get(), "s", 0, 3);
  expect_numbers(master.get(), "s", 0, 3);
}

TEST_P(LostName, FileThatWasRenamedAwayHasItAgain) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  const uint64_t before = inode();
  const std::string away = path() + ".away";
  ASSERT_EQ(rename(path().c_str(), away.c_str()), 0);
  events.wait_for(ESHM_EVENT_RENEWED);
  EXPECT_EQ(inode(), before);
  unlink(away.c_str());
  expect_one_master();
  write_numbers(master.get(), "m", 0, 3);
  expect_numbers(slave.get(), "m", 0, 3);
  EXPECT_EQ(reconnects_of(slave.get()), 0u);
}

TEST_P(LostName, SlaveFollowsAndNothingIsLostOrRepeated) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  write_numbers(master.get(), "m", 0, 10);
  write_numbers(slave.get(), "s", 0, 10);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(read_text(slave.get(), 0), numbered("m", i));
    EXPECT_EQ(read_text(master.get(), 0), numbered("s", i));
  }
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED);
  write_numbers(master.get(), "m", 10, 12);
  write_numbers(slave.get(), "s", 10, 12);
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  write_numbers(master.get(), "m", 12, 15);
  write_numbers(slave.get(), "s", 12, 15);
  expect_numbers(slave.get(), "m", 4, 15);
  expect_numbers(master.get(), "s", 4, 15);
  expect_one_master();
}

TEST_P(LostName, NewestValueFollowsAndIsNotNewAgain) {
  ESHMConfig master_config = for_ever(config(ESHM_ROLE_MASTER));
  EventLog events;
  const Link master = open_link(master_config);
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  ASSERT_EQ(write_text(master.get(), "read"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "unread"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), 0), "read");
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED);
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  wait_until([&] { return reconnects_of(master.get()) == 1; });
  EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
  EXPECT_EQ(read_text(master.get(), 0), "unread");
  ASSERT_EQ(write_text(master.get(), "next"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), kPatientMs), "next");
}

TEST_P(LostName, LoansAndBorrowsOfTheFormerSegmentKeepTheirMemory) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  write_numbers(slave.get(), "s", 0, 2);
  write_numbers(master.get(), "m", 0, 2);
  ESHMView by_master = {};
  ESHMView by_slave = {};
  ASSERT_EQ(eshm_borrow(master.get(), &by_master, 0), ESHM_SUCCESS);
  ASSERT_EQ(eshm_borrow(slave.get(), &by_slave, 0), ESHM_SUCCESS);
  void* loan = nullptr;
  ASSERT_EQ(eshm_loan(master.get(), 8, &loan), ESHM_SUCCESS) << last_error();
  write_numbers(master.get(), "m", 2, 4);  // complete, behind an open loan
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED);
  wait_until([&] { return reconnects_of(slave.get()) == 1; });
  wait_until([&] { return reconnects_of(master.get()) == 1; });
  EXPECT_EQ(std::string(static_cast<const char*>(by_master.data), by_master.size), "s0");
  EXPECT_EQ(std::string(static_cast<const char*>(by_slave.data), by_slave.size), "m0");
  std::snprintf(static_cast<char*>(loan), 8, "lent");
  EXPECT_EQ(eshm_publish(master.get(), loan, 5), ESHM_ERROR_SUPERSEDED);
  EXPECT_EQ(eshm_release(master.get(), &by_master), ESHM_SUCCESS);
  EXPECT_EQ(eshm_release(slave.get(), &by_slave), ESHM_SUCCESS);
  expect_numbers(slave.get(), "m", 1, 4);
  expect_numbers(master.get(), "s", 1, 2);
}

// Those that sleep in the former segment are woken.
TEST_P(LostName, WaitingEndsHearWhatIsWrittenAfterARenewal) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  for (size_t round = 1; round <= count(3, 60); ++round) {
    std::string heard_by_slave;
    std::string heard_by_master;
    std::thread slave_waits([&] { heard_by_slave = read_text(slave.get(), UINT32_MAX); });
    std::thread master_waits([&] { heard_by_master = read_text(master.get(), UINT32_MAX); });
    unlink_name();
    events.wait_for(ESHM_EVENT_RENEWED, round);
    EXPECT_EQ(write_text(master.get(), "m"), ESHM_SUCCESS);
    EXPECT_EQ(write_text(slave.get(), "s"), ESHM_SUCCESS);
    slave_waits.join();
    master_waits.join();
    EXPECT_EQ(heard_by_slave, "m");
    EXPECT_EQ(heard_by_master, "s");
    wait_until([&] { return reconnects_of(slave.get()) == round; });
    wait_until([&] { return reconnects_of(master.get()) == round; });
  }
}

TEST_P(LostName, DescriptorsAreReadableAfterARenewal) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  const int of_master = eshm_get_fd(master.get());
  const int of_slave = eshm_get_fd(slave.get());
  ASSERT_TRUE(of_master >= 0 && of_slave >= 0) << last_error();
  for (size_t round = 1; round <= count(2, 30); ++round) {
    unlink_name();
    events.wait_for(ESHM_EVENT_RENEWED, round);
    ASSERT_EQ(write_text(slave.get(), "s"), ESHM_SUCCESS);
    ASSERT_EQ(write_text(master.get(), "m"), ESHM_SUCCESS);
    pollfd descriptors[] = {{of_master, POLLIN, 0}, {of_slave, POLLIN, 0}};
    for (pollfd& one : descriptors) EXPECT_EQ(poll(&one, 1, -1), 1);
    wait_until([&] { return read_text(master.get(), 0) == "s"; });
    wait_until([&] { return read_text(slave.get(), 0) == "m"; });
    EXPECT_EQ(read_text(master.get(), 0), error(ESHM_ERROR_NO_DATA));
    EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
    EXPECT_EQ(poll(descriptors, 2, 0), 0);
    wait_until([&] { return reconnects_of(master.get()) == round; });
  }
}

TEST_P(LostName, ObserverFollows) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  const Link observer = open_link(config(ESHM_ROLE_OBSERVER));
  ASSERT_TRUE(master && slave && observer) << last_error();
  events.listen_to(master.get());
  ASSERT_EQ(write_text(master.get(), "before"), ESHM_SUCCESS);
  read_until(observer.get(), "before");
  unlink_name();
  events.wait_for(ESHM_EVENT_RENEWED);
  wait_until([&] { return reconnects_of(master.get()) == 1; });
  ASSERT_EQ(write_text(master.get(), "after"), ESHM_SUCCESS);
  read_until(observer.get(), "after");
  ASSERT_EQ(write_text(slave.get(), "answer"), ESHM_SUCCESS);
  read_until(observer.get(), "answer");
}

TEST_P(LostName, BorrowOverManyRenewalsKeepsOneSegmentMore) {
  EventLog events;
  const Link master = open_link(lively(ESHM_ROLE_MASTER));
  const Link slave = open_link(lively(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  events.listen_to(master.get());
  const size_t usual = segments_mapped();
  ASSERT_EQ(write_text(master.get(), "m0"), ESHM_SUCCESS);
  ESHMView view = {};
  ASSERT_EQ(eshm_borrow(slave.get(), &view, 0), ESHM_SUCCESS);
  for (unsigned round = 1; round <= 4; ++round) {
    lose_name();
    wait_until([&] {
      return reconnects_of(slave.get()) == round && reconnects_of(master.get()) == round;
    });
    wait_until([&] { return segments_mapped() <= usual + 1; });
  }
  EXPECT_EQ(std::string(static_cast<const char*>(view.data), view.size), "m0");
  EXPECT_EQ(eshm_release(slave.get(), &view), ESHM_SUCCESS);
  wait_until([&] { return segments_mapped() == usual; });
}

TEST_P(LostName, NewestValuesFlowWithoutAnErrorOrARepetition) {
  for (const bool has_threads : {true, false}) {
    ESHMConfig as_master = for_ever(config(ESHM_ROLE_MASTER));
    ESHMConfig as_slave = for_ever(config(ESHM_ROLE_SLAVE));
    as_master.use_threads = as_slave.use_threads = has_threads;
    const Link master = open_link(as_master);
    const Link slave = open_link(as_slave);
    ASSERT_TRUE(master && slave) << last_error();
    std::atomic<bool> is_over{false};
    std::atomic<int> wrong{0};
    const auto talk = [&](ESHMHandle* link) {
      uint64_t last = 0;
      for (uint64_t number = 1; !is_over; ++number) {
        wrong += eshm_write(link, &number, sizeof number) != ESHM_SUCCESS;
        uint64_t heard = 0;
        const int code = eshm_read_ex(link, &heard, sizeof heard, nullptr, 0);
        wrong += code == ESHM_SUCCESS ? heard <= last : code != ESHM_ERROR_NO_DATA;
        if (code == ESHM_SUCCESS) last = heard;
        if (number % 1024 == 0) usleep(100);
      }
    };
    std::thread by_master([&] { talk(master.get()); });
    std::thread by_slave([&] { talk(slave.get()); });
    for (int i = 0; i < 2; ++i) {
      pause_ms(300);
      lose_name();
    }
    wait_until([&] { return reconnects_of(slave.get()) != 0; });
    is_over = true;
    by_master.join();
    by_slave.join();
    EXPECT_EQ(wrong, 0);
  }
}

ESHM_ON_BOTH_BACKENDS(LostName);

}  // namespace
