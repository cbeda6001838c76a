// SPDX-License-Identifier: MIT
#include "talk.h"

#include <cerrno>
#include <cstring>

#include "links.h"
#include "run.h"

namespace tool {
namespace {

constexpr uint64_t kPollNs = 1'000'000;

ESHMRole role_of(const std::string& text) {
  if (text == "master") return ESHM_ROLE_MASTER;
  return text == "slave" ? ESHM_ROLE_SLAVE : ESHM_ROLE_AUTO;
}

// A process that attaches adopts the segment's shape; one that becomes its master again
// keeps it only if it asks for the same.
void ask_for_the_same(const ESHMLinkInfo& link, ESHMConfig& config) {
  if (link.state != ESHM_LINK_FINE) return;
  config.backend = link.backend;
  const ESHMLinkChannel* const found[2] = {&link.m2s, &link.s2m};
  ESHMChannelConfig* const asked[2] = {&config.m2s, &config.s2m};
  for (int i = 0; i < 2; ++i) {
    asked[i]->delivery = found[i]->delivery;
    asked[i]->max_borrows = found[i]->max_borrows;
    asked[i]->max_loans = found[i]->max_loans;
    asked[i]->max_message_size = found[i]->max_message_size;
    if (found[i]->queue_capacity != 0) asked[i]->queue_capacity = found[i]->queue_capacity;
  }
  config.flags |= link.m2s.flags;
}

}  // namespace

bool Talk::open(const RoleOptions& options, double wait_s, const std::string& type) {
  ESHMConfig config = eshm_default_config(options.name.c_str());
  const ESHMLinkInfo before = inspect(options.name);
  config.role = role_of(options.role);
  for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
    channel->max_message_size = options.max_bytes;
    if (!options.queue) continue;
    channel->delivery = ESHM_DELIVERY_QUEUE;
    if (channel->queue_capacity < 4 * options.max_bytes) {
      channel->queue_capacity = 4 * options.max_bytes;
    }
  }
  config.flags = ESHM_FLAG_TIMESTAMPS;
  ask_for_the_same(before, config);
  config.interrupt = interrupt_when_stopping;
  config.disconnect_behavior = ESHM_DISCONNECT_NEVER;
  config.reconnect_wait_ms = wait_s < 0.001 ? 1 : uint32_t(wait_s * 1000);
  config.max_reconnect_attempts = 0;
  if (!type.empty()) {
    // As AUTO it is not known yet which way it sends: it is the master where there is none.
    const bool will_be_master = config.role == ESHM_ROLE_MASTER ||
                                (config.role == ESHM_ROLE_AUTO && !before.master.holds_role);
    config.role = will_be_master ? ESHM_ROLE_MASTER : ESHM_ROLE_SLAVE;
    ESHMType& ours = will_be_master ? config.m2s.type : config.s2m.type;
    ours.text = type.c_str();
    ours.fingerprint = fingerprint_of(type);
  }
  handle_.reset(eshm_init(&config));
  if (handle_ == nullptr) {
    int code = 0;
    eshm_last_error(&code);
    if (code != ESHM_ERROR_INTERRUPTED) complain_last_error();
    return false;
  }
  ESHMRole role = ESHM_ROLE_AUTO;
  eshm_get_role(handle_.get(), &role);
  is_master_ = role == ESHM_ROLE_MASTER;
  return true;
}

bool Talk::wait_for_peer(double seconds) const {
  const uint64_t until = now_ns() + uint64_t(seconds * 1e9);
  bool is_alive = false;
  for (;;) {
    eshm_check_remote_alive(handle_.get(), &is_alive);
    if (is_alive || must_stop() || now_ns() >= until) return is_alive;
    pause_ns(kPollNs);
  }
}

void Talk::wait_until_read(double seconds) const {
  const uint64_t until = now_ns() + uint64_t(seconds * 1e9);
  while (!must_stop() && now_ns() < until) {
    ESHMStats stats = {};
    if (eshm_get_stats(handle_.get(), &stats) != ESHM_SUCCESS) return;
    const bool is_there = is_master_ ? stats.slave_alive : stats.master_alive;
    const uint64_t written = is_master_ ? stats.m2s_write_count : stats.s2m_write_count;
    const uint64_t read = is_master_ ? stats.m2s_read_count : stats.s2m_read_count;
    if (!is_there || read >= written) return;
    pause_ns(kPollNs);
  }
}

bool Talk::write(const void* data, size_t size) const {
  constexpr uint32_t kWaitMs = 100;
  while (!must_stop()) {
    const int code = eshm_write_ex(handle_.get(), data, size, kWaitMs);
    if (code == ESHM_SUCCESS) return true;
    if (code == ESHM_ERROR_INTERRUPTED) return false;
    if (code != ESHM_ERROR_TIMEOUT && code != ESHM_ERROR_BUFFER_FULL) {
      complain_last_error();
      return false;
    }
    pause_ns(kPollNs);  // a LATEST write answers at once while the master is away
  }
  return false;
}

}  // namespace tool
