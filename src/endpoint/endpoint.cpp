#include "endpoint/endpoint.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <string>

#include "endpoint/service.h"
#include "endpoint/waiters.h"

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

constexpr uint64_t kNsPerUs = 1'000;
// How long eshm_init looks again where others are half-way to a role, or room
// in /dev/shm is on its way back. Each of those passes within microseconds.
constexpr uint64_t kLookAgainNs = 30'000 * os::kNsPerMs;
constexpr uint64_t kRoomPatienceNs = 1'000 * os::kNsPerMs;

// So that racers do not stay in step.
void pause_a_little() {
  const uint64_t pause_ns = 50 * kNsPerUs + os::random_nonzero() % (450 * kNsPerUs);
  os::sleep_until(os::Deadline::after_ns(pause_ns));
}

Failure interrupted(const Settings& settings) {
  return fail(ESHM_ERROR_INTERRUPTED, about(settings) + "the wait was interrupted", EINTR);
}

// The retry policy of eshm_init: the same limits, whatever the behaviour.
RetryPolicy::Limits limits_of(const Settings& settings, ESHMDisconnectBehavior behavior) {
  return {behavior, settings.reconnect_retry_interval_ms * os::kNsPerMs,
          settings.reconnect_wait_ms * os::kNsPerMs, settings.max_reconnect_attempts};
}

// Waits for a new name in /dev/shm, at most until `until`. Returns whether
// there was one.
bool wait_for_name(os::NameWatch& watch, const Settings& settings, uint64_t until) {
  uint64_t slice_end = until;
  const uint64_t now = os::monotonic_ns();
  if (settings.interrupt.is_set()) {
    slice_end = std::min(slice_end, now + kInterruptIntervalMs * os::kNsPerMs);
  }
  if (!watch.is_running()) {
    os::sleep_until(os::Deadline::at(slice_end));
    return false;
  }
  pollfd descriptor{watch.fd(), POLLIN, 0};
  const uint64_t left_ns = slice_end > now ? slice_end - now : 0;
  const timespec timeout{time_t(left_ns / 1'000'000'000u), long(left_ns % 1'000'000'000u)};
  if (ppoll(&descriptor, 1, &timeout, nullptr) <= 0) return false;
  watch.drain();
  return true;
}

// The name goes with a master that has the duty of cleaning up, and with a
// slave that is the last one out. (A link that was superseded has none, unless
// its successor died on the way to it.)
Failure remove_name_of(const Settings& settings, ESHMRole role,
                       const std::shared_ptr<SegmentFile>& segment, uint64_t patience_ns) {
  if (segment->plan().identity.auto_cleanup == 0) return success();
  if (!segment->locks().is_still_ours()) {  // so it may be somebody else's by now
    return fail(ESHM_ERROR_SHM_DELETE,
                about(settings) + "stays: its descriptor was closed by the application");
  }
  const uint64_t began = os::monotonic_ns();
  Succession succession(segment);
  while (!succession.try_take()) {  // a newcomer has it, for microseconds
    if (os::monotonic_ns() - began >= patience_ns) {
      return fail(ESHM_ERROR_SHM_DELETE,
                  about(settings) + name_of(read_record(segment->page().succession)) +
                      " hangs while it changes the roles of this link");
    }
    pause_a_little();
  }
  // A master that was superseded does not come back, though it may hang and hold its lock.
  const bool is_last = role == ESHM_ROLE_MASTER || segment->is_superseded() ||
                       !segment->is_held(layout::kMasterByte);
  if (!is_last || !segment->is_named(settings)) return success();
  remove_abandoned_successor(settings);
  const int failure = os::unlink_name(os::object_path(settings.name));
  if (failure == 0 || failure == ENOENT) return success();
  return fail(ESHM_ERROR_SHM_DELETE, about(settings) + "cannot be removed: " + std::strerror(failure),
              failure);
}

}  // namespace

