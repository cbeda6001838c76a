// SPDX-License-Identifier: MIT
// The state machine of a peer, free of clocks, locks and memory: each check's
// result goes in, events come out. Its diagram is in docs/RECONNECTION_GUIDE.md.
#pragma once

#include <cstdint>
#include <optional>

#include "endpoint/silence.h"
#include "eshm_data.h"

namespace eshm::endpoint {

// What one check of the peer showed.
struct Sighting {
  uint64_t now_ns = 0;
  bool holds_lock = false;   // the kernel's word, the only judge of life
  uint64_t incarnation = 0;  // of the record; 0: nobody yet, or being filled in
  uint64_t left = 0;         // incarnation that left
  uint64_t signs = 0;        // SegmentFile::signs_of_life
  bool roles_change = false;  // a process holds, or died with, the succession lock
};

// never seen -> alive <-> stale -> dead | left -> alive (another one) ...
class PeerWatch {
 public:
  // `has_peer`: a slave has a master from the beginning, even if that is gone by the
  // first check.
  // `silence`: how the time between two checks counts.
  explicit PeerWatch(uint64_t stale_threshold_ns, bool has_peer = false, Silence silence = {})
      : stale_threshold_ns_(stale_threshold_ns),
        has_peer_(has_peer),
        silence_(silence),
        half_way_(silence) {}

  // Answers the next event to raise, if there is one. Call it kMostEventsPerSighting
  // times with each sighting: a peer that came and went since the last one makes two.
  std::optional<ESHMEvent> see(const Sighting& sighting);
  static constexpr int kMostEventsPerSighting = 2;

  // Whether see() needs the kernel's word. A peer that shows signs of life under the
  // known incarnation lives, and one that is gone stays gone: neither needs a system call.
  bool needs_lock_probe(const Sighting& sighting) const;

  // The slave moved to another segment: its signs and incarnations are others.
  void forget_segment();

  ESHMPeerState state() const { return state_; }
  uint64_t incarnation() const { return incarnation_; }
  bool is_there() const { return state_ == ESHM_PEER_ALIVE || state_ == ESHM_PEER_STALE; }

 private:
  std::optional<ESHMEvent> meet(const Sighting& sighting);
  std::optional<ESHMEvent> lose(bool has_left);
  std::optional<ESHMEvent> follow(const Sighting& sighting);
  std::optional<ESHMEvent> await_record(const Sighting& sighting);

  uint64_t stale_threshold_ns_;
  bool has_peer_;
  bool was_met_ = false;
  bool is_nameless_ = false;  // the stale peer is a newcomer with an incomplete record
  ESHMPeerState state_ = ESHM_PEER_NEVER_SEEN;
  uint64_t incarnation_ = 0;
  uint64_t signs_ = 0;
  Silence silence_;   // since the last sign of life
  bool is_half_way_ = false;  // a newcomer has the lock, and is filling its record in
  Silence half_way_;  // for how long
};

}  // namespace eshm::endpoint
