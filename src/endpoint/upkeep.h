// What keeps a link healthy while nobody calls: watching the peer, retrying, moving
// to another segment, and fencing an end that has lost its role. The service thread
// runs it, or (use_threads = false) the calls themselves.
//
// Where the decisions are: peer_watch.h (is the peer alive?), retry_policy.h (when
// does a slave try again, and when does it give up?), role_seeker.h (which segment
// may it attach to?).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "endpoint/data_path.h"
#include "endpoint/notices.h"
#include "endpoint/peer_watch.h"
#include "endpoint/retry_policy.h"
#include "endpoint/role_seeker.h"
#include "endpoint/service.h"

namespace eshm::endpoint {

class Upkeep final : public Service::Client, public InCallUpkeep {
 public:
  // References must outlive it.
  Upkeep(const Settings& settings, DataPath& data, Notices& notices);

  // Checks the peer once, so that its first state is known. Before any thread runs.
  void check_peer_at_once();
  // After its last run: whether this process still has its role, and so the duty to
  // say good-bye and to clean up.
  bool has_role() const;

  // ---- any thread ----

  void run_in_call() final;
  ESHMPeerState peer_state() const { return peer_state_.load(std::memory_order_acquire); }
  bool has_left_seat() const { return has_left_seat_.load(std::memory_order_relaxed); }
  uint64_t stale_reports() const { return stale_reports_.load(std::memory_order_relaxed); }
  uint32_t reconnects() const { return reconnects_.load(std::memory_order_relaxed); }

  // ---- the service thread ----

  Service::Needs needs() const final;
  void run_upkeep(uint64_t now_ns, bool name_changed) final;
  void peer_has_exited() final { must_probe_ = true; }
  bool find_lock_file() final;
  void deliver_notices() final { notices_.deliver(); }

 private:
  void run(uint64_t now_ns, bool name_changed);
  void check_own_role();
  void check_peer(uint64_t now_ns);
  void choose_exit_watch();
  bool has_lost_master() const;
  void follow_retry_policy(uint64_t now_ns, bool name_changed);
  void leave_if_given_up(uint64_t now_ns);
  void try_to_move();
  void move_to(std::shared_ptr<Attachment> next);
  void free_reserved_seat();
  void fence(int code);
  void leave_seat();
  void update_verdicts();
  void raise(ESHMEvent event);

  const Settings& settings_;
  DataPath& data_;
  Notices& notices_;
  const ESHMRole role_;

  // Any thread loads these.
  std::atomic<ESHMPeerState> peer_state_{ESHM_PEER_NEVER_SEEN};
  std::atomic<bool> has_left_seat_{false};
  std::atomic<uint64_t> stale_reports_{0};
  std::atomic<uint32_t> reconnects_{0};

  std::mutex in_call_mutex_;  // calls that do the upkeep, one at a time
  uint64_t last_beat_ns_ = 0;  // in calls

  // Its own, one run at a time.
  PeerWatch watch_;
  RetryPolicy retry_;
  std::unique_ptr<RoleSeeker> seeker_;
  bool must_probe_ = false;      // the exit watch fired
  bool has_lost_lock_file_ = false;
  bool must_seek_again_ = false;  // a move met a change that was half done
  bool has_given_up_ = false;
  uint64_t leaving_since_ns_ = 0;
  int fence_code_ = ESHM_SUCCESS;  // what all calls answer since the role was lost
  uint64_t next_due_ns_ = 0;
  std::atomic<uint64_t>* heartbeat_;
  std::atomic<uint64_t> idle_heartbeat_{0};  // beats after the seat was left
  os::ProcessIdentity exit_watch_;
};

}  // namespace eshm::endpoint
