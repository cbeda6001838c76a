#include "endpoint/former_segments.h"

#include <utility>

#include "channel/wakeup.h"

namespace eshm::endpoint {
namespace {

template <class Former, class IsWanted>
void drop_unless(std::vector<Former>& segments, const IsWanted& is_wanted, Dropped& dropped) {
  for (size_t i = 0; i < segments.size();) {
    if (is_wanted(segments[i])) {
      ++i;
      continue;
    }
    dropped.push_back(std::move(segments[i].attachment));
    segments.erase(segments.begin() + std::ptrdiff_t(i));
  }
}

}  // namespace

// ---- outgoing --------------------------------------------------------------------

void FormerOutgoing::keep(const std::shared_ptr<Attachment>& attachment, const WriteEnd& end,
                          bool is_carried) {
  if (!is_carried && end.loans_out() == 0) return;
  carried_ += is_carried;
  segments_.push_back({attachment, end, is_carried});
}

channel::WriteResult FormerOutgoing::carry_over(WriteEnd& to, uint64_t& count) {
  // Newest first: of two segments that are being carried over, the later one holds
  // messages that precede the earlier one's rest, and nothing else.
  for (size_t i = segments_.size(); i-- > 0;) {
    Former& former = segments_[i];
    if (!former.is_carried) continue;
    const channel::WriteResult result = carry_one(former, to, count);
    if (result != channel::WriteResult::kDone) return result;
    former.is_carried = false;
    --carried_;
  }
  return channel::WriteResult::kDone;
}

channel::WriteResult FormerOutgoing::carry_one(Former& former, WriteEnd& to, uint64_t& count) {
  for (;;) {
    const uint64_t before = former.cursor;
    channel::QueueWriter::Unread unread;
    if (!former.end.queue.next_unread(former.cursor, unread)) return channel::WriteResult::kDone;
    if (unread.size > to.largest) continue;  // the new master takes smaller ones
    const channel::WriteResult result = to.write(unread.payload, unread.size, unread.timestamp_ns);
    if (result != channel::WriteResult::kDone) {
      former.cursor = before;
      return result;
    }
    count += !unread.is_held;
    if (channel::is_announced(*to.wake)) channel::ring_announced(*to.wake);
  }
}

channel::WriteResult FormerOutgoing::discard(const void* payload) {
  for (Former& former : segments_) {
    const channel::WriteResult result = former.end.discard(payload);
    if (result != channel::WriteResult::kNotLoaned) return result;
  }
  return channel::WriteResult::kNotLoaned;
}

void FormerOutgoing::drop_unwanted(Dropped& dropped) {
  drop_unless(
      segments_,
      [](const Former& former) { return former.is_carried || former.end.loans_out() != 0; },
      dropped);
}

// ---- incoming --------------------------------------------------------------------

void FormerIncoming::keep(const std::shared_ptr<Attachment>& attachment, const ReadEnd& end,
                          bool is_unread) {
  if (!is_unread && end.borrows_out() == 0) return;
  unread_ += is_unread;
  segments_.push_back({attachment, end, is_unread});
}

bool FormerIncoming::release(const channel::Borrowed& borrowed) {
  for (Former& former : segments_) {
    if (former.end.release(borrowed)) return true;
  }
  return false;
}

void FormerIncoming::drop_unwanted(Dropped& dropped) {
  drop_unless(
      segments_,
      [](const Former& former) { return former.is_unread || former.end.borrows_out() != 0; },
      dropped);
}

}  // namespace eshm::endpoint
