// The data path of Endpoint: what happens between a call and the channel.
#include <unistd.h>

#include <algorithm>

#include "channel/wakeup.h"
#include "endpoint/endpoint.h"
#include "os/cpu.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;

namespace {

constexpr uint64_t kNsPerUs = 1'000;
// A park is cut into pieces: the writer may be stopped between its publication
// and its wake, and without threads somebody has to beat.
constexpr uint64_t kLongestParkNs = 500 * os::kNsPerMs;
// The adaptive spin: waits that are usually shorter than this are spun through.
constexpr uint64_t kSpinWorthwhileNs = 50 * kNsPerUs;
constexpr uint64_t kSpinFirstNs = 5 * kNsPerUs;
constexpr int kLooksPerClock = 16;

uint64_t time_of_publication(const WriteEnd& out) {
  return out.is_stamped ? os::monotonic_ns() : 0;
}

// Where ESHMView::internal keeps what release() needs.
enum ViewField { kToken, kSerial, kSegment };

}  // namespace

// ---- writing -------------------------------------------------------------------

// What keeps this end from writing now; SUCCESS: nothing.
inline int Endpoint::refuse_to_write() const {
  const int verdict = write_verdict_.load(memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  if (ends_.out.has_successor()) return ESHM_ERROR_SUPERSEDED;
  // A slave's newest message moves with it; one that it has not begun does not.
  const bool is_over = ends_.out.superseded->load(memory_order_relaxed) != 0;
  return is_over && role_ == ESHM_ROLE_SLAVE ? ESHM_ERROR_TIMEOUT : ESHM_SUCCESS;
}

// Behind a publication and its full fence.
inline int Endpoint::finish_write(layout::WakeLine& wake,
                                  const std::atomic<uint32_t>& superseded) {
  if (channel::is_announced(wake)) {
    channel::ring_announced(wake);
    wakes_.store(wakes_.load(memory_order_relaxed) + 1, memory_order_relaxed);
  }
  // W6 -> MK1, after the publication: whoever replaced this master before it
  // had published is seen here, and the message by nobody.
  const bool is_over = superseded.load(memory_order_acquire) != 0;
  return is_over && role_ == ESHM_ROLE_MASTER ? ESHM_ERROR_SUPERSEDED : ESHM_SUCCESS;
}

int Endpoint::write(const void* data, size_t size) {
  if (!settings_.use_threads) tend_without_thread();
  const std::lock_guard<os::WordLock> lock(write_lock_);
  WriteEnd& out = ends_.out;
  if (size > out.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
  const int refusal = refuse_to_write();
  if (refusal != ESHM_SUCCESS) return refusal;
  // Looked up ahead of the write's fence, behind which every load waits.
  layout::WakeLine& wake = *out.wake;
  const std::atomic<uint32_t>& superseded = *out.superseded;
  out.latest.write(data, size, time_of_publication(out));
  return finish_write(wake, superseded);
}

int Endpoint::loan(size_t size, void*& data) {
  if (!settings_.use_threads) tend_without_thread();
  const std::lock_guard<os::WordLock> lock(write_lock_);
  if (size > ends_.out.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
  const int refusal = refuse_to_write();
  if (refusal != ESHM_SUCCESS) return refusal;
  data = ends_.out.latest.loan();
  return data == nullptr ? ESHM_ERROR_BUFFER_FULL : ESHM_SUCCESS;
}

int Endpoint::publish(void* data, size_t size) {
  if (!settings_.use_threads) tend_without_thread();
  {
    const std::lock_guard<os::WordLock> lock(write_lock_);
    WriteEnd& out = ends_.out;
    if (size > out.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
    const int refusal = refuse_to_write();
    if (refusal != ESHM_SUCCESS) return refusal;
    layout::WakeLine& wake = *out.wake;
    const std::atomic<uint32_t>& superseded = *out.superseded;
    if (out.latest.publish(data, size, time_of_publication(out))) {
      return finish_write(wake, superseded);
    }
  }
  // Its segment was left meanwhile: nobody would read it there.
  return discard(data) == ESHM_SUCCESS ? ESHM_ERROR_SUPERSEDED : ESHM_ERROR_INVALID_PARAM;
}

int Endpoint::discard(void* data) {
  bool was_loaned = false;
  {
    const std::lock_guard<os::WordLock> lock(write_lock_);
    was_loaned = ends_.out.latest.discard(data);
    for (Retired& former : retired_) {
      was_loaned = was_loaned || former.ends.out.latest.discard(data);
    }
  }
  drop_retired();
  return was_loaned ? ESHM_SUCCESS : ESHM_ERROR_INVALID_PARAM;
}

// Lets go of the segments of which nothing is out any more.
void Endpoint::drop_retired() {
  std::vector<Retired> dropped;  // unmapped behind the locks
  const std::lock_guard<os::WordLock> writing(write_lock_);
  const std::lock_guard<os::WordLock> reading(read_lock_);
  for (size_t i = 0; i < retired_.size();) {
    if (retired_[i].ends.has_any_out()) {
      ++i;
      continue;
    }
    dropped.push_back(std::move(retired_[i]));
    retired_.erase(retired_.begin() + std::ptrdiff_t(i));
  }
}

// ---- reading -------------------------------------------------------------------

inline void Endpoint::note_message(const channel::Message& message, uint64_t missed,
                                   ESHMMessageInfo& info) {
  if (message.generation != sender_generation_) {
    sender_generation_ = message.generation;
    ++sender_count_;
  }
  ++messages_read_;
  messages_missed_ += missed;
  std::atomic<uint64_t>& shared_count = *ends_.in.read_count;
  shared_count.store(shared_count.load(memory_order_relaxed) + 1, memory_order_relaxed);
  info.generation = sender_count_;
  info.sequence = message.number;
  info.missed = missed;
  info.size = message.size;
  info.timestamp_ns = message.timestamp_ns;
}

// What is unread comes first, then what keeps the call from waiting for more.
inline int Endpoint::take_locked(const Request& request, bool thorough) {
  ReadEnd& in = ends_.in;
  // The role is given back: a successor may be reading here, or the pages gone.
  // A slave that gave up is shown what is unread as long as nobody came after it.
  if (has_left_.load(memory_order_relaxed)) {
    const int verdict = read_verdict_.load(memory_order_relaxed);
    if (verdict != ESHM_ERROR_MASTER_STALE || in.superseded->load(memory_order_acquire) != 0) {
      return verdict;
    }
  }
  const uint64_t before = in.latest.last_read();
  channel::Message message;
  channel::ReadResult result;
  if (request.borrowed == nullptr) {
    result = in.latest.read(request.buffer, request.bytes, message, thorough);
  } else {
    result = in.latest.borrow(*request.borrowed, thorough);
    message = request.borrowed->message;
  }
  switch (result) {
    case channel::ReadResult::kMessage:
      note_message(message, message.number - before - 1, *request.info);
      if (request.borrowed != nullptr) request.borrowed->segment = in.incarnation;
      return ESHM_SUCCESS;
    case channel::ReadResult::kTooSmall:
      request.info->size = message.size;
      return ESHM_ERROR_BUFFER_TOO_SMALL;
    case channel::ReadResult::kTooMany:
      return ESHM_ERROR_BUFFER_FULL;
    case channel::ReadResult::kCorrupt:
      found_corrupt_.store(true, memory_order_relaxed);
      return ESHM_ERROR_CORRUPT;
    case channel::ReadResult::kSuperseded:
    case channel::ReadResult::kNothing:
      break;
  }
  const int verdict = read_verdict_.load(memory_order_relaxed);
  if (verdict != ESHM_SUCCESS) return verdict;
  const bool is_over =
      in.has_successor() ||
      (role_ == ESHM_ROLE_MASTER && in.superseded->load(memory_order_relaxed) != 0);
  return is_over ? ESHM_ERROR_SUPERSEDED : ESHM_ERROR_NO_DATA;
}

inline int Endpoint::take_now(const Request& request) {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  return take_locked(request, false);
}

inline int Endpoint::take(const Request& request, uint32_t timeout_ms) {
  if (!settings_.use_threads) tend_without_thread();
  const int code = take_now(request);
  if (code != ESHM_ERROR_NO_DATA || timeout_ms == 0) return code;
  return take_waiting(request, timeout_ms);
}

int Endpoint::read(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info, uint32_t timeout_ms) {
  Request request;
  request.buffer = buffer;
  request.bytes = buffer_bytes;
  request.info = &info;
  return take(request, timeout_ms);
}

int Endpoint::borrow(ESHMView& view, uint32_t timeout_ms) {
  channel::Borrowed borrowed;
  Request request;
  request.borrowed = &borrowed;
  request.info = &view.info;
  const int code = take(request, timeout_ms);
  if (code != ESHM_SUCCESS) return code;
  view.data = borrowed.data;
  view.size = borrowed.message.size;
  view.internal[kToken] = borrowed.token;
  view.internal[kSerial] = borrowed.serial;
  view.internal[kSegment] = borrowed.segment;
  return code;
}

int Endpoint::release(const ESHMView& view) {
  const auto give_back = [&](ReadEnd& in) {
    return in.incarnation == view.internal[kSegment] &&
           in.latest.release(view.internal[kToken], view.internal[kSerial]);
  };
  bool is_current = false;
  bool is_former = false;
  {
    const std::lock_guard<os::WordLock> lock(read_lock_);
    is_current = give_back(ends_.in);
    for (Retired& former : retired_) is_former = is_former || give_back(former.ends.in);
  }
  if (is_former) drop_retired();
  return is_current || is_former ? ESHM_SUCCESS : ESHM_ERROR_INVALID_PARAM;
}

// ---- waiting -------------------------------------------------------------------

// Spins as long as that pays, then sleeps, in pieces: each ends for the
// heartbeat (where calls do it), for the interrupt hook, or for another look.
int Endpoint::take_waiting(const Request& request, uint32_t timeout_ms) {
  const uint64_t began = os::monotonic_ns();
  const uint64_t spin_end = began + spin_budget_ns();
  const os::Deadline deadline = os::Deadline::after_ms(timeout_ms);
  const uint64_t piece_ns =
      settings_.use_threads
          ? std::min(settings_.stale_threshold_ms * os::kNsPerMs / 2, kLongestParkNs)
          : ESHM_HEARTBEAT_INTERVAL_MS * os::kNsPerMs;
  uint64_t next_interrupt = began;  // the hook is asked before the first sleep, too
  for (uint64_t now = began;; now = os::monotonic_ns()) {
    if (!settings_.use_threads) tend_without_thread();
    if (settings_.interrupt.is_set() && now >= next_interrupt) {
      if (settings_.interrupt.requested()) return ESHM_ERROR_INTERRUPTED;
      next_interrupt = now + kInterruptIntervalMs * os::kNsPerMs;
    }
    os::Deadline until = deadline.or_earlier(os::Deadline::at(now + piece_ns));
    if (settings_.interrupt.is_set()) until = until.or_earlier(os::Deadline::at(next_interrupt));
    os::FutexWait end = os::FutexWait::kWoken;
    int code = now < spin_end ? spin(request, until.or_earlier(os::Deadline::at(spin_end)))
                              : look_then_park(request, until, end);
    if (end == os::FutexWait::kSignal) next_interrupt = 0;
    if (code == ESHM_ERROR_NO_DATA) code = take_now(request);
    if (code == ESHM_SUCCESS) learn_wait(os::monotonic_ns() - began);
    if (code != ESHM_ERROR_NO_DATA) return code;
    if (deadline.has_passed()) return ESHM_ERROR_TIMEOUT;
  }
}

int Endpoint::spin(const Request& request, os::Deadline until) {
  for (int looks = 0;; ++looks) {
    const int code = take_now(request);
    if (code != ESHM_ERROR_NO_DATA) return code;
    if (looks % kLooksPerClock == 0 && until.has_passed()) return code;
    os::relax();
  }
}

// Announces, looks once more, sleeps. The key is taken under the lock that
// guards the attachment: whoever exchanges it rings after that.
int Endpoint::look_then_park(const Request& request, os::Deadline until, os::FutexWait& end) {
  std::shared_ptr<Attachment> link;  // keeps the word mapped
  layout::WakeLine* wake;
  uint32_t key;
  {
    const std::lock_guard<os::WordLock> lock(read_lock_);
    link = attachment_;
    wake = ends_.in.wake;
    key = channel::announce(*wake, ends_.in.mark());
    const int code = take_locked(request, true);
    if (code != ESHM_ERROR_NO_DATA) return code;
  }
  parks_.fetch_add(1, memory_order_relaxed);
  end = channel::park(*wake, key, until);
  return ESHM_ERROR_NO_DATA;
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
