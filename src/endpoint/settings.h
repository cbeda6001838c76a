// SPDX-License-Identifier: MIT
// What eshm_init was asked for, checked and with every default filled in. The defaults
// are eshm_default_config's: no field has one here.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "eshm_data.h"
#include "layout/segment.h"
#include "os/clock.h"
#include "os/shm_object.h"
#include "os/thread.h"

namespace eshm::endpoint {

struct Interrupt {
  int (*call)(void*) = nullptr;
  void* context = nullptr;

  bool is_set() const { return call != nullptr; }
  bool requested() const { return call != nullptr && call(context) != 0; }
};

constexpr uint64_t kHeartbeatIntervalNs = ESHM_HEARTBEAT_INTERVAL_MS * os::kNsPerMs;
constexpr uint32_t kMaxPeriodMs = 3'600'000;  // of a stale threshold or a retry interval
constexpr uint32_t kInterruptIntervalMs = 50;
constexpr uint32_t kLongestParkMs = 500;

// As the configuration's field is called.
inline const char* name_of(layout::Direction direction) {
  return direction == layout::kMasterToSlave ? "m2s" : "s2m";
}

struct Settings {
  std::string name;
  ESHMRole role;
  ESHMDisconnectBehavior disconnect_behavior;
  uint32_t stale_threshold_ms;
  uint32_t reconnect_wait_ms;            // 0: no limit
  uint32_t reconnect_retry_interval_ms;
  uint32_t max_reconnect_attempts;       // 0: no limit
  bool auto_cleanup;
  bool use_threads;
  ESHMBackend backend;
  layout::ChannelShape shape[2];         // by layout::Direction
  std::string type_text[2];
  uint32_t spin_us;
  mode_t permissions;
  uint32_t flags;                        // ESHM_FLAG_...
  ESHMUnread unread_policy;              // of a master
  Interrupt interrupt;
  os::Scheduling scheduling;             // of the library's threads
  os::CpuSet callers_cpus;               // those of the caller of eshm_init
  os::FileId names_directory;            // /dev/shm at eshm_init
};

// How often a watcher checks its peer: a stale peer is reported within 1.25 times the
// threshold, and an exit that no pidfd reports within 10 ms.
inline uint64_t check_interval_ns(const Settings& settings) {
  return std::clamp<uint64_t>(settings.stale_threshold_ms * os::kNsPerMs / 4, os::kNsPerMs,
                              10 * os::kNsPerMs);
}

// How much of the time between two checks counts as the peer's silence: 1.5 times the
// interval that is planned, but so much that a hang is found within six checks.
inline uint64_t longest_gap_ns(uint64_t interval_ns, uint64_t threshold_ns) {
  return std::max(interval_ns + interval_ns / 2, (threshold_ns + 5) / 6);
}

// A park is cut into pieces: the writer may be stopped between its publication
// and its wake, and without threads the waiting call itself must beat.
inline uint64_t longest_park_ns(const Settings& settings) {
  if (!settings.use_threads) return kHeartbeatIntervalNs;
  return std::min<uint64_t>(settings.stale_threshold_ms * os::kNsPerMs / 2,
                            kLongestParkMs * os::kNsPerMs);
}

}  // namespace eshm::endpoint
