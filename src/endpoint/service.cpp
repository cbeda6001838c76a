// SPDX-License-Identifier: MIT
#include "endpoint/service.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>
#include <string>
#include <utility>

#include "os/clock.h"
#include "os/per_process.h"
#include "os/shm_object.h"

namespace eshm::endpoint {
namespace {

constexpr size_t kHeartbeatsAhead = 4;
// A look takes about a microsecond.
constexpr size_t kLooksPerTick = 16;

// Callbacks are promised 128 KiB of it (eshm_data.h). The deepest use by the library is
// 29 KiB, in a move to another segment.
constexpr size_t kServiceStackBytes = 256 << 10;

std::string text_of(const os::Scheduling& scheduling) {
  std::string text = os::policy_name(scheduling.policy);
  if (scheduling.priority != 0) text += " " + std::to_string(scheduling.priority);
  return text + (scheduling.cpus.is_empty() ? " on the default CPUs"
                                            : " on CPUs " + scheduling.cpus.text());
}

// By errno of starting a thread.
int code_of(int failure) {
  if (failure == EPERM) return ESHM_ERROR_PERMISSION;
  return failure == EINVAL ? ESHM_ERROR_INVALID_PARAM : ESHM_ERROR_SHM_CREATE;
}

}  // namespace

Failure Service::check_scheduling(const Settings& settings) {
  Service& self = os::per_process<Service>();
  const std::lock_guard<os::Mutex> lifecycle(self.lifecycle_mutex_);
  return self.check(settings.scheduling);
}

Failure Service::check(const os::Scheduling& requested) const {
  const bool is_default = requested == os::Scheduling();
  if (is_default || requested == scheduling_ || !thread_.is_running()) return success();
  return fail(ESHM_ERROR_INVALID_PARAM,
              "thread_cpus, thread_policy and thread_priority request " + text_of(requested) +
                  ", but the service thread, which all handles of this process share, has " +
                  text_of(scheduling_) + ", as its first handle requested");
}

Failure Service::add(Client* client, Settings& settings) {
  Service& self = os::per_process<Service>();
  const std::lock_guard<os::Mutex> lifecycle(self.lifecycle_mutex_);
  if (Failure failure = self.check(settings.scheduling)) return failure;
  if (self.thread_.is_running()) {
    settings.scheduling = self.scheduling_;
  } else {
    self.scheduling_ = settings.scheduling;
  }
  {
    const std::lock_guard<os::Mutex> lock(self.mutex_);
    self.served_.push_back({client, client->needs().heartbeat, 0, {}});
    self.stopping_ = false;
  }
  return self.thread_.is_running() ? success() : self.start(settings);
}

Failure Service::start(const Settings& settings) {
  const os::ThreadAttributes attributes = {"eshm", kServiceStackBytes, settings.scheduling,
                                           settings.callers_cpus};
  const int failure = thread_.start(attributes, [this] { run(); });
  if (failure == 0) return success();
  {
    const std::lock_guard<os::Mutex> lock(mutex_);
    served_.clear();  // of the one client
  }
  return fail(code_of(failure), "no service thread: " + os::why_not_started(failure, attributes),
              failure);
}

void Service::remove(Client* client) {
  Service& self = os::per_process<Service>();
  const std::lock_guard<os::Mutex> lifecycle(self.lifecycle_mutex_);
  bool is_last;
  {
    std::unique_lock<os::Mutex> lock(self.mutex_);
    self.delivered_.wait(lock, [&] { return self.delivering_ != client; });
    auto& all = self.served_;
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const Served& one) { return one.client == client; }),
              all.end());
    self.must_update_exit_watches_ = true;
    is_last = all.empty();
    self.stopping_ = is_last;
  }
  if (is_last) self.thread_.join();
}

void Service::redirect(Client* client, std::atomic<uint64_t>& heartbeat) {
  Service& self = os::per_process<Service>();
  const std::lock_guard<os::Mutex> lock(self.mutex_);
  for (Served& one : self.served_) {
    if (one.client != client) continue;
    one.heartbeat = &heartbeat;
    one.due_ns = 0;
  }
}

