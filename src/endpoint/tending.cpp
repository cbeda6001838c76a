// The tender's half of Endpoint: what happens to a link while nobody calls.
// The rules stand in liveness.cpp; here they meet the segment.
#include <algorithm>
#include <new>
#include <utility>

#include "endpoint/endpoint.h"
#include "endpoint/waiters.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

thread_local bool in_callback = false;

const char* text_of(ESHMEvent event) {
  switch (event) {
    case ESHM_EVENT_CONNECTED:
      return "the peer is there";
    case ESHM_EVENT_STALE:
      return "the peer's heartbeat stands still";
    case ESHM_EVENT_ALIVE:
      return "the peer beats again";
    case ESHM_EVENT_DEAD:
      return "the peer's process has ended";
    case ESHM_EVENT_LEFT:
      return "the peer has left";
    case ESHM_EVENT_RECONNECTED:
      return "a new peer is there";
    case ESHM_EVENT_SUPERSEDED:
      return "another process has taken this one's place";
    case ESHM_EVENT_GAVE_UP:
      return "no new master came: given up";
  }
  return "";
}

ESHMLogLevel level_of(ESHMEvent event) {
  const bool is_good = event == ESHM_EVENT_CONNECTED || event == ESHM_EVENT_ALIVE ||
                       event == ESHM_EVENT_RECONNECTED || event == ESHM_EVENT_LEFT;
  return is_good ? ESHM_LOG_INFO : ESHM_LOG_WARNING;
}

}  // namespace

bool is_in_callback() { return in_callback; }

