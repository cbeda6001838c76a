// SPDX-License-Identifier: MIT
// What may stand in a channel when a call begins, and the calls.
#pragma once

#include <vector>

#include "crash/stepped_call.h"

namespace test {

constexpr size_t kShortMessage = 48;
constexpr size_t kLongMessage = 600;

Script operator+(Script one, const Script& other);
Script times(int count, const Script& script);

std::vector<Script> beginnings(ESHMDelivery delivery);
std::vector<Act> calls(bool of_writer);

// All that mean something: for each beginning and call in turn as master and as
// slave, with a peer that sleeps and without; in the long form each of the four,
// and all with long messages, too.
std::vector<Scene> scenes(ESHMDelivery delivery, bool of_writer);

}  // namespace test
