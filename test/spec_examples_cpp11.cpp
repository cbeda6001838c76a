// SPDX-License-Identifier: MIT
// Programs written against the original: a plain include, C++11, the calls in
// the forms that such programs use. Compiled, never run.
#include <cstdio>

#include "eshm.h"

int slave_with_simple_reads();
int slave_with_extended_reads(ESHMHandle* handle);
ESHMConfig slave_that_never_gives_up();
void print_statistics(ESHMHandle* handle);

int slave_with_simple_reads() {
  ESHMConfig config = eshm_default_config("my_shm");
  config.role = ESHM_ROLE_SLAVE;
  ESHMHandle* handle = eshm_init(&config);

  char buffer[256];
  int bytes_read = eshm_read(handle, buffer, sizeof(buffer));
  if (bytes_read >= 0) {
    printf("%d bytes came\n", bytes_read);
  } else {
    printf("nothing came: %s\n", eshm_error_string(bytes_read));
  }

  eshm_write(handle, "Hello", 6);
  return eshm_destroy(handle);
}

int slave_with_extended_reads(ESHMHandle* handle) {
  char buffer[256];
  size_t bytes_read;
  int ret = eshm_read_ex(handle, buffer, sizeof(buffer), &bytes_read, 500);
  if (ret == ESHM_SUCCESS) {
    printf("%zu bytes came\n", bytes_read);
  }
  return ret;
}

ESHMConfig slave_that_never_gives_up() {
  ESHMConfig config = eshm_default_config("my_shm");
  config.role = ESHM_ROLE_SLAVE;
  config.max_reconnect_attempts = 0;
  config.reconnect_wait_ms = 0;
  config.reconnect_retry_interval_ms = 100;
  return config;
}

void print_statistics(ESHMHandle* handle) {
  bool alive = false;
  ESHMStats stats;
  ESHMRole role;
  if (eshm_check_remote_alive(handle, &alive) == ESHM_SUCCESS &&
      eshm_get_stats(handle, &stats) == ESHM_SUCCESS &&
      eshm_get_role(handle, &role) == ESHM_SUCCESS && eshm_update_heartbeat(handle) == 0) {
    printf("role %d, other side alive %d, beats %lu/%lu, pids %d/%d, written %lu\n", role, alive,
           static_cast<unsigned long>(stats.master_heartbeat),
           static_cast<unsigned long>(stats.slave_heartbeat), stats.master_pid, stats.slave_pid,
           static_cast<unsigned long>(stats.m2s_write_count));
  }
}
