// SPDX-License-Identifier: MIT
#include "endpoint/observer.h"

#include <algorithm>
#include <mutex>

#include "endpoint/waiting.h"

namespace eshm::endpoint {

using layout::Direction;
using layout::Finding;
using std::memory_order_acquire;
using std::memory_order_relaxed;

namespace {

// How long a wait sleeps between two looks: short while messages flow.
constexpr uint64_t kShortestPauseNs = 50'000;
constexpr uint64_t kLongestPauseNs = os::kNsPerMs;

PeerWatch watch_of(const Settings& settings) {
  return PeerWatch(settings.stale_threshold_ms * os::kNsPerMs, false, silence_of(settings, true));
}

int index_of(ESHMRole role) { return role == ESHM_ROLE_MASTER ? 0 : 1; }

}  // namespace

// ---- opening ---------------------------------------------------------------------

Failure Observer::open(Settings settings, std::unique_ptr<Observer>& out) {
  Found found = inspect_name(settings, false);
  if (found.refusal) return std::move(found.refusal);
  std::unique_ptr<Observer> fresh(new Observer(std::move(settings)));
  // A segment that is gone again, or cannot be mapped now, is sought later.
  if (found.finding == Finding::kFine) fresh->attach(std::move(found), false);
  out = std::move(fresh);
  return success();
}

Observer::Observer(Settings settings)
    : Handle(true),
      settings_(std::move(settings)),
      watch_{watch_of(settings_), watch_of(settings_)} {}

// ---- reading ---------------------------------------------------------------------

channel::ReadResult Observer::Channel::read(void* buffer, size_t bytes, channel::Message& message,
                                            uint64_t& missed, bool thorough) {
  if (is_queue) return queue.read(buffer, bytes, message, missed);
  const uint64_t before = latest.last_read();
  const channel::ReadResult result = latest.read(buffer, bytes, message, thorough);
  missed = message.number - before - 1;
  return result;
}

int Observer::read(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info,
                   uint32_t timeout_ms) {
  const int code = take(buffer, buffer_bytes, info);
  if (code != ESHM_ERROR_NO_DATA || timeout_ms == 0) return code;
  return wait(buffer, buffer_bytes, info, timeout_ms);
}

// Sleeps on a timer alone.
int Observer::wait(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info,
                   uint32_t timeout_ms) {
  uint64_t pause_ns = kShortestPauseNs;
  return wait_in_pieces(
      ESHM_ERROR_NO_DATA, os::Deadline::after_ms(timeout_ms), settings_.interrupt,
      [&](uint64_t now, os::Deadline until, PieceEnd& end) {
        until = until.or_earlier(os::Deadline::at(now + pause_ns));
        pauses_.fetch_add(1, memory_order_relaxed);
        os::sleep_until(until);
        if (!until.has_passed()) end = PieceEnd::kSignal;
        pause_ns = std::min(2 * pause_ns, kLongestPauseNs);
        return take(buffer, buffer_bytes, info);
      });
}

// Reads what is unread before it checks what became of the segment.
int Observer::take(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info) {
  const std::lock_guard<os::WordLock> lock(lock_);
  int code = take_either(buffer, buffer_bytes, info);
  if (code == ESHM_ERROR_NO_DATA && check_link()) code = take_either(buffer, buffer_bytes, info);
  const bool is_spoiled = view_ == nullptr && spoiled_nonce_ != 0;
  return code == ESHM_ERROR_NO_DATA && is_spoiled ? ESHM_ERROR_CORRUPT : code;
}

int Observer::take_either(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info) {
  for (uint32_t turn = 0; turn < 2 && view_ != nullptr; ++turn) {
    const Direction direction = Direction(next_direction_ ^ turn);
    const int code = take_from(direction, buffer, buffer_bytes, info);
    if (code == ESHM_ERROR_NO_DATA) continue;
    if (code == ESHM_SUCCESS) next_direction_ = direction ^ 1;
    return code;
  }
  return ESHM_ERROR_NO_DATA;
}

int Observer::take_from(Direction direction, void* buffer, size_t buffer_bytes,
                        ESHMMessageInfo& info) {
  // A dead writer's hint may lag behind what it published.
  const ESHMRole writer =
      direction == layout::kMasterToSlave ? ESHM_ROLE_MASTER : ESHM_ROLE_SLAVE;
  const bool thorough = watch_[index_of(writer)].state() != ESHM_PEER_ALIVE;
  channel::Message message;
  uint64_t missed = 0;
  switch (channel_[direction].read(buffer, buffer_bytes, message, missed, thorough)) {
    case channel::ReadResult::kMessage:
      note_message(direction, message, missed, info);
      return ESHM_SUCCESS;
    case channel::ReadResult::kTooSmall:
      info.size = message.size;
      return ESHM_ERROR_BUFFER_TOO_SMALL;
    case channel::ReadResult::kCorrupt:
      // The process that marks a segment may empty it.
      if (view_->segment->is_superseded()) break;
      spoil();
      return ESHM_ERROR_CORRUPT;
    case channel::ReadResult::kSuperseded:
      next_check_ns_ = 0;
      break;
    case channel::ReadResult::kTooMany:
    case channel::ReadResult::kNothing:
      break;
  }
  return ESHM_ERROR_NO_DATA;
}

void Observer::note_message(Direction direction, const channel::Message& message, uint64_t missed,
                            ESHMMessageInfo& info) {
  Channel& from = channel_[direction];
  if (message.generation != from.sender_generation || from.sender_count == 0) {
    from.sender_generation = message.generation;
    ++from.sender_count;
  }
  ++messages_read_;
  messages_missed_ += missed;
  info.generation = from.sender_count;
  info.sequence = message.number;
  info.missed = missed;
  info.size = message.size;
  info.timestamp_ns = message.timestamp_ns;
  info.direction = direction == layout::kMasterToSlave ? ESHM_M2S : ESHM_S2M;
}

// ---- checking the link --------------------------------------------------------------

// Checks both sides, and the name if the master is away. True: the observer has moved
// to another segment.
bool Observer::check_link() {
  const uint64_t now = os::monotonic_ns();
  if (now < next_check_ns_) return false;
  next_check_ns_ = now + check_interval_ns(settings_);
  check_sides(now);
  if (!is_over()) {
    seek_pause_ns_ = os::kNsPerMs;
    return false;
  }
  const bool has_moved = now >= next_seek_ns_ && seek();
  if (has_moved) {
    check_sides(now);
    seek_pause_ns_ = os::kNsPerMs;
  } else if (now >= next_seek_ns_) {
    // Soon again at first: a mark precedes the new name by microseconds.
    next_seek_ns_ = now + seek_pause_ns_;
    seek_pause_ns_ = std::min(2 * seek_pause_ns_,
                              settings_.reconnect_retry_interval_ms * os::kNsPerMs);
  }
  if (is_over()) next_check_ns_ = std::min(next_check_ns_, next_seek_ns_);
  return has_moved;
}

// The name may mean another file by now.
bool Observer::is_over() const {
  return view_ == nullptr || !watch_[index_of(ESHM_ROLE_MASTER)].is_there() ||
         view_->segment->is_superseded() || !view_->segment->locks().is_still_ours();
}

void Observer::check_sides(uint64_t now_ns) {
  if (view_ == nullptr) return;
  check_side(now_ns, ESHM_ROLE_MASTER);
  check_side(now_ns, ESHM_ROLE_SLAVE);
}

void Observer::check_side(uint64_t now_ns, ESHMRole role) {
  const SegmentFile& segment = *view_->segment;
  PeerWatch& watch = watch_[index_of(role)];
  const Sighting sighting = sight_holder(segment, role, watch, now_ns, false);
  for (int i = 0; i < PeerWatch::kMostEventsPerSighting; ++i) {
    const auto event = watch.see(sighting);
    if (role != ESHM_ROLE_MASTER) continue;
    stale_reports_ += event == ESHM_EVENT_STALE;
    reconnects_ += event == ESHM_EVENT_RECONNECTED;
  }
}

// Inspects the name. True: it means another segment, which is mapped now.
bool Observer::seek() {
  const bool counts = view_ != nullptr && !view_->segment->is_superseded();
  if (counts && view_->segment->is_named(settings_)) return false;
  Found found = inspect_name(settings_, false);
  refusal_ = std::move(found.refusal);
  if (found.finding == Finding::kAbsent) spoiled_nonce_ = 0;
  const bool is_spoiled =
      found.finding == Finding::kFine && found.plan.identity.nonce == spoiled_nonce_;
  if (found.finding == Finding::kFine && !is_spoiled && attach(std::move(found), true)) return true;
  // The memory of an obsolete segment is not kept, unless a slave may still wait in it.
  if (view_ != nullptr && (!counts || !watch_[index_of(ESHM_ROLE_SLAVE)].is_there())) detach();
  return false;
}

bool Observer::attach(Found found, bool from_birth) {
  auto view = std::make_unique<View>();
  refusal_ = SegmentFile::open(settings_, std::move(found), view->segment);
  for (const Direction direction : layout::kDirections) {
    if (refusal_) return false;
    refusal_ = DataMapping::attach(settings_, *view->segment, direction, false,
                                   view->data[direction]);
  }
  if (refusal_) return false;
  view->segment->close_file();
  detach();
  view_ = std::move(view);
  spoiled_nonce_ = 0;
  layout::ControlPage& page = view_->segment->page();
  for (const Direction direction : layout::kDirections) {
    const layout::ChannelGeometry& geometry = view_->segment->plan().geometry[direction];
    std::byte* const data = view_->data[direction].data();
    Channel& channel = channel_[direction];
    channel.is_queue = geometry.delivery == ESHM_DELIVERY_QUEUE;
    channel.sender_generation = 0;
    if (channel.is_queue) {
      channel.queue.attach({geometry, data, &page.reader[direction].line, &page.mark.superseded},
                           from_birth);
    } else {
      channel.latest.attach({geometry, data, &page.pins[direction], &page.mark.superseded});
      channel.latest.pass(page.reader[direction].line.stale_number.load(memory_order_relaxed));
    }
  }
  return true;
}

void Observer::detach() {
  view_.reset();
  for (PeerWatch& watch : watch_) watch.forget_segment();
}

// Nothing in this segment is believed any more.
void Observer::spoil() {
  spoiled_nonce_ = view_->segment->plan().identity.nonce;
  detach();
}

// ---- asking ----------------------------------------------------------------------

ESHMPeerState Observer::master_state() {
  const std::lock_guard<os::WordLock> lock(lock_);
  check_link();
  return watch_[index_of(ESHM_ROLE_MASTER)].state();
}

void Observer::get_stats(ESHMStats& stats) {
  const std::lock_guard<os::WordLock> lock(lock_);
  check_link();
  stats = {};
  if (view_ != nullptr) {
    const layout::Plan& plan = view_->segment->plan();
    stats = stats_in(view_->segment->page());
    stats.m2s_write_count = view_->data[layout::kMasterToSlave].messages(plan.geometry[0]);
    stats.s2m_write_count = view_->data[layout::kSlaveToMaster].messages(plan.geometry[1]);
  }
  stats.master_alive = watch_[index_of(ESHM_ROLE_MASTER)].state() == ESHM_PEER_ALIVE;
  stats.slave_alive = watch_[index_of(ESHM_ROLE_SLAVE)].state() == ESHM_PEER_ALIVE;
  stats.stale_threshold = settings_.stale_threshold_ms;
  stats.master_heartbeat_delta = stats.master_heartbeat - last_beats_[0];
  stats.slave_heartbeat_delta = stats.slave_heartbeat - last_beats_[1];
  last_beats_[0] = stats.master_heartbeat;
  last_beats_[1] = stats.slave_heartbeat;
}

void Observer::get_stats_ex(ESHMStatsEx& stats) {
  const std::lock_guard<os::WordLock> lock(lock_);
  check_link();
  stats.peer_state = watch_[index_of(ESHM_ROLE_MASTER)].state();
  stats.peer_generation = channel_[0].sender_count + channel_[1].sender_count;
  stats.reconnects = reconnects_;
  stats.messages_read = messages_read_;
  stats.messages_missed = messages_missed_;
  stats.parks = pauses_.load(memory_order_relaxed);
  stats.stale_reports = stale_reports_;
  if (view_ == nullptr) return;
  stats.segment_bytes = layout::kControlBytes;
  for (const layout::ChannelGeometry& geometry : view_->segment->plan().geometry) {
    stats.segment_bytes += geometry.data_bytes;
    stats.max_read_size = std::max(stats.max_read_size, geometry.max_message_bytes);
  }
}

bool Observer::get_shape(Direction direction, layout::ChannelShape& shape) {
  const std::lock_guard<os::WordLock> lock(lock_);
  check_link();
  if (view_ == nullptr) return false;
  shape = layout::shape_of(view_->segment->plan().geometry[direction]);
  return true;
}

Failure Observer::explain(int code, uint32_t timeout_ms) const {
  const auto say = [&](const std::string& text) { return fail(code, about(settings_) + text); };
  switch (code) {
    case ESHM_ERROR_TIMEOUT: {
      const std::lock_guard<os::WordLock> lock(lock_);
      const std::string within = " within " + std::to_string(timeout_ms) + " ms";
      if (view_ != nullptr) return say("neither side said anything" + within);
      if (refusal_) return fail(code, refusal_.text);
      return say("there was no segment to look at" + within);
    }
    case ESHM_ERROR_CORRUPT:
      return say("the segment holds what no healthy process writes");
    case ESHM_ERROR_INTERRUPTED:
      return interrupted(settings_);
    default:
      return say("failed");
  }
}

}  // namespace eshm::endpoint
