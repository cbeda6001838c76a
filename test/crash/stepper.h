// SPDX-License-Identifier: MIT
// A process that is stepped through one instruction at a time, from a mark that
// it sets itself to its next one. Between two steps it stands still, as if it
// had died there: a killed process leaves every store that it has retired.
#pragma once

#include <sched.h>
#include <sys/types.h>

#include <functional>
#include <string>

namespace test {

// Called by the stepped process: a place where run_to_mark() and step() stop.
void mark();

// Keeps this thread, and what it forks meanwhile, on one core: a step then costs
// two switches on that core, not two wakes across cores, which take ten times as long.
class OneCore {
 public:
  OneCore();
  ~OneCore();
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;

 private:
  cpu_set_t before_;
};

class Stepper {
 public:
  enum class Stop {
    kStepped,  // one instruction, or one system call, is done
    kMarked,   // it has reached its next mark
    kEnded,    // it is no more
  };

  // Runs body in a forked process, whose exit code is the body's answer. It dies
  // with the test, and of a watchdog of its own.
  explicit Stepper(const std::function<int()>& body);
  ~Stepper();  // kills what still runs, and reaps

  Stepper(const Stepper&) = delete;
  Stepper& operator=(const Stepper&) = delete;

  // Empty where one process may step another; else what is in the way.
  static std::string why_not();

  Stop run_to_mark();
  Stop step();
  // On to where the next system call has returned.
  Stop run_to_end_of_system_call();
  // On to where it has asked for a kernel lock for the first time, whatever the answer.
  Stop run_behind_a_lock();
  // The next step is one.
  bool is_at_system_call() const;
  pid_t pid() const { return pid_; }
  // A crash, here. Returns when it is reaped.
  void kill_now();
  // Lets it run to its end. The exit code, or 128 + the signal that ended it.
  int finish();

 private:
  Stop resume(int request);
  Stop wait_for_stop(int& other_signal);

  OneCore core_;
  pid_t pid_ = -1;  // -1: reaped
  bool has_begun_ = false;
  int exit_code_ = -1;
};

}  // namespace test
