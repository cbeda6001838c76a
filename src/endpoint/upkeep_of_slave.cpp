// Upkeep of a slave that has lost its master: it tries again by the retry policy, moves to
// the segment of a new master, or gives up.
#include <new>
#include <utility>

#include "endpoint/cleanup.h"
#include "endpoint/upkeep.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

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
  auto move = std::make_unique<Move>();  // what needs memory, before a seat is taken
  RoleSeeker::Step step = seeker_->step();
  if (step.verdict == RoleSeeker::Verdict::kTaken) {
    move->start(std::move(step.attachment));
    move_ = std::move(move);
    tries_to_move_ = 0;
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
  // Not for long: until the exchange nothing but calls shows the new master that this
  // process lives. A lock that is waited for boosts its holder.
  constexpr uint32_t kTries = 3;
  const Locking locking = ++tries_to_move_ > kTries ? Locking::kWait : locking_;
  if (!data_.finish_move(*move_, answers, locking)) {
    if (!is_held_.load(memory_order_relaxed)) next.own_beats().fetch_add(1, memory_order_relaxed);
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
