#include "endpoint/waiters.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <system_error>

#include "os/clock.h"
#include "os/per_process.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

constexpr size_t kMostPlaces = os::kMostFutexes - 1;
// A handle without a descriptor, rung so often while nobody waited for many:
// its thread would be woken for nothing for ever.
constexpr uint32_t kMostUnheeded = 8;
// Where the kernel cannot wait for many words.
constexpr uint64_t kPollIntervalNs = os::kNsPerMs;

}  // namespace

Waiters& Waiters::instance() { return os::per_process<Waiters>(); }

Waiters::Presence::Presence(Caller& caller) : caller_(caller) {
  Waiters& self = instance();
  const std::lock_guard<std::mutex> lock(self.mutex_);
  self.callers_.push_back(&caller);
}

Waiters::Presence::~Presence() {
  Waiters& self = instance();
  const std::lock_guard<std::mutex> lock(self.mutex_);
  self.callers_.erase(std::find(self.callers_.begin(), self.callers_.end(), &caller_));
}

size_t Waiters::Caller::index_of(const Endpoint& endpoint) const {
  const size_t likely = endpoint.place_in_wait().load(memory_order_relaxed);
  if (likely < count && endpoints[likely] == &endpoint) return likely;
  return size_t(std::find(endpoints, endpoints + count, &endpoint) - endpoints);
}

// ---- coming and going --------------------------------------------------------

int Waiters::listen_to(Endpoint& endpoint) {
  // Under a Presence this cannot change to false (forget_unheeded).
  if (endpoint.is_waited_for().load(memory_order_acquire)) return 0;
  Waiters& self = instance();
  const std::lock_guard<std::mutex> lifecycle(self.lifecycle_mutex_);
  self.join_ended();
  const std::lock_guard<std::mutex> lock(self.mutex_);
  return self.start_listening(endpoint);
}

int Waiters::open_event_fd(Endpoint& endpoint, int& descriptor) {
  Waiters& self = instance();
  const std::lock_guard<std::mutex> lifecycle(self.lifecycle_mutex_);
  self.join_ended();
  const std::lock_guard<std::mutex> lock(self.mutex_);
  int failure = self.start_listening(endpoint);
  // Listened to first: a ring after the announcement in there is not missed.
  if (failure == 0) failure = endpoint.open_event_fd(descriptor);
  if (failure == 0) change(*self.find(endpoint).watch);  // it looks again by time, too
  return failure;
}

int Waiters::start_listening(Endpoint& endpoint) {
  if (find(endpoint).place != nullptr) return 0;
  const auto has_room = [](const std::unique_ptr<Watch>& watch) {
    return !watch->is_over && watch->places.size() < kMostPlaces;
  };
  auto watch = std::find_if(watches_.begin(), watches_.end(), has_room);
  const bool is_new = watch == watches_.end();
  if (is_new) watch = watches_.insert(watch, std::make_unique<Watch>());
  // The flag first: whoever moves the endpoint after its bell was looked up
  // sees it, and comes to moved().
  endpoint.is_waited_for().store(true, memory_order_release);
  (*watch)->places.push_back({&endpoint, endpoint.bell()});
  change(**watch);
  if (!is_new) return 0;
  try {
    const os::ScopedSignalBlock no_signals;  // inherited by the thread
    Watch& own = **watch;
    own.thread = std::thread([this, &own] { run(own); });
  } catch (const std::system_error& error) {
    endpoint.is_waited_for().store(false, memory_order_release);
    watches_.pop_back();
    return error.code().value();
  }
  pthread_setname_np((*watch)->thread.native_handle(), "eshm-wait");
  return 0;
}

void Waiters::moved(Endpoint& endpoint) {
  Waiters& self = instance();
  const std::lock_guard<std::mutex> lock(self.mutex_);
  const Found found = self.find(endpoint);
  if (found.place == nullptr) return;
  found.place->bell = endpoint.bell();
  // There may be something in the new place: as if it had been rung.
  --found.place->bell.key;
  change(*found.watch);
}

