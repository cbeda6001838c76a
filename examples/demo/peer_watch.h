// SPDX-License-Identifier: MIT
// Tells when the other process comes, falls silent, goes and is back.
#ifndef ESHM_EXAMPLES_DEMO_PEER_WATCH_H
#define ESHM_EXAMPLES_DEMO_PEER_WATCH_H

#include <cstdint>

#include "eshm.h"

namespace demo {

class PeerWatch {
 public:
  PeerWatch(ESHMHandle* link, ESHMRole own_role);

  // Prints what has changed since the last look.
  void look();

  // How often another process took the peer's place after the first one.
  uint32_t returns() const { return arrivals_ > 0 ? arrivals_ - 1 : 0; }

 private:
  pid_t peer_pid() const;
  void tell_arrival(pid_t pid);
  void tell_change(ESHMPeerState state);

  ESHMHandle* const link_;
  const bool peer_is_master_;
  ESHMPeerState state_ = ESHM_PEER_NEVER_SEEN;
  pid_t pid_ = 0;
  uint64_t last_alive_ns_ = 0;
  uint32_t arrivals_ = 0;
};

}  // namespace demo

#endif  // ESHM_EXAMPLES_DEMO_PEER_WATCH_H
