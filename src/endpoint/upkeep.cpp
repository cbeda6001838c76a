// SPDX-License-Identifier: MIT
#include "endpoint/upkeep.h"

#include <algorithm>
#include <new>

#include "endpoint/inheritance.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;

Upkeep::Upkeep(const Settings& settings, DataPath& data, Notices& notices)
    : settings_(settings),
      data_(data),
      notices_(notices),
      role_(data.attachment().role()),
      turn_(settings),
      peer_(settings, role_),
      reconnection_(settings, data, notices, peer_),
      renewal_(settings, data, notices, peer_),
      name_(os::object_path(settings.name)) {
  const uint64_t now = os::monotonic_ns();
  raise(peer_.check(data_.attachment(), now));
  data_.outgoing().watch_reader(now);
}

bool Upkeep::end() {
  if (!is_over()) apply(reconnection_.finish_pending_move());
  // What was read in the former segment is passed in this one.
  if (!is_over() && renewal_.awaits_slave()) {
    raise(renewal_.check_slave(os::monotonic_ns(), Locking::kWait));
  }
  const Attachment& attachment = data_.attachment();
  const bool has_successor =
      attachment.own_record().incarnation.load(memory_order_relaxed) != attachment.incarnation();
  return !has_successor && !is_over();
}

// ---- when it runs ----------------------------------------------------------------

void Upkeep::run_in_call() {
  if (!turn_.is_calls_turn()) return;
  {
    const Turn::Lock lock = turn_.take_in_call();
    if (!lock.owns_lock()) return;  // another thread does it
    const uint64_t now = os::monotonic_ns();
    if (!turn_.is_served() && now - last_beat_ns_ >= kHeartbeatIntervalNs) {
      last_beat_ns_ = now;
      heartbeat().fetch_add(1, memory_order_relaxed);
    }
    if (now >= next_due_ns_) {
      (void)check_lock_file();
      run_now(now, false, turn_.is_served() ? Locking::kTry : Locking::kWait);
    }
  }
  // Where there is a service thread, callbacks are its alone, however late it is.
  const bool must_deliver = !turn_.is_served() && notices_.are_pending();
  if (must_deliver && !is_in_callback()) notices_.deliver();
}

Service::Needs Upkeep::needs() {
  const Turn::Lock lock = turn_.wait();
  return needs_now();
}

Service::Needs Upkeep::needs_now() {
  still_beaten_.clear();
  return {next_due_ns_, &heartbeat(), peer_.exit_watch(), reconnection_.is_running(),
          notices_.are_pending()};
}

bool Upkeep::run_upkeep(uint64_t now_ns, bool name_changed, Service::Needs& needs) {
  if (name_changed) must_seek_.store(true, memory_order_relaxed);  // also for a call's run
  const Turn::Lock lock = turn_.take_in_service();
  if (!lock.owns_lock()) return false;  // a call does it
  run_now(now_ns, name_changed, Locking::kWait);
  turn_.end_in_service(now_ns);
  needs = needs_now();
  return true;
}

void Upkeep::run_now(uint64_t now_ns, bool name_changed, Locking locking) {
  locking_ = locking;
  turn_.begin(now_ns);
  try {
    run(now_ns, must_seek_.exchange(false, memory_order_relaxed) || name_changed);
  } catch (const std::bad_alloc&) {
    // What needs memory changes nothing before it has it: the next run repeats it.
    reconnection_.try_again_soon();
    next_due_ns_ = now_ns + check_interval_ns(settings_);
  }
  turn_.end();
}

void Upkeep::run(uint64_t now_ns, bool name_changed) {
  next_due_ns_ = now_ns + check_interval_ns(settings_);
  check_own_role();
  if (is_over()) {  // upkeep goes on: a first callback may still be set
    if (!has_left_role_.load(memory_order_relaxed)) leave_role();  // it was only tried before
    return;
  }
  if (!reconnection_.is_moving()) check_peer(now_ns);
  if (role_ == ESHM_ROLE_SLAVE) {
    reconnect(now_ns, name_changed);
  } else {
    if (!renewal_.awaits_slave()) free_reserved_seat();
    keep_name(now_ns);
  }
  if (data_.is_untidy()) data_.tidy_former_segments(locking_);
}

