#include "endpoint/data_path.h"

#include <new>

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

std::shared_ptr<Attachment> DataPath::current() const {
  const std::lock_guard<os::WordLock> lock(incoming_.lock());
  return attachment_;
}

void DataPath::set_verdicts(int for_read, int for_write) {
  const int old_for_read = incoming_.inbox().state().set_verdict(for_read);
  const int old_for_write = outgoing_.state().set_verdict(for_write);
  if (old_for_read != for_read || old_for_write != for_write) wake_waiting_calls();
}

bool DataPath::found_corrupt() const {
  return outgoing_.state().found_corrupt.load(memory_order_relaxed) ||
         incoming_.inbox().state().found_corrupt.load(memory_order_relaxed);
}

void DataPath::wake_waiting_calls() {
  channel::ring(attachment_->incoming_wake());
  channel::ring(attachment_->page().room_wake[attachment_->outgoing()].line);
}

void DataPath::prepare_to_move() {
  const std::lock_guard<os::WordLock> writing(outgoing_.lock());
  const std::lock_guard<os::WordLock> reading(incoming_.lock());
  outgoing_.reserve_former();
  incoming_.inbox().reserve_former();
}

// Under both locks.
void DataPath::note_whether_untidy() {
  const Inbox& inbox = incoming_.inbox();
  is_untidy_.store(inbox.has_left() || !outgoing_.former().is_empty() || !inbox.former().is_empty(),
                   memory_order_relaxed);
}

void DataPath::tidy_former_segments() {
  Dropped dropped;  // unmapped after the locks are free
  const std::lock_guard<os::WordLock> writing(outgoing_.lock());
  const std::lock_guard<os::WordLock> reading(incoming_.lock());
  Inbox& inbox = incoming_.inbox();
  try {
    dropped.reserve(outgoing_.former().count() + inbox.former().count());
  } catch (const std::bad_alloc&) {
    return;  // upkeep comes again
  }
  if (inbox.has_left()) {
    release_role_if_unused();
  } else {
    (void)outgoing_.carry_over();
  }
  outgoing_.drop_unwanted(dropped);
  inbox.drop_unwanted(dropped);
  note_whether_untidy();
}

void DataPath::consume_handed_out() {
  const std::lock_guard<os::WordLock> lock(incoming_.lock());
  incoming_.inbox().consume_handed_out();
}

void DataPath::leave_seat() {
  // No call is inside the segment when another process can take the role.
  const std::lock_guard<os::WordLock> writing(outgoing_.lock());
  const std::lock_guard<os::WordLock> reading(incoming_.lock());
  incoming_.inbox().leave(attachment_->segment().is_superseded());
  note_whether_untidy();
  release_role_if_unused();
}

// Under both locks.
void DataPath::release_role_if_unused() {
  os::LockFile& locks = attachment_->segment().locks();
  if (has_any_out() || !locks.is_open()) return;
  layout::RoleRecord& own = attachment_->own_record();
  if (own.incarnation.load(memory_order_relaxed) == attachment_->incarnation()) {
    own.left.store(attachment_->incarnation(), memory_order_release);
  }
  locks.close();
}

}  // namespace eshm::endpoint
