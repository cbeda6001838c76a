// SPDX-License-Identifier: MIT
// What calling threads use of a link: both directions, and the segment that they
// share. Upkeep exchanges that segment while no call is inside.
#pragma once

#include <memory>
#include <mutex>

#include "endpoint/incoming_path.h"
#include "endpoint/outgoing_path.h"

namespace eshm::endpoint {

// What calls answer instead of their work; SUCCESS: they work.
struct Verdicts {
  int for_read = ESHM_SUCCESS;
  int for_write = ESHM_SUCCESS;
};

// kWait: for as long as a call may hold a lock. kTry: for moments only, for a caller that
// a thread of lower priority must not keep.
enum class Locking { kWait, kTry };

class DataPath {
 public:
  DataPath(const Settings& settings, std::shared_ptr<Attachment> attachment)
      : DataPath(settings, attachment, attachment->take_ends()) {}
  void set_in_call_upkeep(InCallUpkeep* upkeep, uint32_t interval) {
    outgoing_.set_in_call_upkeep(upkeep, interval);
    incoming_.set_in_call_upkeep(upkeep, interval);
  }
  void hold_calls(bool are_held) {
    outgoing_.hold_calls(are_held);
    incoming_.hold_calls(are_held);
  }

  // ---- for callers, on any thread ----

  OutgoingPath& outgoing() { return outgoing_; }
  const OutgoingPath& outgoing() const { return outgoing_; }
  IncomingPath& incoming() { return incoming_; }
  const IncomingPath& incoming() const { return incoming_; }
  // These may end the last use of a former segment, or of a role that was left.
  int publish(void* data, size_t size) {
    const int code = outgoing_.publish(data, size);
    return os::rarely(code == ESHM_ERROR_SUPERSEDED) ? tidy_after(code) : code;
  }
  int discard(void* data) { return tidy_after(outgoing_.discard(data)); }
  int release(const ESHMView& view) { return tidy_after(incoming_.release(view)); }
  std::shared_ptr<Attachment> current() const;  // takes a lock

  // ---- for upkeep, which alone exchanges the attachment ----

  Attachment& attachment() const { return *attachment_; }
  // What calls answer from now on instead of their work. Wakes the waiting ones.
  void set_verdicts(Verdicts verdicts);
  void wake_waiting_calls();
  bool found_corrupt() const;

  // Continues what a move has left to do, and drops what is not wanted any more.
  void tidy_former_segments(Locking locking);
  bool is_untidy() const { return is_untidy_.load(std::memory_order_relaxed); }

  // The following take both locks, and only for a few moments. With Locking::kTry they
  // do nothing and answer false if a call holds one of them for longer.
  //
  // Writes ahead to the move's segment what this one holds for the former peer.
  void prepare_move(Move& move) { outgoing_.prepare_move(move); }
  // Exchanges the segment, and the verdicts with it.
  bool finish_move(Move& move, Verdicts verdicts, Locking locking);
  // A master's: exchanges the segment, and marks the former one as renewed. With
  // `stays_reading` this end goes on reading there, until follow_slave(). Waits for the
  // locks. `former_queue`: the end that was left. False: another process has replaced this
  // one there meanwhile; what was copied does not count, and the role is over.
  bool renew(Move& move, bool stays_reading, channel::QueueWriter& former_queue);
  // From now on it reads in the segment of that same move. `has_come`: its slave has
  // written there what was unread; else it is dead, and the former segment is read dry.
  bool follow_slave(Move& move, bool has_come, Locking locking);
  // The role is over for this process. Its lock is released when nothing is out on
  // loan or borrowed: a successor would overwrite that, or be overwritten by it.
  bool leave_role(Locking locking);

  // A clean end: nothing that was read is shown to the next reader.
  void consume_handed_out();

 private:
  DataPath(const Settings& settings, const std::shared_ptr<Attachment>& attachment,
           const Ends& ends)
      : attachment_(attachment),
        outgoing_(settings, attachment, ends.out),
        incoming_(settings, attachment, ends.in) {}

  bool must_release_role();
  void release_role();
  void note_whether_untidy();
  int tidy_after(int code) {
    if (os::rarely(is_untidy())) tidy_former_segments(Locking::kWait);
    return code;
  }
  bool has_any_out() const {
    return outgoing_.end().loans_out() + incoming_.inbox().end().borrows_out() != 0;
  }

  std::shared_ptr<Attachment> attachment_;  // upkeep changes it under both locks
  OutgoingPath outgoing_;
  IncomingPath incoming_;
  bool is_role_released_ = false;  // under both locks
  // Former segments are kept, or a role that was left. Stored under both locks.
  std::atomic<bool> is_untidy_{false};
};

}  // namespace eshm::endpoint
