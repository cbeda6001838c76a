// SPDX-License-Identifier: MIT
// How much a test does, and with which random numbers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace test {

// ESHM_SOAK=1 asks for the long form of every count.
inline bool soak() { return std::getenv("ESHM_SOAK") != nullptr; }

inline uint64_t count(uint64_t short_form, uint64_t long_form) {
  return soak() ? long_form : short_form;
}

// A whole test must be over in this time on a machine that is not overloaded; it is far
// above what any needs.
inline unsigned watchdog_seconds() {
  return soak() ? std::max(3600, 45 * ESHM_TEST_PATIENCE) : 45 * ESHM_TEST_PATIENCE;
}

// Ends this process by SIGALRM when `seconds` are over, if the machine had time for it: the
// seconds are multiplied by the load per processor at that moment, up to 10 times.
// alarm(0) ends the watch; a forked child arms its own.
void arm_watchdog(unsigned seconds = watchdog_seconds(), const char* load_file = "/proc/loadavg");

// ESHM_SEED repeats a run.
inline uint64_t seed() {
  static const uint64_t value = [] {
    const char* text = std::getenv("ESHM_SEED");
    return text ? std::strtoull(text, nullptr, 0) : std::random_device{}();
  }();
  return value;
}

// Of many points every so many-th, beginning where the seed says.
struct Part {
  uint64_t stride;
  uint64_t begin = seed() % stride;

  // As many seeds in a row as there are parts do them all.
  std::string text() const {
    return "part " + std::to_string(begin + 1) + " of " + std::to_string(stride);
  }
};

// Random numbers that a failing test names, so that it can be repeated.
class Random {
 public:
  Random() : engine_(seed()), trace_(__FILE__, __LINE__, "ESHM_SEED=" + std::to_string(seed())) {}

  uint64_t up_to(uint64_t largest) {
    return std::uniform_int_distribution<uint64_t>(0, largest)(engine_);
  }

 private:
  std::mt19937_64 engine_;
  testing::ScopedTrace trace_;
};

}  // namespace test
