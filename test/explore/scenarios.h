// SPDX-License-Identifier: MIT
// Threads that share a channel, and what each of them claims of what it gets.
#pragma once

#include <string>
#include <vector>

#include "explore/explorer.h"

namespace explore {

struct Scenario {
  const char* name;
  Outcome (*run)(bool is_long);
  // All of it takes minutes: the short form searches the first runs, and ends there.
  bool is_part_if_short = false;
};

// Of a channel: scenarios_latest.cpp and so on.
extern const std::vector<Scenario> latest_scenarios;
extern const std::vector<Scenario> queue_scenarios;
extern const std::vector<Scenario> parking_scenarios;

}  // namespace explore
