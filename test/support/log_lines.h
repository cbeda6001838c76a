// SPDX-License-Identifier: MIT
// What the library logs in this process.
#pragma once

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "support/link.h"

namespace test {

// All lines of this process while it stands.
class Lines {
 public:
  Lines() { eshm_set_log_callback(&Lines::note, this); }
  ~Lines() { eshm_set_log_callback(nullptr, nullptr); }

  size_t count_of(const std::string& piece) {
    const std::lock_guard<std::mutex> lock(mutex_);
    size_t found = 0;
    for (const auto& [level, line] : lines_) found += line.find(piece) != std::string::npos;
    return found;
  }
  void wait_for(const std::string& piece, ESHMLogLevel level) {
    wait_until([&] { return count_of(piece) > 0; });
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [of_line, line] : lines_) {
      const bool is_it = line.find(piece) != std::string::npos;
      EXPECT_TRUE(!is_it || of_line == level) << line;
    }
  }

 private:
  static void note(ESHMLogLevel level, const char* line, void* self) {
    Lines& lines = *static_cast<Lines*>(self);
    const std::lock_guard<std::mutex> lock(lines.mutex_);
    lines.lines_.emplace_back(level, line);
  }
  std::mutex mutex_;
  std::vector<std::pair<ESHMLogLevel, std::string>> lines_;
};

}  // namespace test
