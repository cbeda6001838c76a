// What keeps a link healthy between calls: watching the peer, retrying, moving to another
// segment, and fencing an end that has lost its role.
//
// The service thread runs it. Calls run it where there is no such thread
// (use_threads = false), and where it is late: a process whose threads keep it from a
// core still notices what becomes of its peer. One run at a time. A second thread goes
// away, unless the run has lasted for long: then it waits for a moment, which boosts the
// first one.
//
// Where the decisions are: peer_watch.h (is the peer alive?), retry_policy.h (when
// does a slave try again, and when does it give up?), role_seeker.h (which segment
// may it attach to?).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "endpoint/data_path.h"
#include "endpoint/notices.h"
#include "endpoint/peer_watch.h"
#include "endpoint/retry_policy.h"
#include "endpoint/role_seeker.h"
#include "endpoint/service.h"
#include "os/mutex.h"

namespace eshm::endpoint {

class Upkeep final : public Service::Client, public InCallUpkeep {
 public:
  // References must outlive it. Checks the peer once, so that its first state is known.
  Upkeep(const Settings& settings, DataPath& data, Notices& notices);

  // From now on the service thread runs it, and calls if that is late and they may.
  void set_served(bool may_run_in_calls);
  // After the service's last run: exchanges a segment that waits for it.
  void finish_pending_move();
  // After its last run: whether this process still has its role, and so the duty to
  // say good-bye and to clean up.
  bool has_role() const;

  // ---- any thread ----

  void run_in_call() final;
  // Hides from the peer that this process lives, or shows it again.
  void hold_heartbeat(bool is_held);
  void beat();
  ESHMPeerState peer_state() const { return peer_state_.load(std::memory_order_acquire); }
  uint64_t stale_reports() const { return stale_reports_.load(std::memory_order_relaxed); }
  uint32_t reconnects() const { return reconnects_.load(std::memory_order_relaxed); }

  // ---- the service thread ----

  Service::Needs needs() final;
  bool run_upkeep(uint64_t now_ns, bool name_changed, Service::Needs& needs) final;
  void peer_has_exited() final { must_probe_.store(true, std::memory_order_relaxed); }
  bool find_lock_file() final;
  void deliver_notices() final { notices_.deliver(); }

 private:
  bool is_late(uint64_t since_ns) const;
  bool lock_in_call(std::unique_lock<os::Mutex>& lock);
  Service::Needs needs_now();
  void run_now(uint64_t now_ns, bool name_changed);
  void run(uint64_t now_ns, bool name_changed);
  void check_own_role();
  bool is_over() const {
    return fence_code_ != ESHM_SUCCESS || has_left_role_.load(std::memory_order_relaxed);
  }
  bool check_lock_file();
  void fence(int code);
  void leave_role();
  struct PeerEvents {
    std::optional<ESHMEvent> events[PeerWatch::kMostEventsPerSighting];
  };
  static PeerEvents see_peer(const Attachment& attachment, PeerWatch& watch, uint64_t now_ns,
                             bool must_probe);
  void check_peer(uint64_t now_ns);
  void report_peer(const PeerEvents& events);
  void choose_exit_watch();
  void free_reserved_seat();
  bool has_lost_master() const { return has_lost_master(watch_, data_.attachment()); }
  static bool has_lost_master(const PeerWatch& watch, const Attachment& attachment);
  Verdicts verdicts(bool has_lost_master, bool is_queue) const;
  void update_verdicts();
  void follow_retry_policy(uint64_t now_ns, bool name_changed);
  void leave_if_given_up(uint64_t now_ns);
  void try_to_move();
  void finish_move();
  void abandon_move();
  void raise(ESHMEvent event);
  std::atomic<uint64_t>& heartbeat();

  const Settings& settings_;
  DataPath& data_;
  Notices& notices_;
  const ESHMRole role_;
  bool is_served_ = false;
  bool may_run_in_calls_ = true;

  // Any thread loads these.
  std::atomic<ESHMPeerState> peer_state_{ESHM_PEER_NEVER_SEEN};
  std::atomic<bool> has_left_role_{false};
  std::atomic<uint64_t> stale_reports_{0};
  std::atomic<uint32_t> reconnects_{0};
  std::atomic<bool> must_probe_{false};  // the exit watch fired
  std::atomic<bool> must_seek_{false};   // a name was made
  std::atomic<uint64_t> last_served_ns_{0};  // the end of the service thread's last run
  std::atomic<uint64_t> run_began_ns_{0};    // of the run that goes on; 0: none does
  std::atomic<bool> is_held_{false};     // no heartbeat is to be seen
  std::atomic<uint64_t> idle_heartbeat_{0};  // what beats then, and after the role was left

  os::Mutex run_mutex_;  // guards what follows; calls only try it
  Locking locking_ = Locking::kWait;  // of this run
  PeerWatch watch_;
  RetryPolicy retry_;
  std::unique_ptr<RoleSeeker> seeker_;
  std::unique_ptr<Move> move_;  // taken, and not exchanged yet
  uint32_t tries_to_move_ = 0;  // that found a data lock held
  // Segments that a call moved away from: the service's thread still beats in them until
  // it has asked for needs() again.
  std::vector<std::shared_ptr<Attachment>> still_beaten_;
  bool has_lost_lock_file_ = false;
  bool must_seek_again_ = false;  // a move met a change that was half done
  bool has_given_up_ = false;
  uint64_t leaving_since_ns_ = 0;
  int fence_code_ = ESHM_SUCCESS;  // what all calls answer since the role was lost
  uint64_t next_due_ns_ = 0;
  uint64_t last_beat_ns_ = 0;  // in calls
  os::ProcessIdentity exit_watch_;
};

}  // namespace eshm::endpoint
