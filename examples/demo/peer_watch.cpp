// SPDX-License-Identifier: MIT
#include "demo/peer_watch.h"

#include "demo/message.h"
#include "demo/print.h"

namespace demo {

PeerWatch::PeerWatch(ESHMHandle* link, ESHMRole own_role)
    : link_(link), peer_is_master_(own_role == ESHM_ROLE_SLAVE) {}

void PeerWatch::look() {
  ESHMPeerState state = state_;
  if (eshm_get_remote_state(link_, &state) != ESHM_SUCCESS) return;
  if (state == ESHM_PEER_ALIVE) {
    // A peer that was restarted between two looks shows by its PID alone.
    const pid_t pid = peer_pid();
    const bool was_there = state_ == ESHM_PEER_ALIVE || state_ == ESHM_PEER_STALE;
    if (!was_there || pid != pid_) {
      tell_arrival(pid);
    } else if (state_ == ESHM_PEER_STALE) {
      tell_change(state);
    }
    last_alive_ns_ = monotonic_ns();
  } else if (state != state_) {
    pid_ = peer_pid();  // it may have come since the last look
    tell_change(state);
  }
  state_ = state;
}

pid_t PeerWatch::peer_pid() const {
  ESHMStats stats;
  if (eshm_get_stats(link_, &stats) != ESHM_SUCCESS) return 0;
  return peer_is_master_ ? stats.master_pid : stats.slave_pid;
}

void PeerWatch::tell_arrival(pid_t pid) {
  const char* who = peer_is_master_ ? "master" : "slave";
  if (arrivals_ == 0) {
    print("** %s is there: PID %d", who, static_cast<int>(pid));
  } else {
    print("** %s is back: PID %d, %.0f ms after the last sign of PID %d", who,
          static_cast<int>(pid), static_cast<double>(monotonic_ns() - last_alive_ns_) / 1e6,
          static_cast<int>(pid_));
  }
  ++arrivals_;
  pid_ = pid;
}

void PeerWatch::tell_change(ESHMPeerState state) {
  const char* who = peer_is_master_ ? "master" : "slave";
  const char* what = "was never seen";
  if (state == ESHM_PEER_ALIVE) what = "beats again";
  if (state == ESHM_PEER_STALE) what = "is silent: hung, stopped or starved";
  if (state == ESHM_PEER_DEAD) what = "has died";
  if (state == ESHM_PEER_LEFT) what = "has left";
  print("** %s (PID %d) %s", who, static_cast<int>(pid_), what);
}

}  // namespace demo
