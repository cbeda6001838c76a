// SPDX-License-Identifier: MIT
#include "crash/stepper.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "support/counts.h"
#include "support/link.h"

namespace test {

namespace {

constexpr int kMarkSignal = SIGUSR1;

}  // namespace

void mark() { raise(kMarkSignal); }

OneCore::OneCore() {
  sched_getaffinity(0, sizeof before_, &before_);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
  sched_setaffinity(0, sizeof one, &one);
}

OneCore::~OneCore() { sched_setaffinity(0, sizeof before_, &before_); }

Stepper::Stepper(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) {
    std::perror("fork");
    std::abort();
  }
  if (pid_ == 0) {
    arm_watchdog();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
    _exit(body());
  }
  remember_process(pid_);
}

Stepper::~Stepper() { kill_now(); }

std::string Stepper::why_not() {
  Stepper trial([] {
    mark();
    return 0;
  });
  if (trial.run_to_mark() != Stop::kMarked) return "ptrace is not permitted here";
  if (trial.step() != Stop::kStepped) return "single steps do not work here";
  return trial.finish() == 0 ? "" : "a stepped process does not end well here";
}

Stepper::Stop Stepper::run_to_mark() {
  Stop stop;
  do {
    stop = resume(PTRACE_CONT);
  } while (stop == Stop::kStepped);
  return stop;
}

Stepper::Stop Stepper::step() { return resume(PTRACE_SINGLESTEP); }

Stepper::Stop Stepper::run_to_end_of_system_call() {
  const Stop begun = resume(PTRACE_SYSCALL);
  return begun == Stop::kStepped ? resume(PTRACE_SYSCALL) : begun;
}

Stepper::Stop Stepper::run_behind_a_lock() {
#if defined(__x86_64__)
  constexpr unsigned long long kFcntl = 72;
  user_regs_struct registers = {};
  Stop stop;
  do {
    stop = run_to_end_of_system_call();
    if (stop == Stop::kStepped) ptrace(PTRACE_GETREGS, pid_, nullptr, &registers);
  } while (stop == Stop::kStepped &&
           (registers.orig_rax != kFcntl || registers.rsi != F_OFD_SETLK));
  return stop;
#else
  return Stop::kEnded;
#endif
}

bool Stepper::is_at_system_call() const {
#if defined(__x86_64__)
  constexpr long kSystemCall = 0x050f;
  user_regs_struct registers;
  if (ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) != 0) return false;
  return (ptrace(PTRACE_PEEKTEXT, pid_, registers.rip, nullptr) & 0xffff) == kSystemCall;
#else
  return false;
#endif
}

void Stepper::kill_now() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  int status = 0;
  do {
    if (waitpid(pid_, &status, 0) < 0 && errno != EINTR) break;
  } while (!WIFEXITED(status) && !WIFSIGNALED(status));
  note_reaped(pid_);
  pid_ = -1;
}

int Stepper::finish() {
  while (pid_ >= 0) resume(PTRACE_CONT);
  return exit_code_;
}

Stepper::Stop Stepper::resume(int request) {
  if (pid_ < 0) return Stop::kEnded;
  // Its first mark stops it without having been resumed.
  const bool has_begun = std::exchange(has_begun_, true);
  int other_signal = 0;
  Stop stop = Stop::kStepped;
  for (bool must_resume = has_begun;; must_resume = true) {
    if (must_resume) ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, other_signal);
    stop = wait_for_stop(other_signal);
    if (other_signal == 0) return stop;
  }
}

// A signal that is neither a step's nor a mark's is handed on: the watchdog's, for one.
Stepper::Stop Stepper::wait_for_stop(int& other_signal) {
  int status = 0;
  pid_t waited;
  do {
    waited = waitpid(pid_, &status, 0);
  } while (waited < 0 && errno == EINTR);
  other_signal = 0;
  if (waited == pid_ && WIFSTOPPED(status)) {
    if (WSTOPSIG(status) == SIGTRAP) return Stop::kStepped;
    if (WSTOPSIG(status) == kMarkSignal) return Stop::kMarked;
    other_signal = WSTOPSIG(status);
    return Stop::kStepped;
  }
  note_reaped(pid_);
  pid_ = -1;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return Stop::kEnded;
}

}  // namespace test
