// SPDX-License-Identifier: MIT
// What a process has of descriptors, threads and mappings, for tests of leaks.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "support/link.h"

namespace test {

template <class Visit>
void for_each_entry(const char* directory, Visit visit) {
  DIR* const open_one = opendir(directory);
  while (const dirent* entry = readdir(open_one)) {
    if (entry->d_name[0] != '.') visit(entry->d_name);
  }
  closedir(open_one);
}

inline size_t entries_of(const char* directory) {
  size_t found = 0;
  for_each_entry(directory, [&](const char*) { ++found; });
  return found;
}

inline size_t mappings_of_links() {
  std::ifstream maps("/proc/self/maps");
  size_t found = 0;
  for (std::string line; std::getline(maps, line);) {
    found += line.find("eshm_") != std::string::npos || line.find("/dev/shm") != std::string::npos ||
             line.find("/SYSV") != std::string::npos;
  }
  return found;
}

struct Possessions {
  size_t descriptors = entries_of("/proc/self/fd");
  size_t threads = entries_of("/proc/self/task");
  size_t mappings = mappings_of_links();
};

inline bool operator==(const Possessions& one, const Possessions& other) {
  return one.descriptors == other.descriptors && one.threads == other.threads &&
         one.mappings == other.mappings;
}

// The service thread opens and closes what it needs a little after the fact.
inline Possessions settled() {
  Possessions last;
  for (int quiet = 0; quiet < 100; ++quiet) {
    pause_ms(1);
    const Possessions now;
    if (!(now == last)) quiet = 0;
    last = now;
  }
  return last;
}

// A thread that was joined may be in /proc for a moment yet. A leak never ends this.
inline void wait_for(const Possessions& before) {
  wait_until([&] { return Possessions() == before; });
}

inline void expect_same(const Possessions& before, const Possessions& after) {
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.mappings, before.mappings);
}

}  // namespace test
