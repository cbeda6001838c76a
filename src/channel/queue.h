// SPDX-License-Identifier: MIT
// Nothing is lost, order is kept: a ring of variable-length records.
// Diagrams, crash points and orders: docs/PROTOCOL.md, section "QUEUE".
//
// Both ends keep their positions in private memory and believe nothing that
// they read without a bound. Neither is safe for two threads at once: the
// caller holds a lock of its own process. Nothing here waits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "channel/message.h"
#include "eshm_data.h"
#include "layout/segment.h"

namespace eshm::channel {

// Where a queue's shared bytes are mapped, with the geometry's private copy.
struct QueueView {
  layout::ChannelGeometry geometry;
  std::byte* data;                          // the data area
  layout::ReaderLine* reader;               // in the control page
  const std::atomic<uint32_t>* superseded;  // MarkLine::superseded
};

// The ring's bytes and arithmetic, the same for both ends.
class Ring {
 public:
  // A position and its place in the ring, carried along: no division a record.
  struct Place {
    uint64_t position;
    uint64_t index;
  };
  struct Record {
    layout::RecordKind kind = layout::RecordKind::kNone;
    uint64_t bytes = 0;  // of the whole record
    uint64_t size = 0;   // of the payload
    uint32_t generation = 0;
  };

  Ring() = default;
  explicit Ring(const QueueView& view);

  Place at(uint64_t position) const { return {position, position % capacity_}; }
  Place after(const Place& place, uint64_t bytes) const {
    const uint64_t index = place.index + bytes;
    return {place.position + bytes, index == capacity_ ? 0 : index};
  }
  uint64_t record_bytes(uint64_t size) const {
    return (payload_offset_ + size + unit_ - 1) & ~(unit_ - 1);
  }
  // Of padding at the ring's end.
  uint64_t most_padding_bytes() const { return record_bytes(max_message_bytes_) - unit_; }
  uint64_t capacity() const { return capacity_; }
  // Of the header that ends what has been written.
  uint64_t header_room() const { return unit_; }
  // How far a record may end from what the reader has consumed: room for one
  // header always stays free.
  uint64_t usable_bytes() const { return capacity_ - unit_; }
  bool is_possible(uint64_t position) const;
  // Whether positions may stand so to each other, whichever is ahead.
  bool is_near(uint64_t a, uint64_t b) const { return a - b <= capacity_ || b - a <= capacity_; }

  // Whether a record fits behind `tail` while the reader is at `consumed`, and
  // how much of the ring's end has to be filled with padding before it.
  bool fits(uint64_t consumed, const Place& tail, uint64_t bytes, uint64_t& padding) const;

  layout::RecordHeader& header(const Place& place) const {
    return *reinterpret_cast<layout::RecordHeader*>(bytes_ + place.index);
  }
  std::byte* payload(const Place& place) const { return bytes_ + place.index + payload_offset_; }
  uint64_t timestamp_ns(const Place& place) const;
  void stamp(const Place& place, uint64_t timestamp_ns) const;

  // What stands at `place`, from one load of its commit word. False: what no
  // healthy writer leaves.
  bool parse(const Place& place, Record& record) const;

 private:
  std::byte* bytes_ = nullptr;
  uint64_t capacity_ = 1;
  uint64_t unit_ = 1;
  uint64_t payload_offset_ = 0;
  uint64_t max_message_bytes_ = 0;
};

class QueueWriter {
 public:
  using Result = WriteResult;

  // Takes the ring over from whoever wrote it before, dead at any point: what
  // is complete in it becomes visible, an open loan becomes padding. All-zero
  // is a valid start. What is impossible makes every later call say kCorrupt.
  void adopt(const QueueView& view, uint32_t generation);

  // Publishes. `size` is at most max_message_bytes (the caller has checked).
  // On kDone a full fence has passed: the caller may look for announcements.
  Result try_write(const void* data, size_t size, uint64_t timestamp_ns);

  // Memory for a message of up to `size` bytes (checked as above). It takes its
  // place in the order now: what is written after it is read after it, once
  // the loan is published or discarded.
  Result loan(size_t size, void** payload);
  // Both end the loan; its address means nothing afterwards. On kDone a full
  // fence has passed.
  Result publish(const void* payload, size_t size, uint64_t timestamp_ns);
  Result discard(const void* payload);

  // Nothing was written here yet. The next message gets the number behind that one.
  void number_after(uint64_t number);

  uint32_t loans_out() const { return loan_count_; }
  // How many messages this writer has made visible.
  uint64_t written() const { return newest_number_ - adopted_number_; }

  // The newest visible message, and the position behind it.
  uint64_t newest_number() const { return newest_number_; }
  uint64_t committed_position() const { return committed_; }
  // Behind the last record, visible or not.
  uint64_t end_position() const { return tail_.position; }

  // For carrying over to another segment what the reader has not consumed.
  // `cursor` begins with kFromReader, and is a position then. False: there is no further one.
  static constexpr uint64_t kFromReader = UINT64_MAX;
  struct Unread {
    const std::byte* payload;
    uint64_t size;
    uint64_t timestamp_ns;
    bool is_held;  // complete, but behind an open loan, which does not come along
    uint64_t number;  // 0: is_held, it has none yet
  };
  bool next_unread(uint64_t& cursor, Unread& unread) const {
    return !is_corrupt_ && next_unread(cursor, unread, end_position());
  }
  // The same up to `end`. After freeze(), and with an `end` of at most
  // committed_position(), this may run while another thread writes.
  bool next_unread(uint64_t& cursor, Unread& unread, uint64_t end) const;
  // From now on no record that is unread now is overwritten, even if the reader goes on:
  // a full ring stays full.
  void freeze() { is_frozen_ = true; }
  // For a reader that died, in the segment before, with its position at `end` there: this
  // one's reader begins behind as many messages as it had consumed since `begin`.
  void pass_consumed(const QueueWriter& before, uint64_t begin, uint64_t end);
  // No process reads here. What another master has carried to this queue, and the dead reader
  // had consumed where it came from, is passed: all with a lower number.
  void pass_carried(uint64_t number);
  uint64_t readers_position() const;
  bool is_corrupt() const { return is_corrupt_; }

