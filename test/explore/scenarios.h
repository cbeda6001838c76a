// Threads that share a channel, and what each of them claims of what it gets.
#pragma once

#include <string>
#include <vector>

#include "explore/explorer.h"

namespace explore {

struct Scenario {
  const char* name;
  Outcome (*run)(bool is_long);
  // Takes minutes: otherwise only its counter-proofs are run, which end early.
  bool only_long = false;
};

// Of a channel: scenarios_latest.cpp and so on.
extern const std::vector<Scenario> latest_scenarios;
extern const std::vector<Scenario> queue_scenarios;
extern const std::vector<Scenario> parking_scenarios;

}  // namespace explore
