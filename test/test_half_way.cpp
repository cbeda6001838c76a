// Processes stopped or killed between two system calls of eshm_init: whoever
// waits for them is told, the next start heals, nothing is left behind.
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>

#include "support/counts.h"
#include "support/player.h"

#if defined(__x86_64__)

namespace {

using namespace test;

constexpr int kMasterByte = 0, kSlaveByte = 1, kSuccessionByte = 2;

// A system call that the child is about to make, or that has just returned.
class SystemCall {
 public:
  explicit SystemCall(pid_t pid) : pid_(pid) {
    EXPECT_EQ(ptrace(PTRACE_GETREGS, pid, nullptr, &registers_), 0);
  }
  // A kernel lock on the byte was taken, or given back.
  bool locked(int byte) const { return changed_lock(byte, F_WRLCK); }
  bool unlocked(int byte) const { return changed_lock(byte, F_UNLCK); }
  bool will_rename() const {
    return registers_.orig_rax == 82 && static_cast<long>(registers_.rax) == -ENOSYS;
  }
  // A file got a name that begins like that.
  bool linked(const std::string& path) const {
    return registers_.orig_rax == 265 && registers_.rax == 0 &&
           text_at(registers_.r10, path.size()) == path;
  }

 private:
  bool changed_lock(int byte, short type) const {
    if (registers_.orig_rax != 72 || registers_.rsi != F_OFD_SETLK || registers_.rax != 0) {
      return false;
    }
    struct flock range;
    auto* const words = reinterpret_cast<long*>(&range);
    for (size_t i = 0; i < sizeof range / sizeof(long); ++i) {
      words[i] = ptrace(PTRACE_PEEKDATA, pid_, registers_.rdx + i * sizeof(long), nullptr);
    }
    return range.l_type == type && range.l_start == byte;
  }
  std::string text_at(unsigned long long address, size_t length) const {
    std::string text;
    while (text.size() < length) {
      const long word = ptrace(PTRACE_PEEKDATA, pid_, address + text.size(), nullptr);
      text.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    return text.substr(0, length);
  }

  pid_t pid_;
  user_regs_struct registers_ = {};
};

// Opens a link and then obeys; runs on to a chosen system call and stands there.
class Halted {
 public:
  explicit Halted(const ESHMConfig& config)
      : child_([config](Wire& wire) {
          ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
          raise(SIGSTOP);
          const Link link = open_link(config);
          wire.say(outcome(link));
          return link ? obey(wire, link) : 0;
        }) {}

  // Stopped, as by SIGSTOP, behind the first call that the condition is true of.
  void stop_behind(const std::function<bool(const SystemCall&)>& is_it) {
    run_to(is_it);
    if (testing::Test::HasFatalFailure()) return;
    int status = 0;
    ASSERT_EQ(ptrace(PTRACE_DETACH, child_.pid(), nullptr, SIGSTOP), 0);
    ASSERT_EQ(waitpid(child_.pid(), &status, WUNTRACED), child_.pid());
    ASSERT_TRUE(WIFSTOPPED(status));
  }

  void kill_before_rename() {
    run_to([](const SystemCall& call) { return call.will_rename(); });
    child_.kill_now();
  }

  Child& child() { return child_; }

 private:
  void run_to(const std::function<bool(const SystemCall&)>& is_it) {
    int status = 0;
    ASSERT_EQ(waitpid(child_.pid(), &status, 0), child_.pid());
    ASSERT_TRUE(WIFSTOPPED(status));
    ASSERT_EQ(ptrace(PTRACE_SETOPTIONS, child_.pid(), nullptr,
                     PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
              0);
    do {
      ASSERT_TRUE(to_next_stop());
      ASSERT_FALSE(child_.has_news()) << child_.hear() << " before it came to that call";
    } while (!is_it(SystemCall(child_.pid())));
  }
  bool to_next_stop() {
    for (int signal = 0;;) {
      ptrace(PTRACE_SYSCALL, child_.pid(), nullptr, signal);
      int status = 0;
      if (waitpid(child_.pid(), &status, 0) != child_.pid() || !WIFSTOPPED(status)) return false;
      if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return true;
      signal = WSTOPSIG(status);
    }
  }

  Child child_;
};

class HalfWay : public LinkTest {
 protected:
  ESHMConfig patient(ESHMRole role) const { return for_ever(config(role)); }
  ESHMConfig watchful(ESHMRole role) const {
    ESHMConfig config = patient(role);
    config.stale_threshold_ms = kHungMs;
    return config;
  }
  std::string successor_path() const { return "/dev/shm/.eshm-next_" + name(); }

