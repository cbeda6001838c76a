// SPDX-License-Identifier: MIT
// A call that this very process makes in single steps: a trap after each
// instruction, instead of two switches between processes. For memory that is this
// process's own; whoever dies in such a call lives on in fact, so what it left is
// kept, to be looked at afterwards.
#pragma once

#include <functional>

#include "crash/memory.h"

namespace test {

// Within step_through_own(): only what lies between these two is stepped.
void begin_steps();
void end_steps();

// Visits the memory as it was before the first step, and each different image
// that a step made.
Tally step_through_own(const ChannelMemory& memory, const std::function<void()>& body,
                       const std::function<void(const Image&)>& visit);

}  // namespace test
