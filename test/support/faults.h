// SPDX-License-Identifier: MIT
// Makes allocations and system calls fail, the library's among them: for a test
// that links it statically, with eshm_faults (test/CMakeLists.txt).
#pragma once

#include <cstdint>
#include <functional>

namespace test::faults {

// The n-th of this thread from now on (1: the next), or all from there on.
void fail_allocation(uint64_t n, bool all_behind_it = false);
void fail_call(uint64_t n, int error_number);
// No more. Answers whether one has failed.
bool stop();

// One in so many of all other threads; 0: none. Answers of it come by chance.
void fail_allocations_elsewhere(uint32_t one_in);
void fail_calls_elsewhere(uint32_t one_in, int error_number);
uint64_t failed_elsewhere();

// Run once, by whichever other thread comes there next.
enum Moment { kBeforeALockProbe, kAfterALockProbe, kMoments };
void at_next(Moment moment, std::function<void()> act);

}  // namespace test::faults
