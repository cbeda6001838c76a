#include "endpoint/upkeep.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "endpoint/cleanup.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

struct Upkeep::PeerEvents {
  std::optional<ESHMEvent> events[PeerWatch::kMostEventsPerSighting];
};

Upkeep::Upkeep(const Settings& settings, DataPath& data, Notices& notices)
    : settings_(settings),
      data_(data),
      notices_(notices),
      role_(data.attachment().role()),
      watch_(settings.stale_threshold_ms * os::kNsPerMs, role_ == ESHM_ROLE_SLAVE,
             silence_of(settings, !settings.use_threads)),
      retry_(retry_limits(settings, settings.disconnect_behavior)) {
  check_peer(os::monotonic_ns());
}

bool Upkeep::has_role() const {
  const Attachment& attachment = data_.attachment();
  const bool has_successor =
      attachment.own_record().incarnation.load(memory_order_relaxed) != attachment.incarnation();
  return !has_successor && !is_over();
}

// ---- when it runs ----------------------------------------------------------------

// The tick is of the same clock, read exactly; here it may be read a timer tick (1 to
// 10 ms) late, and costs a fraction.
bool Upkeep::is_service_late() const {
  const uint64_t late_ns = std::max(settings_.stale_threshold_ms * os::kNsPerMs / 2,
                                    2 * kHeartbeatIntervalNs);
  const uint64_t last_tick_ns = last_tick_ns_->load(memory_order_relaxed);
  return os::coarse_monotonic_ns() >= last_tick_ns + late_ns;
}

