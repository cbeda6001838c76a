// SPDX-License-Identifier: MIT
// Which threads this process has.
#pragma once

#include <dirent.h>

#include <cstddef>
#include <fstream>
#include <string>

namespace test {

// A thread that was joined may still be seen for a moment: wait for the number.
inline size_t threads_named(const std::string& name) {
  size_t found = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* entry = readdir(tasks)) {
    std::ifstream file(std::string("/proc/self/task/") + entry->d_name + "/comm");
    std::string comm;
    found += std::getline(file, comm) && comm == name;
  }
  closedir(tasks);
  return found;
}

}  // namespace test
