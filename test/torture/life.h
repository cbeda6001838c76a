// SPDX-License-Identifier: MIT
// One process of a link under torture: it talks until it is told to leave, or
// killed, and checks all that it reads.
#pragma once

#include <cstdint>

#include "eshm.h"
#include "torture/ledger.h"

namespace torture {

// The watchdog: what lasts longer hangs. Far above a single test's elsewhere,
// since ends of so many processes may keep the kernel busy for seconds.
unsigned patience_seconds();

// A writer that breaks a promise, for the proof that the readers find it.
enum class Sin {
  kNone,
  kTearsMessages,   // the end of one is another's
  kRepeats,         // writes the same number twice
  kGoesBack,        // writes an old number
  kLosesMessages,   // says that it wrote what it did not
  kBreaksRefusals,  // says that it did not write what it wrote
};

struct Task {
  ESHMConfig config;
  uint64_t number;  // the life's own, above those before it
  uint64_t dice;    // what it does, and at which pace
  Sin sin;
};

constexpr int kLeft = 0;
constexpr int kSuperseded = 3;
constexpr int kFailed = 4;  // it has complained

// In a forked process; answers its exit code.
int live(const Task& task, Record& record, Life& life);

}  // namespace torture
