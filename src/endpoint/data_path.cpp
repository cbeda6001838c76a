// SPDX-License-Identifier: MIT
#include "endpoint/data_path.h"

#include <utility>

#include "os/cpu.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

// Both locks of a data path, in their order.
class BothLocks {
 public:
  BothLocks(os::WordLock& writing, os::WordLock& reading, Locking locking)
      : writing_(writing), reading_(reading) {
    if (locking == Locking::kWait) {
      writing_.lock();
      reading_.lock();
      are_held_ = true;
      return;
    }
    constexpr int kTries = 1000;
    for (int tries = 0; tries < kTries && !are_held_; ++tries) {
      are_held_ = try_both();
      if (!are_held_) os::relax();
    }
  }
  ~BothLocks() {
    if (!are_held_) return;
    reading_.unlock();
    writing_.unlock();
  }
  BothLocks(const BothLocks&) = delete;
  BothLocks& operator=(const BothLocks&) = delete;

  explicit operator bool() const { return are_held_; }

 private:
  bool try_both() {
    if (!writing_.try_lock()) return false;
    if (reading_.try_lock()) return true;
    writing_.unlock();
    return false;
  }

  os::WordLock& writing_;
  os::WordLock& reading_;
  bool are_held_ = false;
};

}  // namespace

std::shared_ptr<Attachment> DataPath::current() const {
  const std::lock_guard<os::WordLock> lock(incoming_.lock());
  return attachment_;
}

void DataPath::set_verdicts(Verdicts verdicts) {
  const int old_for_read = incoming_.inbox().state().set_verdict(verdicts.for_read);
  const int old_for_write = outgoing_.state().set_verdict(verdicts.for_write);
  if (old_for_read != verdicts.for_read || old_for_write != verdicts.for_write) {
    wake_waiting_calls();
  }
}

bool DataPath::found_corrupt() const {
  return outgoing_.state().found_corrupt.load(memory_order_relaxed) ||
         incoming_.inbox().state().found_corrupt.load(memory_order_relaxed);
}

void DataPath::wake_waiting_calls() {
  channel::ring(incoming_.wake());
  channel::ring(attachment_->page().room_wake[attachment_->outgoing()].line);
}

// Under both locks.
void DataPath::note_whether_untidy() {
  Inbox& inbox = incoming_.inbox();
  is_untidy_.store(inbox.has_left() || !outgoing_.former().is_empty() || !inbox.former().is_empty(),
                   memory_order_relaxed);
}

bool DataPath::finish_move(Move& move, Verdicts verdicts, Locking locking) {
  const BothLocks locks(outgoing_.lock(), incoming_.lock(), locking);
  if (!locks) return false;
  incoming_.finish_move(move);
  outgoing_.finish_move(move);
  std::swap(attachment_, move.next);
  note_whether_untidy();
  // A call that reads from the new master may answer it at once.
  incoming_.inbox().state().set_verdict(verdicts.for_read);
  outgoing_.state().set_verdict(verdicts.for_write);
  // Now all is carried over, and nothing new has been written. A master that renewed the
  // former segment loads it, with acquire, before it reads here.
  if (attachment_->has_reserved_seat) {
    attachment_->page().seat.reserved_for.store(0, memory_order_release);
  }
  return true;
}

bool DataPath::renew(Move& move, bool stays_reading, channel::QueueWriter& former_queue) {
  const BothLocks locks(outgoing_.lock(), incoming_.lock(), Locking::kWait);
  const std::shared_ptr<Attachment> former = attachment_;
  former_queue = outgoing_.end().queue;
  outgoing_.finish_move(move);
  move.is_writer_dead = true;  // if the slave does not live there
  if (stays_reading) {
    incoming_.stay(move.next);
  } else {
    incoming_.finish_move(move);
  }
  attachment_ = move.next;
  note_whether_untidy();
  // As W6 behind a publication: after this fence either the mark of a replacer is seen, or
  // it counts what was copied.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const layout::MarkLine& next_mark = attachment_->page().mark;
  const bool is_replaced = next_mark.superseded.load(std::memory_order_acquire) != 0;
  attachment_->page().seat.is_renewal.store(0, memory_order_release);  // all is here now
  // MK1, after everything else: until here a slave reads on, and after it finds all of it.
  if (is_replaced) {
    former->mark(layout::kSuperseded, next_mark.successor_pid.load(memory_order_relaxed));
  } else {
    former->mark(layout::kRenewed, os::self().pid);
  }
  return !is_replaced;
}

bool DataPath::follow_slave(Move& move, bool has_come, Locking locking) {
  const BothLocks locks(outgoing_.lock(), incoming_.lock(), locking);
  if (!locks) return false;
  move.copies = has_come ? Copies::kComplete : Copies::kPart;
  incoming_.finish_move(move);
  note_whether_untidy();
  return true;
}

void DataPath::tidy_former_segments(Locking locking) {
  outgoing_.carry_over_now();
  // Unmapped after the locks are free.
  std::list<FormerWriteEnd> dropped_outgoing;
  std::list<FormerReadEnd> dropped_incoming;
  bool is_role_over = false;
  {
    const BothLocks locks(outgoing_.lock(), incoming_.lock(), locking);
    if (!locks) return;  // upkeep comes again
    Inbox& inbox = incoming_.inbox();
    if (inbox.has_left()) is_role_over = must_release_role();
    outgoing_.former().drop_unwanted(dropped_outgoing);
    inbox.former().drop_unwanted(dropped_incoming);
    note_whether_untidy();
  }
  if (is_role_over) release_role();
}

void DataPath::consume_handed_out() {
  const std::lock_guard<os::WordLock> lock(incoming_.lock());
  incoming_.inbox().consume_handed_out();
}

bool DataPath::leave_role(Locking locking) {
  bool is_role_over;
  {
    const BothLocks locks(outgoing_.lock(), incoming_.lock(), locking);
    if (!locks) return false;
    incoming_.inbox().leave(attachment_->segment().is_superseded());
    outgoing_.end_calls();
    incoming_.end_calls();
    note_whether_untidy();
    is_role_over = must_release_role();
  }
  // Every later call sees that the role was left: none is inside the segment when
  // another process can take the role.
  if (is_role_over) release_role();
  return true;
}

// Under both locks. True once.
bool DataPath::must_release_role() {
  if (has_any_out() || is_role_released_) return false;
  is_role_released_ = true;
  return true;
}

// A system call, so without the locks.
void DataPath::release_role() {
  layout::RoleRecord& own = attachment_->own_record();
  if (own.incarnation.load(memory_order_relaxed) == attachment_->incarnation()) {
    own.left.store(attachment_->incarnation(), memory_order_release);
  }
  attachment_->segment().locks().close();
}

}  // namespace eshm::endpoint
