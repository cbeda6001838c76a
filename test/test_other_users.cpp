// SPDX-License-Identifier: MIT
// Links that are shared with other users: they may talk, and take over what needs
// no new file; the name is its owner's to give away.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "support/player.h"

namespace {

using namespace test;

class OtherUsers : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    if (geteuid() != 0) GTEST_SKIP() << "being somebody else takes root";
  }
  ESHMConfig shared(ESHMRole role) const {
    ESHMConfig config = this->config(role);
    config.permissions = 0666;
    config.stale_threshold_ms = kHungMs;
    return config;
  }
  // A player whom the owner of everything here knows nothing of.
  static Child stranger(const ESHMConfig& config) {
    return Child([config](Wire& wire) {
      CHILD_CHECK(setgid(1000000) == 0 && setuid(1000000 + uid_t(getpid())) == 0);
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const Link link = open_link(config);
      wire.say(outcome(link));
      return link ? obey(wire, link) : 0;
    });
  }
  void expect_refused(const ESHMConfig& config) {
    Child other = stranger(config);
    const std::string answer = other.hear();
    EXPECT_EQ(answer.find(std::to_string(ESHM_ERROR_PERMISSION) + " "), 0u) << answer;
    EXPECT_NE(answer.find("belongs to another user"), std::string::npos) << answer;
    EXPECT_EQ(other.join(), 0);
  }
};

TEST_P(OtherUsers, TalkAndAdoptALinkWhoseMasterDied) {
  Child master = obeying(shared(ESHM_ROLE_MASTER));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(for_ever(shared(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  master.kill_now();
  Child other = stranger(shared(ESHM_ROLE_MASTER));
  ASSERT_EQ(other.hear(), "open");
  ASSERT_EQ(ask(other, "write hello"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "hello");
  other.kill_now();
  remove_name_of_the_killed();
}

TEST_P(OtherUsers, DoNotRenewWhatIsNotTheirs) {
  {
    Child master = obeying(shared(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    master.stop();
    expect_refused(shared(ESHM_ROLE_MASTER));  // hung
    master.kill_now();
    expect_refused(shared(ESHM_ROLE_MASTER));  // dead, and nobody there
  }
  Child next = obeying(shared(ESHM_ROLE_MASTER));
  ASSERT_EQ(next.hear(), "open");
  const Link slave = open_link(for_ever(shared(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  next.kill_now();
  ESHMConfig larger = shared(ESHM_ROLE_MASTER);
  larger.m2s.max_message_size *= 2;
  expect_refused(larger);  // the slave would have to come over
  remove_name_of_the_killed();
}

ESHM_ON_BOTH_BACKENDS(OtherUsers);

}  // namespace
