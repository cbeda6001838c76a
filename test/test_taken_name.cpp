// SPDX-License-Identifier: MIT
// Something else has the name of a link whose ends go on. What is not the library's is left
// alone, and reported once; when it is gone, the master gives the link its name again.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>

#include "support/log_lines.h"
#include "support/may_unshare.h"
#include "support/queues.h"

namespace {

using namespace test;

// More than two looks of a master at its name.
constexpr unsigned kTwoLooksMs = 1300;

enum class State { kNoSlave, kSlave, kStoppedSlave, kFullQueues };
constexpr State kStates[] = {State::kNoSlave, State::kSlave, State::kStoppedSlave,
                             State::kFullQueues};

class TakenName : public QueueTest {
 protected:
  // A link in one of the states, its master here and its slave in a child.
  class Scene {
   public:
    Scene(const TakenName& test, State state)
        : state_(state),
          name_(test.name() + std::to_string(int(state))),
          master_config_(for_ever(with_name(test.queues(ESHM_ROLE_MASTER), name_))),
          slave_config_(for_ever(with_name(test.queues(ESHM_ROLE_SLAVE), name_))) {
      master_ = open_link(master_config_);
      EXPECT_TRUE(master_) << last_error();
      events_.listen_to(master_.get());
      if (state != State::kNoSlave) start_slave();
      const int most = state == State::kFullQueues ? INT32_MAX : 5;
      while (written_ < most &&
             write_text(master_.get(), numbered("m", written_)) == ESHM_SUCCESS) {
        ++written_;
      }
      while (slave_ && by_slave_ < most && ask(*slave_, "write " + numbered("s", by_slave_)) == "0") {
        ++by_slave_;
      }
      if (state == State::kStoppedSlave) slave_->stop();
    }

    std::string path() const { return path_of(name_); }
    EventLog& events() { return events_; }
    // One master, its slave there or found by a restarted one, nothing lost from a queue.
    void expect_whole() {
      SCOPED_TRACE("state " + std::to_string(int(state_)));
      EXPECT_FALSE(open_link(master_config_));
      EXPECT_EQ(last_error_code(), ESHM_ERROR_ROLE_MISMATCH) << last_error();
      if (state_ == State::kStoppedSlave) slave_->go_on();
      if (!slave_) start_slave();
      // A full queue may have room for one more, and none until the slave has come over.
      int code = ESHM_ERROR_BUFFER_FULL;
      for (int i = 0; i < written_; ++i) ASSERT_EQ(ask(*slave_, "wait"), numbered("m", i));
      while (code == ESHM_ERROR_BUFFER_FULL) code = write_text(master_.get(), "m, again");
      ASSERT_EQ(code, ESHM_SUCCESS) << last_error();
      EXPECT_EQ(ask(*slave_, "wait"), "m, again");
      for (int i = 0; i < by_slave_; ++i) {
        ASSERT_EQ(read_text(master_.get(), UINT32_MAX), numbered("s", i));
      }
      ASSERT_EQ(ask(*slave_, "write s, again"), "0");
      EXPECT_EQ(read_text(master_.get(), UINT32_MAX), "s, again");
      leave(*slave_);
    }

   private:
    static ESHMConfig with_name(ESHMConfig config, const std::string& name) {
      config.shm_name = name.c_str();  // outlives it
      return config;
    }
    void start_slave() {
      slave_ = std::make_unique<Child>(obeying(slave_config_));
      ASSERT_EQ(slave_->hear(), "open");
    }

    const State state_;
    const std::string name_;
    const ESHMConfig master_config_;
    const ESHMConfig slave_config_;
    EventLog events_;
    Link master_;
    std::unique_ptr<Child> slave_;
    int written_ = 0;
    int by_slave_ = 0;
  };
  using Scenes = std::vector<std::unique_ptr<Scene>>;

