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

namespace {

// How long a call lends its priority to a starved run, each time that it comes by.
constexpr uint64_t kBoostNs = 500'000;

}  // namespace

void Upkeep::set_served(bool may_run_in_calls) {
  is_served_ = true;
  may_run_in_calls_ = may_run_in_calls;
  last_served_ns_.store(os::monotonic_ns(), memory_order_relaxed);
}

// The times are of the same clock, read exactly; here it may be read a timer tick (1 to
// 10 ms) late, and costs a fraction.
bool Upkeep::is_late(uint64_t since_ns) const {
  const uint64_t late_ns = std::max(settings_.stale_threshold_ms * os::kNsPerMs / 2,
                                    2 * kHeartbeatIntervalNs);
  return os::coarse_monotonic_ns() >= since_ns + late_ns;
}

// Only tried, but for a run that lasts: its thread is starved, or moves to a segment of
// gigabytes. A moment's wait gives the thread this one's priority, and this one's core.
bool Upkeep::lock_in_call(std::unique_lock<os::Mutex>& lock) {
  if (lock.try_lock()) return true;
  const uint64_t began_ns = run_began_ns_.load(memory_order_relaxed);
  if (began_ns == 0 || !is_late(began_ns)) return false;
  if (!run_mutex_.try_lock_until(os::Deadline::after_ns(kBoostNs))) return false;
  lock = std::unique_lock<os::Mutex>(run_mutex_, std::adopt_lock);
  return true;
}

void Upkeep::run_in_call() {
  if (is_served_ && !may_run_in_calls_) return;
  if (is_served_ && !is_late(last_served_ns_.load(memory_order_relaxed))) return;
  {
    std::unique_lock<os::Mutex> lock(run_mutex_, std::defer_lock);
    if (!lock_in_call(lock)) return;  // another thread does it
    const uint64_t now = os::monotonic_ns();
    if (!is_served_ && now - last_beat_ns_ >= kHeartbeatIntervalNs) {
      last_beat_ns_ = now;
      heartbeat().fetch_add(1, memory_order_relaxed);
    }
    if (now >= next_due_ns_) {
      locking_ = is_served_ ? Locking::kTry : Locking::kWait;
      (void)check_lock_file();
      run_now(now, false);
    }
  }
  // Where there is a service thread, callbacks are its alone, however late it is.
  const bool must_deliver = !is_served_ && notices_.are_pending();
  if (must_deliver && !is_in_callback()) notices_.deliver();
}

Service::Needs Upkeep::needs() {
  const std::lock_guard<os::Mutex> lock(run_mutex_);
  return needs_now();
}

Service::Needs Upkeep::needs_now() {
  still_beaten_.clear();
  return {next_due_ns_, &heartbeat(), exit_watch_, retry_.is_running(), notices_.are_pending()};
}

bool Upkeep::run_upkeep(uint64_t now_ns, bool name_changed, Service::Needs& needs) {
  if (name_changed) must_seek_.store(true, memory_order_relaxed);  // also for a call's run
  const std::unique_lock<os::Mutex> lock(run_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return false;  // a call does it
  locking_ = Locking::kWait;
  run_now(now_ns, name_changed);
  last_served_ns_.store(os::monotonic_ns(), memory_order_relaxed);
  needs = needs_now();
  return true;
}

void Upkeep::finish_pending_move() {
  locking_ = Locking::kWait;
  if (move_ != nullptr && !is_over()) finish_move();
}

void Upkeep::run_now(uint64_t now_ns, bool name_changed) {
  run_began_ns_.store(now_ns, memory_order_relaxed);
  try {
    run(now_ns, must_seek_.exchange(false, memory_order_relaxed) || name_changed);
  } catch (const std::bad_alloc&) {
    // What needs memory changes nothing before it has it: the next run repeats it.
    must_seek_again_ = true;
    next_due_ns_ = now_ns + check_interval_ns(settings_);
  }
  run_began_ns_.store(0, memory_order_relaxed);
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
    data_.prepare_move(*move_);  // what came since the last try
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
  if (data_.is_untidy()) data_.tidy_former_segments(locking_);
  next_due_ns_ = now_ns + interval_ns;
}

// ---- signs of life ---------------------------------------------------------------

std::atomic<uint64_t>& Upkeep::heartbeat() {
  return is_held_.load(memory_order_relaxed) || is_over() ? idle_heartbeat_ : data_.attachment().own_beats();
}

void Upkeep::hold_heartbeat(bool is_held) {
  is_held_.store(is_held, memory_order_relaxed);
  data_.hold_calls(is_held);
  // Back to the heartbeat of the segment with the next run, within a millisecond.
  if (is_served_) Service::redirect(this, idle_heartbeat_);
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
  abandon_move();
}

// The role is over before the exchange: so it is in the segment that waits for it.
void Upkeep::abandon_move() {
  if (move_ == nullptr) return;
  const Attachment& next = *move_->next;
  next.own_record().left.store(next.incarnation(), memory_order_release);
  next.segment().locks().close();
  move_.reset();
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

}  // namespace eshm::endpoint
