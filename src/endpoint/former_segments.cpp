// SPDX-License-Identifier: MIT
#include "endpoint/former_segments.h"

#include "channel/wakeup.h"

namespace eshm::endpoint {
namespace {

template <class Former, class IsWanted>
void drop_unless(std::list<Former>& segments, const IsWanted& is_wanted,
                 std::list<Former>& dropped) {
  for (auto at = segments.begin(); at != segments.end();) {
    const auto former = at++;
    if (!is_wanted(*former)) dropped.splice(dropped.end(), segments, former);
  }
}

bool is_wanted(const FormerWriteEnd& former) {
  return former.is_carried || former.end.loans_out() != 0;
}

bool is_wanted(const FormerReadEnd& former) {
  return former.is_unread || former.end.borrows_out() != 0;
}

}  // namespace

channel::WriteResult carry_messages(const channel::QueueWriter& from, Carried& carried,
                                    uint64_t end, WriteEnd& to) {
  if (carried.cursor == channel::QueueWriter::kFromReader) {
    carried.begin = carried.cursor = from.readers_position();
  }
  for (;;) {
    const uint64_t before = carried.cursor;
    channel::QueueWriter::Unread unread;
    if (!from.next_unread(carried.cursor, unread, end)) return channel::WriteResult::kDone;
    if (unread.number != 0 && unread.number <= carried.passed) continue;
    // The copies keep their numbers.
    if (carried.first == 0 && to.is_queue && to.queue.newest_number() == 0) {
      to.queue.number_after(unread.is_held ? from.newest_number() : unread.number - 1);
    }
    if (unread.size > to.largest) continue;  // the new master takes smaller ones
    const channel::WriteResult result = to.write(unread.payload, unread.size, unread.timestamp_ns);
    if (result != channel::WriteResult::kDone) {
      carried.cursor = before;
      return result;
    }
    carried.count += !unread.is_held;
    // A held one would have got the next number.
    if (carried.first == 0) {
      carried.first = unread.is_held ? from.newest_number() + 1 : unread.number;
    }
    if (channel::is_announced(*to.wake)) channel::ring_announced(*to.wake);
  }
}

// ---- outgoing --------------------------------------------------------------------

void FormerOutgoing::keep(std::list<FormerWriteEnd>& room) {
  if (!is_wanted(room.front())) return;
  carried_ += room.front().is_carried;
  segments_.splice(segments_.end(), room);
}

channel::WriteResult FormerOutgoing::carry_over(WriteEnd& to, uint64_t& count) {
  // Newest first: of two segments that are being carried over, the later one holds
  // messages that precede the earlier one's rest, and nothing else.
  for (auto former = segments_.rbegin(); former != segments_.rend(); ++former) {
    if (!former->is_carried) continue;
    const channel::QueueWriter& from = former->end.queue;
    const uint64_t count_before = former->carried.count;
    const channel::WriteResult result =
        carry_messages(from, former->carried, from.end_position(), to);
    count += former->carried.count - count_before;
    if (result != channel::WriteResult::kDone) return result;
    former->is_carried = false;
    --carried_;
  }
  return channel::WriteResult::kDone;
}

channel::WriteResult FormerOutgoing::discard(const void* payload) {
  for (FormerWriteEnd& former : segments_) {
    const channel::WriteResult result = former.end.discard(payload);
    if (result != channel::WriteResult::kNotLoaned) return result;
  }
  return channel::WriteResult::kNotLoaned;
}

void FormerOutgoing::drop_unwanted(std::list<FormerWriteEnd>& dropped) {
  drop_unless(segments_, [](const FormerWriteEnd& former) { return is_wanted(former); }, dropped);
}

// ---- incoming --------------------------------------------------------------------

void FormerIncoming::keep(std::list<FormerReadEnd>& room) {
  if (!is_wanted(room.front())) return;
  unread_ += room.front().is_unread;
  segments_.splice(segments_.end(), room);
}

bool FormerIncoming::release(const channel::Borrowed& borrowed) {
  bool is_released = false;
  for (FormerReadEnd& former : segments_) {  // oldest first: later ones may have it in hand, too
    if (is_released) {
      former.end.release_taken_over(borrowed);
    } else {
      is_released = former.end.release(borrowed);
    }
  }
  return is_released;
}

void FormerIncoming::drop_unwanted(std::list<FormerReadEnd>& dropped) {
  drop_unless(segments_, [](const FormerReadEnd& former) { return is_wanted(former); }, dropped);
}

}  // namespace eshm::endpoint
