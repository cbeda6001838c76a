// SPDX-License-Identifier: MIT
#include "endpoint/outgoing_path.h"

#include <new>
#include <utility>
#include <vector>

#include "channel/copy.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;

// What a write answers in a segment that is marked as superseded.
int OutgoingPath::refuse_under_mark() const {
  // The process that marked a queue may have died before it recorded where the
  // queue ends. The next one records it, and must find nothing written since.
  if (role_ == ESHM_ROLE_MASTER) return ESHM_ERROR_SUPERSEDED;
  // Its master still reads here.
  if (end_.superseded->load(memory_order_relaxed) == layout::kRenewed) return ESHM_SUCCESS;
  // A slave's newest value and its queue move with it; a value that it writes
  // during the move would not.
  return end_.is_queue ? ESHM_SUCCESS : ESHM_ERROR_TIMEOUT;
}

void OutgoingPath::wake_reader() {
  channel::ring_announced(*end_.wake);
  wakes_.store(wakes_.load(memory_order_relaxed) + 1, memory_order_relaxed);
}

int OutgoingPath::code_of(channel::WriteResult result) {
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
  state_.found_corrupt.store(true, memory_order_relaxed);
  return ESHM_ERROR_CORRUPT;
}

int OutgoingPath::write_waiting(const void* data, size_t size, uint32_t timeout_ms) {
  constexpr int kNothing = ESHM_ERROR_BUFFER_FULL;
  const uint64_t spin_end_ns =
      os::monotonic_ns() + SpinTime(settings_.spin_us).first_budget_ns();
  return wait(
      kNothing, timeout_ms, spin_end_ns, [&] { return write_now(data, size); },
      [&](os::Deadline until, PieceEnd& end) {
        return announce_and_park(kNothing, end_.room, end_.announcer, until, end,
                                 [&] { return write_locked(data, size); });
      });
}

