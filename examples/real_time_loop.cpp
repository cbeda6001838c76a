// SPDX-License-Identifier: MIT
// A control loop at 1 kHz, and the program that tells it what to do.
//   real_time_loop controller [name] [seconds] [core]    in one terminal
//   real_time_loop planner [name] [seconds]              in another
// The controller keeps its rhythm whatever becomes of the planner.
#include <sched.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "eshm.hpp"

namespace {

using namespace std::chrono_literals;

struct State {
  std::uint64_t cycle;
  double position;
};
ESHM_DESCRIBE(State, cycle, position);

struct Command {
  std::uint64_t answers;  // the cycle that the planner had seen
  double target;
};
ESHM_DESCRIBE(Command, answers, target);

constexpr std::int64_t kPeriodNs = 1'000'000;
constexpr int kPriority = 50;  // above what may wait, below the kernel's own threads
constexpr std::uint64_t kCyclesWithoutCommand = 100;
constexpr std::size_t kStackBytes = 64 * 1024;

// A real controller should stop here. The example says what is missing and continues.
void report(const char* what, int error) {
  if (error != 0) std::fprintf(stderr, "%s: %s; continuing without\n", what, std::strerror(error));
}

// No page fault later: what is mapped now, and what will be, stays in memory.
void lock_memory() {
  report("mlockall", mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : errno);
  volatile char stack[kStackBytes];
  for (std::size_t page = 0; page < kStackBytes; page += 4096) stack[page] = 0;
  (void)stack[0];
}

// The calling thread alone. Threads that exist already keep their cores and policy.
void become_real_time(int core) {
  if (core >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    report("sched_setaffinity", sched_setaffinity(0, sizeof set, &set) == 0 ? 0 : errno);
  }
  sched_param param = {};
  param.sched_priority = kPriority;
  report("SCHED_FIFO", sched_setscheduler(0, SCHED_FIFO, &param) == 0 ? 0 : errno);
}

std::int64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void sleep_until(std::int64_t moment_ns) {
  const timespec until = {static_cast<time_t>(moment_ns / 1'000'000'000),
                          static_cast<long>(moment_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

int control(const std::string& name, int seconds, int core) {
  // Opened first, so that the library's threads run on any core, without a priority.
  eshm::Link link(eshm::Config(name)
                      .role(eshm::Role::kMaster)
                      .stale_threshold(100ms)
                      .flags(ESHM_FLAG_PREFAULT)
                      .sends<State>()
                      .receives<Command>());
  eshm::Sender<State> states(link);
  eshm::Receiver<Command> commands(link);
  lock_memory();
  become_real_time(core);

  State state = {};
  Command command = {};
  std::uint64_t received = 0, silent_cycles = 0;
  std::int64_t worst_ns = 0;
  std::int64_t next_ns = now_ns() + kPeriodNs;
  for (const std::int64_t end_ns = next_ns + seconds * 1'000'000'000LL; next_ns < end_ns;
       next_ns += kPeriodNs) {
    sleep_until(next_ns);
    worst_ns = std::max(worst_ns, now_ns() - next_ns);

    // Neither call waits. No planner, a dead one and a new one are all the same here.
    ++silent_cycles;
    if (const auto got = commands.read(eshm::kNoWait)) {
      command = *got;
      ++received;
      silent_cycles = 0;
    }
    // Old commands are not followed for ever: hold the position instead.
    if (silent_cycles < kCyclesWithoutCommand) {
      state.position += (command.target - state.position) * 0.01;
    }
    ++state.cycle;
    (void)states.write(state);  // the newest state replaces it soon
  }
  std::printf("%llu cycles, %llu commands, woke at most %lld us late\n",
              static_cast<unsigned long long>(state.cycle),
              static_cast<unsigned long long>(received), static_cast<long long>(worst_ns / 1000));
  return 0;
}

// An ordinary process: it waits for states, and may be killed and started again.
int plan(const std::string& name, int seconds) {
  eshm::Link link(eshm::Config(name)
                      .role(eshm::Role::kSlave)
                      .sends<Command>()
                      .receives<State>());
  eshm::Sender<Command> commands(link);
  eshm::Receiver<State> states(link);
  std::uint64_t seen = 0;
  for (const std::int64_t end_ns = now_ns() + seconds * 1'000'000'000LL; now_ns() < end_ns;) {
    const auto state = states.read(100ms);
    if (!state) continue;  // no controller at the moment
    ++seen;
    (void)commands.write({state->cycle, 1.0});  // fails while the controller is away
  }
  std::printf("%llu states\n", static_cast<unsigned long long>(seen));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  const std::string name = argc > 2 ? argv[2] : "eshm_real_time_loop";
  const int seconds = argc > 3 ? std::atoi(argv[3]) : 10;
  const int core = argc > 4 ? std::atoi(argv[4]) : -1;  // -1: any
  try {
    if (role == "controller") return control(name, seconds, core);
    if (role == "planner") return plan(name, seconds);
  } catch (const eshm::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "real_time_loop controller|planner [name] [seconds] [core]\n");
  return 2;
}
