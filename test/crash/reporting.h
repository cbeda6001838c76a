// SPDX-License-Identifier: MIT
// What the crash tests say, and when they cannot run.
#pragma once

#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "crash/memory.h"
#include "crash/stepper.h"
#include "support/tally.h"

namespace test {

inline std::string all_of(const std::vector<std::string>& faults) {
  std::string text;
  for (const std::string& fault : faults) text += "\n  " + fault;
  return text;
}

// Of one test the same each time.
inline void tally_images(const std::string& what, uint64_t images,
                         const char* kind = "kill_points") {
  const testing::TestInfo& self = *testing::UnitTest::GetInstance()->current_test_info();
  tally(kind, images, std::string(self.test_suite_name()) + "." + self.name() + "," + what);
}

inline void print(const std::string& what, const Tally& tally, const char* kind = "kill_points") {
  std::printf("%s: %llu steps, %llu changed shared bytes, %llu different images\n", what.c_str(),
              static_cast<unsigned long long>(tally.steps),
              static_cast<unsigned long long>(tally.changes),
              static_cast<unsigned long long>(tally.images));
  tally_images(what, tally.images, kind);
}

}  // namespace test

#define SKIP_WITHOUT_STEPS()                              \
  do {                                                    \
    const std::string why_not = test::Stepper::why_not(); \
    if (!why_not.empty()) GTEST_SKIP() << why_not;        \
  } while (false)
