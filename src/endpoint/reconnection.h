// SPDX-License-Identifier: MIT
// What a slave does that has lost its master: it tries again by the retry policy, moves to
// the segment of a new master, or gives up. Part of upkeep, one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "endpoint/data_path.h"
#include "endpoint/notices.h"
#include "endpoint/peer_view.h"
#include "endpoint/retry_policy.h"
#include "endpoint/role_seeker.h"

namespace eshm::endpoint {

class Reconnection {
 public:
  // What upkeep has to do about it.
  struct Outcome {
    bool gave_up = false;     // just now
    bool must_leave = false;  // given up for good: the role is to be left
    std::optional<PeerView::Events> moved;  // events of the new master
    std::shared_ptr<Attachment> former;     // where it moved away from
  };

  Reconnection(const Settings& settings, DataPath& data, Notices& notices, PeerView& peer);

  // After a check of the peer, unless is_moving(). `shows_life`: see eshm_hold_heartbeat.
  Outcome run(uint64_t now_ns, bool name_changed, Locking locking, bool shows_life);
  // At the end of the link: exchanges a segment that waits for it.
  Outcome finish_pending_move();
  // The role is over.
  void announce_leaving() const;
  void end();
  // Something was half done, for want of memory perhaps.
  void try_again_soon() { must_seek_again_ = true; }

  bool is_running() const { return retry_.is_running() || is_coming_over_; }
  bool is_moving() const { return move_ != nullptr; }
  // What calls answer meanwhile. `is_queue`: of the outgoing channel.
  Verdicts verdicts(bool is_lost, bool is_queue) const;

 private:
  void follow_policy(uint64_t now_ns, bool name_changed, Outcome& outcome);
  bool may_leave(uint64_t now_ns);
  void try_to_move(Outcome& outcome);
  void take_reserved_seat(uint64_t now_ns, bool name_changed);
  void come_over_when_due(Outcome& outcome);
  void begin_move(std::unique_ptr<Move> move, Outcome& outcome);
  void finish_move(Outcome& outcome);
  bool copied_for_us(const Attachment& next) const;
  Copies copies_for(const Move& move) const;

  const Settings& settings_;
  DataPath& data_;
  Notices& notices_;
  PeerView& peer_;
  Locking locking_ = Locking::kWait;  // of this run
  bool shows_life_ = true;
  RetryPolicy retry_;
  std::unique_ptr<RoleSeeker> seeker_;
  std::unique_ptr<Move> move_;    // taken, and not exchanged yet
  // Of a master that renews the link: a seat is to be taken, or is, and both still use
  // this segment.
  bool is_coming_over_ = false;
  std::unique_ptr<Move> seat_;
  uint64_t next_try_ns_ = 0;
  std::string refused_;     // why the seat could not be taken, last
  bool marked_it_ = false;  // the segment that is left: nobody else did
  uint32_t tries_to_move_ = 0;    // that found a data lock held
  bool must_seek_again_ = false;  // a move met a change that was half done
  bool has_given_up_ = false;
  uint64_t leaving_since_ns_ = 0;
};

}  // namespace eshm::endpoint
