// SPDX-License-Identifier: MIT
// A slave whose attempts are not counted, but whose time is: with no master
// about, it gives up when the time is over and not after 50 attempts.
//   test_unlimited_config [name]
#include <chrono>
#include <cstdio>

#include "eshm.h"

int main(int argc, char** argv) {
  using Clock = std::chrono::steady_clock;
  ESHMConfig config = eshm_default_config(argc > 1 ? argv[1] : "eshm_unlimited_config");
  config.role = ESHM_ROLE_SLAVE;
  config.max_reconnect_attempts = 0;
  config.reconnect_retry_interval_ms = 10;  // 50 attempts would be over after half a second
  config.reconnect_wait_ms = 2000;
  std::printf("waiting for a master of '%s' for %u ms, each %u ms, attempts without limit\n",
              config.shm_name, config.reconnect_wait_ms, config.reconnect_retry_interval_ms);
  std::fflush(stdout);

  const Clock::time_point begin = Clock::now();
  ESHMHandle* link = eshm_init(&config);
  const auto waited_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin).count();
  if (link != nullptr) {
    std::printf("a master is there, after %lld ms\n", static_cast<long long>(waited_ms));
    return eshm_destroy(link) == ESHM_SUCCESS ? 0 : 1;
  }
  int code = ESHM_SUCCESS;
  const char* text = eshm_last_error(&code);
  std::printf("none after %lld ms: %s\n", static_cast<long long>(waited_ms), text);
  const bool as_configured =
      code == ESHM_ERROR_TIMEOUT && waited_ms >= static_cast<long long>(config.reconnect_wait_ms);
  return as_configured ? 0 : 1;
}
