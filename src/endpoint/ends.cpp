#include "endpoint/ends.h"

namespace eshm::endpoint {

using channel::ReadResult;

ReadResult ReadEnd::borrow(channel::Borrowed& borrowed, uint64_t& missed, bool thorough) {
  borrowed.segment = incarnation;
  if (!is_queue) {
    const uint64_t before = latest.last_read();
    const ReadResult result = latest.borrow(borrowed, thorough);
    missed = borrowed.message.number - before - 1;
    return result;
  }
  const void* payload = nullptr;
  const ReadResult result = queue.borrow(&payload, borrowed.message, this_thread());
  if (result == ReadResult::kMessage) {
    borrowed.data = static_cast<const std::byte*>(payload);
    borrowed.serial = queue.last_borrow();
  }
  missed = 0;
  ring_for_room();
  return result;
}

bool ReadEnd::release(const channel::Borrowed& borrowed) {
  if (borrowed.segment != incarnation) return false;
  if (!is_queue) return latest.release(borrowed.token, borrowed.serial);
  const bool was_out = queue.release(borrowed.data, borrowed.serial);
  ring_for_room();
  return was_out;
}

void ReadEnd::consume_handed_out() {
  if (!is_queue) return;
  queue.consume_handed_out();
  ring_for_room();
}

bool ReadEnd::drain_to_mark() {
  const uint64_t end = end_position->load(std::memory_order_acquire);  // MK2
  if (!is_queue || end == 0) return false;
  queue.drain_to(end - 1);
  return true;
}

}  // namespace eshm::endpoint
