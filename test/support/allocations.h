// SPDX-License-Identifier: MIT
// Counts what this thread allocates by operator new, the library included. For
// a test that has support/allocations.cpp among its sources.
#pragma once

#include <cstdint>

namespace test {

uint64_t allocations();

}  // namespace test
