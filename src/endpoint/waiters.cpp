// SPDX-License-Identifier: MIT
#include "endpoint/waiters.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "endpoint/waiting.h"
#include "os/clock.h"
#include "os/per_process.h"
#include "os/process.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

constexpr size_t kMostPlaces = os::kMostFutexes - 1;
// A handle without a descriptor that was rung this many times while no call waited
// for many is dropped: its thread would be woken in vain for ever.
constexpr uint32_t kMostUnheeded = 8;
// No callback runs on these threads.
constexpr size_t kWaiterStackBytes = 64 << 10;

os::ThreadAttributes attributes_for(const Waiters::Listened& handle) {
  const Settings& settings = handle.settings();
  return {"eshm-wait", kWaiterStackBytes, settings.scheduling, settings.callers_cpus};
}

}  // namespace

Waiters& Waiters::instance() { return os::per_process<Waiters>(); }

Waiters::Presence::Presence(Caller& caller) : caller_(caller) {
  Waiters& self = instance();
  const std::lock_guard<os::Mutex> lock(self.mutex_);
  self.callers_.push_back(&caller);
}

Waiters::Presence::~Presence() {
  Waiters& self = instance();
  const std::lock_guard<os::Mutex> lock(self.mutex_);
  self.callers_.erase(std::find(self.callers_.begin(), self.callers_.end(), &caller_));
}

size_t Waiters::Caller::index_of(const Listened& handle) const {
  const size_t likely = handle.place_in_wait().load(memory_order_relaxed);
  if (likely < count && handles[likely] == &handle) return likely;
  return size_t(std::find(handles, handles + count, &handle) - handles);
}

// ---- coming and going --------------------------------------------------------

int Waiters::listen_to(Listened& handle) {
  // Under a Presence this cannot change to false (forget_unheeded).
  if (handle.is_listened_to()) return 0;
  Waiters& self = instance();
  const std::lock_guard<os::Mutex> lifecycle(self.lifecycle_mutex_);
  self.join_ended();
  const std::lock_guard<os::Mutex> lock(self.mutex_);
  return self.start_listening(handle);
}

int Waiters::open_event_fd(Listened& handle, int& descriptor) {
  Waiters& self = instance();
  const std::lock_guard<os::Mutex> lifecycle(self.lifecycle_mutex_);
  self.join_ended();
  const std::lock_guard<os::Mutex> lock(self.mutex_);
  int failure = self.start_listening(handle);
  // It listens first: a ring after the announcement in open_event_fd is not missed.
  if (failure == 0) failure = handle.open_event_fd(descriptor);
  if (failure == 0) change(*self.find(handle).watch);  // from now on it polls, too
  return failure;
}

// What needs memory comes first: then nothing is to be undone but the flag.
int Waiters::start_listening(Listened& handle) {
  if (find(handle).place != nullptr) return 0;
  try {
    return listen_with_room(handle);
  } catch (const std::bad_alloc&) {
    handle.is_listened_to_.store(false, memory_order_release);
    return ENOMEM;
  }
}

int Waiters::listen_with_room(Listened& handle) {
  const auto has_room = [](const std::unique_ptr<Watch>& watch) {
    return !watch->is_over && watch->places.size() < kMostPlaces;
  };
  const auto found = std::find_if(watches_.begin(), watches_.end(), has_room);
  const bool is_new = found == watches_.end();
  std::unique_ptr<Watch> fresh = is_new ? std::make_unique<Watch>() : nullptr;
  Watch& watch = is_new ? *fresh : **found;
  watch.places.reserve(watch.places.size() + 1);
  watches_.reserve(watches_.size() + 1);
  // The flag before the doorbell: a move after the doorbell was read sees it, and calls
  // moved().
  handle.is_listened_to_.store(true, memory_order_release);
  if (is_new) {
    // The thread begins by waiting for the mutex that the caller holds.
    const int failure = watch.thread.start(attributes_for(handle), [this, &watch] { run(watch); });
    if (failure != 0) {
      handle.is_listened_to_.store(false, memory_order_release);
      return failure;
    }
    watches_.push_back(std::move(fresh));
  }
  watch.places.push_back({&handle, handle.doorbell()});
  change(watch);
  return 0;
}

