// SPDX-License-Identifier: MIT
// What keeps a link healthy between calls: it beats, checks the peer, reconnects, and
// fences an end that has lost its role.
//
// The service thread runs it. Calls run it where there is no such thread
// (use_threads = false), and where it is late: a process whose threads keep it from a
// core still notices what becomes of its peer.
//
// Where the decisions are: turn.h (who runs it?), peer_watch.h (is the peer alive?),
// retry_policy.h (when does a slave try again, and when does it give up?), role_seeker.h
// (which segment may it attach to?), reconnection.h (how does it move there?), renewal.h
// (what does a master do whose name is lost?).
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "endpoint/data_path.h"
#include "endpoint/notices.h"
#include "endpoint/peer_view.h"
#include "endpoint/reconnection.h"
#include "endpoint/renewal.h"
#include "endpoint/service.h"
#include "endpoint/turn.h"
#include "os/name_watch.h"

namespace eshm::endpoint {

class Upkeep final : public Service::Client, public InCallUpkeep {
 public:
  // References must outlive it. Checks the peer once, so that its first state is known.
  Upkeep(const Settings& settings, DataPath& data, Notices& notices);

  // From now on the service thread runs it, and calls if that is late and they may.
  void set_served(bool may_run_in_calls) { turn_.set_served(may_run_in_calls); }
  // After its last run: exchanges a segment that waits for it, and answers whether this
  // process still has its role, and so the duty to say good-bye and to clean up.
  bool end();
  // The segment whose name this end may have to remove; and that is said, the end.
  const std::shared_ptr<SegmentFile>& named_segment() const { return renewal_.named_segment(); }
  // Where the slave still is that is to come to that segment; null: there is none.
  const SegmentFile* slave_comes_from() const { return renewal_.slave_comes_from(); }
  // CL1, in a segment where this end has a seat but is not yet.
  void announce_leaving() { reconnection_.announce_leaving(); }
  void leave_other_segments() {
    reconnection_.end();
    renewal_.end();
  }

  // ---- any thread ----

  void run_in_call() final;
  // Hides from the peer that this process lives, or shows it again.
  void hold_heartbeat(bool is_held);
  void beat();
  const PeerView& peer() const { return peer_; }

  // ---- the service thread ----

  Service::Needs needs() final;
  bool run_upkeep(uint64_t now_ns, bool name_changed, Service::Needs& needs) final;
  bool name_has_changed() final { return name_.has_changed(); }
  void peer_has_exited() final { peer_.probe_next_time(); }
  bool find_lock_file() final;
  void deliver_notices() final { notices_.deliver(); }

 private:
  Service::Needs needs_now();
  void run_now(uint64_t now_ns, bool name_changed, Locking locking);
  void run(uint64_t now_ns, bool name_changed);
  void reconnect(uint64_t now_ns, bool name_changed);
  void apply(const Reconnection::Outcome& outcome);
  void free_reserved_seat();
  void check_peer(uint64_t now_ns);
  void keep_name(uint64_t now_ns);
  void check_own_role();
  bool check_lock_file();
  void fence(int code);
  void leave_role();
  bool is_over() const {
    return fence_code_ != ESHM_SUCCESS || has_left_role_.load(std::memory_order_relaxed);
  }
  void update_verdicts();
  void raise(const PeerView::Events& events);
  void raise(ESHMEvent event);
  std::atomic<uint64_t>& heartbeat();

  const Settings& settings_;
  DataPath& data_;
  Notices& notices_;
  const ESHMRole role_;

  // Any thread loads these.
  std::atomic<bool> has_left_role_{false};
  std::atomic<bool> must_seek_{false};       // the name has changed
  std::atomic<bool> is_held_{false};         // no heartbeat is to be seen
  std::atomic<bool> was_beaten_{false};      // by hand, since upkeep looked
  std::atomic<uint64_t> idle_heartbeat_{0};  // what beats then, and after the role was left

  Turn turn_;  // guards what follows
  Locking locking_ = Locking::kWait;  // of this run
  PeerView peer_;
  Reconnection reconnection_;  // a slave's
  Renewal renewal_;            // a master's
  // Segments that a call moved away from: the service's thread still beats in them until
  // it has asked for needs() again.
  std::vector<std::shared_ptr<Attachment>> still_beaten_;
  os::NameWatch name_;  // the service thread's alone
  bool has_lost_lock_file_ = false;
  int fence_code_ = ESHM_SUCCESS;  // what all calls answer since the role was lost
  uint64_t next_due_ns_ = 0;
  uint64_t last_beat_ns_ = 0;  // in calls
};

}  // namespace eshm::endpoint
