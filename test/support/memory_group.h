// A control group with a memory limit, for tests in which the kernel's
// out-of-memory killer comes.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "support/link.h"

namespace test {

// Version 1 or 2 of control groups, whichever keeps memory here.
class MemoryGroup {
 public:
  explicit MemoryGroup(uint64_t limit_bytes) {
    const std::string limit = std::to_string(limit_bytes);
    is_ready_ = make("/sys/fs/cgroup/memory" + own_path("memory"), "memory.limit_in_bytes", limit) ||
                make("/sys/fs/cgroup/memory", "memory.limit_in_bytes", limit) ||
                make("/sys/fs/cgroup" + own_path(""), "memory.max", limit) ||
                make("/sys/fs/cgroup", "memory.max", limit);
  }
  ~MemoryGroup() {
    // What was in it may still be on its way out.
    for (int attempts = 0; !path_.empty() && attempts < 5000; ++attempts) {
      if (rmdir(path_.c_str()) == 0) return;
      pause_ms(1);
    }
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  bool is_ready() const { return is_ready_; }
  const std::string& why_not() const { return why_not_; }
  // Moves the calling process into it.
  bool enter() const { return put(path_ + "/cgroup.procs", std::to_string(getpid())); }

 private:
  static std::string own_path(const std::string& controller) {
    std::ifstream lines("/proc/self/cgroup");
    for (std::string line; std::getline(lines, line);) {
      const size_t first = line.find(':');
      const size_t second = line.find(':', first + 1);
      if (line.substr(first + 1, second - first - 1) == controller) return line.substr(second + 1);
    }
    return {};
  }
  static bool put(const std::string& file, const std::string& text) {
    const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool is_done = write(fd, text.data(), text.size()) == ssize_t(text.size());
    close(fd);
    return is_done;
  }
  bool make(const std::string& parent, const char* limit_file, const std::string& limit) {
    path_ = parent + "/eshm_" + unique_name();
    if (mkdir(path_.c_str(), 0755) != 0) {
      why_not_ = "no control group can be made in " + parent;
      path_.clear();
      return false;
    }
    if (put(path_ + "/" + limit_file, limit)) return true;
    rmdir(path_.c_str());
    why_not_ = "a control group in " + parent + " gets no memory limit";
    path_.clear();
    return false;
  }

  bool is_ready_ = false;
  std::string path_;
  std::string why_not_;
};

}  // namespace test