  Scenes all_states() const {
    Scenes scenes;
    for (State state : kStates) scenes.push_back(std::make_unique<Scene>(*this, state));
    return scenes;
  }
  using Act = std::function<void(const std::string& path)>;

  // The master gives the name again at once.
  void expect_given_again(const Act& lose) const {
    Scenes scenes = all_states();
    for (auto& scene : scenes) lose(scene->path());
    for (auto& scene : scenes) scene->events().wait_for(ESHM_EVENT_RENEWED);
    for (auto& scene : scenes) scene->expect_whole();
  }
  // And here when what has it is taken away.
  void expect_left_alone(const std::string& told, const Act& put, const Act& take_away) const {
    Lines lines;
    {
      Scenes scenes = all_states();
      for (auto& scene : scenes) {
        // At once, so that the master finds nothing else there.
        const std::string aside = scene->path() + ".aside";
        put(aside);
        ASSERT_EQ(renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, scene->path().c_str(),
                            RENAME_EXCHANGE),
                  0);
        ASSERT_EQ(unlink(aside.c_str()), 0);
      }
      struct stat before[4];
      for (size_t i = 0; i < 4; ++i) lstat(scenes[i]->path().c_str(), &before[i]);
      wait_until([&] { return lines.count_of(told) >= 4; });
      pause_ms(kTwoLooksMs);
      for (size_t i = 0; i < 4; ++i) {
        struct stat now;
        ASSERT_EQ(lstat(scenes[i]->path().c_str(), &now), 0);
        EXPECT_EQ(now.st_ino, before[i].st_ino);
        EXPECT_EQ(scenes[i]->events().count_of(ESHM_EVENT_RENEWED), 0u);
      }
      EXPECT_EQ(lines.count_of(told), 4u);
      for (auto& scene : scenes) take_away(scene->path());
      for (auto& scene : scenes) scene->events().wait_for(ESHM_EVENT_RENEWED);
      for (auto& scene : scenes) scene->expect_whole();
    }
    EXPECT_EQ(lines.count_of(told), 4u);
  }
};

void remove_file(const std::string& path) { ASSERT_EQ(unlink(path.c_str()), 0); }

TEST_P(TakenName, UnlinkedIsGivenAgain) { expect_given_again(remove_file); }

TEST_P(TakenName, RenamedAwayIsGivenAgain) {
  expect_given_again([](const std::string& path) {
    const std::string away = path + ".away";
    ASSERT_EQ(rename(path.c_str(), away.c_str()), 0);
    wait_until([&] { return access(path.c_str(), F_OK) == 0; });
    remove_file(away);
  });
}

TEST_P(TakenName, FileIsLeftAlone) {
  expect_left_alone(
      "its name was given to something else: it has 0 bytes",
      [](const std::string& path) { close(open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600)); },
      remove_file);
}

TEST_P(TakenName, DirectoryIsLeftAlone) {
  expect_left_alone(
      "it is a directory, not a segment",
      [](const std::string& path) { ASSERT_EQ(mkdir(path.c_str(), 0700), 0); },
      [](const std::string& path) { ASSERT_EQ(rmdir(path.c_str()), 0); });
}

TEST_P(TakenName, FifoIsLeftAlone) {
  expect_left_alone(
      "it is a FIFO, not a segment",
      [](const std::string& path) { ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); }, remove_file);
}

TEST_P(TakenName, AnotherUsersFileIsLeftAlone) {
  if (geteuid() != 0) GTEST_SKIP() << "a file of another user takes root";
  expect_left_alone(
      "it belongs to ",
      [](const std::string& path) {
        const int fd = open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
        ASSERT_EQ(fchown(fd, 1000001, 1000001), 0);
        close(fd);
      },
      remove_file);
}

