// SPDX-License-Identifier: MIT
// eshm.h as a C++11 program includes it; the numbers that programs rely on.
// Compiled, never run.
#include "eshm.h"
#include "eshm_data.h"

static_assert(ESHM_ROLE_MASTER == 0 && ESHM_ROLE_SLAVE == 1 && ESHM_ROLE_AUTO == 2, "roles");
static_assert(ESHM_ROLE_OBSERVER == 3, "roles");
static_assert(ESHM_DISCONNECT_IMMEDIATELY == 0 && ESHM_DISCONNECT_ON_TIMEOUT == 1 &&
                  ESHM_DISCONNECT_NEVER == 2,
              "disconnect behaviours");
static_assert(ESHM_SUCCESS == 0 && ESHM_ERROR_INVALID_PARAM == -1, "errors");
static_assert(ESHM_ERROR_SHM_CREATE == -2 && ESHM_ERROR_SHM_ATTACH == -3 &&
                  ESHM_ERROR_SHM_DETACH == -4 && ESHM_ERROR_SHM_DELETE == -5,
              "errors");
static_assert(ESHM_ERROR_MUTEX_INIT == -6 && ESHM_ERROR_MUTEX_LOCK == -7 &&
                  ESHM_ERROR_MUTEX_UNLOCK == -8,
              "errors");
static_assert(ESHM_ERROR_NO_DATA == -9 && ESHM_ERROR_TIMEOUT == -10 &&
                  ESHM_ERROR_MASTER_STALE == -11,
              "errors");
static_assert(ESHM_ERROR_BUFFER_FULL == -12 && ESHM_ERROR_BUFFER_TOO_SMALL == -13 &&
                  ESHM_ERROR_NOT_INITIALIZED == -14 && ESHM_ERROR_ROLE_MISMATCH == -15,
              "errors");
static_assert(ESHM_ERROR_CORRUPT == -16 && ESHM_ERROR_SUPERSEDED == -17 &&
                  ESHM_ERROR_INTERRUPTED == -18 && ESHM_ERROR_TYPE_MISMATCH == -19 &&
                  ESHM_ERROR_PERMISSION == -20 && ESHM_ERROR_UNSUPPORTED == -21,
              "errors");
static_assert(ESHM_BACKEND_POSIX == 0 && ESHM_BACKEND_SYSV == 1, "backends");
static_assert(ESHM_DELIVERY_LATEST == 0 && ESHM_DELIVERY_QUEUE == 1, "deliveries");
static_assert(ESHM_UNREAD_KEEP == 0 && ESHM_UNREAD_DROP == 1, "unread policies");
static_assert(ESHM_PEER_NEVER_SEEN == 0 && ESHM_PEER_ALIVE == 1 && ESHM_PEER_STALE == 2 &&
                  ESHM_PEER_DEAD == 3 && ESHM_PEER_LEFT == 4,
              "peer states");
static_assert(ESHM_EVENT_CONNECTED == 0 && ESHM_EVENT_STALE == 1 && ESHM_EVENT_ALIVE == 2 &&
                  ESHM_EVENT_DEAD == 3 && ESHM_EVENT_LEFT == 4 && ESHM_EVENT_RECONNECTED == 5 &&
                  ESHM_EVENT_SUPERSEDED == 6 && ESHM_EVENT_GAVE_UP == 7 &&
                  ESHM_EVENT_RENEWED == 8,
              "events");
static_assert(ESHM_FLAG_TIMESTAMPS == 1 && ESHM_FLAG_ALIGN_PAYLOAD == 2 &&
                  ESHM_FLAG_LOCK_MEMORY == 4 && ESHM_FLAG_PREFAULT == 8 &&
                  ESHM_FLAG_HUGE_PAGES == 16,
              "flags");
static_assert(ESHM_MAX_DATA_SIZE == 4096 && ESHM_HEARTBEAT_INTERVAL_MS == 1, "sizes");
static_assert(sizeof(ESHMConfig) == 256, "returned by value, so it can never grow");
static_assert(offsetof(ESHMConfig, thread_cpus) == 176 &&
                  offsetof(ESHMConfig, thread_policy) == 184 &&
                  offsetof(ESHMConfig, thread_priority) == 188 &&
                  offsetof(ESHMConfig, reserved) == 192,
              "in place of reserved words of release 0.1");

// The nine fields and the statistics that existing programs fill by position.
static_assert(offsetof(ESHMConfig, shm_name) == 0, "order");
static_assert(offsetof(ESHMConfig, shm_name) < offsetof(ESHMConfig, role), "order");
static_assert(offsetof(ESHMConfig, role) < offsetof(ESHMConfig, disconnect_behavior), "order");
static_assert(offsetof(ESHMConfig, disconnect_behavior) < offsetof(ESHMConfig, stale_threshold_ms),
              "order");
static_assert(offsetof(ESHMConfig, stale_threshold_ms) < offsetof(ESHMConfig, reconnect_wait_ms),
              "order");
static_assert(offsetof(ESHMConfig, reconnect_wait_ms) <
                  offsetof(ESHMConfig, reconnect_retry_interval_ms),
              "order");
static_assert(offsetof(ESHMConfig, reconnect_retry_interval_ms) <
                  offsetof(ESHMConfig, max_reconnect_attempts),
              "order");
static_assert(offsetof(ESHMConfig, max_reconnect_attempts) < offsetof(ESHMConfig, auto_cleanup),
              "order");
static_assert(offsetof(ESHMConfig, auto_cleanup) < offsetof(ESHMConfig, use_threads), "order");
static_assert(offsetof(ESHMConfig, use_threads) < offsetof(ESHMConfig, struct_size), "order");

static_assert(offsetof(ESHMStats, master_heartbeat) == 0, "order");
static_assert(offsetof(ESHMStats, slave_heartbeat) == 8, "order");
static_assert(offsetof(ESHMStats, master_pid) == 16, "order");
static_assert(offsetof(ESHMStats, slave_pid) == 20, "order");
static_assert(offsetof(ESHMStats, master_alive) == 24, "order");
static_assert(offsetof(ESHMStats, slave_alive) == 25, "order");
static_assert(offsetof(ESHMStats, stale_threshold) == 28, "order");
static_assert(offsetof(ESHMStats, master_heartbeat_delta) == 32, "order");
static_assert(offsetof(ESHMStats, slave_heartbeat_delta) == 40, "order");
static_assert(offsetof(ESHMStats, m2s_write_count) == 48, "order");
static_assert(offsetof(ESHMStats, m2s_read_count) == 56, "order");
static_assert(offsetof(ESHMStats, s2m_write_count) == 64, "order");
static_assert(offsetof(ESHMStats, s2m_read_count) == 72, "order");

// As programs may do it that know nine fields only: all by position, the rest 0.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
ESHMConfig nine_fields_by_position();
ESHMConfig nine_fields_by_position() {
  ESHMConfig config = {
      "cpp11", ESHM_ROLE_AUTO, ESHM_DISCONNECT_ON_TIMEOUT, 100, 5000, 100, 50, true, true};
  return config;
}
