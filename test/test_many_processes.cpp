// SPDX-License-Identifier: MIT
// Crowds at one name: whoever comes, there is one master and one slave.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

class ManyProcesses : public LinkTest {
 protected:
  // Starts that many processes that call eshm_init at the same moment, and
  // waits for what each says of it: "master", "slave", or "CODE TEXT".
  void start_together(const std::vector<ESHMConfig>& configs) {
    allow_many_descriptors();
    int barrier[2];
    ASSERT_EQ(pipe(barrier), 0);
    for (const ESHMConfig& config : configs) {
      children_.emplace_back([=](Wire& wire) {
        close(barrier[1]);
        char byte;
        CHILD_CHECK(read(barrier[0], &byte, 1) == 0);  // until all write ends are closed
        const Link link = open_in_the_crowd(config);
        if (link) {
          ESHMRole role = ESHM_ROLE_AUTO;
          CHILD_CHECK(eshm_get_role(link.get(), &role) == ESHM_SUCCESS);
          wire.say(role == ESHM_ROLE_MASTER ? "master" : role == ESHM_ROLE_SLAVE ? "slave" : "?");
          wire.hear();
        } else {
          wire.say(std::to_string(last_error_code()) + " " + last_error());
        }
        return 0;
      });
    }
    close(barrier[1]);
    close(barrier[0]);
    for (Child& child : children_) answers_.push_back(child.hear());
  }

  // Among so many one may wait a second for a core while it has the succession lock:
  // the others are told that it hangs.
  static Link open_in_the_crowd(const ESHMConfig& config) {
    for (;;) {
      Link link = open_link(config);
      if (link || last_error().find("hangs while it changes") == std::string::npos) return link;
    }
  }

  // A child has a wire.
  static void allow_many_descriptors() {
    rlimit limit;
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }

  void let_all_leave() {
    for (Child& child : children_) child.say("leave");
    for (Child& child : children_) EXPECT_EQ(child.join(), 0);
    children_.clear();
    answers_.clear();
  }

  // The PID of the only one that answered so; 0 if there is none or another.
  pid_t the_only(const std::string& answer) const {
    if (std::count(answers_.begin(), answers_.end(), answer) != 1) return 0;
    const auto at = std::find(answers_.begin(), answers_.end(), answer) - answers_.begin();
    return children_[static_cast<size_t>(at)].pid();
  }

  void expect_refusals_naming(const std::vector<pid_t>& holders, size_t expected) const {
    size_t refusals = 0;
    for (const std::string& answer : answers_) {
      if (answer == "master" || answer == "slave") continue;
      ++refusals;
      EXPECT_EQ(answer.find(std::to_string(ESHM_ERROR_ROLE_MISMATCH) + " "), 0u) << answer;
      EXPECT_TRUE(std::any_of(holders.begin(), holders.end(), [&](pid_t pid) {
        return names_number(answer, pid);
      })) << answer;
    }
    EXPECT_EQ(refusals, expected);
  }

  std::vector<Child> children_;
  std::vector<std::string> answers_;
};

TEST_P(ManyProcesses, AtOnceWithAutoMakeOneMasterAndOneSlave) {
  const size_t processes = count(100, 1000);
  start_together(std::vector<ESHMConfig>(processes, config(ESHM_ROLE_AUTO)));
  const pid_t master = the_only("master"), slave = the_only("slave");
  EXPECT_NE(master, 0);
  EXPECT_NE(slave, 0);
  expect_refusals_naming({master, slave}, processes - 2);
  let_all_leave();
}

TEST_P(ManyProcesses, TwoMastersStartedTogetherMakeOne) {
  for (uint64_t round = 0; round < count(30, 500); ++round) {
    start_together({config(ESHM_ROLE_MASTER), config(ESHM_ROLE_MASTER)});
    const pid_t master = the_only("master");
    ASSERT_NE(master, 0) << answers_[0] << "; " << answers_[1];
    expect_refusals_naming({master}, 1);
    let_all_leave();
  }
}

TEST_P(ManyProcesses, TwoSlavesStartedTogetherMakeOne) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  for (uint64_t round = 0; round < count(30, 500); ++round) {
    start_together({config(ESHM_ROLE_SLAVE), config(ESHM_ROLE_SLAVE)});
    const pid_t slave = the_only("slave");
    ASSERT_NE(slave, 0) << answers_[0] << "; " << answers_[1];
    expect_refusals_naming({slave}, 1);
    let_all_leave();
  }
}

TEST_P(ManyProcesses, MastersRacingForAnOrphanMakeOne) {
  for (uint64_t round = 0; round < count(15, 300); ++round) {
    start_together({config(ESHM_ROLE_MASTER)});
    ASSERT_EQ(answers_[0], "master");
    children_[0].kill_now();
    children_.clear();
    answers_.clear();
    start_together(std::vector<ESHMConfig>(4, config(ESHM_ROLE_MASTER)));
    const pid_t master = the_only("master");
    ASSERT_NE(master, 0) << answers_[0] << "; " << answers_[1];
    expect_refusals_naming({master}, 3);
    let_all_leave();
  }
}

TEST_P(ManyProcesses, SlaveAndMasterStartedTogetherFindEachOther) {
  for (uint64_t round = 0; round < count(30, 500); ++round) {
    start_together({for_ever(config(ESHM_ROLE_SLAVE)), config(ESHM_ROLE_MASTER)});
    EXPECT_EQ(answers_[0], "slave");
    EXPECT_EQ(answers_[1], "master");
    let_all_leave();
  }
}

ESHM_ON_BOTH_BACKENDS(ManyProcesses);

}  // namespace
