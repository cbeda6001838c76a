// SPDX-License-Identifier: MIT
// A control group of a test's own, version 1 or 2, whichever the machine has.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>

#include "support/link.h"

namespace test {

inline bool put_into_file(const std::string& file, const std::string& text) {
  const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_done = write(fd, text.data(), text.size()) == ssize_t(text.size());
  close(fd);
  return is_done;
}

// This process's path in the hierarchy of a version 1 controller; "" means version 2.
inline std::string own_group_path(const std::string& controller) {
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (line.substr(first + 1, second - first - 1) == controller) return line.substr(second + 1);
  }
  return {};
}

class ControlGroup {
 public:
  ControlGroup() = default;
  ~ControlGroup() {
    // What was in it may still be on its way out.
    for (int attempts = 0; !path_.empty() && attempts < 5000; ++attempts) {
      if (rmdir(path_.c_str()) == 0 || errno == ENOENT) return;
      pause_ms(1);
    }
  }
  ControlGroup(const ControlGroup&) = delete;
  ControlGroup& operator=(const ControlGroup&) = delete;

  // A group in `parent` whose `file` takes `text`. False: why_not() says what failed.
  bool make(const std::string& parent, const std::string& file, const std::string& text) {
    path_ = parent + "/eshm_" + unique_name();
    if (mkdir(path_.c_str(), 0755) != 0) {
      why_not_ = "no control group can be made in " + parent;
      path_.clear();
      return false;
    }
    if (put(file, text)) return true;
    rmdir(path_.c_str());
    why_not_ = "a control group in " + parent + " does not take " + text + " in " + file;
    path_.clear();
    return false;
  }

  bool is_there() const { return !path_.empty(); }
  const std::string& path() const { return path_; }
  const std::string& why_not() const { return why_not_; }
  bool put(const std::string& file, const std::string& text) const {
    return put_into_file(path_ + "/" + file, text);
  }
  // Moves the calling process into it.
  bool enter() const { return put("cgroup.procs", std::to_string(getpid())); }

 private:
  std::string path_;
  std::string why_not_;
};

}  // namespace test
