// SPDX-License-Identifier: MIT
// A control group that stops all its processes at one moment, and lets them continue.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>

#include "support/control_group.h"

namespace test {

class Freezer {
 public:
  Freezer() {
    const std::string own_v1 = own_group_path("freezer");
    is_v1_ = group_.make("/sys/fs/cgroup/freezer" + own_v1, "freezer.state", "THAWED") ||
             group_.make("/sys/fs/cgroup/freezer", "freezer.state", "THAWED");
    if (is_v1_ || group_.make("/sys/fs/cgroup" + own_group_path(""), "cgroup.freeze", "0") ||
        group_.make("/sys/fs/cgroup", "cgroup.freeze", "0") ||
        group_.make("/sys/fs/cgroup/unified" + own_group_path(""), "cgroup.freeze", "0")) {
      start_keeper();
    }
  }
  // Its processes must have ended, or end now: frozen ones cannot.
  ~Freezer() {
    if (!is_ready()) return;
    thaw();
    close(keeper_wire_);
    waitpid(keeper_, nullptr, 0);
  }
  Freezer(const Freezer&) = delete;
  Freezer& operator=(const Freezer&) = delete;

  bool is_ready() const { return keeper_ > 0; }
  const std::string& why_not() const { return group_.why_not(); }
  // Moves the calling process, a child of the test, into it.
  bool enter() {
    close(keeper_wire_);  // the keeper listens for the end of the test alone
    keeper_wire_ = -1;
    return group_.enter();
  }

  // Returns when every process in it is frozen.
  void freeze() const {
    set(true);
    wait_until([&] { return is_frozen(); });
  }
  void thaw() const { set(false); }

 private:
  void set(bool frozen) const {
    if (is_v1_) {
      group_.put("freezer.state", frozen ? "FROZEN" : "THAWED");
    } else {
      group_.put("cgroup.freeze", frozen ? "1" : "0");
    }
  }
  bool is_frozen() const {
    std::ifstream file(group_.path() + (is_v1_ ? "/freezer.state" : "/cgroup.events"));
    for (std::string line; std::getline(file, line);) {
      if (line == "FROZEN" || line == "frozen 1") return true;
    }
    return false;
  }

  // Thaws and ends what is in the group when this test is gone, however it ended: in
  // version 1 even a killed process stays as long as it is frozen.
  void start_keeper() {
    int wire[2];
    if (pipe2(wire, O_CLOEXEC) != 0) return;
    keeper_ = fork();
    if (keeper_ != 0) {
      close(wire[0]);
      keeper_wire_ = wire[1];
      return;
    }
    close(wire[1]);
    setsid();  // a signal to the test's group must not end it
    char byte;
    while (read(wire[0], &byte, 1) < 0) {
    }
    set(false);
    for (int attempts = 0; attempts < 5000 && rmdir(group_.path().c_str()) != 0; ++attempts) {
      end_members();
      pause_ms(1);
    }
    _exit(0);
  }
  void end_members() const {
    std::ifstream members(group_.path() + "/cgroup.procs");
    for (pid_t member = 0; members >> member;) kill(member, SIGKILL);
  }

  ControlGroup group_;
  bool is_v1_ = false;
  pid_t keeper_ = -1;
  int keeper_wire_ = -1;
};

}  // namespace test
