// SPDX-License-Identifier: MIT
// Explores threads that share one State: plain values that are set up once and
// put back before each run.
#pragma once

#include <new>
#include <type_traits>
#include <vector>

#include "explore/explorer.h"

namespace explore {

template <class State>
Outcome explore(void (*set_up)(State&), const std::vector<void (*)(State&)>& threads,
                const Plan& options = {}) {
  static_assert(std::is_trivially_copyable_v<State>);
  alignas(64) static std::byte memory[sizeof(State)];
  State& state = *new (memory) State();
  set_up(state);
  Plan plan = options;
  plan.memory = memory;
  plan.bytes = sizeof(State);
  for (auto* const thread : threads) plan.threads.push_back([thread, &state] { thread(state); });
  return explorer().explore(plan);
}

}  // namespace explore
