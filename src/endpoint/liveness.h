// The two state machines of a link, free of clocks, locks and memory: what is
// seen goes in, what has become of it comes out. Their diagrams stand in
// docs/RECONNECTION_GUIDE.md.
#pragma once

#include <cstdint>
#include <optional>

#include "eshm_data.h"

namespace eshm::endpoint {

// What one look at the peer showed.
struct Sighting {
  uint64_t now_ns = 0;
  bool holds_lock = false;   // the kernel's word, the only judge of life
  uint64_t incarnation = 0;  // of the record; 0: nobody yet, or being filled in
  uint64_t left = 0;         // incarnation that said good-bye
  uint64_t beats = 0;
  bool roles_change = false;  // somebody holds, or died with, the succession lock
};

// never seen -> alive <-> stale -> dead | left -> alive (another one) ...
class PeerWatch {
 public:
  // `has_peer`: there is one from the beginning (a slave has a master), even if
  // it should be gone by the first look.
  explicit PeerWatch(uint64_t stale_threshold_ns, bool has_peer = false)
      : stale_threshold_ns_(stale_threshold_ns), has_peer_(has_peer) {}

  // Answers the next event to tell, if there is one. Each sighting is to be seen
  // kMostEventsOfALook times: of a peer that came and went since the last look it
  // tells both.
  std::optional<ESHMEvent> see(const Sighting& sighting);
  static constexpr int kMostEventsOfALook = 2;

  // Whether see() must be told the kernel's word. A peer that beats, under the
  // incarnation that is known, lives, and one that is gone stays gone: no
  // system call is needed to know it.
  bool needs_lock_probe(const Sighting& sighting) const;

  // The slave moved to another segment: beats and incarnation there are others.
  void forget_segment();

  ESHMPeerState state() const { return state_; }
  bool is_there() const { return state_ == ESHM_PEER_ALIVE || state_ == ESHM_PEER_STALE; }
  uint64_t incarnation() const { return incarnation_; }

 private:
  std::optional<ESHMEvent> meet(const Sighting& sighting);
  std::optional<ESHMEvent> lose(bool said_good_bye);
  std::optional<ESHMEvent> follow(const Sighting& sighting);
  std::optional<ESHMEvent> await_record(const Sighting& sighting);

  uint64_t stale_threshold_ns_;
  bool has_peer_;
  bool was_met_ = false;
  bool is_nameless_ = false;  // stale is a newcomer whose record stays incomplete
  ESHMPeerState state_ = ESHM_PEER_NEVER_SEEN;
  uint64_t incarnation_ = 0;
  uint64_t beats_ = 0;
  uint64_t last_change_ns_ = 0;
  uint64_t half_way_since_ns_ = 0;  // 0: no newcomer is
};

// A slave's patience with the loss of its master.
class RetryPolicy {
 public:
  struct Limits {
    ESHMDisconnectBehavior behavior;
    uint64_t interval_ns;
    uint64_t total_ns;  // 0: no limit
    uint32_t attempts;  // 0: no limit
  };
  enum class Advice { kIdle, kWait, kAttempt, kGiveUp };

  explicit RetryPolicy(const Limits& limits) : limits_(limits) {}

  // The loss begins; the first attempt is due at once. Nothing when it has begun.
  void begin(uint64_t now_ns);
  // It is over.
  void end() { running_ = false; }

  // What to do now. kAttempt counts one attempt; an attempt for another reason
  // (being woken) is free.
  Advice advise(uint64_t now_ns);

  bool is_running() const { return running_; }
  // When advise() may answer something else than kWait.
  uint64_t next_change_ns() const;

 private:
  Limits limits_;
  bool running_ = false;
  uint64_t began_ns_ = 0;
  uint64_t next_attempt_ns_ = 0;
  uint32_t attempts_ = 0;
};

}  // namespace eshm::endpoint