void Upkeep::run_in_call() {
  if (settings_.use_threads && (last_tick_ns_ == nullptr || !is_service_late())) return;
  {
    const std::unique_lock<os::Mutex> lock(run_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;  // another thread does it
    const uint64_t now = os::monotonic_ns();
    const bool must_beat = !settings_.use_threads && now - last_beat_ns_ >= kHeartbeatIntervalNs;
    if (must_beat) {
      last_beat_ns_ = now;
      heartbeat().fetch_add(1, memory_order_relaxed);
    }
    if (now >= next_due_ns_) {
      locking_ = settings_.use_threads ? Locking::kTry : Locking::kWait;
      (void)check_lock_file();
      run_now(now, false);
    }
  }
  // Where there is a service thread, callbacks are its alone, however late it is.
  const bool must_deliver = !settings_.use_threads && notices_.are_pending();
  if (must_deliver && !is_in_callback()) notices_.deliver();
}

Service::Needs Upkeep::needs() {
  const std::lock_guard<os::Mutex> lock(run_mutex_);
  still_beaten_.clear();
  return {next_due_ns_, &heartbeat(), exit_watch_, retry_.is_running(), notices_.are_pending()};
}

bool Upkeep::run_upkeep(uint64_t now_ns, bool name_changed, Service::Needs& needs) {
  std::unique_lock<os::Mutex> lock(run_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;  // a call does it
  locking_ = Locking::kWait;
  run_now(now_ns, name_changed);
  lock.unlock();
  needs = this->needs();
  return true;
}

void Upkeep::run_now(uint64_t now_ns, bool name_changed) {
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
  if (is_over()) {
    if (!has_left_role_.load(memory_order_relaxed)) leave_role();  // it was only tried before
    next_due_ns_ = now_ns + interval_ns;  // a first callback may still be set
    return;
  }
  if (move_ != nullptr) {
    finish_move();
  } else {
    check_peer(now_ns);
    if (role_ == ESHM_ROLE_SLAVE) follow_retry_policy(now_ns, name_changed);
  }
  if (role_ == ESHM_ROLE_SLAVE) {
    if (retry_.is_running()) interval_ns = kHeartbeatIntervalNs;  // to see an adopter at once
  } else {
    free_reserved_seat();
  }
  if (locking_ == Locking::kWait && data_.is_untidy()) data_.tidy_former_segments();
  next_due_ns_ = now_ns + interval_ns;
}

// ---- signs of life ---------------------------------------------------------------

std::atomic<uint64_t>& Upkeep::heartbeat() {
  const bool is_idle =
      is_held_.load(memory_order_relaxed) || has_left_role_.load(memory_order_relaxed);
  return is_idle ? idle_heartbeat_ : data_.attachment().own_beats();
}

void Upkeep::hold_heartbeat(bool is_held) {
  is_held_.store(is_held, memory_order_relaxed);
  data_.hold_calls(is_held);
  if (is_served_) Service::update(this);
}

void Upkeep::beat() {
  if (has_left_role_.load(memory_order_relaxed)) return;
  data_.current()->own_beats().fetch_add(1, memory_order_relaxed);
}

// ---- the own role ----------------------------------------------------------------

void Upkeep::check_own_role() {
  if (is_over()) return;
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
  const std::unique_lock<os::Mutex> lock(run_mutex_, std::try_to_lock);
  return !lock.owns_lock() || check_lock_file();
}

bool Upkeep::check_lock_file() {
  if (is_over()) return true;  // closed already
  has_lost_lock_file_ = !data_.attachment().segment().locks().is_still_ours();
  return !has_lost_lock_file_;
}

// From here on every call answers `code`; the role, if it is still ours, is free.
void Upkeep::fence(int code) {
  fence_code_ = code;
  update_verdicts();
  if (code == ESHM_ERROR_SUPERSEDED) raise(ESHM_EVENT_SUPERSEDED);
  leave_role();
}

// The role is over for this process. What only tries a lock may have to come again.
void Upkeep::leave_role() {
  update_verdicts();
  // Before the lock is dropped: beat() must not reach a successor's word.
  has_left_role_.store(true, memory_order_relaxed);
  if (!data_.leave_role(locking_)) {
    has_left_role_.store(false, memory_order_relaxed);
    return;
  }
  exit_watch_ = {};
  retry_.end();
}

Verdicts Upkeep::verdicts(bool has_lost_master, bool is_queue) const {
  if (fence_code_ != ESHM_SUCCESS) return {fence_code_, fence_code_};
  if (role_ == ESHM_ROLE_MASTER) return {};
  if (has_given_up_) return {ESHM_ERROR_MASTER_STALE, ESHM_ERROR_MASTER_STALE};
  // A queue keeps what is written until a new master comes.
  return {ESHM_SUCCESS, has_lost_master && !is_queue ? ESHM_ERROR_TIMEOUT : ESHM_SUCCESS};
}

void Upkeep::update_verdicts() {
  data_.set_verdicts(verdicts(has_lost_master(), data_.outgoing().end().is_queue));
}

void Upkeep::raise(ESHMEvent event) {
  data_.wake_waiting_calls();
  notices_.raise(event);
}

// ---- the peer --------------------------------------------------------------------

Upkeep::PeerEvents Upkeep::see_peer(const Attachment& attachment, PeerWatch& watch,
                                    uint64_t now_ns, bool must_probe) {
  const ESHMRole peer =
      attachment.role() == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  const Sighting sighting = sight_holder(attachment.segment(), peer, watch, now_ns, must_probe);
  PeerEvents seen;
  for (auto& event : seen.events) event = watch.see(sighting);
  return seen;
}

void Upkeep::check_peer(uint64_t now_ns) {
  const bool must_probe = must_probe_.exchange(false, memory_order_relaxed);
  report_peer(see_peer(data_.attachment(), watch_, now_ns, must_probe));
}

void Upkeep::report_peer(const PeerEvents& seen) {
  for (const auto& event : seen.events) {
    if (event == ESHM_EVENT_STALE) stale_reports_.fetch_add(1, memory_order_relaxed);
    if (event == ESHM_EVENT_RECONNECTED) reconnects_.fetch_add(1, memory_order_relaxed);
  }
  // After the counts: a thread that loads the state finds it counted.
  peer_state_.store(watch_.state(), memory_order_release);
  if (!seen.events[0]) return;
  choose_exit_watch();
  for (const auto& event : seen.events) {
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

bool Upkeep::has_lost_master(const PeerWatch& watch, const Attachment& attachment) {
  return watch.state() == ESHM_PEER_DEAD || watch.state() == ESHM_PEER_LEFT ||
         attachment.segment().is_superseded();
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
  if (is_tidy || now_ns - leaving_since_ns_ >= kCleanupPatienceNs) leave_role();
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
    move_ = std::make_unique<Move>(std::move(step.attachment));
    seeker_.reset();
    data_.prepare_move(*move_);
    finish_move();
  } else if (step.verdict == RoleSeeker::Verdict::kRefused) {
    notices_.say(ESHM_LOG_WARNING, step.failure.text);
  } else {
    must_seek_again_ = step.verdict != RoleSeeker::Verdict::kNoMaster;
  }
}

// Everything that makes a system call, or takes long, comes before the exchange or after
// it. Tried again at the next run if a call keeps a lock.
void Upkeep::finish_move() {
  PeerWatch watch = watch_;
  watch.forget_segment();
  const Attachment& next = *move_->next;
  // Attaching may have taken long: the time is read again.
  const PeerEvents seen = see_peer(next, watch, os::monotonic_ns(), false);
  const bool is_queue = move_->ends.out.is_queue;
  // A call that hears the new master may answer it at once.
  const Verdicts answers = verdicts(has_lost_master(watch, next), is_queue);
  if (is_served_) still_beaten_.reserve(still_beaten_.size() + 1);
  if (!data_.finish_move(*move_, answers, locking_)) {
    must_seek_again_ = true;
    return;
  }
  const std::unique_ptr<Move> done = std::move(move_);
  const std::shared_ptr<Attachment>& former = done->next;
  watch_ = watch;
  retry_.end();
  former->own_record().left.store(former->incarnation(), memory_order_release);
  former->segment().locks().close();
  if (is_served_) still_beaten_.push_back(former);
  report_peer(seen);
  data_.wake_waiting_calls();
  // A call that parks in the former segment wakes, and polls again in the new one.
  wake_all_waiters(former->segment());
  if (data_.incoming().is_listened_to()) Waiters::moved(data_.incoming());
}

}  // namespace eshm::endpoint
