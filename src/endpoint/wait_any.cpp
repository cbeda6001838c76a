#include "endpoint/wait_any.h"

#include <algorithm>
#include <atomic>

#include "endpoint/waiters.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/futex.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;

namespace {

// Where the kernel cannot wait for many words, or no thread can be had.
constexpr uint64_t kPollIntervalNs = os::kNsPerMs;
constexpr size_t kLooksPerClock = 16;

// Each wait begins to look at another handle: a busy one does not hide the rest.
std::atomic<size_t> next_start{0};

class Wait {
 public:
  Wait(Endpoint* const* endpoints, size_t count);
  int run(uint32_t timeout_ms);

 private:
  int look(size_t first) const;
  void tend() const;
  bool is_interrupted() const;
  int spin(os::Deadline until) const;
  int announce_then_sleep(os::Deadline until, os::FutexWait& end);
  int announce_then_sleep_for_few(os::Deadline until, os::FutexWait& end);
  int announce_then_sleep_for_many(os::Deadline until, os::FutexWait& end);
  void learn(int ready, uint64_t waited_ns) const;

  Endpoint* const* const endpoints_;
  const size_t count_;
  size_t first_;  // whom to look at first
  uint64_t piece_ns_ = UINT64_MAX;
  uint64_t spin_ns_ = 0;
  bool must_tend_ = false;
  bool has_hook_ = false;
};

Wait::Wait(Endpoint* const* endpoints, size_t count)
    : endpoints_(endpoints),
      count_(count),
      first_(next_start.fetch_add(1, memory_order_relaxed) % count) {
  for (size_t i = 0; i < count; ++i) {
    const Settings& settings = endpoints[i]->settings();
    piece_ns_ = std::min(piece_ns_, longest_park_ns(settings));
    spin_ns_ = std::max(spin_ns_, endpoints[i]->spin_budget_ns());
    must_tend_ |= !settings.use_threads;
    has_hook_ |= settings.interrupt.is_set();
  }
}

// The index of a ready one, or NO_DATA.
int Wait::look(size_t first) const {
  for (size_t i = 0; i < count_; ++i) {
    const size_t index = first + i < count_ ? first + i : first + i - count_;
    if (endpoints_[index]->is_ready(false)) return int(index);
  }
  return ESHM_ERROR_NO_DATA;
}

void Wait::tend() const {
  for (size_t i = 0; must_tend_ && i < count_; ++i) {
    if (!endpoints_[i]->settings().use_threads) endpoints_[i]->tend_without_thread();
  }
}

bool Wait::is_interrupted() const {
  bool any = false;
  for (size_t i = 0; i < count_; ++i) any |= endpoints_[i]->settings().interrupt.requested();
  return any;
}

// As Endpoint::take_waiting, for many.
int Wait::run(uint32_t timeout_ms) {
  tend();
  int found = look(first_);
  if (found != ESHM_ERROR_NO_DATA || timeout_ms == 0) return found;
  const uint64_t began = os::monotonic_ns();
  const uint64_t spin_end = began + spin_ns_;
  const os::Deadline deadline = os::Deadline::after_ms(timeout_ms);
  uint64_t next_interrupt = began;  // the hook is asked before the first sleep, too
  for (uint64_t now = began;; now = os::monotonic_ns()) {
    tend();
    if (has_hook_ && now >= next_interrupt) {
      if (is_interrupted()) return ESHM_ERROR_INTERRUPTED;
      next_interrupt = now + kInterruptIntervalMs * os::kNsPerMs;
    }
    os::Deadline until = deadline.or_earlier(os::Deadline::at(now + piece_ns_));
    if (has_hook_) until = until.or_earlier(os::Deadline::at(next_interrupt));
    os::FutexWait end = os::FutexWait::kWoken;
    found = now < spin_end ? spin(until.or_earlier(os::Deadline::at(spin_end)))
                           : announce_then_sleep(until, end);
    if (end == os::FutexWait::kSignal) next_interrupt = 0;
    if (found == ESHM_ERROR_NO_DATA) found = look(first_);
    if (found == ESHM_ERROR_NO_DATA && deadline.has_passed()) found = ESHM_ERROR_TIMEOUT;
    if (found == ESHM_ERROR_NO_DATA) continue;
    learn(found, os::monotonic_ns() - began);
    return found;
  }
}

int Wait::spin(os::Deadline until) const {
  for (size_t looks = 0;; looks += count_) {
    const int found = look(first_);
    if (found != ESHM_ERROR_NO_DATA) return found;
    if (looks % kLooksPerClock < count_ && until.has_passed()) return found;
    os::relax();
  }
}

int Wait::announce_then_sleep(os::Deadline until, os::FutexWait& end) {
  return count_ <= os::kMostFutexes ? announce_then_sleep_for_few(until, end)
                                    : announce_then_sleep_for_many(until, end);
}

// On the bells themselves. A link that moves meanwhile rings its bell, then may
// unmap it: the kernel, which alone looks at it here, says that it is gone, or
// sleeps in vain for one piece on what has taken its place.
int Wait::announce_then_sleep_for_few(os::Deadline until, os::FutexWait& end) {
  os::FutexWaiter words[os::kMostFutexes];
  const std::atomic<uint32_t>* word = nullptr;
  uint32_t key = 0;
  for (size_t i = 0; i < count_; ++i) {
    if (endpoints_[i]->announce(word, key)) return int(i);
    words[i] = os::FutexWaiter(*word, key, true);
  }
  if (count_ == 1) {
    end = os::futex_wait(*word, key, until);
    return ESHM_ERROR_NO_DATA;
  }
  size_t woken = first_;
  end = os::futex_wait_any(words, count_, until, woken);
  if (end == os::FutexWait::kUnsupported) {
    os::sleep_until(until.or_earlier(os::Deadline::after_ns(kPollIntervalNs)));
  }
  first_ = woken;
  return ESHM_ERROR_NO_DATA;
}

// Waiter threads sleep on the bells, and hand a ring on.
int Wait::announce_then_sleep_for_many(os::Deadline until, os::FutexWait& end) {
  Waiters::Caller self{endpoints_, count_, {}, {}};
  bool is_listened_to = os::has_futex_wait_any();
  const Waiters::Presence presence(self);
  const std::atomic<uint32_t>* bell = nullptr;
  uint32_t key = 0;
  for (size_t i = 0; i < count_; ++i) {
    is_listened_to = is_listened_to && Waiters::listen_to(*endpoints_[i]) == 0;
    endpoints_[i]->place_in_wait().store(uint32_t(i), memory_order_relaxed);
    if (endpoints_[i]->announce(bell, key)) return int(i);
  }
  if (!is_listened_to) until = until.or_earlier(os::Deadline::after_ns(kPollIntervalNs));
  end = os::futex_wait(self.rings, 0, until, false);
  if (self.rings.load(memory_order_acquire) != 0) {
    first_ = self.last_rung.load(memory_order_relaxed);
  }
  return ESHM_ERROR_NO_DATA;
}

// The ready one was waited for; and those for whose sake this wait spun, though
// it was to be a long one, need not be spun for.
void Wait::learn(int ready, uint64_t waited_ns) const {
  if (ready >= 0) endpoints_[ready]->learn_wait(waited_ns);
  if (spin_ns_ == 0 || waited_ns <= spin_ns_) return;
  for (size_t i = 0; i < count_; ++i) {
    if (int(i) != ready && endpoints_[i]->spin_budget_ns() != 0) {
      endpoints_[i]->learn_wait(waited_ns);
    }
  }
}

}  // namespace

int wait_any(Endpoint* const* endpoints, size_t count, uint32_t timeout_ms) {
  return Wait(endpoints, count).run(timeout_ms);
}

}  // namespace eshm::endpoint