void Service::run() {
  uint64_t next_tick_ns = os::monotonic_ns();
  for (;;) {
    const bool woken = wait_until(next_tick_ns);
    std::unique_lock<os::Mutex> lock(mutex_);
    if (stopping_) break;
    const uint64_t now = os::monotonic_ns();
    beat_when_due(now, next_tick_ns);
    check_lock_files(now);
    look_at_names(now);
    if (woken) take_signs();
    run_due(next_tick_ns);
    update_watches();
    if (!deliver(lock)) return;
  }
  exit_watches_.clear();
  descriptors_.clear();
}

// Without memory there are no exit watches for now: the locks are probed meanwhile.
void Service::update_watches() {
  try {
    if (must_update_exit_watches_) update_exit_watches();
  } catch (const std::bad_alloc&) {
    descriptors_.clear();
    exit_watches_.clear();
    must_update_exit_watches_ = true;
  }
}

// Sleeps until the tick or an exit. True: a descriptor is readable.
bool Service::wait_until(uint64_t tick_ns) {
  if (descriptors_.empty()) {
    os::sleep_until(os::Deadline::at(tick_ns));
    return false;
  }
  return os::poll_until(descriptors_.data(), descriptors_.size(), os::Deadline::at(tick_ns)) > 0;
}

void Service::beat_when_due(uint64_t now, uint64_t& next_tick_ns) {
  if (now < next_tick_ns) return;
  for (size_t i = 0; i < served_.size(); ++i) {
    // Each heartbeat is in a page of its own: fetched one after the other, a
    // thousand of them would wait for a cache miss each.
    if (i + kHeartbeatsAhead < served_.size()) {
      __builtin_prefetch(served_[i + kHeartbeatsAhead].heartbeat, 1);
    }
    served_[i].heartbeat->fetch_add(1, std::memory_order_relaxed);
  }
  next_tick_ns += kHeartbeatIntervalNs;
  // The thread was kept from running.
  if (next_tick_ns <= now) next_tick_ns = now + kHeartbeatIntervalNs;
}

// Has the application closed a link's descriptor? Each tick checks one link, in
// turn: a system call for each of a thousand would cost more than all the rest. An
// application that closes one usually closes all (close_range), so when one is gone
// all are checked.
void Service::check_lock_files(uint64_t now) {
  if (now < next_check_ns_ || served_.empty()) return;
  next_check_ns_ = now + kHeartbeatIntervalNs;
  next_checked_ = (next_checked_ + 1) % served_.size();
  if (served_[next_checked_].client->find_lock_file()) return;
  for (Served& one : served_) {
    if (!one.client->find_lock_file()) one.due_ns = 0;
  }
}

// Links that have lost their peer look for another segment under their name: at each tick
// some of them, in turn, so that a thousand do not keep the thread from its beats.
void Service::look_at_names(uint64_t now) {
  if (now < next_look_ns_) return;
  next_look_ns_ = now + kHeartbeatIntervalNs;
  size_t looks = 0;
  for (size_t i = 0; i < served_.size() && looks < kLooksPerTick; ++i) {
    next_looked_ = (next_looked_ + 1) % served_.size();
    Served& one = served_[next_looked_];
    if (!one.wants_name_watch) continue;
    ++looks;
    one.name_changed = one.client->name_has_changed() || one.name_changed;
  }
}

// Which exit watches are readable? The descriptors are in their order.
void Service::take_signs() {
  size_t index = 0;
  for (auto& [key, watch] : exit_watches_) {
    if (watch.is_spent || index >= descriptors_.size()) continue;
    const pollfd& descriptor = descriptors_[index++];
    if (descriptor.fd != watch.pidfd.get() || descriptor.revents == 0) continue;
    // A pidfd stays readable. After a close_range by the application the number may
    // mean another file: then this is a false alarm, and the lock is probed.
    watch.pidfd.reset();
    watch.is_spent = true;
    must_update_exit_watches_ = true;
    for (Served& one : served_) {
      if (one.exit_watch != key) continue;
      one.due_ns = 0;
      one.client->peer_has_exited();
    }
  }
}