// For the slave of a segment that this one has replaced. If it died there, the next one does
// not get what it had consumed.
void Upkeep::free_reserved_seat() {
  Attachment& attachment = data_.attachment();
  const SegmentFile* const replaced = attachment.replaced.get();
  const bool died_there = replaced != nullptr && !peer_.was_seen() &&
                          attachment.page().seat.copied_for.load(memory_order_relaxed) != 0 &&
                          !replaced->is_held(layout::kSlaveByte);
  if (died_there) data_.outgoing().pass_carried(first_unread(settings_, *replaced));
  attachment.free_reserved_seat(peer_.was_seen());
}

void Upkeep::check_peer(uint64_t now_ns) {
  const PeerView::Events events = renewal_.awaits_slave()
                                      ? renewal_.check_slave(now_ns, locking_)
                                      : peer_.check(data_.attachment(), now_ns);
  raise(events);
  if (events[0]) update_verdicts();
  data_.outgoing().watch_reader(now_ns);
}

// ---- a master without its name ---------------------------------------------------

// Makes a segment, which may take long: not in a call that stands in for a late thread.
void Upkeep::keep_name(uint64_t now_ns) {
  if (locking_ == Locking::kWait) {
    if (turn_.is_served()) still_beaten_.reserve(still_beaten_.size() + 1);
    const Renewal::Outcome outcome = renewal_.run(now_ns);
    if (outcome.former != nullptr && turn_.is_served()) still_beaten_.push_back(outcome.former);
    if (outcome.is_renewed) raise(ESHM_EVENT_RENEWED);
    raise(outcome.events);
    if (outcome.is_superseded) fence(ESHM_ERROR_SUPERSEDED);
  }
  if (renewal_.is_under_way()) {
    const bool was_beaten = was_beaten_.exchange(false, memory_order_relaxed);
    if (was_beaten || !is_held_.load(memory_order_relaxed)) renewal_.beat();
    next_due_ns_ = std::min(next_due_ns_, now_ns + kHeartbeatIntervalNs);
  }
}

// ---- a slave without its master --------------------------------------------------

void Upkeep::reconnect(uint64_t now_ns, bool name_changed) {
  if (turn_.is_served()) still_beaten_.reserve(still_beaten_.size() + 1);
  const bool shows_life = !is_held_.load(memory_order_relaxed);
  apply(reconnection_.run(now_ns, name_changed, locking_, shows_life));
  if (reconnection_.is_running()) next_due_ns_ = now_ns + kHeartbeatIntervalNs;
}

void Upkeep::apply(const Reconnection::Outcome& outcome) {
  if (outcome.former != nullptr && turn_.is_served()) still_beaten_.push_back(outcome.former);
  if (outcome.moved) raise(*outcome.moved);
  if (outcome.gave_up) raise(ESHM_EVENT_GAVE_UP);
  if (outcome.must_leave) leave_role();
  update_verdicts();
}

// ---- signs of life ---------------------------------------------------------------

std::atomic<uint64_t>& Upkeep::heartbeat() {
  const bool is_idle = is_held_.load(memory_order_relaxed) || is_over();
  return is_idle ? idle_heartbeat_ : data_.attachment().own_beats();
}

void Upkeep::hold_heartbeat(bool is_held) {
  is_held_.store(is_held, memory_order_relaxed);
  data_.hold_calls(is_held);
  // Back to the heartbeat of the segment with the next run, within a millisecond.
  if (turn_.is_served()) Service::redirect(this, idle_heartbeat_);
}

void Upkeep::beat() {
  if (has_left_role_.load(memory_order_relaxed)) return;
  data_.current()->own_beats().fetch_add(1, memory_order_relaxed);
  was_beaten_.store(true, memory_order_relaxed);
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
  const Turn::Lock lock = turn_.take_in_service();
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
  peer_.end_exit_watch();
  reconnection_.end();
  renewal_.end();
}

void Upkeep::update_verdicts() {
  Verdicts verdicts{fence_code_, fence_code_};
  if (fence_code_ == ESHM_SUCCESS && role_ == ESHM_ROLE_SLAVE) {
    const Attachment& attachment = data_.attachment();
    // Its master still reads there.
    const bool is_renewed = attachment.page().mark.superseded.load(memory_order_relaxed) ==
                            layout::kRenewed;
    verdicts = reconnection_.verdicts(peer_.is_lost(attachment) && !is_renewed,
                                      data_.outgoing().end().is_queue);
  }
  data_.set_verdicts(verdicts);
}

void Upkeep::raise(const PeerView::Events& events) {
  for (const auto& event : events) {
    if (event) raise(*event);
  }
}

void Upkeep::raise(ESHMEvent event) {
  data_.wake_waiting_calls();
  notices_.raise(event);
}

}  // namespace eshm::endpoint
