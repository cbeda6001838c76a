// SPDX-License-Identifier: MIT
// Prints the defaults as README.md writes them, one `name=text` a line, for
// documented_defaults.sh.
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "eshm.h"

namespace {

const char* text_of(bool value) { return value ? "true" : "false"; }

const char* text_of(ESHMRole role) {
  switch (role) {
    case ESHM_ROLE_MASTER:
      return "`ESHM_ROLE_MASTER`";
    case ESHM_ROLE_SLAVE:
      return "`ESHM_ROLE_SLAVE`";
    case ESHM_ROLE_AUTO:
      return "`ESHM_ROLE_AUTO`";
    case ESHM_ROLE_OBSERVER:
      return "`ESHM_ROLE_OBSERVER`";
  }
  return "?";
}

const char* text_of(ESHMDisconnectBehavior behavior) {
  switch (behavior) {
    case ESHM_DISCONNECT_IMMEDIATELY:
      return "`ESHM_DISCONNECT_IMMEDIATELY`";
    case ESHM_DISCONNECT_ON_TIMEOUT:
      return "`_ON_TIMEOUT`";
    case ESHM_DISCONNECT_NEVER:
      return "`_NEVER`";
  }
  return "?";
}

void print_bytes(uint64_t bytes) {
  const bool is_mebibytes = bytes != 0 && bytes % (1 << 20) == 0;
  std::printf("%" PRIu64 " %s", is_mebibytes ? bytes >> 20 : bytes, is_mebibytes ? "MiB" : "bytes");
}

void print_channel(const char* name, const ESHMChannelConfig& channel) {
  std::printf("%s=%s, ", name,
              channel.delivery == ESHM_DELIVERY_LATEST ? "newest value" : "queue");
  print_bytes(channel.max_message_size);
  std::printf(", ");
  print_bytes(channel.queue_capacity);
  std::printf(", %u, %u, %s\n", channel.max_borrows, channel.max_loans,
              channel.type.text == nullptr ? "none" : channel.type.text);
}

}  // namespace

int main() {
  const ESHMConfig config = eshm_default_config("name");
  std::printf("shm_name=%s\n", std::strcmp(config.shm_name, "name") == 0 ? "the argument" : "?");
  std::printf("role=%s\n", text_of(config.role));
  std::printf("disconnect_behavior=%s\n", text_of(config.disconnect_behavior));
  std::printf("stale_threshold_ms=%u\n", config.stale_threshold_ms);
  std::printf("reconnect_retry_interval_ms=%u\n", config.reconnect_retry_interval_ms);
  std::printf("max_reconnect_attempts=%u\n", config.max_reconnect_attempts);
  std::printf("reconnect_wait_ms=%u\n", config.reconnect_wait_ms);
  std::printf("auto_cleanup=%s\n", text_of(config.auto_cleanup));
  std::printf("use_threads=%s\n", text_of(config.use_threads));
  std::printf("backend=%s\n", config.backend == ESHM_BACKEND_POSIX ? "POSIX" : "System V");
  print_channel("m2s", config.m2s);
  print_channel("s2m", config.s2m);
  if (config.spin_us == ESHM_SPIN_ADAPTIVE) {
    std::printf("spin_us=adaptive\n");
  } else {
    std::printf("spin_us=%u\n", config.spin_us);
  }
  std::printf("permissions=%04o\n", config.permissions);
  std::printf("flags=%u\n", config.flags);
  std::printf("interrupt=%s\n", config.interrupt == nullptr ? "none" : "?");
  // Not of the configuration.
  std::printf("max_message_size=%" PRIu64 "\n", config.m2s.max_message_size);
  std::printf("read_ms=%d\n", ESHM_DEFAULT_READ_MS);
  return 0;
}