// A segment whose ends are dead is no link.
TEST_P(TakenName, SegmentWithoutEndsIsReplaced) {
  expect_given_again([this](const std::string& path) {
    Child other = obeying(config_of(name() + "o", ESHM_ROLE_MASTER, GetParam()));
    ASSERT_EQ(other.hear(), "open");
    other.kill_now();
    ASSERT_EQ(rename(path_of(name() + "o").c_str(), path.c_str()), 0);
  });
}

TEST_P(TakenName, LivingMasterOfAnotherSegmentSupersedes) {
  ESHMConfig unthreaded = queues(ESHM_ROLE_MASTER);
  unthreaded.use_threads = false;  // it looks at its name in its calls alone
  EventLog events;
  const Link first = open_link(unthreaded);
  ASSERT_TRUE(first) << last_error();
  events.listen_to(first.get());
  Link slave = open_link(for_ever(queues(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  Child second = standing_by(queues(ESHM_ROLE_MASTER));
  remove_file(path());
  ASSERT_EQ(ask(second, "open"), "open");
  wait_until([&] {
    (void)remote_state(first.get());
    return events.count_of(ESHM_EVENT_SUPERSEDED) == 1;
  });
  EXPECT_EQ(write_text(first.get(), "x"), ESHM_ERROR_SUPERSEDED);
  EXPECT_TRUE(names_number(last_error(), second.pid())) << last_error();
  ASSERT_EQ(ask(second, "write hello"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "hello");
  slave.reset();
  leave(second);
}

TEST_P(TakenName, MasterWithoutThreadsGivesItAgainInItsCalls) {
  ESHMConfig config = queues(ESHM_ROLE_MASTER);
  config.use_threads = false;
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(for_ever(queues(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  remove_file(path());
  int written = 0;
  int read = 0;
  wait_until([&] {
    if (write_text(master.get(), numbered("m", written)) == ESHM_SUCCESS) ++written;
    if (read_text(slave.get(), 0) == numbered("m", read)) ++read;
    return reconnects_of(slave.get()) == 1;
  });
  for (; read < written; ++read) {
    ASSERT_EQ(read_text(slave.get(), UINT32_MAX), numbered("m", read));
  }
  EXPECT_EQ(access(path().c_str(), F_OK), 0);
}

TEST_P(TakenName, TwoUsersOfAGroupGoOn) {
  if (geteuid() != 0) GTEST_SKIP() << "being somebody else takes root";
  const auto member = [this](ESHMRole role, uid_t user) {
    ESHMConfig config = for_ever(queues(role));
    config.permissions = 0660;
    return Child([config, user](Wire& wire) {
      CHILD_CHECK(setgid(1000100) == 0 && setuid(user) == 0);
      const Link link = open_link(config);
      wire.say(outcome(link));
      return link ? obey(wire, link) : 0;
    });
  };
  Child master = member(ESHM_ROLE_MASTER, 1000101);
  ASSERT_EQ(master.hear(), "open");
  Child slave = member(ESHM_ROLE_SLAVE, 1000102);
  ASSERT_EQ(slave.hear(), "open");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(master, "write " + numbered("m", i)), "0");
  ASSERT_EQ(ask(slave, "write s0"), "0");
  remove_file(path());
  wait_until([&] { return access(path().c_str(), F_OK) == 0; });
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(slave, "wait"), numbered("m", i));
  EXPECT_EQ(ask(master, "wait"), "s0");
  struct stat meta;
  ASSERT_EQ(stat(path().c_str(), &meta), 0);
  EXPECT_EQ(meta.st_mode & 0777, 0660u);
  EXPECT_EQ(meta.st_gid, 1000100u);
  leave(slave);
  leave(master);
}

// ---- where it cannot be given ----------------------------------------------------------

// Runs in a child whose master has lost its name, after `change`; the child has said its
// lines when this returns.
class NoWayBack : public TakenName {
 protected:
  // `lose`: what the test does behind the change.
  void expect_report_once(const std::string& told, const std::function<void()>& change,
                          const std::function<void()>& lose) const {
    Child child([&](Wire& wire) {
      Lines lines;
      const Link master = open_link(queues(ESHM_ROLE_MASTER));
      CHILD_CHECK(master);
      const Link slave = open_link(queues(ESHM_ROLE_SLAVE));
      CHILD_CHECK(slave);
      change();
      wire.say("changed");
      wire.hear();
      pause_ms(2 * kTwoLooksMs);
      wire.say(std::to_string(lines.count_of(told)));
      // The two go on.
      CHILD_CHECK(write_text(master.get(), "on") == ESHM_SUCCESS);
      CHILD_CHECK(read_text(slave.get(), UINT32_MAX) == "on");
      return 0;
    });
    EXPECT_EQ(child.hear(), "changed");
    lose();
    child.say("lost");
    EXPECT_EQ(child.hear(), "1");
    EXPECT_EQ(child.join(), 0);
  }
};

TEST_P(NoWayBack, ChangedUserIsReportedOnce) {
  if (geteuid() != 0) GTEST_SKIP() << "being somebody else takes root";
  expect_report_once("has changed its user or its root",
                     [] { CHILD_CHECK(setuid(1000001) == 0); }, [this] { remove_file(path()); });
}

TEST_P(NoWayBack, ChangedRootIsReportedOnceAndTheNameStays) {
  if (geteuid() != 0) GTEST_SKIP() << "another root takes root";
  expect_report_once("has changed its user or its root", [] { CHILD_CHECK(chroot("/proc") == 0); },
                     [] {});
  EXPECT_EQ(access(path().c_str(), F_OK), 0);
  remove_file(path());
}

TEST_P(NoWayBack, DestroyInAnotherRootSaysThatTheNameStays) {
  if (geteuid() != 0) GTEST_SKIP() << "another root takes root";
  Child child([this](Wire& wire) {
    Link master = open_link(queues(ESHM_ROLE_MASTER));
    CHILD_CHECK(master);
    CHILD_CHECK(chroot("/proc") == 0);
    const int code = eshm_destroy(master.release());
    wire.say(std::to_string(code) + " " + last_error());
    return 0;
  });
  const std::string told = child.hear();
  EXPECT_EQ(told.find(std::to_string(ESHM_ERROR_SHM_DELETE) + " "), 0u) << told;
  EXPECT_NE(told.find("another root"), std::string::npos) << told;
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(access(path().c_str(), F_OK), 0);
  remove_file(path());
}

TEST_P(NoWayBack, FullDevShmIsReportedOnce) {
  if (!may_have_own_mounts()) GTEST_SKIP() << "may have no mounts of its own";
  if (GetParam() == ESHM_BACKEND_SYSV) GTEST_SKIP() << "its messages are not in /dev/shm";
  Child child([this](Wire& wire) {
    CHILD_CHECK(enter_own_mounts());
    CHILD_CHECK(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=80k") == 0);
    Lines lines;
    EventLog events;
    const Link master = open_link(queues(ESHM_ROLE_MASTER));
    CHILD_CHECK(master);
    events.listen_to(master.get());
    const int full = open("/dev/shm/full", O_CREAT | O_RDWR, 0600);
    const std::string page(4096, 'x');
    while (::write(full, page.data(), page.size()) > 0) {
    }
    CHILD_CHECK(unlink(path().c_str()) == 0);
    pause_ms(2 * kTwoLooksMs);
    wire.say(std::to_string(lines.count_of("its name is gone, and it cannot be renewed: no room")));
    CHILD_CHECK(ftruncate(full, 0) == 0);
    events.wait_for(ESHM_EVENT_RENEWED);
    return 0;
  });
  EXPECT_EQ(child.hear(), "1");
  EXPECT_EQ(child.join(), 0);
}

ESHM_ON_BOTH_BACKENDS(TakenName);
ESHM_ON_BOTH_BACKENDS(NoWayBack);

}  // namespace
