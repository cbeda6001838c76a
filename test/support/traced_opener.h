// SPDX-License-Identifier: MIT
// A process that opens a link under a tracer, which stops it at its system calls.
#pragma once

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>

#include "support/player.h"

#if defined(__x86_64__)

namespace test {

// A system call that the child is about to make, or that has just returned.
class SystemCall {
 public:
  explicit SystemCall(pid_t pid) : pid_(pid) {
    EXPECT_EQ(ptrace(PTRACE_GETREGS, pid, nullptr, &registers_), 0);
  }
  bool asks_for_a_lock() const {
    return registers_.orig_rax == kFcntl && registers_.rsi == F_OFD_SETLK;
  }
  // A kernel lock on the byte was taken, or given back.
  bool locked(int byte) const { return changed_lock(byte, F_WRLCK); }
  bool unlocked(int byte) const { return changed_lock(byte, F_UNLCK); }
  bool will_rename() const {
    return registers_.orig_rax == kRenameat2 && static_cast<long>(registers_.rax) == -ENOSYS;
  }
  // A file got a name that begins like that.
  bool linked(const std::string& path) const {
    return registers_.orig_rax == kLinkat && registers_.rax == 0 &&
           text_at(registers_.r10, path.size()) == path;
  }

 private:
  static constexpr unsigned long long kFcntl = 72, kLinkat = 265, kRenameat2 = 316;  // x86-64

  bool changed_lock(int byte, short type) const {
    if (!asks_for_a_lock() || registers_.rax != 0) return false;
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

// Opens a link and then obeys; stands at each system call, at its entry and at its exit.
class TracedOpener {
 public:
  explicit TracedOpener(const ESHMConfig& config)
      : child_([config](Wire& wire) {
          ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
          raise(SIGSTOP);
          const Link link = open_link(config);
          wire.say(outcome(link));
          return link ? obey(wire, link) : 0;
        }) {
    int status = 0;
    EXPECT_EQ(waitpid(child_.pid(), &status, 0), child_.pid());
    EXPECT_TRUE(WIFSTOPPED(status));
    EXPECT_EQ(ptrace(PTRACE_SETOPTIONS, child_.pid(), nullptr,
                     PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL),
              0);
  }

  // False: it has ended, or told whether its link is open.
  bool to_next_stop() {
    for (int signal = 0;;) {
      ptrace(PTRACE_SYSCALL, child_.pid(), nullptr, signal);
      int status = 0;
      if (waitpid(child_.pid(), &status, 0) != child_.pid() || !WIFSTOPPED(status)) return false;
      if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return !child_.has_news();
      signal = WSTOPSIG(status);
    }
  }
  SystemCall call() const { return SystemCall(child_.pid()); }

  // Stopped, as by SIGSTOP, or killed, at the first call that the condition is true of.
  void stop_at(const std::function<bool(const SystemCall&)>& is_it) {
    run_to(is_it);
    if (testing::Test::HasFatalFailure()) return;
    int status = 0;
    ASSERT_EQ(ptrace(PTRACE_DETACH, child_.pid(), nullptr, SIGSTOP), 0);
    ASSERT_EQ(waitpid(child_.pid(), &status, WUNTRACED), child_.pid());
    ASSERT_TRUE(WIFSTOPPED(status));
  }
  void kill_at(const std::function<bool(const SystemCall&)>& is_it) {
    run_to(is_it);
    child_.kill_now();
  }

  Child& child() { return child_; }

 private:
  void run_to(const std::function<bool(const SystemCall&)>& is_it) {
    do {
      ASSERT_TRUE(to_next_stop()) << "before it came to that call";
    } while (!is_it(call()));
  }

  Child child_;
};

}  // namespace test

#endif
