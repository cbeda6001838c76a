#include "endpoint/reconnection.h"

#include <utility>

#include "endpoint/cleanup.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

Reconnection::Reconnection(const Settings& settings, DataPath& data, Notices& notices,
                           PeerView& peer)
    : settings_(settings),
      data_(data),
      notices_(notices),
      peer_(peer),
      retry_(retry_limits(settings, settings.disconnect_behavior)) {}

Reconnection::Outcome Reconnection::run(uint64_t now_ns, bool name_changed, Locking locking,
                                        bool shows_life) {
  locking_ = locking;
  shows_life_ = shows_life;
  Outcome outcome;
  if (is_moving()) {
    data_.prepare_move(*move_);  // what came since the last try
    finish_move(outcome);
  } else {
    follow_policy(now_ns, name_changed, outcome);
  }
  return outcome;
}

Reconnection::Outcome Reconnection::finish_pending_move() {
  locking_ = Locking::kWait;
  Outcome outcome;
  if (is_moving()) finish_move(outcome);
  return outcome;
}

// A segment that waits for the exchange is left like the one in use.
void Reconnection::end() {
  retry_.end();
  if (!is_moving()) return;
  const Attachment& next = *move_->next;
  next.own_record().left.store(next.incarnation(), memory_order_release);
  next.segment().locks().close();
  move_.reset();
}

Verdicts Reconnection::verdicts(bool is_lost, bool is_queue) const {
  if (has_given_up_) return {ESHM_ERROR_MASTER_STALE, ESHM_ERROR_MASTER_STALE};
  // A queue keeps what is written until a new master comes.
  return {ESHM_SUCCESS, is_lost && !is_queue ? ESHM_ERROR_TIMEOUT : ESHM_SUCCESS};
}

void Reconnection::follow_policy(uint64_t now_ns, bool name_changed, Outcome& outcome) {
  if (!peer_.is_lost(data_.attachment()) && !peer_.is_stale()) {
    retry_.end();
    must_seek_again_ = false;
    has_given_up_ = false;  // on a master that was merely stale
    return;
  }
  retry_.begin(now_ns);
  if (!has_given_up_) {
    switch (retry_.advise(now_ns)) {
      case RetryPolicy::Advice::kGiveUp:
        has_given_up_ = outcome.gave_up = true;
        break;
      case RetryPolicy::Advice::kAttempt:
        try_to_move(outcome);
        break;
      case RetryPolicy::Advice::kWait:
      case RetryPolicy::Advice::kIdle:
        if (name_changed || must_seek_again_) try_to_move(outcome);
        break;
    }
  }
  if (has_given_up_ && peer_.is_lost(data_.attachment())) outcome.must_leave = may_leave(now_ns);
}

// The last one out removes the name first. Upkeep cannot wait while another process changes
// the roles: the next run tries again.
bool Reconnection::may_leave(uint64_t now_ns) {
  if (leaving_since_ns_ == 0) leaving_since_ns_ = now_ns;
  const bool is_tidy =
      !clean_up_name(settings_, ESHM_ROLE_SLAVE, data_.attachment().segment_ptr(), 0);
  return is_tidy || now_ns - leaving_since_ns_ >= kCleanupPatienceNs;
}

// Another segment has the name, or this one was superseded: goes there.
void Reconnection::try_to_move(Outcome& outcome) {
  must_seek_again_ = false;
  const Attachment& attachment = data_.attachment();
  if (!attachment.segment().is_superseded() && attachment.segment().is_named(settings_)) {
    return;  // still the same one: a new master adopts it
  }
  if (seeker_ == nullptr) {
    seeker_ = std::make_unique<RoleSeeker>(settings_, attachment.incarnation());
  }
  auto move = std::make_unique<Move>();  // what needs memory, before a seat is taken
  RoleSeeker::Step step = seeker_->step();
  if (step.verdict == RoleSeeker::Verdict::kTaken) {
    move->start(std::move(step.attachment));
    move_ = std::move(move);
    tries_to_move_ = 0;
    seeker_.reset();
    data_.prepare_move(*move_);
    finish_move(outcome);
  } else if (step.verdict == RoleSeeker::Verdict::kRefused) {
    notices_.say(ESHM_LOG_WARNING, step.failure.text);
  } else {
    must_seek_again_ = step.verdict != RoleSeeker::Verdict::kNoMaster;
  }
}

// Everything that makes a system call, or takes long, comes before the exchange or after
// it. Tried again at the next run if a call keeps a lock.
void Reconnection::finish_move(Outcome& outcome) {
  const Attachment& next = *move_->next;
  const PeerView::Ahead ahead = peer_.check_ahead(next);
  // A call that hears the new master may answer it at once.
  const Verdicts answers = verdicts(ahead.is_lost, move_->ends.out.is_queue);
  // Not for long: until the exchange nothing but this shows the new master that the process
  // lives. A lock that is waited for boosts its holder.
  constexpr uint32_t kTries = 3;
  const Locking locking = ++tries_to_move_ > kTries ? Locking::kWait : locking_;
  if (!data_.finish_move(*move_, answers, locking)) {
    if (shows_life_) next.own_beats().fetch_add(1, memory_order_relaxed);
    must_seek_again_ = true;
    return;
  }
  const std::unique_ptr<Move> done = std::move(move_);
  retry_.end();
  outcome.former = done->next;
  const Attachment& former = *outcome.former;
  former.own_record().left.store(former.incarnation(), memory_order_release);
  former.segment().locks().close();
  outcome.moved = peer_.take_over(ahead, data_.attachment());
  data_.wake_waiting_calls();
  // A call that parks in the former segment wakes, and polls again in the new one.
  wake_all_waiters(former.segment());
  if (data_.incoming().is_listened_to()) Waiters::moved(data_.incoming());
}

}  // namespace eshm::endpoint