struct Service::Beating {
  Service& self;
  uint64_t& next_tick_ns;
  void beat_when_due() { self.beat_when_due(os::monotonic_ns(), next_tick_ns); }
};

// A long piece of work (making or moving to another segment) must not delay the other
// links' heartbeats: they beat in between.
void Service::run_due(uint64_t& next_tick_ns) {
  Beating beating{*this, next_tick_ns};
  const os::Meanwhile meanwhile(
      [](void* with, bool) {
        static_cast<Beating*>(with)->beat_when_due();
        return true;
      },
      &beating);
  uint64_t now = os::monotonic_ns();
  for (Served& one : served_) {
    if (one.due_ns > now && !one.name_changed) continue;
    const bool name_changed = std::exchange(one.name_changed, false);
    Needs needs;
    if (one.client->run_upkeep(now, name_changed, needs)) note_needs(one, needs);
    now = os::monotonic_ns();
    beat_when_due(now, next_tick_ns);
  }
}

void Service::note_needs(Served& one, const Needs& needs) {
  one.due_ns = needs.due_ns;
  one.heartbeat = needs.heartbeat;
  one.wants_name_watch = needs.wants_name_watch;
  one.has_notices = needs.has_notices;
  notices_pending_ |= needs.has_notices;
  const ExitWatchKey wanted{needs.exit_watch.pid, needs.exit_watch.start_time};
  if (one.exit_watch == wanted) return;
  one.exit_watch = wanted;
  must_update_exit_watches_ = true;
}

// Opens the exit watches that are wanted and closes the others.
void Service::update_exit_watches() {
  must_update_exit_watches_ = false;
  std::map<ExitWatchKey, ExitWatch> kept;
  for (const Served& one : served_) {
    if (one.exit_watch.first == 0 || kept.count(one.exit_watch) != 0) continue;
    const auto known = exit_watches_.find(one.exit_watch);
    if (known != exit_watches_.end()) {
      kept.emplace(one.exit_watch, std::move(known->second));
      continue;
    }
    ExitWatch watch;
    const auto [pid, start_time] = one.exit_watch;
    // Opened first, then identified: the PID cannot be reused in between.
    const bool is_it =
        os::open_pidfd(pid, watch.pidfd) == 0 && os::start_time_of(pid) == start_time;
    if (!is_it) {
      watch.pidfd.reset();
      watch.is_spent = true;
    }
    kept.emplace(one.exit_watch, std::move(watch));
  }
  exit_watches_ = std::move(kept);
  list_descriptors();
}

void Service::list_descriptors() {
  descriptors_.clear();
  for (const auto& entry : exit_watches_) {
    if (!entry.second.is_spent) descriptors_.push_back({entry.second.pidfd.get(), POLLIN, 0});
  }
}

// Callbacks run without the service's mutex: they may call into the library.
// False: a callback forked, and this is the child. The links are its parent's, and
// the mutex may be held for ever.
bool Service::deliver(std::unique_lock<os::Mutex>& lock) {
  const uint32_t epoch = os::fork_epoch();
  while (notices_pending_) {
    const auto next = std::find_if(served_.begin(), served_.end(),
                                   [](const Served& one) { return one.has_notices; });
    if (next == served_.end()) {
      notices_pending_ = false;
      break;
    }
    next->has_notices = false;
    delivering_ = next->client;
    lock.unlock();
    delivering_->deliver_notices();
    if (os::fork_epoch() != epoch) return false;
    lock.lock();
    delivering_ = nullptr;
    delivered_.notify_all();
  }
  return true;
}

}  // namespace eshm::endpoint
