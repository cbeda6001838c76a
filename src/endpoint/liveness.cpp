#include "endpoint/liveness.h"

#include <algorithm>

namespace eshm::endpoint {

std::optional<ESHMEvent> PeerWatch::see(const Sighting& sighting) {
  const bool is_known = incarnation_ != 0;
  const bool was_there = is_there();
  if (sighting.holds_lock && sighting.incarnation != 0 && sighting.incarnation != incarnation_) {
    return meet(sighting);
  }
  if (!sighting.holds_lock && is_known && was_there) return lose(sighting);
  if (sighting.holds_lock && sighting.incarnation == incarnation_ && was_there) {
    return follow(sighting);
  }
  return std::nullopt;  // nobody yet, a newcomer half-way, or gone and still gone
}

bool PeerWatch::needs_lock_probe(const Sighting& sighting) const {
  const bool is_another = sighting.incarnation != incarnation_;
  if (is_another && sighting.incarnation != 0) return true;
  return is_there() &&
         (is_another || sighting.beats == beats_ || sighting.left == incarnation_);
}

std::optional<ESHMEvent> PeerWatch::meet(const Sighting& sighting) {
  const bool is_first = state_ == ESHM_PEER_NEVER_SEEN;
  state_ = ESHM_PEER_ALIVE;
  incarnation_ = sighting.incarnation;
  beats_ = sighting.beats;
  last_change_ns_ = sighting.now_ns;
  return is_first ? ESHM_EVENT_CONNECTED : ESHM_EVENT_RECONNECTED;
}

std::optional<ESHMEvent> PeerWatch::lose(const Sighting& sighting) {
  const bool said_good_bye = sighting.left == incarnation_;
  state_ = said_good_bye ? ESHM_PEER_LEFT : ESHM_PEER_DEAD;
  return said_good_bye ? ESHM_EVENT_LEFT : ESHM_EVENT_DEAD;
}

std::optional<ESHMEvent> PeerWatch::follow(const Sighting& sighting) {
  if (sighting.beats != beats_) {
    beats_ = sighting.beats;
    last_change_ns_ = sighting.now_ns;
    if (state_ == ESHM_PEER_ALIVE) return std::nullopt;
    state_ = ESHM_PEER_ALIVE;
    return ESHM_EVENT_ALIVE;
  }
  const bool is_still = sighting.now_ns - last_change_ns_ >= stale_threshold_ns_;
  if (state_ == ESHM_PEER_STALE || !is_still) return std::nullopt;
  state_ = ESHM_PEER_STALE;
  return ESHM_EVENT_STALE;
}

void PeerWatch::forget_segment() {
  incarnation_ = 0;
  // Until the new holder is met it is not there: it may have died meanwhile.
  if (is_there()) state_ = ESHM_PEER_DEAD;
}

void RetryPolicy::begin(uint64_t now_ns) {
  if (running_) return;
  running_ = true;
  began_ns_ = now_ns;
  next_attempt_ns_ = now_ns;
  attempts_ = 0;
}

RetryPolicy::Advice RetryPolicy::advise(uint64_t now_ns) {
  if (!running_) return Advice::kIdle;
  if (limits_.behavior == ESHM_DISCONNECT_IMMEDIATELY) return Advice::kGiveUp;
  const bool is_limited = limits_.behavior == ESHM_DISCONNECT_ON_TIMEOUT;
  if (is_limited && limits_.total_ns != 0 && now_ns - began_ns_ >= limits_.total_ns) {
    return Advice::kGiveUp;
  }
  // Asked again after the last attempt: it has failed.
  if (is_limited && limits_.attempts != 0 && attempts_ >= limits_.attempts) return Advice::kGiveUp;
  if (now_ns < next_attempt_ns_) return Advice::kWait;
  ++attempts_;
  next_attempt_ns_ = now_ns + limits_.interval_ns;
  return Advice::kAttempt;
}

uint64_t RetryPolicy::next_change_ns() const {
  if (!running_) return UINT64_MAX;
  const bool has_end = limits_.behavior == ESHM_DISCONNECT_ON_TIMEOUT && limits_.total_ns != 0;
  return has_end ? std::min(next_attempt_ns_, began_ns_ + limits_.total_ns) : next_attempt_ns_;
}

}  // namespace eshm::endpoint
