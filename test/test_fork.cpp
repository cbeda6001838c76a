// SPDX-License-Identifier: MIT
// A process that forks while it has a link.
#include <atomic>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/heir.h"
#include "support/link.h"

namespace {

using namespace test;

class Fork : public LinkTest {};

TEST_P(Fork, ChildIsRefusedOnAnInheritedHandleAndMayOpenItsOwn) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const std::string another = unique_name();
  Child child([&](Wire&) {
    char buffer[8];
    CHILD_CHECK(write_text(master.get(), "x") == ESHM_ERROR_NOT_INITIALIZED);
    CHILD_CHECK(last_error().find("fork") != std::string::npos);
    CHILD_CHECK(eshm_read_ex(master.get(), buffer, sizeof buffer, nullptr, 0) ==
                ESHM_ERROR_NOT_INITIALIZED);
    const Link own = open_link(config_of(another, ESHM_ROLE_MASTER, GetParam()));
    CHILD_CHECK(own);
    CHILD_CHECK(write_text(own.get(), "x") == ESHM_SUCCESS);
    const Link slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    CHILD_CHECK(slave);
    CHILD_CHECK(read_text(slave.get(), UINT32_MAX) == "from the parent");
    return 0;
  });
  ASSERT_EQ(write_text(master.get(), "from the parent"), ESHM_SUCCESS);
  EXPECT_EQ(child.join(), 0);
  EXPECT_TRUE(files_of(another).empty());
  EXPECT_EQ(write_text(master.get(), "still here"), ESHM_SUCCESS);
}

// Whatever the other threads were doing inside the library at the moment of the
// fork, the child is not kept waiting for them.
TEST_P(Fork, ChildOfABusyProcessMayOpenItsOwn) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(config(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  std::atomic<bool> over{false};
  std::vector<std::thread> busy;
  busy.emplace_back([&] {
    while (!over) {
      ESHMStats stats;
      eshm_get_stats(slave.get(), &stats);
      remote_is_alive(master.get());
    }
  });
  busy.emplace_back([&] {
    while (!over) {
      write_text(master.get(), "noise");
      read_text(slave.get(), 1);
    }
  });
  busy.emplace_back([&] {
    const std::string another = unique_name();
    while (!over) {
      const Link own = open_link(config_of(another, ESHM_ROLE_MASTER, GetParam()));
      open_link(config_of(another, ESHM_ROLE_MASTER, GetParam()));  // refused
      eshm_set_log_callback(nullptr, nullptr);
    }
  });
  const std::string own_name = unique_name();
  for (uint64_t round = 0; round < count(150, 5000); ++round) {
    Child child([&](Wire&) {
      const Link own = open_link(config_of(own_name, ESHM_ROLE_MASTER, GetParam()));
      CHILD_CHECK(own);
      CHILD_CHECK(write_text(own.get(), "x") == ESHM_SUCCESS);
      CHILD_CHECK(write_text(master.get(), "x") == ESHM_ERROR_NOT_INITIALIZED);
      return 0;
    });
    const int code = child.join();
    EXPECT_EQ(code, 0) << "round " << round;
    if (code != 0) break;
  }
  over = true;
  for (std::thread& thread : busy) thread.join();
}

// The child keeps running, with all that it inherited; the role was the
// parent's alone.
TEST_P(Fork, ParentsRoleEndsWithTheParentThoughItsChildLives) {
  Heir heir;
  Child parent([&](Wire& wire) {
    const Link link = open_link(config(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    heir.be_born();
    wire.say("forked");
    wire.hear();
    return 0;
  });
  heir.is_anothers();
  ASSERT_EQ(parent.hear(), "forked");
  parent.kill_now();
  {
    const Link next = open_link(config(ESHM_ROLE_MASTER));
    EXPECT_TRUE(next) << last_error();
    EXPECT_TRUE(heir.lives()) << "the parent's child has not outlived it";
  }
  heir.end();
}

ESHM_ON_BOTH_BACKENDS(Fork);

}  // namespace
