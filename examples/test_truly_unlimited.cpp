// SPDX-License-Identifier: MIT
// A slave without any limit: neither attempts nor time. Its master comes only
// after the time of the default policy is over, and it is still there.
//   test_truly_unlimited [name]
#include <unistd.h>

#include <cstdio>
#include <string>
#include <thread>

#include "eshm.h"

namespace {

constexpr unsigned kMasterComesAfterSeconds = 6;

int explain(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, eshm_last_error(nullptr));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "eshm_truly_unlimited_" + std::to_string(getpid());

  // Another process would do as well; a thread keeps the example in one terminal.
  ESHMHandle* master = nullptr;
  std::thread late_master([&] {
    sleep(kMasterComesAfterSeconds);
    ESHMConfig config = eshm_default_config(name.c_str());
    config.role = ESHM_ROLE_MASTER;
    master = eshm_init(&config);
    if (master != nullptr) eshm_write(master, "at last", 8);
  });

  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = ESHM_ROLE_SLAVE;
  config.max_reconnect_attempts = 0;
  config.reconnect_wait_ms = 0;
  std::printf("slave waits without limit; its master comes in %u s\n", kMasterComesAfterSeconds);
  std::fflush(stdout);
  ESHMHandle* slave = eshm_init(&config);
  late_master.join();
  if (slave == nullptr) return explain("no link");
  if (master == nullptr) return explain("no master");

  char text[16] = "";
  const int bytes = eshm_read(slave, text, sizeof text);
  std::printf("slave read %d bytes: '%s'\n", bytes, text);
  const int slave_end = eshm_destroy(slave);
  const int master_end = eshm_destroy(master);
  const bool closed = slave_end == ESHM_SUCCESS && master_end == ESHM_SUCCESS;
  return bytes == 8 && closed ? 0 : 1;
}
