// SPDX-License-Identifier: MIT
// One end of one direction, whichever way it is reached: a link's handle, or a
// channel's end in plain memory, of which a copy goes on from the same place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "crash/memory.h"
#include "eshm.h"

namespace test {

// What an end may do. A loan that ends is the oldest one, or the newest; so is
// a borrow.
enum class Act {
  kWrite,
  kWriteWaiting,  // for room, for a millisecond
  kFill,          // writes until there is no room
  kLoan,
  kPublish,
  kPublishNewest,
  kDiscard,
  kRead,
  kReadMsg,
  kReadWaiting,  // for a message, for a millisecond
  kBorrow,
  kRelease,
  kReleaseNewest,
};
const char* name_of(Act act);
bool is_writers(Act act);

enum class Answer {
  kDone,
  kNothing,  // no room, no message, or as many out as there may be
  kOther,    // what no healthy link answers
};

// A message in place: read-only for who has borrowed it.
struct Piece {
  const void* data = nullptr;
  size_t size = 0;
  ESHMView view = {};                  // of a handle
  eshm::channel::Borrowed latest = {};  // of a LATEST channel
  uint64_t borrow = 0;                  // of a QUEUE channel
};

class End {
 public:
  virtual ~End() = default;
  virtual Answer write(const void* data, size_t size, Act act) = 0;
  virtual Answer loan(size_t size, void** data) = 0;
  virtual Answer publish(void* data, size_t size) = 0;
  virtual Answer discard(void* data) = 0;
  virtual Answer read(void* buffer, size_t bytes, size_t& size, Act act) = 0;
  virtual Answer borrow(Piece& piece) = 0;
  virtual Answer release(Piece& piece) = 0;
};

class LinkEnd final : public End {
 public:
  explicit LinkEnd(ESHMHandle* link) : link_(link) {}
  Answer write(const void* data, size_t size, Act act) override;
  Answer loan(size_t size, void** data) override;
  Answer publish(void* data, size_t size) override;
  Answer discard(void* data) override;
  Answer read(void* buffer, size_t bytes, size_t& size, Act act) override;
  Answer borrow(Piece& piece) override;
  Answer release(Piece& piece) override;

 private:
  ESHMHandle* link_;
};

// A writer's or a reader's private state over a channel's memory: a copy goes on
// in the same memory, from the same place.
class ChannelEnd final : public End {
 public:
  static ChannelEnd writer(const ChannelMemory& memory, uint32_t generation);
  static ChannelEnd reader(const ChannelMemory& memory);
  Answer write(const void* data, size_t size, Act act) override;
  Answer loan(size_t size, void** data) override;
  Answer publish(void* data, size_t size) override;
  Answer discard(void* data) override;
  Answer read(void* buffer, size_t bytes, size_t& size, Act act) override;
  Answer borrow(Piece& piece) override;
  Answer release(Piece& piece) override;

 private:
  explicit ChannelEnd(const ChannelMemory& memory)
      : is_queue_(memory.geometry().delivery == ESHM_DELIVERY_QUEUE) {}

  bool is_queue_;
  eshm::channel::LatestWriter latest_writer_;
  eshm::channel::LatestReader latest_reader_;
  eshm::channel::QueueWriter queue_writer_;
  eshm::channel::QueueReader queue_reader_;
};

// Messages that prove themselves, and tell their number.
class Letters {
 public:
  static constexpr size_t kSmallest = 16;
  static constexpr uint64_t kMost = 4000;

  explicit Letters(size_t largest) : largest_(largest) {}
  size_t largest() const { return largest_; }
  size_t size_of(uint64_t number) const;
  std::vector<char> letter(uint64_t number) const;
  // 0: it is none, or not as it was written.
  uint64_t number_of(const void* data, size_t bytes) const;

 private:
  size_t largest_;
};

// Between them there is only the end's own call.
struct Marks {
  void (*before_call)() = nullptr;
  void (*after_call)() = nullptr;
};

// Somebody who acts through an end: what it writes is numbered on, what it has
// out is remembered. A copy may go on through another end.
class Actor {
 public:
  Actor(const Letters& letters, bool is_queue) : letters_(&letters), is_queue_(is_queue) {}

  Answer act(End& end, Act act, const Marks& marks = {});
  // What comes before the call: the loan that it ends is filled in.
  void prepare(Act act) const;

  struct Out {
    uint64_t number;
    void* loan;
    Piece piece;
  };
  const std::vector<Out>& loans() const { return loans_; }
  const std::vector<Out>& borrows() const { return borrows_; }
  uint64_t next_number() const { return next_number_; }
  void go_on_with(uint64_t number) { next_number_ = number; }
  // Of the message that came last; 0: not as it was written.
  uint64_t number_read() const { return number_read_; }
  // Every borrowed message is still what it was.
  bool holds_what_it_borrowed() const;

 private:
  const Out& loan_for(Act act) const {
    return act == Act::kPublishNewest ? loans_.back() : loans_.front();
  }
  std::vector<char> letter_for(const Out& loan) const {
    return letters_->letter(is_queue_ ? loan.number : next_number_);
  }
  Answer write(End& end, Act act, const Marks& marks);
  Answer loan(End& end, const Marks& marks);
  Answer end_loan(End& end, Act act, const Marks& marks);
  Answer read(End& end, Act act, const Marks& marks);
  Answer borrow(End& end, const Marks& marks);
  Answer release(End& end, Act act, const Marks& marks);

  const Letters* letters_;
  bool is_queue_;
  uint64_t next_number_ = 1;
  uint64_t number_read_ = 0;
  std::vector<Out> loans_;
  std::vector<Out> borrows_;
};

}  // namespace test
