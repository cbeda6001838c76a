// SPDX-License-Identifier: MIT
// What the tests of a run have done, counted over all of them: scripts/soak.sh
// adds the lines up.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace test {

// One line "tally: WHAT COUNT" at the end of the file that ESHM_TALLY names;
// without one nothing is counted. WHAT is one word. With `whose` the count is of
// what is the same each time: it counts once, however often it is told.
inline void tally(const char* what, uint64_t count, std::string whose = "") {
  const char* const path = std::getenv("ESHM_TALLY");
  if (path == nullptr || count == 0) return;
  std::replace(whose.begin(), whose.end(), ' ', '_');
  const std::string line =
      "tally: " + std::string(what) + " " + std::to_string(count) + " " + whose + "\n";
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0 || write(file, line.data(), line.size()) != ssize_t(line.size())) {
    std::perror(path);
    std::abort();
  }
  close(file);
}

}  // namespace test
