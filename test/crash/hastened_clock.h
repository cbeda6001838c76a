// SPDX-License-Identifier: MIT
// The monotonic clock that the library sees in this process, which a test may put
// forward: what waits for its time to come is due at once. For a test that links the
// library statically, with these calls wrapped (test/CMakeLists.txt). Timeouts of futexes
// know nothing of it: no call may wait for a message.
#pragma once

#include <cstdint>

namespace test {

void hasten_clock(uint64_t ms);
// It stands still until it is put forward: nothing comes due meanwhile.
void hold_clock();

}  // namespace test
