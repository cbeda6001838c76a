// SPDX-License-Identifier: MIT
// The peer of a link as upkeep last saw it.
#pragma once

#include <array>
#include <atomic>
#include <optional>

#include "endpoint/attachment.h"
#include "endpoint/peer_watch.h"

namespace eshm::endpoint {

class PeerView {
 public:
  using Events = std::array<std::optional<ESHMEvent>, PeerWatch::kMostEventsPerSighting>;

  PeerView(const Settings& settings, ESHMRole own_role);

  // ---- any thread ----

  ESHMPeerState state() const { return state_.load(std::memory_order_acquire); }
  uint64_t stale_reports() const { return stale_reports_.load(std::memory_order_relaxed); }
  uint32_t reconnects() const { return reconnects_.load(std::memory_order_relaxed); }
  // The next check probes the lock, whatever the signs of life say.
  void probe_next_time() { must_probe_.store(true, std::memory_order_relaxed); }

  // ---- upkeep, one thread at a time ----

  // Checks the peer. The caller raises the events.
  Events check(const Attachment& attachment, uint64_t now_ns);

  // The same in a segment that the peer may be about to leave: a peer that is gone from
  // there changes nothing.
  Events check_until_gone(const Attachment& former, uint64_t now_ns);

  // A check of the peer in a segment that this end is about to move to.
  struct Ahead {
    PeerWatch watch;
    Events events;
    bool is_lost;
  };
  Ahead check_ahead(const Attachment& next) const;
  // After the exchange: from now on that is the peer. The caller raises the events.
  Events take_over(const Ahead& ahead, const Attachment& next);

  bool was_seen() const { return watch_.state() != ESHM_PEER_NEVER_SEEN; }
  bool is_there() const { return watch_.is_there(); }
  bool is_stale() const { return watch_.state() == ESHM_PEER_STALE; }
  // Dead, left or superseded.
  bool is_lost(const Attachment& attachment) const { return is_lost(watch_, attachment); }
  // The process whose exit is worth seeing at once; PID 0: none.
  const os::ProcessIdentity& exit_watch() const { return exit_watch_; }
  void end_exit_watch() { exit_watch_ = {}; }

 private:
  static Events see(const Attachment& attachment, PeerWatch& watch, uint64_t now_ns,
                    bool must_probe);
  static Events feed(PeerWatch& watch, const Sighting& sighting);
  static bool is_lost(const PeerWatch& watch, const Attachment& attachment);
  void show(const Events& events, const Attachment& attachment);
  void choose_exit_watch(const Attachment& attachment);

  PeerWatch watch_;
  os::ProcessIdentity exit_watch_;
  std::atomic<bool> must_probe_{false};
  std::atomic<ESHMPeerState> state_{ESHM_PEER_NEVER_SEEN};
  std::atomic<uint64_t> stale_reports_{0};
  std::atomic<uint32_t> reconnects_{0};
};

}  // namespace eshm::endpoint
