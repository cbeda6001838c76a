#include "endpoint/service.h"

#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <utility>

#include "os/clock.h"

namespace eshm::endpoint {
namespace {

constexpr uint64_t kTickNs = ESHM_HEARTBEAT_INTERVAL_MS * os::kNsPerMs;
constexpr size_t kHeartsAhead = 4;
constexpr uint64_t kNameWatchRetryNs = 1'000 * os::kNsPerMs;

}  // namespace

// One for each process that forked off, the parent's being left as it is: its
// thread is not in the child, and its mutexes may be held for ever.
Service& Service::instance() {
  struct Current {
    uint32_t epoch;
    Service service;
  };
  static std::atomic<Current*> current{nullptr};
  Current* known = current.load(std::memory_order_acquire);
  while (known == nullptr || known->epoch != os::fork_epoch()) {
    auto* const fresh = new Current{os::fork_epoch(), {}};  // never freed: threads may outlive main
    if (current.compare_exchange_strong(known, fresh, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
      known = fresh;
    } else {
      delete fresh;
    }
  }
  return known->service;
}

int Service::add(Endpoint* endpoint) {
  Service& self = instance();
  const std::lock_guard<std::mutex> lifecycle(self.lifecycle_mutex_);
  {
    const std::lock_guard<std::mutex> lock(self.mutex_);
    self.tended_.push_back({endpoint, endpoint->beats(), 0, {}});
    self.stopping_ = false;
  }
  if (self.thread_.joinable()) return 0;
  const auto forget_it = [&] {  // it is the only one
    const std::lock_guard<std::mutex> lock(self.mutex_);
    self.tended_.clear();
  };
  try {
    const os::ScopedSignalBlock no_signals;  // inherited by the thread
    self.thread_ = std::thread([&self] { self.run(); });
  } catch (const std::system_error& error) {
    forget_it();
    return error.code().value();
  } catch (const std::bad_alloc&) {
    forget_it();
    throw;
  }
  pthread_setname_np(self.thread_.native_handle(), "eshm");
  return 0;
}

void Service::remove(Endpoint* endpoint) {
  Service& self = instance();
  const std::lock_guard<std::mutex> lifecycle(self.lifecycle_mutex_);
  bool is_last;
  {
    std::unique_lock<std::mutex> lock(self.mutex_);
    self.delivered_.wait(lock, [&] { return self.delivering_ != endpoint; });
    auto& all = self.tended_;
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const Tended& one) { return one.endpoint == endpoint; }),
              all.end());
    self.must_sort_bells_ = true;
    is_last = all.empty();
    self.stopping_ = is_last;
  }
  if (is_last && self.thread_.joinable()) self.thread_.join();
}

void Service::run() {
  uint64_t next_tick_ns = os::monotonic_ns();
  for (;;) {
    const bool woken = wait_until(next_tick_ns);
    std::unique_lock<std::mutex> lock(mutex_);
    if (stopping_) break;
    const uint64_t now = os::monotonic_ns();
    beat_when_due(now, next_tick_ns);
    check_lock_files(now);
    const bool was_blind = std::exchange(was_blind_to_names_, false);
    const bool name_changed = (woken && take_signs()) || was_blind;
    tend_due(name_changed, next_tick_ns);
    hang_bells();
    if (!deliver(lock)) return;
  }
  bells_.clear();
  name_watch_.stop();
  descriptors_.clear();
}

// Without memory there are no bells for now: the locks are probed meanwhile.
void Service::hang_bells() {
  try {
    if (must_sort_bells_) sort_bells();
    update_name_watch();
  } catch (const std::bad_alloc&) {
    descriptors_.clear();
    bells_.clear();
    must_sort_bells_ = true;
  }
}

// Sleeps until the tick, a bell or a new name. True: something rang.
bool Service::wait_until(uint64_t tick_ns) {
  if (descriptors_.empty()) {
    os::sleep_until(os::Deadline::at(tick_ns));
    return false;
  }
  const uint64_t now = os::monotonic_ns();
  const uint64_t left_ns = tick_ns > now ? tick_ns - now : 0;
  const timespec timeout{time_t(left_ns / 1'000'000'000u), long(left_ns % 1'000'000'000u)};
  return ppoll(descriptors_.data(), descriptors_.size(), &timeout, nullptr) > 0;
}

void Service::beat_when_due(uint64_t now, uint64_t& next_tick_ns) {
  if (now < next_tick_ns) return;
  for (size_t i = 0; i < tended_.size(); ++i) {
    // Each heart lies in a page of its own: fetched one after the other, a
    // thousand of them would cost a cache miss of waiting each.
    if (i + kHeartsAhead < tended_.size()) {
      __builtin_prefetch(tended_[i + kHeartsAhead].heart, 1);
    }
    tended_[i].heart->fetch_add(1, std::memory_order_relaxed);
  }
  next_tick_ns += kTickNs;
  if (next_tick_ns <= now) next_tick_ns = now + kTickNs;  // it was kept from running
}

// Has the application closed a link's descriptor? One link a tick is asked, in
// turn: a system call for each of a thousand would cost more than all the rest.
// An application that closes one as a rule closes all (close_range), so all are
// looked at when one is gone.
void Service::check_lock_files(uint64_t now) {
  if (now < next_check_ns_ || tended_.empty()) return;
  next_check_ns_ = now + kTickNs;
  next_checked_ = (next_checked_ + 1) % tended_.size();
  if (tended_[next_checked_].endpoint->find_lock_file()) return;
  for (Tended& one : tended_) {
    if (!one.endpoint->find_lock_file()) one.due_ns = 0;
  }
}