// ---- opening and closing -----------------------------------------------------

Failure Endpoint::open(Settings settings, std::unique_ptr<Endpoint>& out) {
  RoleSeeker seeker(settings);
  RetryPolicy patience(limits_of(settings, ESHM_DISCONNECT_ON_TIMEOUT));
  os::NameWatch names;
  if (settings.role == ESHM_ROLE_SLAVE) names.start();  // without it the interval must do
  const uint64_t began = os::monotonic_ns();
  patience.begin(began);
  patience.advise(began);  // the look below is the first attempt
  uint64_t unsettled_since = began;

  for (;;) {
    RoleSeeker::Step step = seeker.step();
    const uint64_t now = os::monotonic_ns();
    if (step.verdict != RoleSeeker::Verdict::kLookAgain) unsettled_since = now;
    switch (step.verdict) {
      case RoleSeeker::Verdict::kTaken:
        return begin(settings, std::move(step.attachment), out);
      case RoleSeeker::Verdict::kRefused:
        return std::move(step.failure);
      case RoleSeeker::Verdict::kWatching:
        os::sleep_until(os::Deadline::after_ns(os::kNsPerMs));
        break;
      case RoleSeeker::Verdict::kHasMaster:
      case RoleSeeker::Verdict::kLookAgain: {
        const bool waits_for_exit = step.failure.code == ESHM_ERROR_TIMEOUT;
        const uint64_t limit = step.failure.error_number == ENOSPC ? kRoomPatienceNs
                               : !waits_for_exit                   ? kLookAgainNs
                               : settings.reconnect_wait_ms == 0
                                   ? UINT64_MAX
                                   : settings.reconnect_wait_ms * os::kNsPerMs;
        if (now - unsettled_since >= limit) {
          if (step.failure) return std::move(step.failure);
          return fail(ESHM_ERROR_SHM_ATTACH, about(settings) + "its roles change all the time");
        }
        pause_a_little();
        break;
      }
      case RoleSeeker::Verdict::kNoMaster: {
        RetryPolicy::Advice advice;
        bool has_new_name = false;
        while ((advice = patience.advise(os::monotonic_ns())) == RetryPolicy::Advice::kWait &&
               !has_new_name) {
          has_new_name = wait_for_name(names, settings, patience.next_change_ns());
          if (settings.interrupt.requested()) return interrupted(settings);
        }
        if (advice == RetryPolicy::Advice::kGiveUp && !has_new_name) {
          step.failure.text += "; gave up after " +
                               std::to_string((os::monotonic_ns() - began) / os::kNsPerMs) + " ms";
          return std::move(step.failure);
        }
        break;
      }
    }
    if (settings.interrupt.requested()) return interrupted(settings);
  }
}

// With a role in hand. Where memory or a thread is missing, it is given back,
// and so is the name.
Failure Endpoint::begin(const Settings& settings, std::unique_ptr<Attachment> attachment,
                        std::unique_ptr<Endpoint>& out) {
  const std::shared_ptr<SegmentFile> segment = attachment->segment_ptr();
  const ESHMRole role = attachment->role();
  try {
    std::unique_ptr<Endpoint> fresh(new Endpoint(settings, std::move(attachment)));
    if (settings.use_threads) {
      const int failure = Service::add(fresh.get());
      if (failure != 0) {
        fresh->settings_.use_threads = false;
        fresh->close();
        return fail(ESHM_ERROR_SHM_CREATE,
                    about(settings) + "no service thread: " + std::strerror(failure), failure);
      }
    } else if (fresh->has_events()) {
      fresh->deliver_events();
    }
    out = std::move(fresh);
    return success();
  } catch (const std::bad_alloc&) {
    remove_name_of(settings, role, segment, kUnlinkPatienceNs);
    throw;
  }
}

