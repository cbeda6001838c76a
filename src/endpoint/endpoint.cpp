// SPDX-License-Identifier: MIT
#include "endpoint/endpoint.h"

#include <cerrno>
#include <new>
#include <string>
#include <utility>

#include "endpoint/cleanup.h"
#include "endpoint/opening.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

// How many calls may pass before one notices that the service thread is late.
constexpr uint32_t kCallsPerUpkeep = 16;

Failure about_link(const Settings& settings, Failure failure) {
  failure.text = about(settings) + failure.text;
  return failure;
}

}  // namespace

// ---- opening and closing -----------------------------------------------------

Failure Endpoint::open(Settings settings, std::unique_ptr<Endpoint>& out) {
  // Checked before the role is taken, so that no peer sees this end come and go.
  if (settings.use_threads) {
    if (Failure failure = Service::check_scheduling(settings)) return about_link(settings, failure);
  }
  std::unique_ptr<Attachment> attachment;
  if (Failure failure = wait_for_role(settings, attachment)) return failure;
  settings.role = attachment->role();
  return begin(settings, std::move(attachment), out);
}

// With a role in hand. Where memory or a thread is missing, it is given back,
// and so is the name.
Failure Endpoint::begin(const Settings& settings, std::unique_ptr<Attachment> attachment,
                        std::unique_ptr<Endpoint>& out) {
  const std::shared_ptr<SegmentFile> segment = attachment->segment_ptr();
  try {
    std::unique_ptr<Endpoint> fresh(new Endpoint(settings, std::move(attachment)));
    if (settings.use_threads) {
      const bool may_run_in_calls = (settings.flags & ESHM_FLAG_NO_UPKEEP_IN_CALLS) == 0;
      fresh->upkeep_.set_served(may_run_in_calls);
      if (Failure failure = Service::add(&fresh->upkeep_, fresh->settings_)) {
        fresh->close();
        return about_link(settings, failure);
      }
    } else if (fresh->notices_.are_pending()) {
      fresh->notices_.deliver();
    }
    out = std::move(fresh);
    return success();
  } catch (const std::bad_alloc&) {
    clean_up_name(settings, settings.role, segment, kCleanupPatienceNs);
    throw;
  }
}

Endpoint::Endpoint(const Settings& settings, std::unique_ptr<Attachment> attachment)
    : Handle(false),
      settings_(settings),
      data_(settings_, std::move(attachment)),
      notices_(settings_),
      upkeep_(settings_, data_, notices_) {
  const Attachment& attachment_now = data_.attachment();
  if (!attachment_now.report.empty()) {
    notices_.say(attachment_now.is_report_bad ? ESHM_LOG_WARNING : ESHM_LOG_INFO,
                 about(settings_) + attachment_now.report);
  }
  data_.set_in_call_upkeep(&upkeep_, settings_.use_threads ? kCallsPerUpkeep : 1);
}

namespace {

bool is_renewed_without_us(const Attachment& link) {
  return link.role() == ESHM_ROLE_SLAVE &&
         link.page().mark.has_successor.load(std::memory_order_acquire) != 0;
}

}  // namespace

Failure Endpoint::close() {
  if (settings_.use_threads) Service::remove(&upkeep_);
  Waiters::remove(data_.incoming());
  notices_.set_callback(nullptr, nullptr, nullptr);
  if (notices_.are_pending()) notices_.deliver();  // lines for the log
  if (!upkeep_.end()) return success();
  data_.consume_handed_out();
  Failure failure;
  Attachment& link = data_.attachment();
  try {
    upkeep_.announce_leaving();
    failure = clean_up_name(settings_, settings_.role, upkeep_.named_segment(),
                            kCleanupPatienceNs, upkeep_.slave_comes_from());
    if (is_renewed_without_us(link)) {
      clean_up_renewed(settings_, link.incarnation(), kCleanupPatienceNs);
    }
  } catch (const std::bad_alloc&) {
    failure = fail(ESHM_ERROR_SHM_DELETE, "out of memory", ENOMEM);  // short: allocates nothing
  }
  // Before the lock is dropped: a process that finds it free knows why.
  link.own_record().left.store(link.incarnation(), memory_order_release);
  upkeep_.leave_other_segments();
  return failure;
}

// ---- asking ----------------------------------------------------------------------

ESHMPeerState Endpoint::peer_state() {
  upkeep_.run_in_call();
  data_.incoming().mark_call_now();
  return upkeep_.peer().state();
}

void Endpoint::beat() {
  upkeep_.beat();
  upkeep_.run_in_call();
}

void Endpoint::hold_heartbeat(bool is_held) { upkeep_.hold_heartbeat(is_held); }