void Waiters::remove(Endpoint& endpoint) {
  Waiters& self = instance();
  const std::lock_guard<std::mutex> lifecycle(self.lifecycle_mutex_);
  {
    std::unique_lock<std::mutex> lock(self.mutex_);
    const Found found = self.find(endpoint);
    if (found.place != nullptr) {
      Watch& watch = *found.watch;
      endpoint.is_waited_for().store(false, memory_order_release);
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

Waiters::Found Waiters::find(const Endpoint& endpoint) {
  for (const std::unique_ptr<Watch>& watch : watches_) {
    for (Place& place : watch->places) {
      if (place.endpoint == &endpoint) return {watch.get(), &place};
    }
  }
  return {};
}

// Under lifecycle_mutex_ alone: the thread needs the other one to end.
void Waiters::join_ended() {
  std::vector<std::unique_ptr<Watch>> ended;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
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
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (watch.listed_version != watch.version.load(memory_order_relaxed)) {
      list(watch);
      hand_on_all_rung(watch);
    }
    forget_unheeded(watch);
    if (watch.places.empty()) break;
    lock.unlock();
    wake_those_told(watch);
    size_t woken = 0;
    const os::FutexWait end = sleep(watch, woken);
    lock.lock();
    if (watch.listed_version != watch.version.load(memory_order_relaxed)) continue;
    if (end == os::FutexWait::kWoken && woken > 0) hand_on(watch, woken - 1);
    if (end == os::FutexWait::kChanged) hand_on_all_rung(watch);
    if (watch.look_interval_ns != 0) look_again(watch);
  }
  watch.held.clear();
  watch.is_over = true;
  listed_.notify_all();
}

// Behind the lock, for which the woken need not wait then. Whoever slept there
// may have gone: then the address is woken in vain.
void Waiters::wake_those_told(Watch& watch) {
  for (std::atomic<uint32_t>* const word : watch.to_wake) os::futex_wake_all(*word, false);
  watch.to_wake.clear();
  if (!watch.has_told) return;
  watch.has_told = false;
  // To fall asleep on so many words takes tens of microseconds. Whoever was
  // woken may have been put behind this thread on the same core.
  sched_yield();
}

os::FutexWait Waiters::sleep(const Watch& watch, size_t& woken) {
  const os::Deadline until = watch.look_interval_ns == 0 ? os::Deadline::never()
                                                         : os::Deadline::at(watch.next_look_ns);
  const os::FutexWait end =
      os::futex_wait_any(watch.words.data(), watch.words.size(), until, woken);
  if (end != os::FutexWait::kUnsupported) return end;
  os::futex_wait(watch.version, watch.listed_version, os::Deadline::after_ns(kPollIntervalNs),
                 false);
  return os::FutexWait::kChanged;
}

// What is slept on, from the places. Lets go of what was mapped for others.
void Waiters::list(Watch& watch) {
  watch.listed_version = watch.version.load(memory_order_relaxed);
  watch.words.assign(1, os::FutexWaiter(watch.version, watch.listed_version, false));
  watch.held.clear();
  watch.look_interval_ns = 0;
  for (const Place& place : watch.places) {
    watch.words.emplace_back(*place.bell.word, place.bell.key, true);
    watch.held.push_back(place.bell.link);
    if (!place.endpoint->has_event_fd()) continue;
    const uint64_t interval_ns = longest_park_ns(place.endpoint->settings());
    const bool is_first = watch.look_interval_ns == 0;
    watch.look_interval_ns =
        is_first ? interval_ns : std::min(watch.look_interval_ns, interval_ns);
  }
  // Changes of the list, however often, do not put the look off.
  const uint64_t next_look_ns = os::monotonic_ns() + watch.look_interval_ns;
  watch.next_look_ns =
      watch.next_look_ns == 0 ? next_look_ns : std::min(watch.next_look_ns, next_look_ns);
  listed_.notify_all();
}

void Waiters::hand_on_all_rung(Watch& watch) {
  for (size_t index = 0; index < watch.places.size(); ++index) {
    const Endpoint::Bell& bell = watch.places[index].bell;
    if (bell.word->load(memory_order_acquire) != bell.key) hand_on(watch, index);
  }
}

void Waiters::hand_on(Watch& watch, size_t index) {
  Place& place = watch.places[index];
  // Taken before the ring is handed on: one that comes later is another one.
  place.bell.key = place.bell.word->load(memory_order_acquire);
  watch.words[index + 1].expected = place.bell.key;
  const bool has_event_fd = place.endpoint->has_event_fd();
  if (has_event_fd) place.endpoint->set_event_fd();
  for (Caller* const caller : callers_) {
    const size_t found = caller->index_of(*place.endpoint);
    if (found == caller->count) continue;
    caller->last_rung.store(found, memory_order_relaxed);
    caller->rings.fetch_add(1, memory_order_release);
    watch.to_wake.push_back(&caller->rings);
  }
  watch.has_told = true;
  const bool is_heeded = has_event_fd || !callers_.empty();
  place.unheeded = is_heeded ? 0 : place.unheeded + 1;
}

// For what was published without a ring: its writer may be stopped in between.
void Waiters::look_again(Watch& watch) {
  const uint64_t now = os::monotonic_ns();
  if (now < watch.next_look_ns) return;
  watch.next_look_ns = now + watch.look_interval_ns;
  for (const Place& place : watch.places) {
    if (place.endpoint->has_event_fd() && place.endpoint->is_ready(true)) {
      place.endpoint->set_event_fd();
    }
  }
}

void Waiters::forget_unheeded(Watch& watch) {
  const auto is_unheeded = [](const Place& place) {
    if (place.unheeded < kMostUnheeded) return false;
    place.endpoint->is_waited_for().store(false, memory_order_release);
    return true;
  };
  const auto gone = std::remove_if(watch.places.begin(), watch.places.end(), is_unheeded);
  if (gone == watch.places.end()) return;
  watch.places.erase(gone, watch.places.end());
  watch.version.fetch_add(1, memory_order_relaxed);
}

}  // namespace eshm::endpoint
