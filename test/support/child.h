// SPDX-License-Identifier: MIT
// A second process of a test: forked, told what to do step by step, stopped,
// killed, and never left behind.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace test {

// One end of the wire between a test and its child. A message is a short text.
class Wire {
 public:
  explicit Wire(int fd) : fd_(fd) {}
  Wire(Wire&& other) noexcept;
  Wire& operator=(Wire&& other) noexcept;
  ~Wire();

  void say(const std::string& text);
  // Waits; "" when the other end is gone.
  std::string hear();
  // The other end has said something (or is gone).
  bool has_news() const;

 private:
  int fd_;
};

class Child {
 public:
  // Adds to the tally (support/tally.h) how many were killed, and how often one
  // was stopped and went on; done at the end of the process, too.
  static void tell_tally();

  // Runs body in a forked process, whose exit code is the body's answer. It
  // dies with the test, and of a watchdog of its own.
  explicit Child(const std::function<int(Wire&)>& body);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();  // kills what still runs, and reaps

  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void say(const std::string& text) { wire_.say(text); }
  std::string hear() { return wire_.hear(); }
  bool has_news() const { return wire_.has_news(); }

  void stop();      // SIGSTOP; returns when it stands still
  void go_on();     // SIGCONT
  void kill_now();  // SIGKILL; returns when it is reaped
  void kill_soon();  // SIGKILL alone: the kernel may take long to see a process off
  // Whether it has ended; then it is reaped, and join() tells how it ended.
  bool try_reap();
  // Waits for its own end. The exit code, or 128 + the signal that ended it.
  int join();

 private:
  void note_end();

  pid_t pid_;
  int status_ = 0;  // once it is reaped
  Wire wire_;
};

}  // namespace test

// In a child, where gtest's assertions reach nobody: says what failed, and
// makes the child's exit code 1.
#define CHILD_CHECK(condition)                            \
  do {                                                    \
    if (!(condition)) {                                   \
      test::child_failed(__FILE__, __LINE__, #condition); \
    }                                                     \
  } while (false)

namespace test {
[[noreturn]] void child_failed(const char* file, int line, const char* condition);
}