std::string Waiters::why_no_event_fd(const Listened& handle, int error_number) {
  return os::why_not_started(error_number, attributes_for(handle));
}

void Waiters::moved(Listened& handle) {
  Waiters& self = instance();
  const std::lock_guard<os::Mutex> lock(self.mutex_);
  const Found found = self.find(handle);
  if (found.place == nullptr) return;
  found.place->doorbell = handle.doorbell();
  // There may be a message in the new segment: as if its doorbell had been rung.
  --found.place->doorbell.key;
  change(*found.watch);
}

void Waiters::remove(Listened& handle) {
  Waiters& self = instance();
  const std::lock_guard<os::Mutex> lifecycle(self.lifecycle_mutex_);
  {
    std::unique_lock<os::Mutex> lock(self.mutex_);
    const Found found = self.find(handle);
    if (found.place != nullptr) {
      Watch& watch = *found.watch;
      handle.is_listened_to_.store(false, memory_order_release);
      *found.place = std::move(watch.places.back());
      watch.places.pop_back();
      change(watch);
      self.listed_.wait(lock, [&] {
        return watch.is_over || watch.listed_version == watch.version.load(memory_order_relaxed);
      });
    }
  }
  self.join_ended();
}

Waiters::Found Waiters::find(const Listened& handle) {
  for (const std::unique_ptr<Watch>& watch : watches_) {
    for (Place& place : watch->places) {
      if (place.handle == &handle) return {watch.get(), &place};
    }
  }
  return {};
}

// Under lifecycle_mutex_ alone: the thread needs the other one to end.
void Waiters::join_ended() {
  std::vector<std::unique_ptr<Watch>> ended;
  {
    const std::lock_guard<os::Mutex> lock(mutex_);
    for (size_t i = 0; i < watches_.size();) {
      if (watches_[i]->is_over) {
        ended.push_back(std::move(watches_[i]));
        watches_.erase(watches_.begin() + std::ptrdiff_t(i));
      } else {
        ++i;
      }
    }
  }
  for (const std::unique_ptr<Watch>& watch : ended) watch->thread.join();
}

void Waiters::change(Watch& watch) {
  watch.version.fetch_add(1, memory_order_relaxed);
  os::futex_wake_all(watch.version, false);
}

// ---- the thread ---------------------------------------------------------------

void Waiters::run(Watch& watch) {
  std::unique_lock<os::Mutex> lock(mutex_);
  for (;;) {
    if (watch.listed_version != watch.version.load(memory_order_relaxed)) {
      list(watch);
      hand_on_all_rung(watch);
    }
    forget_unheeded(watch);
    if (watch.places.empty()) break;
    lock.unlock();
    wake_callers(watch);
    size_t woken = 0;
    const os::FutexWait end = sleep(watch, woken);
    lock.lock();
    if (watch.listed_version != watch.version.load(memory_order_relaxed)) continue;
    if (end == os::FutexWait::kWoken && woken > 0) hand_on(watch, woken - 1);
    if (end == os::FutexWait::kChanged) hand_on_all_rung(watch);
    if (watch.poll_interval_ns != 0) poll_if_due(watch);
  }
  watch.held.clear();
  watch.is_over = true;
  listed_.notify_all();
}

// Without the lock, which the woken callers need. A caller may have returned
// already: then the address is woken in vain.
void Waiters::wake_callers(Watch& watch) {
  for (std::atomic<uint32_t>* const word : watch.to_wake) os::futex_wake_all(*word, false);
  watch.to_wake.clear();
  if (!watch.has_handed_on) return;
  watch.has_handed_on = false;
  // Going to sleep on 128 words takes tens of microseconds, and a woken caller may be
  // queued after this thread on the same core.
  sched_yield();
}