Endpoint::Endpoint(Settings settings, std::unique_ptr<Attachment> attachment)
    : Handle(false),
      settings_(std::move(settings)),
      role_(attachment->role()),
      attachment_(std::move(attachment)),
      ends_(attachment_->take_ends()),
      watch_(settings_.stale_threshold_ms * os::kNsPerMs, role_ == ESHM_ROLE_SLAVE),
      retry_(limits_of(settings_, settings_.disconnect_behavior)),
      look_interval_ns_(std::clamp<uint64_t>(settings_.stale_threshold_ms * os::kNsPerMs / 4,
                                             os::kNsPerMs, 10 * os::kNsPerMs)) {
  settings_.role = role_;
  beats_ = &attachment_->own_beats();
  look_at_peer(os::monotonic_ns());
}

Endpoint::~Endpoint() = default;

Failure Endpoint::close() {
  if (settings_.use_threads) Service::remove(this);
  Waiters::remove(*this);
  set_event_callback(nullptr, nullptr, nullptr);
  if (has_events()) deliver_events();  // lines for the log
  const bool is_ours = attachment_->own_record().incarnation.load(memory_order_relaxed) ==
                       attachment_->incarnation();
  Failure failure;
  if (is_ours && fence_code_ == ESHM_SUCCESS && !left_seat_) {
    {
      const std::lock_guard<os::WordLock> lock(read_lock_);
      ends_.in.settle();
    }
    try {
      failure = remove_name(kUnlinkPatienceNs);
    } catch (const std::bad_alloc&) {
      failure = fail(ESHM_ERROR_SHM_DELETE, "out of memory", ENOMEM);  // short: allocates nothing
    }
    // Before the lock falls: whoever then sees it free knows why.
    attachment_->own_record().left.store(attachment_->incarnation(), memory_order_release);
  }
  return failure;
}

Failure Endpoint::remove_name(uint64_t patience_ns) const {
  return remove_name_of(settings_, role_, attachment_->segment_ptr(), patience_ns);
}

// ---- asking ----------------------------------------------------------------------

std::shared_ptr<Attachment> Endpoint::current() const {
  const std::lock_guard<os::WordLock> lock(read_lock_);
  return attachment_;
}

ESHMPeerState Endpoint::peer_state() {
  if (!settings_.use_threads) tend_without_thread();
  return peer_state_.load(memory_order_acquire);
}

void Endpoint::beat() {
  if (!has_left_.load(memory_order_relaxed)) {
    current()->own_beats().fetch_add(1, memory_order_relaxed);
  }
  if (!settings_.use_threads) tend_without_thread();
}

void Endpoint::get_stats(ESHMStats& stats) {
  const ESHMPeerState peer = peer_state();
  const std::shared_ptr<Attachment> link = current();
  const layout::ControlPage& page = link->page();
  const bool is_master = role_ == ESHM_ROLE_MASTER;
  stats = stats_in(page);
  stats.master_alive = is_master || peer == ESHM_PEER_ALIVE;
  stats.slave_alive = !is_master || peer == ESHM_PEER_ALIVE;
  stats.stale_threshold = settings_.stale_threshold_ms;
  {
    const std::lock_guard<std::mutex> lock(stats_mutex_);
    stats.master_heartbeat_delta = stats.master_heartbeat - last_beats_[0];
    stats.slave_heartbeat_delta = stats.slave_heartbeat - last_beats_[1];
    last_beats_[0] = stats.master_heartbeat;
    last_beats_[1] = stats.slave_heartbeat;
  }
  stats.m2s_write_count = link->messages_in(layout::kMasterToSlave);
  stats.s2m_write_count = link->messages_in(layout::kSlaveToMaster);
}