void Endpoint::tend_without_thread() {
  {
    const std::unique_lock<std::mutex> lock(tend_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;  // another thread's call is at it
    const uint64_t now = os::monotonic_ns();
    if (now - last_beat_ns_ >= ESHM_HEARTBEAT_INTERVAL_MS * os::kNsPerMs) {
      last_beat_ns_ = now;
      beats_->fetch_add(1, memory_order_relaxed);
    }
    if (now >= next_due_ns_) {
      find_lock_file();
      tend(now, false);
    }
  }
  if (has_events() && !is_in_callback()) deliver_events();
}

void Endpoint::tend(uint64_t now_ns, bool woken) {
  try {
    tend_role(now_ns, woken);
  } catch (const std::bad_alloc&) {
    // What needs memory changes nothing before it has it: the next look repeats it.
    must_look_again_ = true;
    next_due_ns_ = now_ns + look_interval_ns_;
  }
}

void Endpoint::tend_role(uint64_t now_ns, bool woken) {
  look_at_own_role();
  if (fence_code_ != ESHM_SUCCESS || left_seat_) {
    next_due_ns_ = now_ns + look_interval_ns_;  // a first listener may still come
    return;
  }
  look_at_peer(now_ns);
  uint64_t interval_ns = look_interval_ns_;
  if (role_ == ESHM_ROLE_SLAVE) {
    follow_retry_policy(now_ns, woken);
    if (retry_.is_running()) interval_ns = os::kNsPerMs;  // an adopter is to be seen at once
  } else {
    free_reserved_seat();
  }
  if (!retired_.empty()) tend_retired();
  next_due_ns_ = now_ns + interval_ns;
}

// Is this process still who it thinks it is?
void Endpoint::look_at_own_role() {
  if (fence_code_ != ESHM_SUCCESS || left_seat_) return;
  const bool has_successor =
      attachment_->own_record().incarnation.load(memory_order_relaxed) !=
          attachment_->incarnation() ||
      (role_ == ESHM_ROLE_MASTER && attachment_->segment().is_superseded());
  if (has_successor) {
    fence(ESHM_ERROR_SUPERSEDED);
  } else if (found_corrupt_.load(memory_order_relaxed)) {
    fence(ESHM_ERROR_CORRUPT);
  } else if (lost_lock_file_) {
    fence(ESHM_ERROR_NOT_INITIALIZED);
  }
}

bool Endpoint::find_lock_file() {
  if (fence_code_ != ESHM_SUCCESS || left_seat_) return true;  // given back already
  lost_lock_file_ = !attachment_->segment().locks().is_still_ours();
  return !lost_lock_file_;
}

// From here on every call answers `code`; the role, as far as it is ours, is free.
void Endpoint::fence(int code) {
  fence_code_ = code;
  settle_verdicts();
  if (code == ESHM_ERROR_SUPERSEDED) tell(ESHM_EVENT_SUPERSEDED);
  leave_seat();
}

void Endpoint::look_at_peer(uint64_t now_ns) {
  const ESHMRole peer = role_ == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  const Sighting sighting = look_at(attachment_->segment(), peer, watch_, now_ns, must_probe_);
  must_probe_ = false;
  std::optional<ESHMEvent> events[PeerWatch::kMostEventsOfALook];
  for (auto& event : events) {
    event = watch_.see(sighting);
    if (event == ESHM_EVENT_STALE) stale_reports_.fetch_add(1, memory_order_relaxed);
    if (event == ESHM_EVENT_RECONNECTED) reconnects_.fetch_add(1, memory_order_relaxed);
  }
  // Behind the counts: whoever sees the state finds it counted.
  peer_state_.store(watch_.state(), memory_order_release);
  if (!events[0]) return;
  hang_bell();
  for (const auto& event : events) {
    if (event) tell(*event);
  }
  settle_verdicts();
}

// A bell can be had for a process of our own PID and time namespace.
void Endpoint::hang_bell() {
  bell_identity_ = {};
  if (!watch_.is_there()) return;
  const os::ProcessIdentity peer = read_record(attachment_->peer_record()).process;
  const os::ProcessIdentity self = os::self();
  const bool is_comparable = peer.pid_namespace == self.pid_namespace &&
                             peer.time_namespace == self.time_namespace && peer.start_time != 0;
  if (is_comparable && peer.pid != self.pid) bell_identity_ = peer;
}

bool Endpoint::has_lost_master() const {
  return watch_.state() == ESHM_PEER_DEAD || watch_.state() == ESHM_PEER_LEFT ||
         attachment_->segment().is_superseded();
}

void Endpoint::follow_retry_policy(uint64_t now_ns, bool woken) {
  const bool is_lost = has_lost_master();
  if (!is_lost && watch_.state() != ESHM_PEER_STALE) {
    retry_.end();
    must_look_again_ = false;
    if (gave_up_) {  // on one that was merely stale
      gave_up_ = false;
      settle_verdicts();
    }
    return;
  }
  retry_.begin(now_ns);
  if (!gave_up_) {
    switch (retry_.advise(now_ns)) {
      case RetryPolicy::Advice::kGiveUp:
        give_up();
        break;
      case RetryPolicy::Advice::kAttempt:
        try_to_move();
        break;
      case RetryPolicy::Advice::kWait:
      case RetryPolicy::Advice::kIdle:
        if (woken || must_look_again_) try_to_move();
        break;
    }
  }
  if (gave_up_ && has_lost_master()) {
    // The last one out. A heart cannot wait while somebody looks at the roles:
    // the next tick tries again.
    if (leaving_since_ns_ == 0) leaving_since_ns_ = now_ns;
    const bool is_tidy = !remove_name(0);
    if (is_tidy || now_ns - leaving_since_ns_ >= kUnlinkPatienceNs) leave_seat();
  }
  settle_verdicts();
}

void Endpoint::give_up() {
  gave_up_ = true;
  tell(ESHM_EVENT_GAVE_UP);
}

// The role is over for this process.
void Endpoint::leave_seat() {
  settle_verdicts();
  // No call is inside the segment when the role falls to somebody else.
  const std::lock_guard<os::WordLock> writing(write_lock_);
  const std::lock_guard<os::WordLock> reading(read_lock_);
  has_left_.store(true, memory_order_relaxed);
  if (ends_.in.is_queue) {
    drains_ = attachment_->segment().is_superseded() && ends_.in.drain_to_mark();
    ends_.in.queue.let_go();
  }
  left_seat_ = true;
  beats_ = &idle_beats_;
  bell_identity_ = {};
  retry_.end();
  // What is out counts as a call inside: a successor would overwrite it, or be
  // overwritten by it.
  if (!ends_.has_any_out()) give_seat_back();
}

// Lets the role's lock go: somebody else may have the seat. Under both locks.
void Endpoint::give_seat_back() {
  os::LockFile& locks = attachment_->segment().locks();
  if (!locks.is_open()) return;
  layout::RoleRecord& own = attachment_->own_record();
  if (own.incarnation.load(memory_order_relaxed) == attachment_->incarnation()) {
    own.left.store(attachment_->incarnation(), memory_order_release);
  }
  locks.close();
}

// Another segment has the name, or this one was superseded: go there.
void Endpoint::try_to_move() {
  must_look_again_ = false;
  if (!attachment_->segment().is_superseded() && attachment_->segment().is_named(settings_)) {
    return;  // still the same one: a new master adopts it
  }
  if (seeker_ == nullptr) {
    seeker_ = std::make_unique<RoleSeeker>(settings_, attachment_->incarnation());
  }
  RoleSeeker::Step step = seeker_->step();
  if (step.verdict == RoleSeeker::Verdict::kLookAgain ||
      step.verdict == RoleSeeker::Verdict::kWatching) {
    must_look_again_ = true;
  }
  if (step.verdict == RoleSeeker::Verdict::kRefused) {
    say(ESHM_LOG_WARNING, step.failure.text);
  }
  if (step.verdict != RoleSeeker::Verdict::kTaken) return;
  move_to(std::move(step.attachment));
}

void Endpoint::move_to(std::shared_ptr<Attachment> next) {
  {
    const std::lock_guard<os::WordLock> writing(write_lock_);
    const std::lock_guard<os::WordLock> reading(read_lock_);
    retired_.reserve(retired_.size() + 1);  // before anything is exchanged
  }
  seeker_.reset();
  beats_ = &next->own_beats();
  {
    const std::lock_guard<os::WordLock> writing(write_lock_);
    const std::lock_guard<os::WordLock> reading(read_lock_);
    Retired former{next, next->take_ends()};
    std::swap(attachment_, former.attachment);
    std::swap(ends_, former.ends);
    written_elsewhere_ += former.ends.out.written();
    keep_what_was_written(former);
    keep_what_is_unread(former);
    // What is out on loan, or borrowed, stays where it is.
    if (former.is_carried || former.is_unread || former.ends.has_any_out()) {
      retired_.push_back(former);
    }
    if (carried_segments_ != 0) (void)code_of(carry_over());
    next = former.attachment;
    // Before anybody can hear the new master: whoever answers it is not told that
    // there is none.
    watch_.forget_segment();
    look_at_peer(os::monotonic_ns());  // attaching may have taken long
    retry_.end();
    settle_verdicts();
  }
  // `next` is the old one now; whoever parks in it looks again.
  next->own_record().left.store(next->incarnation(), memory_order_release);
  next->segment().locks().close();
  wake_all_waiters(next->segment());
  if (is_waited_for_.load(memory_order_acquire)) Waiters::moved(*this);
}

// What was said last holds in the new segment, too; and of a queue, what the
// old master has not consumed. (Under both locks.)
void Endpoint::keep_what_was_written(Retired& former) {
  if (former.ends.out.is_queue) {
    former.is_carried = true;
    ++carried_segments_;
    return;
  }
  size_t size = 0;
  const std::byte* const newest = former.ends.out.latest.newest(size);
  if (newest == nullptr || size > ends_.out.largest) return;
  if (ends_.out.write(newest, size, os::monotonic_ns()) != channel::WriteResult::kDone) return;
  channel::ring(*ends_.out.wake);
  --written_elsewhere_;  // it counts there
}

// The old master's queue is read dry first: up to the mark, or, where it ended
// without one, to its end. (Under both locks.)
void Endpoint::keep_what_is_unread(Retired& former) {
  ReadEnd& in = former.ends.in;
  if (!in.is_queue) return;
  if (!in.drain_to_mark()) {
    in.queue.drain_to(former.attachment->end_of_queue(former.attachment->incoming()));
  }
  former.is_unread = true;
  ++unread_segments_;
}

// Master: the seat is kept until its slave has come over, or is dead.
void Endpoint::free_reserved_seat() {
  if (attachment_->replaced == nullptr) return;
  const bool came = watch_.state() != ESHM_PEER_NEVER_SEEN;
  if (!came && attachment_->replaced->is_held(layout::kSlaveByte)) return;
  attachment_->page().seat.reserved_for.store(0, memory_order_release);
  attachment_->replaced.reset();
}

void Endpoint::settle_verdicts() {
  int for_read = fence_code_;
  int for_write = fence_code_;
  if (fence_code_ == ESHM_SUCCESS && role_ == ESHM_ROLE_SLAVE) {
    if (gave_up_) {
      for_read = for_write = ESHM_ERROR_MASTER_STALE;
    } else if (has_lost_master() && !ends_.out.is_queue) {
      for_write = ESHM_ERROR_TIMEOUT;
    }
  }
  const int old_read = read_verdict_.exchange(for_read, memory_order_relaxed);
  const int old_write = write_verdict_.exchange(for_write, memory_order_relaxed);
  if (old_read != for_read || old_write != for_write) wake_own_waiters();
}

void Endpoint::wake_own_waiters() {
  channel::ring(attachment_->incoming_wake());
  channel::ring(attachment_->page().room_wake[attachment_->outgoing()].line);
}

// ---- events ------------------------------------------------------------------------

void Endpoint::tell(ESHMEvent event) {
  wake_own_waiters();
  Notice notice;
  notice.event = event;
  notice.level = level_of(event);
  const std::lock_guard<std::mutex> lock(events_mutex_);
  try {
    if (!had_callback_) remember_untold(event);
    if (is_heard()) notice.line = about(settings_) + text_of(event);
  } catch (const std::bad_alloc&) {  // the event goes without its line
  }
  if (callback_ != nullptr || !notice.line.empty()) queue(std::move(notice));
}

void Endpoint::say(ESHMLogLevel level, const std::string& text) {
  if (!is_heard()) return;
  const std::lock_guard<std::mutex> lock(events_mutex_);
  queue({std::nullopt, level, text});
}

// Without memory it is not told; the peer's state can still be asked.
void Endpoint::queue(Notice notice) {
  try {
    notices_.push_back(std::move(notice));
    has_events_.store(true, memory_order_release);
  } catch (const std::bad_alloc&) {
  }
}

// A slave has met its master, and may have lost it, before anybody could listen.
void Endpoint::remember_untold(ESHMEvent event) {
  const bool is_good = event == ESHM_EVENT_CONNECTED || event == ESHM_EVENT_ALIVE ||
                       event == ESHM_EVENT_RECONNECTED;
  if (is_good) untold_.assign(1, ESHM_EVENT_CONNECTED);
  if (event == ESHM_EVENT_STALE && untold_.size() > 1) untold_.resize(1);
  if (!is_good) untold_.push_back(event);
}

// The callbacks may call into the library: they run without any lock that a
// call takes.
void Endpoint::deliver_events() {
  const std::lock_guard<std::mutex> telling(callback_mutex_);
  telling_.store(std::this_thread::get_id(), memory_order_relaxed);
  for (;;) {
    Notice notice;
    ESHMEventCallback callback;
    void* context;
    {
      const std::lock_guard<std::mutex> lock(events_mutex_);
      if (notices_.empty()) {
        has_events_.store(false, memory_order_release);
        break;
      }
      notice = std::move(notices_.front());
      notices_.erase(notices_.begin());
      callback = callback_;
      context = callback_context_;
    }
    in_callback = true;
    if (!notice.line.empty()) log(notice.level, notice.line);
    if (notice.event && callback != nullptr) callback(handle_, *notice.event, context);
    in_callback = false;
  }
  telling_.store(std::thread::id(), memory_order_relaxed);
}

void Endpoint::set_event_callback(ESHMHandle* handle, ESHMEventCallback callback, void* context) {
  // Inside a callback of this handle the lock is this thread's already.
  std::unique_lock<std::mutex> telling(callback_mutex_, std::defer_lock);
  if (telling_.load(memory_order_relaxed) != std::this_thread::get_id()) telling.lock();
  const std::lock_guard<std::mutex> lock(events_mutex_);
  handle_ = handle;
  callback_ = callback;
  callback_context_ = context;
  if (callback_ == nullptr || had_callback_) return;
  had_callback_ = true;
  // Those among the notices are lines for the log: the event comes from here.
  for (Notice& notice : notices_) notice.event.reset();
  for (const ESHMEvent event : untold_) queue({event, ESHM_LOG_INFO, {}});
  untold_.clear();
}

}  // namespace eshm::endpoint