  void expect_refused(const ESHMConfig& config, pid_t holder) const {
    EXPECT_FALSE(open_link(config));
    EXPECT_TRUE(names_number(last_error(), holder)) << last_error() << " of " << holder;
  }
};

TEST_P(HalfWay, AdopterThatHangsIsNamedAndItsSlaveIsTold) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  const Link slave = open_link(watchful(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(ask(first, "write last words"), "0");
  first.kill_now();
  Halted adopter(config(ESHM_ROLE_MASTER));
  adopter.stop_behind([](const SystemCall& call) { return call.locked(kMasterByte); });
  wait_for_state(slave.get(), ESHM_PEER_STALE);
  for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE, ESHM_ROLE_AUTO}) {
    expect_refused(watchful(role), adopter.child().pid());
  }
  adopter.child().go_on();
  ASSERT_EQ(adopter.child().hear(), "open");
  wait_for_state(slave.get(), ESHM_PEER_ALIVE);
  EXPECT_EQ(reconnects_of(slave.get()), 1u);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "last words");
  ASSERT_EQ(ask(adopter.child(), "write next"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "next");
  leave(adopter.child());
}

TEST_P(HalfWay, SlaveThatHangsOnTheWayToItsSeatIsNamedAndItsMasterIsTold) {
  EventLog events;
  const Link master = open_link(watchful(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  events.listen_to(master.get());
  Halted slave(patient(ESHM_ROLE_SLAVE));
  slave.stop_behind([](const SystemCall& call) { return call.locked(kSlaveByte); });
  wait_for_state(master.get(), ESHM_PEER_STALE);
  expect_refused(watchful(ESHM_ROLE_SLAVE), slave.child().pid());
  slave.child().go_on();
  ASSERT_EQ(slave.child().hear(), "open");
  events.wait_for(ESHM_EVENT_CONNECTED);
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  EXPECT_EQ(events.count_of(ESHM_EVENT_RECONNECTED), 0u);
  leave(slave.child());
  wait_for_state(master.get(), ESHM_PEER_LEFT);
  eshm_set_event_callback(master.get(), nullptr, nullptr);
}

TEST_P(HalfWay, SlaveKilledOnTheWayToItsSeatIsToldDeadAndTheSeatIsFree) {
  const Link master = open_link(watchful(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  Halted slave(patient(ESHM_ROLE_SLAVE));
  slave.stop_behind([](const SystemCall& call) { return call.locked(kSlaveByte); });
  wait_for_state(master.get(), ESHM_PEER_STALE);
  slave.child().kill_now();
  wait_for_state(master.get(), ESHM_PEER_DEAD);
  const Link next = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(next) << last_error();
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
}

TEST_P(HalfWay, ProcessThatHangsWithTheSuccessionLockAndNoRecordIsTold) {
  Child first = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(first.hear(), "open");
  first.kill_now();
  Halted hung(config(ESHM_ROLE_MASTER));
  hung.stop_behind([](const SystemCall& call) { return call.locked(kSuccessionByte); });
  EXPECT_FALSE(open_link(config(ESHM_ROLE_MASTER)));
  EXPECT_NE(last_error().find("hangs while it changes the roles"), std::string::npos)
      << last_error();
  hung.child().go_on();
  ASSERT_EQ(hung.child().hear(), "open");
  leave(hung.child());
}

// Dead, or gone, between the slave's seat and its first look.
TEST_P(HalfWay, MasterGoneBeforeTheSlavesFirstLookIsToldAndReplaced) {
  for (bool is_killed : {true, false}) {
    Child master = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(master.hear(), "open");
    Halted slave(patient(ESHM_ROLE_SLAVE));
    slave.stop_behind([](const SystemCall& call) { return call.unlocked(kSuccessionByte); });
    if (is_killed) {
      master.kill_now();
    } else {
      leave(master);
    }
    slave.child().go_on();
    ASSERT_EQ(slave.child().hear(), "open");
    const std::string gone = std::to_string(is_killed ? ESHM_PEER_DEAD : ESHM_PEER_LEFT);
    EXPECT_EQ(ask(slave.child(), "state"), gone);
    Child next = obeying(config(ESHM_ROLE_MASTER));
    ASSERT_EQ(next.hear(), "open");
    ASSERT_EQ(ask(next, "write next"), "0");
    EXPECT_EQ(ask(slave.child(), "wait"), "next");
    leave(slave.child());
    leave(next);
  }
}

// ---- killed with a successor that has no name yet

TEST_P(HalfWay, SuccessorOfAKilledReplacerGoesWithTheOldMaster) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  old_master.stop();
  Halted replacer(watchful(ESHM_ROLE_MASTER));
  replacer.stop_behind([&](const SystemCall& call) { return call.linked(successor_path()); });
  replacer.child().kill_now();
  EXPECT_EQ(access(successor_path().c_str(), F_OK), 0);
  old_master.go_on();
  EXPECT_EQ(ask(old_master, "write still here"), "0");
  leave(old_master);
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(HalfWay, SuccessorOfAKilledReplacerGoesWhenTheOldSegmentIsAdopted) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  const Link slave = open_link(patient(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(slave) << last_error();
  old_master.stop();
  Halted replacer(watchful(ESHM_ROLE_MASTER));
  replacer.stop_behind([&](const SystemCall& call) { return call.linked(successor_path()); });
  replacer.child().kill_now();
  old_master.kill_now();
  Child adopter = obeying(config(ESHM_ROLE_MASTER));
  ASSERT_EQ(adopter.hear(), "open");
  EXPECT_EQ(files_of(name()).size(), 1u);
  ASSERT_EQ(ask(adopter, "write next"), "0");
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), "next");
  leave(adopter);
}

TEST_P(HalfWay, SuccessorOfAKilledReplacerGoesWhenTheNameIsBornAgain) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  old_master.stop();
  Halted replacer(watchful(ESHM_ROLE_MASTER));
  replacer.stop_behind([&](const SystemCall& call) { return call.linked(successor_path()); });
  replacer.child().kill_now();
  old_master.kill_now();
  unlink(path().c_str());  // as somebody tidies up by hand
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(files_of(name()).size(), 1u);
}

// Killed behind the mark: the name means a segment that counts no more.
TEST_P(HalfWay, SlaveOfAMarkedSegmentRemovesItWhenItGivesUp) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  ESHMConfig config = this->config(ESHM_ROLE_SLAVE);
  config.max_reconnect_attempts = 3;
  config.reconnect_retry_interval_ms = 10;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  old_master.stop();
  Halted replacer(watchful(ESHM_ROLE_MASTER));
  replacer.kill_before_rename();
  old_master.kill_now();
  while (write_text(slave.get(), "x") != ESHM_ERROR_MASTER_STALE) pause_ms(1);
  wait_until([&] { return files_of(name()).empty(); });
}

// The slave was to come over: nobody else gets its seat from the one who heals.
TEST_P(HalfWay, SeatIsKeptByTheOneThatRenewsAMarkedSegment) {
  Child old_master = obeying(watchful(ESHM_ROLE_MASTER));
  ASSERT_EQ(old_master.hear(), "open");
  Child slave = obeying(patient(ESHM_ROLE_SLAVE));
  ASSERT_EQ(slave.hear(), "open");
  old_master.stop();
  slave.stop();
  Halted replacer(watchful(ESHM_ROLE_MASTER));
  replacer.kill_before_rename();
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  expect_refused(at_once(config(ESHM_ROLE_SLAVE)), slave.pid());
  slave.go_on();
  wait_for_state(master.get(), ESHM_PEER_ALIVE);
  ASSERT_EQ(write_text(master.get(), "next"), ESHM_SUCCESS);
  EXPECT_EQ(ask(slave, "wait"), "next");
  old_master.go_on();
  EXPECT_EQ(ask(old_master, "write grave"), std::to_string(ESHM_ERROR_SUPERSEDED));
  leave(old_master);
  leave(slave);
}

ESHM_ON_BOTH_BACKENDS(HalfWay);

}  // namespace

#endif