void Endpoint::get_stats_ex(ESHMStatsEx& stats) {
  stats.peer_state = peer_state();
  const std::shared_ptr<Attachment> link = current();
  {
    const std::lock_guard<os::WordLock> lock(read_lock_);
    stats.peer_generation = sender_count_;
    stats.messages_read = messages_read_;
    stats.messages_missed = messages_missed_;
  }
  stats.reconnects = reconnects_.load(memory_order_relaxed);
  {
    const std::lock_guard<os::WordLock> lock(write_lock_);
    stats.messages_written = written_elsewhere_ + ends_.out.written();
  }
  stats.parks = parks_.load(memory_order_relaxed);
  stats.wakes = wakes_.load(memory_order_relaxed);
  stats.stale_reports = stale_reports_.load(memory_order_relaxed);
  stats.segment_bytes = layout::kControlBytes;
  for (const layout::ChannelGeometry& geometry : link->segment().plan().geometry) {
    stats.segment_bytes += geometry.data_bytes;
  }
  stats.max_write_size = link->geometry(link->outgoing()).max_message_bytes;
  stats.max_read_size = link->geometry(link->incoming()).max_message_bytes;
}

// ---- saying why --------------------------------------------------------------------

Failure Endpoint::explain_no_room(uint32_t timeout_ms) const {
  // LATEST has always room: then its master is away.
  if (write_verdict_.load(memory_order_relaxed) != ESHM_SUCCESS) {
    return explain(ESHM_ERROR_TIMEOUT, 0, timeout_ms);
  }
  return fail(ESHM_ERROR_TIMEOUT, about(settings_) + "the queue was full for " +
                                      std::to_string(timeout_ms) + " ms: nobody reads it");
}

Failure Endpoint::explain(int code, size_t size, uint32_t timeout_ms) const {
  const std::shared_ptr<Attachment> link = current();
  const Holder peer = read_record(link->peer_record());
  const std::string peer_name =
      std::string(role_ == ESHM_ROLE_MASTER ? "slave" : "master") +
      (peer.process.pid == 0 ? "" : " (" + name_of(peer) + ")");
  const auto say = [&](const std::string& text) { return fail(code, about(settings_) + text); };
  switch (code) {
    case ESHM_ERROR_BUFFER_TOO_SMALL:
      return say("a message of " + std::to_string(size) + " bytes; the channel takes " +
                 std::to_string(link->geometry(link->outgoing()).max_message_bytes));
    case ESHM_ERROR_TIMEOUT:
      if (write_verdict_.load(memory_order_relaxed) != ESHM_SUCCESS) {
        return say("the " + peer_name + " is gone; trying to reconnect");
      }
      return say("nothing came from the " + peer_name + " within " + std::to_string(timeout_ms) +
                 " ms");
    case ESHM_ERROR_MASTER_STALE:
      return say("the " + peer_name + " is gone or hangs, and the retry policy is spent");
    case ESHM_ERROR_BUFFER_FULL:
      return say(
          std::string("as many messages are out on loan, or borrowed, as the channel was made for") +
          (link->geometry(link->outgoing()).delivery == ESHM_DELIVERY_QUEUE
               ? ", or the queue is full"
               : ""));
    case ESHM_ERROR_SUPERSEDED: {
      const Holder own = read_record(link->own_record());
      if (own.incarnation == link->incarnation() && !link->segment().is_superseded()) {
        return say("the link has moved to another segment since that loan was made");
      }
      const int32_t successor =
          own.incarnation != link->incarnation()
              ? own.process.pid
              : link->page().mark.successor_pid.load(memory_order_relaxed);
      return say("PID " + std::to_string(successor) + " has taken this " +
                 (role_ == ESHM_ROLE_MASTER ? "master" : "slave") + "'s place");
    }
    case ESHM_ERROR_CORRUPT:
      return say("the channel from the " + peer_name + " holds what no healthy process writes");
    case ESHM_ERROR_NOT_INITIALIZED:
      return say("the descriptor that holds this end's lock was closed by the application");
    case ESHM_ERROR_INTERRUPTED:
      return interrupted(settings_);
    default:
      return say("failed");
  }
}

}  // namespace eshm::endpoint