void Endpoint::get_stats(ESHMStats& stats) {
  const ESHMPeerState peer = peer_state();
  const std::shared_ptr<Attachment> link = data_.current();
  const bool is_master = role() == ESHM_ROLE_MASTER;
  stats = stats_in(link->page());
  stats.master_alive = is_master || peer == ESHM_PEER_ALIVE;
  stats.slave_alive = !is_master || peer == ESHM_PEER_ALIVE;
  stats.stale_threshold = settings_.stale_threshold_ms;
  {
    const std::lock_guard<os::Mutex> lock(stats_mutex_);
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
  const std::shared_ptr<Attachment> link = data_.current();
  const Inbox::Counts read = data_.incoming().counts();
  stats.peer_generation = read.senders;
  stats.messages_read = read.read;
  stats.messages_missed = read.missed;
  stats.messages_written = data_.outgoing().messages_written();
  stats.reconnects = upkeep_.peer().reconnects();
  stats.parks = data_.incoming().parks() + data_.outgoing().parks();
  stats.wakes = data_.outgoing().wakes();
  stats.stale_reports = upkeep_.peer().stale_reports();
  stats.segment_bytes = layout::memory_bytes(link->segment().plan());
  stats.max_write_size = link->geometry(link->outgoing()).max_message_bytes;
  stats.max_read_size = link->geometry(link->incoming()).max_message_bytes;
}

layout::ChannelShape Endpoint::shape(layout::Direction direction) const {
  return layout::shape_of(data_.current()->geometry(direction));
}

Failure Endpoint::get_event_fd(int& descriptor) {
  if (!settings_.use_threads) {
    return fail(ESHM_ERROR_INVALID_PARAM,
                about(settings_) + "a descriptor needs a thread, and use_threads is false");
  }
  const int failure = Waiters::open_event_fd(data_.incoming(), descriptor);
  if (failure == 0) return success();
  return fail(ESHM_ERROR_UNSUPPORTED,
              about(settings_) + "no descriptor to wait on: " +
                  Waiters::why_no_event_fd(data_.incoming(), failure),
              failure);
}

// ---- saying why --------------------------------------------------------------------

Failure Endpoint::explain_no_room(uint32_t timeout_ms) const {
  // A LATEST channel always has room: then its master is away.
  if (data_.outgoing().state().verdict.load(memory_order_relaxed) != ESHM_SUCCESS) {
    return explain(ESHM_ERROR_TIMEOUT, 0, timeout_ms);
  }
  return fail(ESHM_ERROR_TIMEOUT, about(settings_) + "the queue was full for " +
                                      std::to_string(timeout_ms) + " ms: " +
                                      describe(full_queue()));
}

FullQueue Endpoint::full_queue() const {
  const OutgoingPath::Backlog backlog = data_.outgoing().backlog();
  const uint64_t now = os::monotonic_ns();
  return {backlog.held.unread, backlog.held.in_hand, backlog.held.ring_bytes, backlog.loans_out,
          backlog.taken_ns != 0,
          backlog.taken_ns < now ? (now - backlog.taken_ns) / os::kNsPerMs : 0};
}

Failure Endpoint::explain_all_out(bool is_borrow) const {
  const std::shared_ptr<Attachment> link = data_.current();
  const layout::Direction direction = is_borrow ? link->incoming() : link->outgoing();
  const layout::ChannelGeometry& geometry = link->geometry(direction);
  const uint32_t most = is_borrow ? geometry.max_borrows : geometry.max_loans;
  if (!is_borrow) {
    const FullQueue queue = full_queue();
    if (queue.loans_out < most) {
      return fail(ESHM_ERROR_BUFFER_FULL, about(settings_) + "the queue is full: " + describe(queue));
    }
  }
  return fail(ESHM_ERROR_BUFFER_FULL,
              about(settings_) + (is_borrow ? "all borrows of " : "all loans of ") +
                  name_of(direction) + " are out: " + (is_borrow ? "max_borrows" : "max_loans") +
                  " is " + std::to_string(most) +
                  ", set by the process that creates the segment");
}

std::string Endpoint::name_of_peer(const Attachment& link) const {
  const Holder peer = read_record(link.peer_record());
  return std::string(role() == ESHM_ROLE_MASTER ? "slave" : "master") +
         (peer.process.pid == 0 ? "" : " (" + name_of(peer) + ")");
}

std::string Endpoint::explain_superseded(const Attachment& link) const {
  const Holder own = read_record(link.own_record());
  const bool has_successor = own.incarnation != link.incarnation();
  if (!has_successor && !link.segment().is_superseded()) {
    return "the link has moved to another segment since that loan was made";
  }
  const int32_t successor = has_successor
                                ? own.process.pid
                                : link.page().mark.successor_pid.load(memory_order_relaxed);
  return "PID " + std::to_string(successor) + " has taken this " +
         (role() == ESHM_ROLE_MASTER ? "master" : "slave") + "'s place";
}

Failure Endpoint::explain(int code, size_t size, uint32_t timeout_ms) const {
  const std::shared_ptr<Attachment> link = data_.current();
  const layout::ChannelGeometry& written = link->geometry(link->outgoing());
  const std::string peer = name_of_peer(*link);
  const auto say = [&](const std::string& text) { return fail(code, about(settings_) + text); };
  switch (code) {
    case ESHM_ERROR_BUFFER_TOO_SMALL:
      return say("a message of " + std::to_string(size) + " bytes; the channel takes " +
                 std::to_string(written.max_message_bytes) +
                 " (max_message_size, set by the process that creates the segment)");
    case ESHM_ERROR_TIMEOUT:
      if (data_.outgoing().state().verdict.load(memory_order_relaxed) != ESHM_SUCCESS) {
        return say("the " + peer + " is gone; trying to reconnect");
      }
      return say("nothing came from the " + peer + " within " + std::to_string(timeout_ms) + " ms");
    case ESHM_ERROR_MASTER_STALE:
      return say("the " + peer + " is gone or hangs, and the retry policy is spent");
    case ESHM_ERROR_SUPERSEDED:
      return say(explain_superseded(*link));
    case ESHM_ERROR_CORRUPT:
      return say("the channel from the " + peer + " holds what no healthy process writes");
    case ESHM_ERROR_NOT_INITIALIZED:
      return say("the descriptor that holds this end's lock was closed by the application");
    case ESHM_ERROR_INTERRUPTED:
      return interrupted(settings_);
    default:
      return say("failed");
  }
}

}  // namespace eshm::endpoint
