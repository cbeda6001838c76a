// SPDX-License-Identifier: MIT
#include "endpoint/peer_watch.h"

namespace eshm::endpoint {

std::optional<ESHMEvent> PeerWatch::see(const Sighting& sighting) {
  // It may be gone already: then the same sighting makes the event of its end next.
  if (sighting.incarnation != 0 && sighting.incarnation != incarnation_) return meet(sighting);
  if (!sighting.holds_lock) {
    is_half_way_ = false;
    const bool had_one = is_there() || (has_peer_ && !was_met_);
    if (!had_one) return std::nullopt;  // none yet, or still gone
    return lose(incarnation_ != 0 && !is_nameless_ && sighting.left == incarnation_);
  }
  // The lock's holder is not the one in the record, or is filling the record in.
  if (sighting.incarnation == 0 || !is_there() || is_nameless_) return await_record(sighting);
  return follow(sighting);
}

bool PeerWatch::needs_lock_probe(const Sighting& sighting) const {
  const bool is_another = sighting.incarnation != incarnation_;
  if (is_another && sighting.incarnation != 0) return true;
  if (!is_there()) return sighting.roles_change || (has_peer_ && !was_met_);
  return is_another || is_nameless_ || sighting.signs == signs_ || sighting.left == incarnation_;
}

std::optional<ESHMEvent> PeerWatch::meet(const Sighting& sighting) {
  const bool is_first = !was_met_;
  was_met_ = true;
  is_nameless_ = false;
  is_half_way_ = false;
  state_ = ESHM_PEER_ALIVE;
  incarnation_ = sighting.incarnation;
  signs_ = sighting.signs;
  silence_.end(sighting.now_ns);
  return is_first ? ESHM_EVENT_CONNECTED : ESHM_EVENT_RECONNECTED;
}

std::optional<ESHMEvent> PeerWatch::lose(bool has_left) {
  was_met_ = true;
  is_nameless_ = false;
  state_ = has_left ? ESHM_PEER_LEFT : ESHM_PEER_DEAD;
  return has_left ? ESHM_EVENT_LEFT : ESHM_EVENT_DEAD;
}

// Filling a record in takes microseconds. A newcomer that has not done so within the
// threshold hangs as much as one that does not beat.
std::optional<ESHMEvent> PeerWatch::await_record(const Sighting& sighting) {
  if (!is_half_way_) half_way_.end(sighting.now_ns);
  is_half_way_ = true;
  const bool hangs = half_way_.lasted_ns(sighting.now_ns) >= stale_threshold_ns_;
  if (is_nameless_ || !hangs) return std::nullopt;
  is_nameless_ = true;
  const bool was_stale = state_ == ESHM_PEER_STALE;
  state_ = ESHM_PEER_STALE;
  if (was_stale) return std::nullopt;
  return ESHM_EVENT_STALE;
}

std::optional<ESHMEvent> PeerWatch::follow(const Sighting& sighting) {
  if (sighting.signs != signs_) {
    signs_ = sighting.signs;
    silence_.end(sighting.now_ns);
    if (state_ == ESHM_PEER_ALIVE) return std::nullopt;
    state_ = ESHM_PEER_ALIVE;
    return ESHM_EVENT_ALIVE;
  }
  const bool is_still = silence_.lasted_ns(sighting.now_ns) >= stale_threshold_ns_;
  if (state_ == ESHM_PEER_STALE || !is_still) return std::nullopt;
  state_ = ESHM_PEER_STALE;
  return ESHM_EVENT_STALE;
}

void PeerWatch::forget_segment() {
  incarnation_ = 0;
  is_nameless_ = false;
  is_half_way_ = false;
  // Until the new holder is met the peer is not there: it may have died meanwhile.
  if (is_there()) state_ = ESHM_PEER_DEAD;
}

}  // namespace eshm::endpoint
