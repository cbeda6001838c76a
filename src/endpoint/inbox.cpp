// SPDX-License-Identifier: MIT
#include "endpoint/inbox.h"

#include <utility>

namespace eshm::endpoint {

using std::memory_order_acquire;
using std::memory_order_relaxed;

int Inbox::take_elsewhere(Request request, Taken& taken) {
  const int code =
      has_left_ ? take_after_leaving(request, taken) : take_from_former(request, taken);
  reads_elsewhere_ = has_left_ || former_.have_unread();
  return code;
}

int Inbox::take_from_former(Request request, Taken& taken) {
  return former_.take([&](ReadEnd& end) { return take_from(end, request, false, taken); });
}

// The seat is free: a successor may be reading here, or the pages may be gone. A
// slave that gave up still reads what is unread until a successor comes, without
// keeping any of it from that one. No successor ever reads former segments, nor a
// segment that was superseded before this end left it.
int Inbox::take_after_leaving(Request request, Taken& taken) {
  if (former_.have_unread()) {
    const int code = take_from_former(request, taken);
    if (code != ESHM_ERROR_NO_DATA) return code;
  }
  const int verdict = state_.verdict.load(memory_order_relaxed);
  const auto may_be_overwritten = [&] {
    std::atomic_thread_fence(memory_order_acquire);
    return !drains_ && (request.borrows() || end_.has_successor() ||
                        end_.superseded->load(memory_order_acquire) != 0);
  };
  if (verdict != ESHM_ERROR_MASTER_STALE || may_be_overwritten()) return verdict;
  const int code = take_from(end_, request, false, taken);
  // Again, after the copy: it may have been overwritten meanwhile.
  return code == ESHM_ERROR_NO_DATA || may_be_overwritten() ? verdict : code;
}

// Nothing was found to be unread, and the segment is marked as superseded.
int Inbox::take_under_mark(Request request, bool thorough, Taken& taken) {
  // A slave reads its queue dry, as far as it was written before the mark.
  if (role_ == ESHM_ROLE_SLAVE && end_.drain_to_mark()) {
    const int code = take_from(end_, request, thorough, taken);
    if (code != ESHM_ERROR_NO_DATA) return code;
  }
  return answer_under_mark();
}

int Inbox::answer_under_mark() const {
  const int code = answer_without_message();
  return code == ESHM_ERROR_NO_DATA && role_ == ESHM_ROLE_MASTER ? ESHM_ERROR_SUPERSEDED : code;
}

bool Inbox::is_ready(bool thorough) {
  if (reads_elsewhere_) return true;
  if (!end_.has_unread(thorough || must_read_thoroughly_)) {
    if (end_.superseded->load(memory_order_relaxed) == 0) {
      return answer_without_message() != ESHM_ERROR_NO_DATA;
    }
    if (role_ == ESHM_ROLE_SLAVE && end_.drain_to_mark() && end_.has_unread(thorough)) return true;
    return answer_under_mark() != ESHM_ERROR_NO_DATA;
  }
  must_read_thoroughly_ = must_read_thoroughly_ || thorough;
  return true;
}

void Inbox::leave(bool is_superseded) {
  has_left_ = reads_elsewhere_ = true;
  if (!end_.is_queue) return;
  drains_ = is_superseded && end_.drain_to_mark();
  end_.queue.let_go();
}

void Inbox::finish_move(Move& move, const std::shared_ptr<Attachment>& former,
                        const Attachment& next) {
  FormerReadEnd& kept = move.incoming.front();
  kept.attachment = former;
  kept.end = std::exchange(end_, move.ends.in);
  const layout::SeatLine& seat = next.page().seat;
  const uint64_t first_carried =
      seat.first_carried[next.incoming()].load(memory_order_relaxed);
  if (move.copies == Copies::kComplete && first_carried != 0) {
    end_.take_over(kept.end, first_carried,
                   seat.newest_copy[next.incoming()].load(memory_order_relaxed));
  } else {
    if (move.copies == Copies::kPart) end_.pass_first_writers();
    keep_unread(kept, move.is_writer_dead);
  }
  former_.keep(move.incoming);
  reads_elsewhere_ = reads_elsewhere_ || former_.have_unread();
}

// What is unread is still to be read there.
void Inbox::keep_unread(FormerReadEnd& kept, bool is_writer_dead) {
  if (is_writer_dead) {
    kept.end.drain_abandoned();
    kept.is_unread = kept.end.is_queue || kept.end.has_unread(true);
    return;
  }
  kept.is_unread = kept.end.is_queue;
  // Without a mark its master has ended.
  if (kept.is_unread && !kept.end.drain_to_mark()) {
    const Attachment& former = *kept.attachment;
    kept.end.queue.drain_to(former.end_of_queue(former.incoming()));
  }
}

}  // namespace eshm::endpoint