// Who rang? The first descriptors are the bells, in the order of bells_.
bool Service::take_signs() {
  size_t index = 0;
  for (auto& [key, bell] : bells_) {
    if (bell.is_spent || index >= descriptors_.size()) continue;
    const pollfd& descriptor = descriptors_[index++];
    if (descriptor.fd != bell.pidfd.get() || descriptor.revents == 0) continue;
    // Readable for ever from now on; and after a close_range by the
    // application it may be somebody else's. Whatever it is, it has rung.
    if (!os::is_pidfd_of(bell.pidfd, key.first)) bell.pidfd.forget();
    bell.pidfd.reset();
    bell.is_spent = true;
    must_sort_bells_ = true;
    for (Tended& one : tended_) {
      if (one.bell != key) continue;
      one.due_ns = 0;
      one.endpoint->bell_rang();
    }
  }
  const bool name_changed = name_watch_.is_running() && !descriptors_.empty() &&
                            descriptors_.back().fd == name_watch_.fd() &&
                            descriptors_.back().revents != 0;
  if (name_changed && !name_watch_.drain()) must_sort_bells_ = true;
  return name_changed;
}

// A long piece of work (moving to another segment) must not keep the others'
// hearts from beating: they are looked after in between.
void Service::tend_due(bool name_changed, uint64_t& next_tick_ns) {
  bool anyone_waits = false;
  uint64_t now = os::monotonic_ns();
  for (Tended& one : tended_) {
    const bool is_woken = name_changed && one.endpoint->wants_name_watch();
    if (one.due_ns > now && !is_woken) {
      anyone_waits |= one.wants_name_watch;
      continue;
    }
    one.endpoint->tend(now, is_woken);
    one.due_ns = one.endpoint->next_due_ns();
    one.heart = one.endpoint->beats();
    one.wants_name_watch = one.endpoint->wants_name_watch();
    one.has_events = one.endpoint->has_events();
    events_pending_ |= one.has_events;
    anyone_waits |= one.wants_name_watch;
    const os::ProcessIdentity& peer = one.endpoint->bell_identity();
    const BellKey wanted{peer.pid, peer.start_time};
    if (one.bell != wanted) {
      one.bell = wanted;
      must_sort_bells_ = true;
    }
    now = os::monotonic_ns();
    beat_when_due(now, next_tick_ns);
  }
  name_watch_wanted_ = anyone_waits;
}

// Opens the bells that are wanted and takes down the others.
void Service::sort_bells() {
  must_sort_bells_ = false;
  std::map<BellKey, Bell> kept;
  for (const Tended& one : tended_) {
    if (one.bell.first == 0 || kept.count(one.bell) != 0) continue;
    const auto known = bells_.find(one.bell);
    if (known != bells_.end()) {
      kept.emplace(one.bell, std::move(known->second));
      continue;
    }
    Bell bell;
    const auto [pid, start_time] = one.bell;
    // Opened first, then asked who it is: the PID cannot be reused in between.
    const bool is_it =
        os::open_pidfd(pid, bell.pidfd) == 0 && os::start_time_of(pid) == start_time;
    if (!is_it) {
      bell.pidfd.reset();
      bell.is_spent = true;
    }
    kept.emplace(one.bell, std::move(bell));
  }
  for (auto& [key, bell] : bells_) {
    if (bell.pidfd.is_open() && !os::is_pidfd_of(bell.pidfd, key.first)) bell.pidfd.forget();
  }
  bells_ = std::move(kept);
  list_descriptors();
}

void Service::update_name_watch() {
  if (name_watch_wanted_ == name_watch_.is_running()) return;
  if (!name_watch_wanted_) {
    name_watch_.stop();
  } else {
    const uint64_t now = os::monotonic_ns();
    if (now < name_watch_retry_ns_) return;
    if (name_watch_.start() != 0) {  // no instance left: the retry interval must do
      name_watch_retry_ns_ = now + kNameWatchRetryNs;
      return;
    }
    was_blind_to_names_ = true;  // those who want it looked before it ran
  }
  list_descriptors();
}

void Service::list_descriptors() {
  descriptors_.clear();
  for (const auto& entry : bells_) {
    if (!entry.second.is_spent) descriptors_.push_back({entry.second.pidfd.get(), POLLIN, 0});
  }
  if (name_watch_.is_running()) descriptors_.push_back({name_watch_.fd(), POLLIN, 0});
}

// Callbacks run without the service's mutex: they may call into the library.
// False: this is a child that one of them forked. The links are its parent's,
// and the mutex may be held for ever.
bool Service::deliver(std::unique_lock<std::mutex>& lock) {
  const uint32_t epoch = os::fork_epoch();
  while (events_pending_) {
    const auto next = std::find_if(tended_.begin(), tended_.end(),
                                   [](const Tended& one) { return one.has_events; });
    if (next == tended_.end()) {
      events_pending_ = false;
      break;
    }
    next->has_events = false;
    delivering_ = next->endpoint;
    lock.unlock();
    delivering_->deliver_events();
    if (os::fork_epoch() != epoch) return false;
    lock.lock();
    delivering_ = nullptr;
    delivered_.notify_all();
  }
  return true;
}

}  // namespace eshm::endpoint
