// SPDX-License-Identifier: MIT
// Prints how fast a link is on this machine, beside the floors that it has to
// stay above. Ends by itself; fails only if no message came through.
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "eshm.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kFloorWritesPerSecond = 3.3e6;
constexpr double kFloorReadNs = 100;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

ESHMConfig config_of(const std::string& name, ESHMRole role) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = role;
  config.stale_threshold_ms = 10000;
  return config;
}

int fail(const char* what) {
  std::printf("%s: %s\n", what, eshm_last_error(nullptr));
  return 1;
}

void print_writes(const char* what, uint64_t writes, double seconds) {
  std::printf("%-44s %10.2f M/s   (floor %.1f M/s)\n", what,
              static_cast<double>(writes) / seconds / 1e6, kFloorWritesPerSecond / 1e6);
}

// Nobody reads.
bool writes_alone(ESHMHandle* master) {
  char message[64] = {};
  const uint64_t writes = 5000000;
  const Clock::time_point start = Clock::now();
  for (uint64_t i = 0; i < writes; ++i) {
    if (eshm_write(master, message, sizeof message) != ESHM_SUCCESS) return false;
  }
  print_writes("writes of 64 bytes, alone", writes, seconds_since(start));
  return true;
}

// What a read costs that finds an unread message; the write beside it and the
// clock are taken off by a second loop.
bool reads_of_unread(ESHMHandle* master, ESHMHandle* slave) {
  char message[64] = {};
  const int rounds = 2000000;
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < rounds; ++i) {
    if (eshm_write(master, message, sizeof message) != ESHM_SUCCESS) return false;
  }
  const double writes_only = seconds_since(start);
  const Clock::time_point again = Clock::now();
  for (int i = 0; i < rounds; ++i) {
    if (eshm_write(master, message, sizeof message) != ESHM_SUCCESS) return false;
    if (eshm_read_ex(slave, message, sizeof message, nullptr, 0) != ESHM_SUCCESS) return false;
  }
  const double both = seconds_since(again);
  std::printf("%-44s %10.1f ns    (floor %.0f ns)\n", "read of an unread message of 64 bytes",
              (both - writes_only) / rounds * 1e9, kFloorReadNs);
  return true;
}

// A slave that reads until an empty message comes, and answers how many it got.
[[noreturn]] void run_reader(const std::string& name) {
  ESHMHandle* slave = [&] {
    const ESHMConfig config = config_of(name, ESHM_ROLE_SLAVE);
    return eshm_init(&config);
  }();
  if (!slave) _exit(1);
  eshm_write(slave, nullptr, 0);  // here
  char message[64];
  uint64_t messages = 0;
  while (eshm_read_ex(slave, message, sizeof message, nullptr, 5000) == ESHM_SUCCESS) {
    ++messages;
    if (message[0] == 'e') break;
  }
  eshm_write(slave, &messages, sizeof messages);
  eshm_read_ex(slave, message, sizeof message, nullptr, 5000);
  eshm_destroy(slave);
  _exit(0);
}

// A slave that sends back all it gets, until an 'e' comes.
[[noreturn]] void run_echo(const std::string& name) {
  ESHMHandle* slave = [&] {
    const ESHMConfig config = config_of(name, ESHM_ROLE_SLAVE);
    return eshm_init(&config);
  }();
  if (!slave) _exit(1);
  eshm_write(slave, nullptr, 0);  // here
  char message[64];
  for (;;) {
    size_t bytes = 0;
    if (eshm_read_ex(slave, message, sizeof message, &bytes, 5000) != ESHM_SUCCESS) break;
    if (message[0] == 'e') break;
    eshm_write(slave, message, bytes);
  }
  eshm_destroy(slave);
  _exit(0);
}

template <class Body>
pid_t start_child(Body body, const std::string& name) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(40);
    body(name);
  }
  return pid;
}

// Against a reading process.
bool writes_against_reader(const std::string& name) {
  const pid_t pid = start_child(run_reader, name);
  const ESHMConfig config = config_of(name, ESHM_ROLE_MASTER);
  ESHMHandle* master = eshm_init(&config);
  char message[64] = {};
  uint64_t messages = 0;
  bool came_through = master != nullptr && eshm_read_ex(master, message, 0, nullptr, 10000) == 0;
  if (came_through) {
    const uint64_t writes = 3000000;
    const Clock::time_point start = Clock::now();
    for (uint64_t i = 0; i < writes; ++i) eshm_write(master, message, sizeof message);
    print_writes("writes of 64 bytes against a reading process", writes, seconds_since(start));
    eshm_write(master, "end", 3);
    came_through =
        eshm_read_ex(master, &messages, sizeof messages, nullptr, 10000) == ESHM_SUCCESS &&
        messages > 0;
    std::printf("%-44s %10llu of %llu\n", "  of which the reader took",
                static_cast<unsigned long long>(messages),
                static_cast<unsigned long long>(writes + 1));
    eshm_write(master, "end", 3);
  }
  waitpid(pid, nullptr, 0);
  eshm_destroy(master);
  return came_through;
}

// Half a round trip between two processes.
bool one_way(const std::string& name, const char* what, uint32_t spin_us, int rounds) {
  const pid_t pid = start_child(run_echo, name);
  ESHMConfig config = config_of(name, ESHM_ROLE_MASTER);
  config.spin_us = spin_us;
  ESHMHandle* master = eshm_init(&config);
  char message[64] = {};
  bool came_through = master != nullptr && eshm_read_ex(master, message, 0, nullptr, 10000) == 0;
  std::vector<double> half_trips_us;
  for (int i = 0; came_through && i < rounds; ++i) {
    const Clock::time_point start = Clock::now();
    eshm_write(master, message, sizeof message);
    came_through = eshm_read_ex(master, message, sizeof message, nullptr, 10000) == ESHM_SUCCESS;
    half_trips_us.push_back(seconds_since(start) / 2 * 1e6);
  }
  if (came_through) {
    std::sort(half_trips_us.begin(), half_trips_us.end());
    std::printf("%-44s %10.2f us    (99 %%: %.2f us)\n", what,
                half_trips_us[half_trips_us.size() / 2],
                half_trips_us[half_trips_us.size() * 99 / 100]);
    eshm_write(master, "end", 3);
  }
  waitpid(pid, nullptr, 0);
  eshm_destroy(master);
  return came_through;
}

}  // namespace

int main() {
  alarm(44);  // whatever hangs
  const std::string name = "performance_" + std::to_string(getpid());
  std::printf("ESHM %s\n", eshm_version());
  {
    const ESHMConfig master_config = config_of(name, ESHM_ROLE_MASTER);
    const ESHMConfig slave_config = config_of(name, ESHM_ROLE_SLAVE);
    ESHMHandle* master = eshm_init(&master_config);
    ESHMHandle* slave = master ? eshm_init(&slave_config) : nullptr;
    const bool done = slave && writes_alone(master) && reads_of_unread(master, slave);
    if (!done) return fail("within one process");
    eshm_destroy(slave);
    eshm_destroy(master);
  }
  if (!writes_against_reader(name)) return fail("against a reading process");
  if (!one_way(name, "one way, 64 bytes, adaptive wait", ESHM_SPIN_ADAPTIVE, 200000) ||
      !one_way(name, "one way, 64 bytes, parked reader", 0, 20000)) {
    return fail("between two processes");
  }
  return 0;
}
