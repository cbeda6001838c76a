// SPDX-License-Identifier: MIT
#include "channel/queue.h"

#include <algorithm>

#include "channel/copy.h"
#include "os/cpu.h"

namespace eshm::channel {

using record::commit_word;
using record::kPaddingUnit;
using layout::RecordHeader;
using layout::RecordKind;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;
using std::memory_order_seq_cst;

namespace {

// No process writes so much; above it sums could wrap.
constexpr uint64_t kLastPosition = uint64_t(1) << 62;
// A claim reaches this part of the ring further than what is stored now.
constexpr uint64_t kClaimSteps = 16;

layout::PublishLine& publish_line(const QueueView& view) {
  return reinterpret_cast<layout::DataArea*>(view.data)->publish;
}

}  // namespace

// ---- ring -------------------------------------------------------------------

Ring::Ring(const QueueView& view)
    : bytes_(view.data + layout::kFirstSlotOffset),
      capacity_(view.geometry.ring_bytes),
      unit_(layout::record_unit(view.geometry)),
      payload_offset_(view.geometry.payload_offset),
      max_message_bytes_(view.geometry.max_message_bytes) {}

bool Ring::is_possible(uint64_t position) const {
  return (position & (unit_ - 1)) == 0 && position < kLastPosition;
}

// ---- writer -----------------------------------------------------------------

QueueWriter::Result QueueWriter::corrupt() {
  is_corrupt_ = true;
  return Result::kCorrupt;
}

void QueueWriter::adopt(const QueueView& view, uint32_t generation) {
  view_ = view;
  ring_ = Ring(view);
  generation_ = generation & ((uint32_t(1) << 30) - 1);
  loan_count_ = 0;
  const uint64_t published = publish_line(view_).published.load(memory_order_relaxed);
  const uint64_t consumed = view_.reader->position.load(memory_order_acquire);  // Q8 -> Q7
  newest_number_ = publish_line(view_).messages.load(memory_order_relaxed);
  is_corrupt_ = !ring_.is_possible(published) || !ring_.is_possible(consumed) ||
                !ring_.is_near(published, consumed);
  if (is_corrupt_) return;
  consumed_ = consumed;
  tail_ = ring_.at(published);
  committed_ = published;
  is_corrupt_ = !recover(consumed);
  adopted_number_ = newest_number_;
  if (!is_corrupt_) adopt_claim();
}

// A writer stores nothing a ring's length beyond what it has seen consumed.
void QueueWriter::adopt_claim() {
  const uint64_t most = consumed_ + ring_.capacity();
  claimed_ = publish_line(view_).claimed.load(memory_order_relaxed);
  if (claimed_ >= tail_.position && claimed_ <= most) return;
  claimed_ = 0;
  claim(most);
}

// Before anything is stored up to `end`. In steps, which cost an observer their
// length of the past, and the writer one store each.
ESHM_ALWAYS_INLINE void QueueWriter::claim(uint64_t end) {
  if (end <= claimed_) return;
  const uint64_t most = consumed_ + ring_.capacity();
  claimed_ = std::min(end + ring_.capacity() / kClaimSteps, most);
  // Q0 -> Q9. Release: who sees it sees the reader's position that allowed it.
  publish_line(view_).claimed.store(claimed_, memory_order_release);
  // F5, pairs with F6: whoever copied a byte that is stored after this sees it.
  std::atomic_thread_fence(memory_order_release);
}

// Walks from the hint over what the dead writer left behind it.
bool QueueWriter::recover(uint64_t consumed) {
  for (;;) {
    Ring::Record record;
    if (!ring_.parse(tail_, record)) return false;
    if (record.kind == RecordKind::kNone) break;
    const Ring::Place next = ring_.after(tail_, record.bytes);
    // The dead writer was bound by what the reader had consumed, of which the
    // hint may be behind.
    if (next.position > consumed + ring_.usable_bytes()) return false;
    if (record.kind == RecordKind::kMessage) {
      newest_number_ = ring_.header(tail_).tag.load(memory_order_relaxed);
    } else if (record.kind == RecordKind::kHeld) {
      commit(tail_, record.size, record.generation);
    } else if (record.kind == RecordKind::kLoan) {
      fill(tail_, record.bytes);
    }
    tail_ = next;
    committed_ = next.position;
  }
  if (consumed > committed_) return false;
  show_position();
  return true;
}

ESHM_ALWAYS_INLINE QueueWriter::Result QueueWriter::reserve(uint64_t bytes, Ring::Place& place) {
  if (is_corrupt_) return Result::kCorrupt;
  uint64_t padding;
  if (!ring_.fits(consumed_, tail_, bytes, padding)) {
    // Q8 -> Q7: the reader has done with everything before this position.
    const uint64_t consumed = view_.reader->position.load(memory_order_acquire);
    const bool is_sound =
        ring_.is_possible(consumed) && consumed >= consumed_ && consumed <= committed_;
    if (!is_sound) return corrupt();
    if (!is_frozen_) consumed_ = consumed;
    if (!ring_.fits(consumed_, tail_, bytes, padding)) return Result::kFull;
  }
  place = ring_.after(tail_, padding);
  const Ring::Place next = ring_.after(place, bytes);
  claim(next.position + ring_.header_room());
  // Q1, before whatever makes the header before it passable: the reader cannot
  // clear what an earlier lap left here.
  ring_.header(next).commit.store(0, memory_order_relaxed);
  if (padding != 0) {
    ring_.header(place).commit.store(0, memory_order_relaxed);
    fill(tail_, padding);
    if (committed_ == tail_.position) committed_ = place.position;
  }
  tail_ = next;
  return Result::kDone;
}

QueueWriter::Result QueueWriter::try_write(const void* data, size_t size, uint64_t timestamp_ns) {
  Ring::Place place;
  const Result result = reserve(ring_.record_bytes(size), place);
  if (result != Result::kDone) return result;
  copy_to_shared(ring_.payload(place), data, size);  // Q2
  ring_.stamp(place, timestamp_ns);
  finish(place, size);
  return Result::kDone;
}

QueueWriter::Result QueueWriter::loan(size_t size, void** payload) {
  if (loan_count_ >= view_.geometry.max_loans) {
    return is_corrupt_ ? Result::kCorrupt : Result::kTooMany;
  }
  Ring::Place place;
  const Result result = reserve(ring_.record_bytes(size), place);
  if (result != Result::kDone) return result;
  // Q3: tells an adopter how much to step over.
  ring_.header(place).commit.store(commit_word(RecordKind::kLoan, size, generation_),
                                   memory_order_release);
  loans_[loan_count_++] = {place, size};
  *payload = ring_.payload(place);
  return Result::kDone;
}

QueueWriter::Loan* QueueWriter::find_loan(const void* payload) {
  for (uint32_t i = 0; i < loan_count_; ++i) {
    if (ring_.payload(loans_[i].place) == payload) return &loans_[i];
  }
  return nullptr;
}

QueueWriter::Result QueueWriter::publish(const void* payload, size_t size, uint64_t timestamp_ns) {
  Loan* const loan = find_loan(payload);
  if (loan == nullptr) return Result::kNotLoaned;
  if (size > loan->size) return Result::kTooLarge;
  const Ring::Place place = loan->place;
  const uint64_t kept = ring_.record_bytes(size);
  const uint64_t loaned = ring_.record_bytes(loan->size);
  *loan = loans_[--loan_count_];
  if (kept < loaned) give_back(ring_.after(place, kept), loaned - kept);
  ring_.stamp(place, timestamp_ns);
  finish(place, size);
  return is_corrupt_ ? Result::kCorrupt : Result::kDone;
}

QueueWriter::Result QueueWriter::discard(const void* payload) {
  Loan* const loan = find_loan(payload);
  if (loan == nullptr) return Result::kNotLoaned;
  const Ring::Place place = loan->place;
  const uint64_t loaned = ring_.record_bytes(loan->size);
  *loan = loans_[--loan_count_];
  give_back(place, loaned);
  if (place.position == committed_ && !show_held()) return corrupt();
  show_position();
  return Result::kDone;
}

// Makes a complete record visible, or keeps it until the loans before it end.
ESHM_ALWAYS_INLINE void QueueWriter::finish(const Ring::Place& place, uint64_t size) {
  if (place.position == committed_) {
    commit(place, size, generation_);
    committed_ += ring_.record_bytes(size);
    if (committed_ != tail_.position && !show_held()) is_corrupt_ = true;
  } else {
    // Q3: complete, for an adopter.
    ring_.header(place).commit.store(commit_word(RecordKind::kHeld, size, generation_),
                                     memory_order_release);
  }
  show_position();
}

ESHM_ALWAYS_INLINE void QueueWriter::commit(const Ring::Place& place, uint64_t size, uint32_t generation) {
  RecordHeader& header = ring_.header(place);
  header.tag.store(++newest_number_, memory_order_relaxed);
  // Q4 -> Q6. The publication: whoever sees this word sees the message.
  header.commit.store(commit_word(RecordKind::kMessage, size, generation), memory_order_release);
}

// The loan that stood at committed_ has ended. False: the ring was overwritten.
bool QueueWriter::show_held() {
  while (committed_ != tail_.position) {
    const Ring::Place place = ring_.at(committed_);
    Ring::Record record;
    if (!ring_.parse(place, record) || record.bytes > tail_.position - committed_) return false;
    if (record.kind == RecordKind::kLoan) return true;
    if (record.kind == RecordKind::kHeld) {
      commit(place, record.size, record.generation);
    } else if (record.kind != RecordKind::kPadding) {
      return false;
    }
    committed_ += record.bytes;
  }
  return true;
}

// Makes padding of a piece of the ring.
void QueueWriter::fill(const Ring::Place& place, uint64_t bytes) {
  RecordHeader& header = ring_.header(place);
  header.tag.store(place.position, memory_order_relaxed);
  // Q4 -> Q6, after Q1 of the record behind it.
  header.commit.store(commit_word(RecordKind::kPadding, bytes / kPaddingUnit, generation_),
                      memory_order_release);
}

// A loan's unused end: free again where nothing is behind it.
void QueueWriter::give_back(const Ring::Place& place, uint64_t bytes) {
  if (place.position + bytes != tail_.position) return fill(place, bytes);
  ring_.header(place).commit.store(0, memory_order_relaxed);  // Q1
  tail_ = place;
}

ESHM_ALWAYS_INLINE void QueueWriter::show_position() {
  layout::PublishLine& line = publish_line(view_);
  line.messages.store(newest_number_, memory_order_relaxed);
  // Q5, after the count: an adopter that finds no message behind this position
  // takes the count for it.
  line.published.store(committed_, memory_order_release);
  // F1, pairs with AF: a reader that announced before is seen by the caller,
  // or it sees the message in its look after announcing.
  std::atomic_thread_fence(memory_order_seq_cst);
}

uint64_t QueueWriter::readers_position() const {
  return view_.reader->position.load(memory_order_acquire);  // Q8 -> Q7
}

void QueueWriter::number_after(uint64_t number) {
  newest_number_ = adopted_number_ = number;
  show_position();
}

// Of the first message at `position` or after it; if there is none, the next number.
uint64_t QueueWriter::number_from(uint64_t position) const {
  Unread unread;
  const bool is_there = next_unread(position, unread, committed_);
  return is_there ? unread.number : newest_number_ + 1;
}

QueueWriter::Backlog QueueWriter::backlog() const {
  if (is_corrupt_ || consumed_ > committed_) return {};
  const uint64_t consumed = std::clamp(readers_position(), consumed_, committed_);
  const uint64_t handed_out =
      std::clamp(view_.reader->handed_out.load(memory_order_relaxed), consumed, committed_);
  if (!ring_.is_possible(consumed) || !ring_.is_possible(handed_out)) return {};
  const uint64_t first_unread = number_from(handed_out);
  return {newest_number_ + 1 - first_unread, first_unread - number_from(consumed),
          committed_ - consumed};
}

bool QueueWriter::next_unread(uint64_t& cursor, Unread& unread, uint64_t end) const {
  if (cursor == kFromReader) cursor = readers_position();
  if (!ring_.is_possible(cursor)) return false;
  while (cursor >= consumed_ && cursor < end) {
    const Ring::Place place = ring_.at(cursor);
    Ring::Record record;
    if (!ring_.parse(place, record) || record.bytes == 0) return false;
    cursor += record.bytes;
    const bool is_held = record.kind == RecordKind::kHeld;
    if (record.kind != RecordKind::kMessage && !is_held) continue;
    const uint64_t number =
        is_held ? 0 : ring_.header(place).tag.load(memory_order_relaxed);
    unread = {ring_.payload(place), record.size, ring_.timestamp_ns(place), is_held, number};
    return true;
  }
  return false;
}

// The seat of this ring's reader is kept for the dead one, so no process has it.
void QueueWriter::pass_consumed(const QueueWriter& before, uint64_t begin, uint64_t end) {
  uint64_t to_pass = 0;
  Unread unread;
  for (uint64_t cursor = begin; before.next_unread(cursor, unread, end);) ++to_pass;
  if (readers_position() != 0) return;  // the dead reader was here already, and passed them
  uint64_t cursor = 0;
  for (; to_pass != 0 && next_unread(cursor, unread); --to_pass) {
  }
  if (cursor != 0) view_.reader->position.store(cursor, memory_order_release);  // Q7
}

void QueueWriter::pass_carried(uint64_t number) {
  constexpr uint32_t kCarried = 1;  // the generation of carried records, the first in this ring
  const uint64_t begin = readers_position();
  if (is_corrupt_ || !ring_.is_possible(begin)) return;
  uint64_t passed = begin;
  for (uint64_t cursor = begin; cursor < committed_;) {
    const Ring::Place place = ring_.at(cursor);
    Ring::Record record;
    if (!ring_.parse(place, record) || record.bytes == 0) break;
    cursor += record.bytes;
    if (record.kind == RecordKind::kPadding) continue;
    const bool is_passed = record.kind == RecordKind::kMessage && record.generation == kCarried &&
                           ring_.header(place).tag.load(memory_order_relaxed) < number;
    if (!is_passed) break;
    passed = cursor;
  }
  if (passed != begin) view_.reader->position.store(passed, memory_order_release);  // Q7
}

// ---- reader -----------------------------------------------------------------

void QueueReader::attach(const QueueView& view) {
  view_ = view;
  ring_ = Ring(view);
  next_number_ = 0;
  limit_ = kNoLimit;
  held_count_ = 0;
  borrow_count_ = 0;
  freed_room_ = false;
  is_let_go_ = false;
  is_abandoned_ = false;
  hands_bytes_ = view.geometry.hands_bytes;
  shown_ = view_.reader->position.load(memory_order_relaxed);
  const uint64_t published = publish_line(view_).published.load(memory_order_acquire);
  is_corrupt_ = !ring_.is_possible(shown_) || !ring_.is_possible(published) ||
                !ring_.is_near(shown_, published);
  next_ = ring_.at(shown_);
}

// Passes padding. kMessage: the record at next_.
ESHM_ALWAYS_INLINE QueueReader::Result QueueReader::find(Ring::Record& record) {
  while (!is_corrupt_) {
    if (!ring_.parse(next_, record)) break;
    const bool is_open = record.kind == RecordKind::kNone || record.kind == RecordKind::kLoan ||
                         record.kind == RecordKind::kHeld;
    if (os::rarely(is_open && is_abandoned_)) {
      if (record.kind == RecordKind::kNone) return Result::kSuperseded;
      if (ring_.after(next_, record.bytes).position - shown_ > ring_.usable_bytes()) break;
      if (record.kind == RecordKind::kHeld) return Result::kMessage;
      next_ = ring_.after(next_, record.bytes);
      continue;
    }
    if (is_open && limit_ == kNoLimit) {
      // While one waits, fetch the line that a message may need besides.
      __builtin_prefetch(&ring_.header(next_) + layout::kLineBytes / sizeof(RecordHeader));
      return Result::kNothing;
    }
    if (next_.position >= limit_) return Result::kSuperseded;
    if (is_open) break;  // it was said to be complete
    const Ring::Place end = ring_.after(next_, record.bytes);
    // Further than the writer may go before shown_ moves; bounds this loop, too.
    if (end.position - shown_ > ring_.usable_bytes()) break;
    if (record.kind == RecordKind::kMessage) {
      return end.position <= limit_ ? Result::kMessage : Result::kSuperseded;
    }
    next_ = end;
  }
  is_corrupt_ = true;
  return Result::kCorrupt;
}

ESHM_ALWAYS_INLINE QueueReader::Result QueueReader::next(Message& message, Ring::Record& record) {
  const Result result = find(record);
  if (result != Result::kMessage) return result;
  // A held one, of an abandoned ring, would have got the next number.
  message.number = os::rarely(record.kind == RecordKind::kHeld)
                       ? std::max<uint64_t>(next_number_, 1)
                       : ring_.header(next_).tag.load(memory_order_relaxed);
  message.size = record.size;
  message.generation = record.generation;
  message.timestamp_ns = ring_.timestamp_ns(next_);
  const bool is_next = next_number_ == 0 ? message.number != 0 : message.number == next_number_;
  if (is_next) return result;
  is_corrupt_ = true;
  return Result::kCorrupt;
}

// R5 -> MK1, after the message was taken: without a limit nothing of a marked
// segment counts.
ESHM_ALWAYS_INLINE bool QueueReader::is_dropped() const {
  return limit_ == kNoLimit && view_.superseded->load(memory_order_acquire) != 0;
}

QueueReader::Result QueueReader::read(void* buffer, size_t buffer_bytes, Message& message,
                                      uint64_t thread) {
  come_back(thread);
  Ring::Record record;
  Result result = next(message, record);
  if (result == Result::kMessage && record.size > buffer_bytes) result = Result::kTooSmall;
  if (result == Result::kMessage) {
    copy_from_shared(buffer, ring_.payload(next_), record.size);
    if (is_dropped()) {
      result = Result::kSuperseded;
    } else {
      hand_out(message, record, thread, nullptr);
    }
  }
  show_position();
  return result;
}

QueueReader::Result QueueReader::borrow(const void** payload, Message& message, uint64_t thread) {
  come_back(thread);
  Ring::Record record;
  Result result = next(message, record);
  if (result == Result::kMessage && borrow_count_ >= view_.geometry.max_borrows) {
    result = Result::kTooMany;
  }
  if (result == Result::kMessage && is_dropped()) result = Result::kSuperseded;
  if (result == Result::kMessage) {
    *payload = ring_.payload(next_);
    ++borrow_count_;
    hand_out(message, record, thread, ring_.payload(next_));
  }
  show_position();
  return result;
}

bool QueueReader::release(const void* payload, uint64_t borrow) {
  freed_room_ = false;
  for (uint32_t i = 0; i < held_count_; ++i) {
    if (payload == nullptr || held_[i].payload != payload) continue;
    if (held_[i].position != borrow) continue;
    --borrow_count_;
    forget(i);
    limit_hands();
    show_position();
    return true;
  }
  return false;
}

bool QueueReader::has_next() {
  Ring::Record record;
  const Result result = find(record);
  return result == Result::kCorrupt || (result == Result::kMessage && !is_dropped());
}

void QueueReader::pass_first_writers() {
  constexpr uint32_t kFirst = 1;
  Message message;
  Ring::Record record;
  while (next(message, record) == Result::kMessage && record.generation == kFirst) {
    next_number_ = message.number + 1;
    next_ = ring_.after(next_, record.bytes);
  }
  show_passed();
}

void QueueReader::show_passed() {
  if (is_corrupt_) return;
  view_.reader->handed_out.store(next_.position, memory_order_relaxed);
  show_position();
}

void QueueReader::take_over(QueueReader& former, uint64_t first_carried) {
  uint32_t from = 0;
  Message message;
  Ring::Record record;
  for (uint64_t number = first_carried; number < former.next_number_; ++number) {
    if (next(message, record) != Result::kMessage) break;
    // Copies have lower numbers than what is new: another reader has passed them.
    if (message.number >= former.next_number_) break;
    const uint64_t position = next_.position;
    next_number_ = message.number + 1;
    next_ = ring_.after(next_, record.bytes);
    if (from == former.held_count_) continue;
    const Held& hand = former.held_[from];
    const Ring::Place place = former.ring_.at(hand.position);
    if (former.ring_.header(place).tag.load(memory_order_relaxed) != number) continue;
    // A borrow is of the former ring's bytes. Its copy is in hand here until it is back.
    held_[held_count_++] = {position, hand.thread, hand.payload};
    borrow_count_ += hand.payload != nullptr;
    ++from;
  }
  former.forget_taken_over();
  show_passed();
}

// Borrows of rings before this one: the next one has them in hand.
void QueueReader::forget_taken_over() {
  for (uint32_t i = held_count_; i-- > 0;) {
    const std::byte* const payload = held_[i].payload;
    if (payload == nullptr || payload == ring_.payload(ring_.at(held_[i].position))) continue;
    --borrow_count_;
    forget(i);
  }
}

void QueueReader::release_taken_over(const void* payload) {
  for (uint32_t i = 0; i < held_count_; ++i) {
    if (held_[i].payload != payload) continue;
    --borrow_count_;
    forget(i);
    limit_hands();
    show_position();
    return;
  }
}

void QueueReader::drain_abandoned() {
  is_abandoned_ = true;
  limit_ = kNoLimit - 1;
}

void QueueReader::ignore_mark() { view_.superseded = &kNoMark; }

void QueueReader::consume_handed_out() {
  held_count_ = 0;
  borrow_count_ = 0;
  if (is_corrupt_) return;
  show_position();
}

ESHM_ALWAYS_INLINE void QueueReader::hand_out(const Message& message,
                                              const Ring::Record& record, uint64_t thread,
                                              const std::byte* payload) {
  if (payload == nullptr && held_count_ - borrow_count_ == kMaxHands) {
    uint32_t oldest = 0;
    while (held_[oldest].payload != nullptr) ++oldest;
    forget(oldest);
  }
  held_[held_count_++] = {next_.position, thread, payload};
  next_number_ = message.number + 1;
  next_ = ring_.after(next_, record.bytes);
  if (held_count_ > 1) limit_hands();
  if (!is_let_go_) view_.reader->handed_out.store(next_.position, memory_order_relaxed);
}

// The thread has done with the message that it was given before.
ESHM_ALWAYS_INLINE void QueueReader::come_back(uint64_t thread) {
  for (uint32_t i = 0; i < held_count_; ++i) {
    if (held_[i].payload == nullptr && held_[i].thread == thread) return forget(i);
  }
}

ESHM_ALWAYS_INLINE void QueueReader::forget(uint32_t held) {
  for (--held_count_; held < held_count_; ++held) held_[held] = held_[held + 1];
}

// What is in hand takes no more than its part of the ring. So the oldest copies count as
// consumed if many threads keep them, or one does not come again. A borrow stays.
ESHM_ALWAYS_INLINE void QueueReader::limit_hands() {
  while (held_count_ > 0 && held_[0].payload == nullptr) {
    const uint64_t bytes = next_.position - held_[0].position;
    const bool has_ring_end = bytes > next_.index;
    if (bytes <= hands_bytes_ + (has_ring_end ? ring_.most_padding_bytes() : 0)) return;
    forget(0);
  }
}

ESHM_ALWAYS_INLINE void QueueReader::show_position() {
  const uint64_t done = held_count_ == 0 ? next_.position : held_[0].position;
  freed_room_ = done != shown_ && !is_let_go_;
  if (!freed_room_) return;
  shown_ = done;
  // Q7 -> Q8, after the copies: the writer may use what is before it.
  view_.reader->position.store(done, memory_order_release);
  // F4, pairs with AF: a writer that announced before is seen by the caller, or
  // it sees the room in its look after announcing.
  std::atomic_thread_fence(memory_order_seq_cst);
}

}  // namespace eshm::channel
