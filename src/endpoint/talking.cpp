// The data path of Endpoint: what happens between a call and the channel.
#include "endpoint/talking.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "endpoint/waiters.h"
#include "os/cpu.h"

namespace eshm::endpoint {

namespace {

constexpr uint64_t kNsPerUs = 1'000;
// The adaptive spin: waits that are usually shorter than this are spun through.
constexpr uint64_t kSpinWorthwhileNs = 50 * kNsPerUs;
constexpr uint64_t kSpinFirstNs = 5 * kNsPerUs;
constexpr int kLooksPerClock = 16;

// Where ESHMView::internal keeps what release() needs.
enum ViewField { kToken, kSerial, kSegment };

}  // namespace

// ---- writing -------------------------------------------------------------------

// The same in a segment that is marked as superseded.
int Endpoint::refuse_under_mark() const {
  // Whoever marked a queue may have died before it said where the queue ends:
  // the next one looks, and must find nothing more there.
  if (role_ == ESHM_ROLE_MASTER) return ESHM_ERROR_SUPERSEDED;
  // A slave's newest value and its queue move with it; a value that it has not
  // begun does not.
  return ends_.out.is_queue ? ESHM_SUCCESS : ESHM_ERROR_TIMEOUT;
}

void Endpoint::wake_reader() {
  channel::ring_announced(*ends_.out.wake);
  wakes_.store(wakes_.load(memory_order_relaxed) + 1, memory_order_relaxed);
}

int Endpoint::code_of(channel::WriteResult result) {
  switch (result) {
    case channel::WriteResult::kDone:
      return ESHM_SUCCESS;
    case channel::WriteResult::kFull:
    case channel::WriteResult::kTooMany:
      return ESHM_ERROR_BUFFER_FULL;
    case channel::WriteResult::kNotLoaned:
      return ESHM_ERROR_INVALID_PARAM;
    case channel::WriteResult::kTooLarge:
      return ESHM_ERROR_BUFFER_TOO_SMALL;
    case channel::WriteResult::kCorrupt:
      break;
  }
  found_corrupt_.store(true, memory_order_relaxed);
  return ESHM_ERROR_CORRUPT;
}

int Endpoint::loan(size_t size, void*& data) {
  if (!settings_.use_threads) tend_without_thread();
  const std::lock_guard<os::WordLock> lock(write_lock_);
  if (size > ends_.out.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
  const int refusal = refuse_to_write();
  if (refusal != ESHM_SUCCESS) return refusal;
  if (carried_segments_ != 0) {
    const channel::WriteResult carried = carry_over();
    if (carried != channel::WriteResult::kDone) return code_of(carried);
  }
  return code_of(ends_.out.loan(size, &data));
}

int Endpoint::publish(void* data, size_t size) {
  if (!settings_.use_threads) tend_without_thread();
  {
    const std::lock_guard<os::WordLock> lock(write_lock_);
    WriteEnd& out = ends_.out;
    if (size > out.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
    const int refusal = refuse_to_write();
    if (refusal != ESHM_SUCCESS && refusal != ESHM_ERROR_SUPERSEDED) return refusal;
    if (refusal == ESHM_SUCCESS) {
      const channel::WriteResult result = out.publish(data, size, time_of_publication(out));
      if (result == channel::WriteResult::kDone) return finish_write();
      if (result != channel::WriteResult::kNotLoaned) return code_of(result);
    }
  }
  // Its segment was left, or is over: nobody would read it there.
  return discard(data) == ESHM_SUCCESS ? ESHM_ERROR_SUPERSEDED : ESHM_ERROR_INVALID_PARAM;
}

int Endpoint::discard(void* data) {
  channel::WriteResult result;
  bool may_be_last;  // of something that is over
  {
    const std::lock_guard<os::WordLock> lock(write_lock_);
    WriteEnd& out = ends_.out;
    layout::WakeLine& wake = *out.wake;
    result = out.discard(data);
    // In a queue it may have kept others from being seen.
    if (result == channel::WriteResult::kDone && channel::is_announced(wake)) {
      channel::ring_announced(wake);
    }
    for (Retired& former : retired_) {
      if (result != channel::WriteResult::kNotLoaned) break;
      result = former.ends.out.discard(data);
    }
    may_be_last = !retired_.empty() || has_left_.load(memory_order_relaxed);
  }
  if (may_be_last) tend_retired();
  return code_of(result);
}

// Writes what the masters of former segments had not consumed, in its order,
// before anything new. kFull: there is no room for the rest yet.
channel::WriteResult Endpoint::carry_over() {
  // From the last one back: where two of them are on their way, the later one
  // holds what the earlier one's rest comes behind, and nothing else.
  for (size_t i = retired_.size(); i-- > 0;) {
    Retired& former = retired_[i];
    if (!former.is_carried) continue;
    for (;;) {
      const uint64_t before = former.cursor;
      channel::QueueWriter::Unread unread;
      if (!former.ends.out.queue.next_unread(former.cursor, unread)) break;
      if (unread.size > ends_.out.largest) continue;  // the new master takes smaller ones
      const channel::WriteResult result =
          ends_.out.write(unread.payload, unread.size, unread.timestamp_ns);
      if (result != channel::WriteResult::kDone) {
        former.cursor = before;
        return result;
      }
      if (!unread.is_held) --written_elsewhere_;  // it counts here
      if (channel::is_announced(*ends_.out.wake)) channel::ring_announced(*ends_.out.wake);
    }
    former.is_carried = false;
    --carried_segments_;
  }
  return channel::WriteResult::kDone;
}

// Goes on with what a move has left to do, and lets go of the segments of which
// nothing is wanted any more, and of a role that was over but for that.
void Endpoint::tend_retired() {
  std::vector<Retired> dropped;  // unmapped behind the locks
  const std::lock_guard<os::WordLock> writing(write_lock_);
  const std::lock_guard<os::WordLock> reading(read_lock_);
  try {
    dropped.reserve(retired_.size());
  } catch (const std::bad_alloc&) {
    return;  // the tender comes again
  }
  if (has_left_.load(memory_order_relaxed)) {
    if (!ends_.has_any_out()) give_seat_back();
  } else if (carried_segments_ != 0) {
    (void)code_of(carry_over());
  }
  for (size_t i = 0; i < retired_.size();) {
    const Retired& former = retired_[i];
    if (former.ends.has_any_out() || former.is_unread || former.is_carried) {
      ++i;
      continue;
    }
    dropped.push_back(std::move(retired_[i]));
    retired_.erase(retired_.begin() + std::ptrdiff_t(i));
  }
}

// ---- reading -------------------------------------------------------------------

// The queues of segments that were left with messages unread, oldest first.
int Endpoint::take_from_former(Request request, Taken& taken) {
  for (Retired& former : retired_) {
    if (!former.is_unread) continue;
    const int code = take_from(former.ends.in, request, false, taken);
    if (code == ESHM_SUCCESS || code == ESHM_ERROR_BUFFER_TOO_SMALL ||
        code == ESHM_ERROR_BUFFER_FULL) {
      return code;
    }
    former.is_unread = false;  // dry, or corrupt: that link is over
    --unread_segments_;
  }
  return ESHM_ERROR_NO_DATA;
}

// The role is given back: a successor may be reading here, or the pages gone.
// A slave that gave up is shown what is unread as long as nobody came after it;
// but it cannot keep anything from whoever does. Nobody comes after it to former
// segments, nor to one that was superseded before it left.
int Endpoint::take_after_leaving(Request request, Taken& taken) {
  ReadEnd& in = ends_.in;
  if (unread_segments_ != 0) {
    const int code = take_from_former(request, taken);
    if (code != ESHM_ERROR_NO_DATA) return code;
  }
  const int verdict = read_verdict_.load(memory_order_relaxed);
  const auto may_be_overwritten = [&] {
    std::atomic_thread_fence(memory_order_acquire);
    return !drains_ && (request.borrows() || in.has_successor() ||
                        in.superseded->load(memory_order_acquire) != 0);
  };
  if (verdict != ESHM_ERROR_MASTER_STALE || may_be_overwritten()) return verdict;
  const int code = take_from(in, request, false, taken);
  // Again, after the copy: it may have been overwritten meanwhile.
  return code == ESHM_ERROR_NO_DATA || may_be_overwritten() ? verdict : code;
}

// Nothing was found to be unread, and the segment is marked as superseded.
int Endpoint::take_under_mark(Request request, bool thorough, Taken& taken) {
  ReadEnd& in = ends_.in;
  // A slave reads its queue dry, as far as it was written before the mark.
  if (role_ == ESHM_ROLE_SLAVE && in.drain_to_mark()) {
    const int code = take_from(in, request, thorough, taken);
    if (code != ESHM_ERROR_NO_DATA) return code;
  }
  return answer_under_mark();
}

int Endpoint::answer_under_mark() const {
  const int code = answer_without_message();
  return code == ESHM_ERROR_NO_DATA && role_ == ESHM_ROLE_MASTER ? ESHM_ERROR_SUPERSEDED : code;
}

int Endpoint::borrow(ESHMView& view, uint32_t timeout_ms) {
  channel::Borrowed borrowed;
  Taken taken;
  const int code = take(Request::to_borrow(borrowed), timeout_ms, taken);
  if (code != ESHM_SUCCESS) return code;
  tell(taken, view.info);
  view.data = borrowed.data;
  view.size = borrowed.message.size;
  view.internal[kToken] = borrowed.token;
  view.internal[kSerial] = borrowed.serial;
  view.internal[kSegment] = borrowed.segment;
  return code;
}

int Endpoint::release(const ESHMView& view) {
  if (view.internal[kToken] > UINT32_MAX) return ESHM_ERROR_INVALID_PARAM;
  channel::Borrowed borrowed;
  borrowed.data = static_cast<const std::byte*>(view.data);
  borrowed.token = view.internal[kToken];
  borrowed.serial = view.internal[kSerial];
  borrowed.segment = view.internal[kSegment];
  bool was_borrowed;
  bool may_be_last;  // of something that is over
  {
    const std::lock_guard<os::WordLock> lock(read_lock_);
    was_borrowed = ends_.in.release(borrowed);
    for (Retired& former : retired_) {
      was_borrowed = was_borrowed || former.ends.in.release(borrowed);
    }
    may_be_last = !retired_.empty() || has_left_.load(memory_order_relaxed);
  }
  if (may_be_last) tend_retired();
  return was_borrowed ? ESHM_SUCCESS : ESHM_ERROR_INVALID_PARAM;
}

// ---- looking without reading -----------------------------------------------------

bool Endpoint::is_ready_locked(bool thorough) {
  ReadEnd& in = ends_.in;
  if (has_left_.load(memory_order_relaxed) || unread_segments_ != 0) return true;
  if (!in.has_unread(thorough || must_read_thoroughly_)) {
    if (in.superseded->load(memory_order_relaxed) == 0) {
      return answer_without_message() != ESHM_ERROR_NO_DATA;
    }
    if (role_ == ESHM_ROLE_SLAVE && in.drain_to_mark() && in.has_unread(thorough)) return true;
    return answer_under_mark() != ESHM_ERROR_NO_DATA;
  }
  must_read_thoroughly_ = must_read_thoroughly_ || thorough;
  return true;
}

bool Endpoint::is_ready(bool thorough) {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  return is_ready_locked(thorough);
}

Endpoint::Bell Endpoint::bell() const {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  const std::atomic<uint32_t>& word = ends_.in.wake->bell;
  return {attachment_, &word, word.load(memory_order_acquire)};
}

// Answers the key from before the announcement.
inline uint32_t Endpoint::announce_locked() {
  return channel::announce(*ends_.in.wake, ends_.in.mark());
}

bool Endpoint::announce(const std::atomic<uint32_t>*& word, uint32_t& key) {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  word = &ends_.in.wake->bell;
  key = announce_locked();
  return is_ready_locked(true);
}

// ---- the descriptor ---------------------------------------------------------------

// The waiter thread sets it at every ring, and rings come only for who has
// announced itself. So whoever finds nothing more to read announces, and looks
// once more: either that look finds the next message, or its writer rings.
[[gnu::noinline]] void Endpoint::settle_event_fd() {
  if (!event_fd_.may_be_set() || is_ready_locked(false)) return;
  event_fd_.drain();
  announce_locked();
  if (is_ready_locked(true)) event_fd_.set();
}

int Endpoint::open_event_fd(int& descriptor) {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  if (!event_fd_.is_open() || !event_fd_.is_still_ours()) {
    const int failure = event_fd_.open();
    if (failure != 0) return failure;
    announce_locked();
    if (is_ready_locked(true)) event_fd_.set();
  }
  descriptor = event_fd_.get();
  return 0;
}

Failure Endpoint::get_event_fd(int& descriptor) {
  if (!settings_.use_threads) {
    return fail(ESHM_ERROR_INVALID_PARAM,
                about(settings_) + "a descriptor needs a thread, and use_threads is false");
  }
  const int failure = Waiters::open_event_fd(*this, descriptor);
  if (failure == 0) return success();
  return fail(ESHM_ERROR_UNSUPPORTED,
              about(settings_) + "no descriptor to wait on: " + std::strerror(failure), failure);
}

// ---- waiting -------------------------------------------------------------------

// Spins as long as that pays, then sleeps, in pieces: each ends for the
// heartbeat (where calls do it), for the interrupt hook, or for another look.
// `look` answers `nothing` as long as the wait goes on; `look_then_park` sleeps
// until a ring, a signal or the deadline where it finds nothing either.
template <class Look, class LookThenPark>
int Endpoint::wait_until(int nothing, os::Deadline deadline, uint64_t spin_end, const Look& look,
                         const LookThenPark& look_then_park) {
  const uint64_t piece_ns = longest_park_ns(settings_);
  uint64_t next_interrupt = 0;  // the hook is asked before the first sleep, too
  for (;;) {
    if (!settings_.use_threads) tend_without_thread();
    const uint64_t now = os::monotonic_ns();
    if (settings_.interrupt.is_set() && now >= next_interrupt) {
      if (settings_.interrupt.requested()) return ESHM_ERROR_INTERRUPTED;
      next_interrupt = now + kInterruptIntervalMs * os::kNsPerMs;
    }
    os::Deadline until = deadline.or_earlier(os::Deadline::at(now + piece_ns));
    if (settings_.interrupt.is_set()) until = until.or_earlier(os::Deadline::at(next_interrupt));
    os::FutexWait end = os::FutexWait::kWoken;
    int code = now < spin_end ? spin(nothing, until.or_earlier(os::Deadline::at(spin_end)), look)
                              : look_then_park(until, end);
    if (end == os::FutexWait::kSignal) next_interrupt = 0;
    if (code == nothing) code = look();
    if (code != nothing) return code;
    if (deadline.has_passed()) return ESHM_ERROR_TIMEOUT;
  }
}

template <class Look>
int Endpoint::spin(int nothing, os::Deadline until, const Look& look) {
  for (int looks = 0;; ++looks) {
    const int code = look();
    if (code != nothing) return code;
    if (looks % kLooksPerClock == 0 && until.has_passed()) return code;
    os::relax();
  }
}

// Announces, looks once more, sleeps. The key is taken under the lock that
// guards the attachment: whoever exchanges it rings after that.
template <class Look>
int Endpoint::announce_and_park(int nothing, os::WordLock& guard, layout::WakeLine* const& line,
                                os::Deadline until, os::FutexWait& end, const Look& look) {
  std::shared_ptr<Attachment> link;  // keeps the word mapped
  layout::WakeLine* wake;
  uint32_t key;
  {
    const std::lock_guard<os::WordLock> lock(guard);
    link = attachment_;
    wake = line;
    key = channel::announce(*wake, ends_.in.mark());
    const int code = look();
    if (code != nothing) return code;
  }
  parks_.fetch_add(1, memory_order_relaxed);
  end = channel::park(*wake, key, until);
  return nothing;
}

int Endpoint::take_waiting(Request request, uint32_t timeout_ms, Taken& taken) {
  constexpr int kNothing = ESHM_ERROR_NO_DATA;
  const uint64_t began = os::monotonic_ns();
  const int code = wait_until(
      kNothing, os::Deadline::after_ms(timeout_ms), began + spin_budget_ns(),
      [&] { return take_now(request, taken); },
      [&](os::Deadline until, os::FutexWait& end) {
        return announce_and_park(kNothing, read_lock_, ends_.in.wake, until, end,
                                 [&] { return take_locked(request, true, taken); });
      });
  if (code == ESHM_SUCCESS || code == ESHM_ERROR_TIMEOUT) learn_wait(os::monotonic_ns() - began);
  return code;
}

int Endpoint::write_waiting(const void* data, size_t size, uint32_t timeout_ms) {
  constexpr int kNothing = ESHM_ERROR_BUFFER_FULL;
  const uint64_t spin_ns =
      settings_.spin_us == ESHM_SPIN_ADAPTIVE ? kSpinFirstNs : settings_.spin_us * kNsPerUs;
  return wait_until(
      kNothing, os::Deadline::after_ms(timeout_ms), os::monotonic_ns() + spin_ns,
      [&] { return write_now(data, size); },
      [&](os::Deadline until, os::FutexWait& end) {
        return announce_and_park(kNothing, write_lock_, ends_.out.room, until, end,
                                 [&] { return write_locked(data, size); });
      });
}

uint64_t Endpoint::spin_budget_ns() const {
  static const bool has_other_cores = sysconf(_SC_NPROCESSORS_ONLN) > 1;
  if (settings_.spin_us != ESHM_SPIN_ADAPTIVE) return settings_.spin_us * kNsPerUs;
  const uint64_t usual = usual_wait_ns_.load(memory_order_relaxed);
  if (!has_other_cores || usual > kSpinWorthwhileNs) return 0;
  return kSpinFirstNs + 2 * usual;
}

// Remembers how long waits take of late, an eighth of the news at a time.
void Endpoint::learn_wait(uint64_t waited_ns) {
  const uint64_t usual = usual_wait_ns_.load(memory_order_relaxed);
  usual_wait_ns_.store(usual - usual / 8 + std::min(waited_ns, 8 * kSpinWorthwhileNs) / 8,
                       memory_order_relaxed);
}

}  // namespace eshm::endpoint