  // What the reader has not consumed, by the positions that it shows.
  struct Backlog {
    uint64_t unread = 0;      // messages
    uint64_t in_hand = 0;     // read or borrowed, and kept
    uint64_t ring_bytes = 0;  // of all of them
  };
  Backlog backlog() const;

 private:
  struct Loan {
    Ring::Place place;
    uint64_t size;
  };

  Result corrupt();
  bool recover(uint64_t consumed);
  void adopt_claim();
  void claim(uint64_t end);
  Result reserve(uint64_t bytes, Ring::Place& place);
  void finish(const Ring::Place& place, uint64_t size);
  void commit(const Ring::Place& place, uint64_t size, uint32_t generation);
  bool show_held();
  void fill(const Ring::Place& place, uint64_t bytes);
  void give_back(const Ring::Place& place, uint64_t bytes);
  void show_position();
  Loan* find_loan(const void* payload);
  uint64_t number_from(uint64_t position) const;

  QueueView view_ = {};
  Ring ring_;
  Ring::Place tail_ = {};       // of the next record; its header is 0
  uint64_t committed_ = 0;      // tail_, or the first open loan
  uint64_t consumed_ = 0;       // the reader's position, as last seen
  uint64_t claimed_ = 0;        // as observers see it
  uint64_t newest_number_ = 0;  // of the last visible message
  uint64_t adopted_number_ = 0;  // of the last one that another writer left
  uint32_t generation_ = 0;
  uint32_t loan_count_ = 0;
  bool is_corrupt_ = false;
  bool is_frozen_ = false;
  std::array<Loan, ESHM_MAX_LOANS> loans_;
};

class QueueReader {
 public:
  using Result = ReadResult;

  // Begins where the reader before, dead or not, had stored its position.
  void attach(const QueueView& view);

  // The next message. It stays in the hands of `thread` (any number that is
  // its own) until that thread comes again; only then is it consumed.
  Result read(void* buffer, size_t buffer_bytes, Message& message, uint64_t thread);

  // The next message in place, until release(), which takes the address, and what
  // last_borrow() returned then: an address is used again, that number is not. False:
  // not borrowed.
  Result borrow(const void** payload, Message& message, uint64_t thread);
  uint64_t last_borrow() const { return held_[held_count_ - 1].position; }
  bool release(const void* payload, uint64_t borrow);
  uint32_t borrows_out() const { return borrow_count_; }
  bool is_corrupt() const { return is_corrupt_; }

  // Whether read() would tell of a message, or that the ring is corrupt.
  bool has_next();
  // A clean end: whoever reads next begins behind all that was handed out.
  void consume_handed_out();

  // This ring begins with copies of what was unread in the former one, of which the first
  // is its number `first_carried`. What the former reader has handed out is passed here,
  // and stays in the same hands.
  void take_over(QueueReader& former, uint64_t first_carried);
  // A borrow of the former ring was given back: its copy here is not in hand any more.
  void release_taken_over(const void* payload);
  // Passes what the ring's first writer has written.
  void pass_first_writers();
  // For the master that has renewed the segment itself: what is written here still counts.
  void ignore_mark();

  // The ring's writer is dead, and no other adopts it: what it left behind an open loan is
  // read, too, and then it says kSuperseded.
  void drain_abandoned();

  // From now on the position that the writer sees stays as it is: another process may be
  // the reader.
  void let_go() { is_let_go_ = true; }

  // Whether the last call of read, borrow, release or consume_handed_out moved the position
  // that the writer sees. A full fence has passed then: look for announcements.
  bool freed_room() const { return freed_room_; }

  // Of a superseded segment, records that end up to `position` are still read;
  // then it says kSuperseded.
  void drain_to(uint64_t position) { limit_ = position; }
  uint64_t position() const { return next_.position; }

 private:
  // A message that is handed out. In the order of the ring.
  struct Held {
    uint64_t position;
    uint64_t thread;
    const std::byte* payload;  // null: copied
  };
  static constexpr uint32_t kMaxHands = layout::kMaxHands;
  static constexpr uint64_t kNoLimit = UINT64_MAX;

  void forget_taken_over();
  Result find(Ring::Record& record);
  Result next(Message& message, Ring::Record& record);
  bool is_dropped() const;
  void hand_out(const Message& message, const Ring::Record& record, uint64_t thread,
                const std::byte* payload);
  void come_back(uint64_t thread);
  void forget(uint32_t held);
  void limit_hands();
  void show_passed();
  void show_position();

  QueueView view_ = {};
  Ring ring_;
  Ring::Place next_ = {};
  uint64_t shown_ = 0;         // the position that the writer sees
  uint64_t hands_bytes_ = 0;   // of the ring, what may be in hand
  uint64_t next_number_ = 0;  // 0: not known before the first message
  uint64_t limit_ = kNoLimit;
  uint32_t held_count_ = 0;
  uint32_t borrow_count_ = 0;
  bool freed_room_ = false;
  bool is_let_go_ = false;
  bool is_abandoned_ = false;
  bool is_corrupt_ = false;
  std::array<Held, ESHM_MAX_BORROWS + kMaxHands> held_;
};

}  // namespace eshm::channel

#include "channel/queue_path.h"
