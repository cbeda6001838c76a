// SPDX-License-Identifier: MIT
#include "crash/own_steps.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <unordered_set>
#include <vector>

#include "crash/stepper.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace test {

#if defined(__x86_64__)

namespace {

constexpr unsigned long long kTrapFlag = 0x100;

// A signal's handler fills it: nothing is allocated there.
struct Record {
  const ChannelMemory* memory = nullptr;
  std::vector<Image> images;  // as many as may be
  size_t kept = 0;
  uint64_t steps = 0;
};
Record record;

void keep() {
  if (record.kept == record.images.size()) std::abort();
  record.memory->copy_to(record.images[record.kept++]);
}

void after_a_step(int) {
  ++record.steps;
  if (!record.memory->equals(record.images[record.kept - 1])) keep();
}

}  // namespace

void begin_steps() { __writeeflags(__readeflags() | kTrapFlag); }
void end_steps() { __writeeflags(__readeflags() & ~kTrapFlag); }

Tally step_through_own(const ChannelMemory& memory, const std::function<void()>& body,
                       const std::function<void(const Image&)>& visit) {
  constexpr size_t kMostChanges = 1000;
  const Image first = memory.image();
  record.images.resize(kMostChanges);
  for (Image& image : record.images) image.resize(first.size());
  record.memory = &memory;
  record.kept = 0;
  record.steps = 0;
  keep();

  struct sigaction trap = {}, before = {};
  trap.sa_handler = after_a_step;
  sigaction(SIGTRAP, &trap, &before);
  body();
  sigaction(SIGTRAP, &before, nullptr);

  Tally tally;
  tally.steps = record.steps;
  tally.changes = record.kept - 1;
  std::unordered_set<size_t> seen;
  for (size_t i = 0; i < record.kept; ++i) {
    if (!seen.insert(hash_of(record.images[i])).second) continue;
    ++tally.images;
    visit(record.images[i]);
  }
  return tally;
}

#else

void begin_steps() {}
void end_steps() {}

Tally step_through_own(const ChannelMemory& memory, const std::function<void()>& body,
                       const std::function<void(const Image&)>& visit) {
  Stepper child([&] {
    mark();
    body();
    mark();
    return 0;
  });
  EXPECT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  return step_through(child, memory, visit);
}

#endif

}  // namespace test
