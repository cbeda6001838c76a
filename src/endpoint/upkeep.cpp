#include "endpoint/upkeep.h"

#include <new>
#include <utility>

#include "endpoint/cleanup.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

Upkeep::Upkeep(const Settings& settings, DataPath& data, Notices& notices)
    : settings_(settings),
      data_(data),
      notices_(notices),
      role_(data.attachment().role()),
      watch_(settings.stale_threshold_ms * os::kNsPerMs, role_ == ESHM_ROLE_SLAVE),
      retry_(retry_limits(settings, settings.disconnect_behavior)),
      heartbeat_(&data.attachment().own_beats()) {}

void Upkeep::check_peer_at_once() { check_peer(os::monotonic_ns()); }

bool Upkeep::has_role() const {
  const Attachment& attachment = data_.attachment();
  const bool has_successor =
      attachment.own_record().incarnation.load(memory_order_relaxed) != attachment.incarnation();
  return !has_successor && fence_code_ == ESHM_SUCCESS && !has_left_seat();
}

// ---- when it runs ----------------------------------------------------------------

void Upkeep::run_in_call() {
  {
    const std::unique_lock<std::mutex> lock(in_call_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;  // another thread's call does it
    const uint64_t now = os::monotonic_ns();
    if (now - last_beat_ns_ >= ESHM_HEARTBEAT_INTERVAL_MS * os::kNsPerMs) {
      last_beat_ns_ = now;
      heartbeat_->fetch_add(1, memory_order_relaxed);
    }
    if (now >= next_due_ns_) {
      find_lock_file();
      run_upkeep(now, false);
    }
  }
  if (notices_.are_pending() && !is_in_callback()) notices_.deliver();
}

Service::Needs Upkeep::needs() const {
  return {next_due_ns_, heartbeat_, exit_watch_, retry_.is_running(), notices_.are_pending()};
}

void Upkeep::run_upkeep(uint64_t now_ns, bool name_changed) {
  try {
    run(now_ns, name_changed);
  } catch (const std::bad_alloc&) {
    // What needs memory changes nothing before it has it: the next run repeats it.
    must_seek_again_ = true;
    next_due_ns_ = now_ns + check_interval_ns(settings_);
  }
}

void Upkeep::run(uint64_t now_ns, bool name_changed) {
  uint64_t interval_ns = check_interval_ns(settings_);
  check_own_role();
  if (fence_code_ != ESHM_SUCCESS || has_left_seat()) {
    next_due_ns_ = now_ns + interval_ns;  // a first callback may still be set
    return;
  }
  check_peer(now_ns);
  if (role_ == ESHM_ROLE_SLAVE) {
    follow_retry_policy(now_ns, name_changed);
    if (retry_.is_running()) interval_ns = os::kNsPerMs;  // to see an adopter at once
  } else {
    free_reserved_seat();
  }
  if (data_.is_untidy()) data_.tidy_former_segments();
  next_due_ns_ = now_ns + interval_ns;
}

// ---- the own role ----------------------------------------------------------------

void Upkeep::check_own_role() {
  if (fence_code_ != ESHM_SUCCESS || has_left_seat()) return;
  const Attachment& attachment = data_.attachment();
  const bool has_successor =
      attachment.own_record().incarnation.load(memory_order_relaxed) != attachment.incarnation() ||
      (role_ == ESHM_ROLE_MASTER && attachment.segment().is_superseded());
  if (has_successor) {
    fence(ESHM_ERROR_SUPERSEDED);
  } else if (data_.found_corrupt()) {
    fence(ESHM_ERROR_CORRUPT);
  } else if (has_lost_lock_file_) {
    fence(ESHM_ERROR_NOT_INITIALIZED);
  }
}

bool Upkeep::find_lock_file() {
  if (fence_code_ != ESHM_SUCCESS || has_left_seat()) return true;  // closed already
  has_lost_lock_file_ = !data_.attachment().segment().locks().is_still_ours();
  return !has_lost_lock_file_;
}

// From here on every call answers `code`; the role, if it is still ours, is free.
void Upkeep::fence(int code) {
  fence_code_ = code;
  update_verdicts();
  if (code == ESHM_ERROR_SUPERSEDED) raise(ESHM_EVENT_SUPERSEDED);
  leave_seat();
}

// The role is over for this process.
void Upkeep::leave_seat() {
  update_verdicts();
  data_.leave_seat();
  has_left_seat_.store(true, memory_order_relaxed);
  heartbeat_ = &idle_heartbeat_;
  exit_watch_ = {};
  retry_.end();
}

void Upkeep::update_verdicts() {
  int for_read = fence_code_;
  int for_write = fence_code_;
  if (fence_code_ == ESHM_SUCCESS && role_ == ESHM_ROLE_SLAVE) {
    const bool is_queue = data_.outgoing().end().is_queue;
    if (has_given_up_) {
      for_read = for_write = ESHM_ERROR_MASTER_STALE;
    } else if (has_lost_master() && !is_queue) {
      for_write = ESHM_ERROR_TIMEOUT;
    }
  }
  data_.set_verdicts(for_read, for_write);
}

void Upkeep::raise(ESHMEvent event) {
  data_.wake_waiting_calls();
  notices_.raise(event);
}

// ---- the peer --------------------------------------------------------------------

void Upkeep::check_peer(uint64_t now_ns) {
  const ESHMRole peer = role_ == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  const Sighting sighting =
      sight_holder(data_.attachment().segment(), peer, watch_, now_ns, must_probe_);
  must_probe_ = false;
  std::optional<ESHMEvent> events[PeerWatch::kMostEventsPerSighting];
  for (auto& event : events) {
    event = watch_.see(sighting);
    if (event == ESHM_EVENT_STALE) stale_reports_.fetch_add(1, memory_order_relaxed);
    if (event == ESHM_EVENT_RECONNECTED) reconnects_.fetch_add(1, memory_order_relaxed);
  }
  // After the counts: a thread that loads the state finds it counted.
  peer_state_.store(watch_.state(), memory_order_release);
  if (!events[0]) return;
  choose_exit_watch();
  for (const auto& event : events) {
    if (event) raise(*event);
  }
  update_verdicts();
}

// A pidfd can be had for a process of our own PID and time namespace.
void Upkeep::choose_exit_watch() {
  exit_watch_ = {};
  if (!watch_.is_there()) return;
  const os::ProcessIdentity peer = read_record(data_.attachment().peer_record()).process;
  const os::ProcessIdentity self = os::self();
  const bool is_comparable = peer.pid_namespace == self.pid_namespace &&
                             peer.time_namespace == self.time_namespace && peer.start_time != 0;
  if (is_comparable && peer.pid != self.pid) exit_watch_ = peer;
}

// Master: the seat is kept until its slave has come over, or is dead.
void Upkeep::free_reserved_seat() {
  Attachment& attachment = data_.attachment();
  if (attachment.replaced == nullptr) return;
  const bool came = watch_.state() != ESHM_PEER_NEVER_SEEN;
  if (!came && attachment.replaced->is_held(layout::kSlaveByte)) return;
  attachment.page().seat.reserved_for.store(0, memory_order_release);
  attachment.replaced.reset();
}

// ---- a slave without its master --------------------------------------------------

bool Upkeep::has_lost_master() const {
  return watch_.state() == ESHM_PEER_DEAD || watch_.state() == ESHM_PEER_LEFT ||
         data_.attachment().segment().is_superseded();
}

void Upkeep::follow_retry_policy(uint64_t now_ns, bool name_changed) {
  if (!has_lost_master() && watch_.state() != ESHM_PEER_STALE) {
    retry_.end();
    must_seek_again_ = false;
    if (has_given_up_) {  // on a master that was merely stale
      has_given_up_ = false;
      update_verdicts();
    }
    return;
  }
  retry_.begin(now_ns);
  if (!has_given_up_) {
    switch (retry_.advise(now_ns)) {
      case RetryPolicy::Advice::kGiveUp:
        has_given_up_ = true;
        raise(ESHM_EVENT_GAVE_UP);
        break;
      case RetryPolicy::Advice::kAttempt:
        try_to_move();
        break;
      case RetryPolicy::Advice::kWait:
      case RetryPolicy::Advice::kIdle:
        if (name_changed || must_seek_again_) try_to_move();
        break;
    }
  }
  if (has_given_up_ && has_lost_master()) leave_if_given_up(now_ns);
  update_verdicts();
}

// The last one out. Upkeep cannot wait while another process changes the roles: the
// next run tries again.
void Upkeep::leave_if_given_up(uint64_t now_ns) {
  if (leaving_since_ns_ == 0) leaving_since_ns_ = now_ns;
  const bool is_tidy = !clean_up_name(settings_, role_, data_.attachment().segment_ptr(), 0);
  if (is_tidy || now_ns - leaving_since_ns_ >= kCleanupPatienceNs) leave_seat();
}

// Another segment has the name, or this one was superseded: goes there.
void Upkeep::try_to_move() {
  must_seek_again_ = false;
  const Attachment& attachment = data_.attachment();
  if (!attachment.segment().is_superseded() && attachment.segment().is_named(settings_)) {
    return;  // still the same one: a new master adopts it
  }
  if (seeker_ == nullptr) {
    seeker_ = std::make_unique<RoleSeeker>(settings_, attachment.incarnation());
  }
  RoleSeeker::Step step = seeker_->step();
  if (step.verdict == RoleSeeker::Verdict::kTaken) {
    move_to(std::move(step.attachment));
  } else if (step.verdict == RoleSeeker::Verdict::kRefused) {
    notices_.say(ESHM_LOG_WARNING, step.failure.text);
  } else {
    must_seek_again_ = step.verdict != RoleSeeker::Verdict::kNoMaster;
  }
}

void Upkeep::move_to(std::shared_ptr<Attachment> next) {
  data_.prepare_to_move();
  seeker_.reset();
  heartbeat_ = &next->own_beats();
  const std::shared_ptr<Attachment> former = data_.move_to(std::move(next), [this] {
    // No call may hear the new master before this: its answer would be told that
    // there is none.
    watch_.forget_segment();
    check_peer(os::monotonic_ns());  // attaching may have taken long
    retry_.end();
    update_verdicts();
  });
  // A call that parks in the former segment wakes, and polls again in the new one.
  former->own_record().left.store(former->incarnation(), memory_order_release);
  former->segment().locks().close();
  wake_all_waiters(former->segment());
  if (data_.incoming().is_listened_to()) Waiters::moved(data_.incoming());
}

}  // namespace eshm::endpoint
