// What calling threads use of a link: both directions, and the segment that they
// share. Upkeep exchanges that segment while no call is inside.
#pragma once

#include <memory>
#include <mutex>

#include "endpoint/incoming_path.h"
#include "endpoint/outgoing_path.h"

namespace eshm::endpoint {

class DataPath {
 public:
  DataPath(const Settings& settings, std::shared_ptr<Attachment> attachment)
      : DataPath(settings, attachment, attachment->take_ends()) {}
  void set_in_call_upkeep(InCallUpkeep* upkeep) {
    outgoing_.set_in_call_upkeep(upkeep);
    incoming_.set_in_call_upkeep(upkeep);
  }

  // ---- for callers, on any thread ----

  OutgoingPath& outgoing() { return outgoing_; }
  const OutgoingPath& outgoing() const { return outgoing_; }
  IncomingPath& incoming() { return incoming_; }
  const IncomingPath& incoming() const { return incoming_; }
  // These may end the last use of a former segment, or of a seat that was left.
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
  void set_verdicts(int for_read, int for_write);
  void wake_waiting_calls();
  bool found_corrupt() const;

  // Makes room for what move_to() keeps. Throws bad_alloc, and has changed nothing.
  void prepare_to_move();
  // Exchanges the segment, calls `while_exchanged()` before any call can be inside
  // it, and returns the former attachment.
  template <class WhileExchanged>
  std::shared_ptr<Attachment> move_to(std::shared_ptr<Attachment> next,
                                      const WhileExchanged& while_exchanged);
  // Continues what a move has left to do, and drops what is not wanted any more.
  void tidy_former_segments();
  bool is_untidy() const { return is_untidy_.load(std::memory_order_relaxed); }

  // A clean end: nothing that was read is shown to the next reader.
  void consume_handed_out();
  // The role is over for this process. Its lock is released when nothing is out on
  // loan or borrowed: a successor would overwrite that, or be overwritten by it.
  void leave_seat();

 private:
  DataPath(const Settings& settings, const std::shared_ptr<Attachment>& attachment,
           const Ends& ends)
      : attachment_(attachment),
        outgoing_(settings, attachment, ends.out),
        incoming_(settings, attachment, ends.in) {}

  void release_role_if_unused();
  void note_whether_untidy();
  int tidy_after(int code) {
    if (os::rarely(is_untidy())) tidy_former_segments();
    return code;
  }
  bool has_any_out() const {
    return outgoing_.end().loans_out() + incoming_.inbox().end().borrows_out() != 0;
  }

  std::shared_ptr<Attachment> attachment_;  // upkeep changes it under both locks
  OutgoingPath outgoing_;
  IncomingPath incoming_;
  // Former segments are kept, or a seat that was left. Stored under both locks.
  std::atomic<bool> is_untidy_{false};
};

template <class WhileExchanged>
std::shared_ptr<Attachment> DataPath::move_to(std::shared_ptr<Attachment> next,
                                              const WhileExchanged& while_exchanged) {
  const Ends ends = next->take_ends();
  const std::lock_guard<os::WordLock> writing(outgoing_.lock());
  const std::lock_guard<os::WordLock> reading(incoming_.lock());
  incoming_.move_to(next, ends.in);
  outgoing_.move_to(next, ends.out);
  std::swap(attachment_, next);
  note_whether_untidy();
  while_exchanged();
  return next;
}

}  // namespace eshm::endpoint
