// SPDX-License-Identifier: MIT
#include "endpoint/reconnection.h"

#include <utility>

#include "endpoint/cleanup.h"

namespace eshm::endpoint {

namespace {

// How often a slave looks for the seat that is kept for it, unless a name is made.
constexpr uint64_t kSeatIntervalNs = 10 * os::kNsPerMs;
constexpr uint64_t kRefusedIntervalNs = 1'000 * os::kNsPerMs;

}  // namespace

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
    return outcome;
  }
  if (seat_ != nullptr) come_over_when_due(outcome);
  if (!is_moving() && outcome.former == nullptr) follow_policy(now_ns, name_changed, outcome);
  return outcome;
}

// ---- a link that its master renews -----------------------------------------------

// No other seat is taken: the master lives, and both use this segment.
void Reconnection::take_reserved_seat(uint64_t now_ns, bool name_changed) {
  const bool is_early = now_ns < next_try_ns_ && (!name_changed || !refused_.empty());
  if (seat_ != nullptr || is_early) return;
  next_try_ns_ = now_ns + kSeatIntervalNs;
  auto move = std::make_unique<Move>();
  RoleSeeker::Step step = RoleSeeker(settings_, data_.attachment().incarnation(), true).step();
  if (step.verdict == RoleSeeker::Verdict::kRefused) {
    // Attaching again and again may cost much. Both go on here.
    next_try_ns_ = now_ns + kRefusedIntervalNs;
    if (step.failure.text != refused_) notices_.say(ESHM_LOG_WARNING, step.failure.text);
    refused_ = step.failure.text;
  }
  if (step.verdict != RoleSeeker::Verdict::kTaken) return;
  refused_.clear();
  move->start(std::move(step.attachment));
  seat_ = std::move(move);
}

// The master writes there already, or will never: it is dead, or replaced.
void Reconnection::come_over_when_due(Outcome& outcome) {
  const Attachment& next = *seat_->next;
  if (shows_life_) next.own_beats().fetch_add(1, memory_order_relaxed);
  const bool is_due =
      peer_.is_lost(data_.attachment()) || next.segment().is_superseded();
  if (is_due) begin_move(std::move(seat_), outcome);
}

Reconnection::Outcome Reconnection::finish_pending_move() {
  locking_ = Locking::kWait;
  Outcome outcome;
  if (is_moving()) finish_move(outcome);
  return outcome;
}

void Reconnection::announce_leaving() const {
  if (seat_ == nullptr) return;
  const Attachment& next = *seat_->next;
  next.own_record().left.store(next.incarnation(), memory_order_release);
}

// A segment that waits for the exchange is left like the one in use.
void Reconnection::end() {
  retry_.end();
  is_coming_over_ = false;
  for (std::unique_ptr<Move>* const move : {&seat_, &move_}) {
    if (*move == nullptr) continue;
    const Attachment& next = *(*move)->next;
    next.own_record().left.store(next.incarnation(), memory_order_release);
    next.segment().locks().close();
    move->reset();
  }
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
    is_coming_over_ =
        data_.attachment().page().mark.has_successor.load(std::memory_order_acquire) != 0;
    if (is_coming_over_) take_reserved_seat(now_ns, name_changed);
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
  const Attachment& attachment = data_.attachment();
  const bool is_tidy = !clean_up_name(settings_, ESHM_ROLE_SLAVE, attachment.segment_ptr(), 0);
  if (attachment.page().mark.has_successor.load(memory_order_relaxed) != 0) {
    clean_up_renewed(settings_, attachment.incarnation(), 0);
  }
  return is_tidy || now_ns - leaving_since_ns_ >= kCleanupPatienceNs;
}

// Another segment has the name, or this one was superseded: goes there.
void Reconnection::try_to_move(Outcome& outcome) {
  must_seek_again_ = false;
  if (seat_ != nullptr) return;  // there, or nowhere
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
    seeker_.reset();
    // Of its own master, which stands still in the middle of a renewal: it may go on.
    if (move->next->has_reserved_seat && !peer_.is_lost(attachment)) {
      seat_ = std::move(move);
    } else {
      begin_move(std::move(move), outcome);
    }
  } else if (step.verdict == RoleSeeker::Verdict::kRefused) {
    notices_.say(ESHM_LOG_WARNING, step.failure.text);
  } else {
    must_seek_again_ = step.verdict != RoleSeeker::Verdict::kNoMaster;
  }
}

void Reconnection::begin_move(std::unique_ptr<Move> move, Outcome& outcome) {
  // A master that stands still does not know that nobody will read here any more.
  const Attachment& attachment = data_.attachment();
  marked_it_ = !attachment.segment().is_superseded();
  if (marked_it_) {
    attachment.mark(layout::kSuperseded, read_record(move->next->peer_record()).process.pid);
  }
  move_ = std::move(move);
  if (copied_for_us(*move_->next)) {
    move_->carried.passed = move_->next->page().seat.copied_until.load(memory_order_relaxed);
  }
  tries_to_move_ = 0;
  is_coming_over_ = false;
  data_.prepare_move(*move_);
  finish_move(outcome);
}

// The master that replaced this segment gave its successor all that is unread here.
bool Reconnection::copied_for_us(const Attachment& next) const {
  return next.page().seat.copied_for.load(memory_order_relaxed) ==
         data_.attachment().incarnation();
}

// What the master of the former segment has written to the next one, if it is its own:
// all, or, if it died or was replaced before it could say so, perhaps a part.
Copies Reconnection::copies_for(const Move& move) const {
  if (copied_for_us(*move.next)) return Copies::kComplete;
  if (!move.next->has_reserved_seat) return Copies::kNone;
  const layout::MarkLine& mark = data_.attachment().page().mark;
  if (mark.superseded.load(std::memory_order_acquire) == layout::kRenewed) return Copies::kComplete;
  return mark.has_successor.load(memory_order_relaxed) != 0 ? Copies::kPart : Copies::kNone;
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
  move_->copies = copies_for(*move_);
  // Then what it left counts, though this end has marked it.
  move_->is_writer_dead = marked_it_ &&
                          (move_->copies == Copies::kPart ||
                           (move_->copies == Copies::kNone && move_->ends.in.is_queue)) &&
                          !data_.attachment().segment().is_held(layout::kMasterByte);
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