int OutgoingPath::loan(size_t size, void*& data) {
  run_upkeep_in_call();
  const std::lock_guard<os::WordLock> lock(lock_);
  const int refusal = refuse_to_write();
  if (size > end_.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
  if (refusal != ESHM_SUCCESS) return refusal;
  if (former_.is_carrying()) {
    const int carried = carry_over();
    if (carried != ESHM_SUCCESS) return carried;
  }
  return code_of(end_.loan(size, &data));
}

int OutgoingPath::publish(void* data, size_t size) {
  run_upkeep_in_call();
  {
    const std::lock_guard<os::WordLock> lock(lock_);
    const int refusal = refuse_to_write();
    if (size > end_.largest) return ESHM_ERROR_BUFFER_TOO_SMALL;
    if (refusal != ESHM_SUCCESS && refusal != ESHM_ERROR_SUPERSEDED) return refusal;
    if (refusal == ESHM_SUCCESS) {
      const channel::WriteResult result = end_.publish(data, size, time_of_publication(end_));
      if (result == channel::WriteResult::kDone) return finish_write();
      if (result != channel::WriteResult::kNotLoaned) return code_of(result);
    }
  }
  // Its segment was left or is superseded: no process would read it there.
  return discard(data) == ESHM_SUCCESS ? ESHM_ERROR_SUPERSEDED : ESHM_ERROR_INVALID_PARAM;
}

int OutgoingPath::discard(void* data) {
  const std::lock_guard<os::WordLock> lock(lock_);
  mark_call(end_.has_successor());
  channel::WriteResult result = end_.discard(data);
  // In a queue the loan may have kept later messages from being visible.
  if (result == channel::WriteResult::kDone && channel::is_announced(*end_.wake)) {
    channel::ring_announced(*end_.wake);
  }
  if (result == channel::WriteResult::kNotLoaned) result = former_.discard(data);
  return code_of(result);
}

uint64_t OutgoingPath::messages_written() const {
  const std::lock_guard<os::WordLock> lock(lock_);
  return written_elsewhere_ + end_.written();
}

OutgoingPath::Backlog OutgoingPath::backlog() const {
  const std::lock_guard<os::WordLock> lock(lock_);
  Backlog backlog;
  if (end_.is_queue) backlog.held = end_.queue.backlog();
  backlog.loans_out = end_.loans_out();
  backlog.taken_ns = taken_ns_.load(memory_order_relaxed);
  return backlog;
}

// Nothing else is read because of it: relaxed.
void OutgoingPath::watch_reader(uint64_t now_ns) {
  if (!end_.is_queue) return;
  const layout::ReaderLine& reader = attachment_->page().reader[attachment_->outgoing()].line;
  const uint64_t taken = reader.messages.load(memory_order_relaxed);
  const bool is_first_look = &reader != watched_reader_;
  if (!is_first_look && taken != taken_) taken_ns_.store(now_ns, memory_order_relaxed);
  watched_reader_ = &reader;
  taken_ = taken;
}

// ---- the exchange of segments ----------------------------------------------------

namespace {

// The value of a process that was dead when this segment was inherited.
bool is_stale(const Attachment& attachment, uint64_t number) {
  const layout::ReaderLine& reader = attachment.page().reader[attachment.outgoing()].line;
  return number <= reader.stale_number.load(memory_order_relaxed);
}

}  // namespace

void OutgoingPath::prepare_move(Move& move) {
  if (!end_.is_queue) return copy_newest(move);
  carry_committed(move);
  carry_committed(move);  // what came during the first pass, which may have taken long
}

void OutgoingPath::carry_committed(Move& move) {
  uint64_t end;
  {
    const std::lock_guard<os::WordLock> lock(lock_);
    end_.queue.freeze();
    // Behind an open loan the records are not final: they come with the exchange.
    if (end_.queue.is_corrupt()) return;
    end = end_.queue.committed_position();
  }
  const channel::WriteResult result =
      carry_messages(end_.queue, move.carried, end, move.ends.out);
  if (result == channel::WriteResult::kCorrupt) (void)code_of(result);
}

// The newest value of a LATEST channel, by way of private memory: while this copies it,
// other threads may write newer ones over it. After some of those the exchange copies
// what is the newest then.
void OutgoingPath::copy_newest(Move& move) {
  constexpr int kTries = 3;
  std::vector<std::byte> value;
  for (int tries = 0; tries < kTries; ++tries) {
    uint64_t number;
    size_t size = 0;
    const std::byte* newest;
    {
      const std::lock_guard<os::WordLock> lock(lock_);
      number = end_.latest.newest_number();
      newest = end_.latest.newest(size);
    }
    if (newest == nullptr || size > move.ends.out.largest || number == move.carried.first) return;
    if (is_stale(*attachment_, number)) return;
    try {
      value.resize(size);
    } catch (const std::bad_alloc&) {
      return;  // then it is copied with the exchange
    }
    channel::copy_from_shared(value.data(), newest, size);
    {
      const std::lock_guard<os::WordLock> lock(lock_);
      if (end_.latest.newest_number() != number) continue;
    }
    if (move.ends.out.write(value.data(), size, os::monotonic_ns()) !=
        channel::WriteResult::kDone) {
      return;
    }
    move.carried.first = number;
    ++move.carried.count;
    channel::ring(*move.ends.out.wake);
    return;
  }
}

void OutgoingPath::finish_move(Move& move) {
  FormerWriteEnd& former = move.outgoing.front();
  former.attachment = std::exchange(attachment_, move.next);
  former.end = std::exchange(end_, move.ends.out);
  show_life_in(attachment_);
  written_elsewhere_ += former.end.written();
  former.is_carried = former.end.is_queue;
  former.carried = move.carried;
  written_elsewhere_ -= move.carried.count;  // they count here
  const uint64_t newest_value = former.end.is_queue ? 0 : former.end.latest.newest_number();
  if (newest_value > move.carried.first && !is_stale(*former.attachment, newest_value)) {
    size_t size = 0;
    const std::byte* const newest = former.end.latest.newest(size);
    const bool is_written =
        newest != nullptr && size <= end_.largest &&
        end_.write(newest, size, os::monotonic_ns()) == channel::WriteResult::kDone;
    if (is_written) {
      move.carried.first = former.end.latest.newest_number();
      --written_elsewhere_;
      channel::ring(*end_.wake);
    }
  }
  former_.keep(move.outgoing);
  if (former_.is_carrying()) (void)carry_over();
  note_first_carried(former, move);
}

// For a reader that comes over to the copies: it knows what it has read of them.
void OutgoingPath::note_first_carried(const FormerWriteEnd& former, const Move& move) const {
  const layout::Direction direction = attachment_->outgoing();
  uint64_t first = move.carried.first;
  if (former.end.is_queue) {
    first = former.carried.first != 0 ? former.carried.first : former.end.queue.newest_number() + 1;
  }
  layout::SeatLine& seat = attachment_->page().seat;
  seat.first_carried[direction].store(first, memory_order_relaxed);
  // The copy is the last that was written here.
  if (!end_.is_queue) seat.newest_copy[direction].store(end_.latest.newest_number(), memory_order_relaxed);
}

void OutgoingPath::pass_consumed(const channel::QueueWriter& before, uint64_t begin) {
  const std::lock_guard<os::WordLock> lock(lock_);
  if (end_.is_queue) end_.queue.pass_consumed(before, begin, before.readers_position());
}

void OutgoingPath::pass_carried(uint64_t number) {
  const std::lock_guard<os::WordLock> lock(lock_);
  if (end_.is_queue) end_.queue.pass_carried(number);
}

void OutgoingPath::carry_over_now() {
  const std::lock_guard<os::WordLock> lock(lock_);
  if (former_.is_carrying() && !are_calls_over()) (void)carry_over();
}

// Of what the masters of former segments had not consumed. BUFFER_FULL: the new
// segment has no room for all of it yet.
[[gnu::noinline]] int OutgoingPath::carry_over() {
  uint64_t count = 0;
  const channel::WriteResult result = former_.carry_over(end_, count);
  written_elsewhere_ -= count;  // they count here
  return code_of(result);
}

}  // namespace eshm::endpoint
