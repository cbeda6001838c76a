// SPDX-License-Identifier: MIT
// Each order, fence and check of the channels that a run can show to be needed,
// taken away; and those that none can, with the reason.
#pragma once

#include <string>
#include <vector>

#include "explore/sites.h"

namespace explore {

struct Counterproof {
  std::string label;  // of docs/PROTOCOL.md
  std::string what;   // is taken away
  std::vector<Change> changes;
  std::string scenario;  // that must fail
};

struct Uncaught {
  std::string label;
  Choice sites;
  std::string why;
};

extern const std::vector<Counterproof> counterproofs;
extern const std::vector<Uncaught> uncaught;

}  // namespace explore
