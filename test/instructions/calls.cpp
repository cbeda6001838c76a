// SPDX-License-Identifier: MIT
// The calls whose instructions check.sh counts: both ends of one link in this
// process, as an application opens them.
//   calls latest|queue COUNT    makes each call COUNT times
//   calls move COUNT            moves a slave whose queue holds 1 MiB unread COUNT times
//   calls made-by               prints what the counts depend on
#include <gnu/libc-version.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "eshm.h"

namespace {

constexpr size_t kBytes = 64;
constexpr int kUnread = 1024;  // messages of
constexpr size_t kUnreadBytes = 1024;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "calls: %s: %s\n", what, eshm_last_error(nullptr));
  std::exit(1);
}

ESHMHandle* open_end(const ESHMConfig& config) {
  ESHMHandle* const handle = eshm_init(&config);
  require(handle != nullptr, "eshm_init");
  return handle;
}

ESHMHandle* open_end(const std::string& name, ESHMRole role, ESHMDelivery delivery) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = role;
  config.m2s.delivery = config.s2m.delivery = delivery;
  config.stale_threshold_ms = 60'000;  // valgrind runs one thread at a time, slowly
  return open_end(config);
}

// A slave that moves to `count` masters in turn, each with other sizes than the one before
// it. Its calls make the moves: so no other thread takes part.
void move_often(const std::string& name, long count) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.use_threads = false;
  config.disconnect_behavior = ESHM_DISCONNECT_NEVER;
  config.reconnect_retry_interval_ms = 1;
  config.s2m.delivery = ESHM_DELIVERY_QUEUE;
  config.s2m.queue_capacity = 2 * kUnread * kUnreadBytes;
  config.role = ESHM_ROLE_MASTER;
  ESHMHandle* master = open_end(config);
  config.role = ESHM_ROLE_SLAVE;
  ESHMHandle* const slave = open_end(config);
  config.role = ESHM_ROLE_MASTER;
  const char message[kUnreadBytes] = {};
  for (int i = 0; i < kUnread; ++i) {
    require(eshm_write(slave, message, sizeof message) == ESHM_SUCCESS, "eshm_write");
  }
  ESHMStatsEx stats = {};
  for (long i = 0; i < count; ++i) {
    eshm_destroy(master);
    config.m2s.max_message_size = i % 2 == 0 ? 2048 : 4096;
    master = open_end(config);
    while (stats.reconnects <= i) {
      usleep(1000);
      require(eshm_get_stats_ex(slave, &stats) == ESHM_SUCCESS, "eshm_get_stats_ex");
    }
  }
  ESHMStats carried = {};
  require(eshm_get_stats(master, &carried) == ESHM_SUCCESS, "eshm_get_stats");
  require(carried.s2m_write_count == kUnread, "the unread messages");
  eshm_destroy(slave);
  eshm_destroy(master);
}

void copy_one(ESHMHandle* master, ESHMHandle* slave) {
  char message[kBytes] = "copied";
  char buffer[kBytes];
  size_t got = 0;
  require(eshm_write(master, message, kBytes) == ESHM_SUCCESS, "eshm_write");
  require(eshm_read_ex(slave, buffer, kBytes, &got, 0) == ESHM_SUCCESS, "eshm_read_ex");
  require(got == kBytes && std::memcmp(message, buffer, kBytes) == 0, "the message");
}

void lend_one(ESHMHandle* master, ESHMHandle* slave) {
  void* data = nullptr;
  require(eshm_loan(master, kBytes, &data) == ESHM_SUCCESS, "eshm_loan");
  std::memset(data, 'x', kBytes);
  require(eshm_publish(master, data, kBytes) == ESHM_SUCCESS, "eshm_publish");
  ESHMView view = {};
  require(eshm_borrow(slave, &view, 0) == ESHM_SUCCESS, "eshm_borrow");
  require(view.size == kBytes, "the view");
  require(eshm_release(slave, &view) == ESHM_SUCCESS, "eshm_release");
}

int print_made_by() {
#if defined(__clang__)
  const char* const compiler = "clang " __clang_version__;
#else
  const char* const compiler = "gcc " __VERSION__;
#endif
#if defined(__x86_64__)
  const char* const processor = "x86_64";
#else
  const char* const processor = "no x86_64";
#endif
  // Of a version, the part that can change generated code much: 12 of 12.2.0.
  std::printf("%.*s, glibc %s, %s\n", int(std::strcspn(compiler, ".")), compiler,
              gnu_get_libc_version(), processor);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "made-by") return print_made_by();
  const long count = argc > 2 ? std::atol(argv[2]) : 0;
  if (count <= 0 || (what != "latest" && what != "queue" && what != "move")) {
    std::fprintf(stderr, "usage: calls latest|queue|move COUNT, or calls made-by\n");
    return 2;
  }
  const std::string name = "instructions_" + std::to_string(getpid());
  if (what == "move") {
    move_often(name, count);
    return 0;
  }
  const ESHMDelivery delivery = what == "queue" ? ESHM_DELIVERY_QUEUE : ESHM_DELIVERY_LATEST;
  ESHMHandle* const master = open_end(name, ESHM_ROLE_MASTER, delivery);
  ESHMHandle* const slave = open_end(name, ESHM_ROLE_SLAVE, delivery);
  for (long i = 0; i < count; ++i) copy_one(master, slave);
  for (long i = 0; i < count; ++i) lend_one(master, slave);
  eshm_destroy(slave);
  eshm_destroy(master);
  return 0;
}