os::FutexWait Waiters::sleep(const Watch& watch, size_t& woken) {
  const os::Deadline until = watch.poll_interval_ns == 0 ? os::Deadline::never()
                                                         : os::Deadline::at(watch.next_poll_ns);
  const os::FutexWait end =
      os::futex_wait_any(watch.words.data(), watch.words.size(), until, woken);
  if (end != os::FutexWait::kUnsupported) return end;
  os::futex_wait(watch.version, watch.listed_version, os::Deadline::after_ns(kPollIntervalNs),
                 false);
  return os::FutexWait::kChanged;
}

// Makes the list of words to sleep on from the places.
void Waiters::list(Watch& watch) {
  watch.listed_version = watch.version.load(memory_order_relaxed);
  watch.words.assign(1, os::FutexWaiter(watch.version, watch.listed_version, false));
  watch.held.clear();
  watch.poll_interval_ns = 0;
  for (const Place& place : watch.places) {
    watch.words.emplace_back(*place.doorbell.word, place.doorbell.key, true);
    watch.held.push_back(place.doorbell.mapped);
    if (!place.handle->has_event_fd()) continue;
    const uint64_t interval_ns = place.handle->longest_wait_ns();
    const bool is_first = watch.poll_interval_ns == 0;
    watch.poll_interval_ns =
        is_first ? interval_ns : std::min(watch.poll_interval_ns, interval_ns);
  }
  // However often the list changes, the poll is not put off.
  const uint64_t next_poll_ns = os::monotonic_ns() + watch.poll_interval_ns;
  watch.next_poll_ns =
      watch.next_poll_ns == 0 ? next_poll_ns : std::min(watch.next_poll_ns, next_poll_ns);
  listed_.notify_all();
}

void Waiters::hand_on_all_rung(Watch& watch) {
  for (size_t index = 0; index < watch.places.size(); ++index) {
    const Doorbell& doorbell = watch.places[index].doorbell;
    if (doorbell.word->load(memory_order_acquire) != doorbell.key) hand_on(watch, index);
  }
}

void Waiters::hand_on(Watch& watch, size_t index) {
  Place& place = watch.places[index];
  // Loaded before the ring is handed on: a later ring is handed on separately.
  place.doorbell.key = place.doorbell.word->load(memory_order_acquire);
  watch.words[index + 1].expected = place.doorbell.key;
  const bool has_event_fd = place.handle->has_event_fd();
  if (has_event_fd) place.handle->set_event_fd();
  for (Caller* const caller : callers_) {
    const size_t found = caller->index_of(*place.handle);
    if (found == caller->count) continue;
    caller->last_rung.store(found, memory_order_relaxed);
    caller->rings.fetch_add(1, memory_order_release);
    watch.to_wake.push_back(&caller->rings);
  }
  watch.has_handed_on = true;
  const bool is_heeded = has_event_fd || !callers_.empty();
  place.unheeded = is_heeded ? 0 : place.unheeded + 1;
}

// For what was published without a ring: its writer may be stopped before it rings.
void Waiters::poll_if_due(Watch& watch) {
  const uint64_t now = os::monotonic_ns();
  if (now < watch.next_poll_ns) return;
  watch.next_poll_ns = now + watch.poll_interval_ns;
  for (const Place& place : watch.places) {
    if (place.handle->has_event_fd() && place.handle->is_ready(true)) {
      place.handle->set_event_fd();
    }
  }
}

void Waiters::forget_unheeded(Watch& watch) {
  const auto is_unheeded = [](const Place& place) {
    if (place.unheeded < kMostUnheeded) return false;
    place.handle->is_listened_to_.store(false, memory_order_release);
    return true;
  };
  const auto gone = std::remove_if(watch.places.begin(), watch.places.end(), is_unheeded);
  if (gone == watch.places.end()) return;
  watch.places.erase(gone, watch.places.end());
  watch.version.fetch_add(1, memory_order_relaxed);
}

}  // namespace eshm::endpoint
