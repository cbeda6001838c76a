// SPDX-License-Identifier: MIT
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

void ReadEnd::take_over(ReadEnd& former, uint64_t first_carried, uint64_t copy) {
  if (is_queue != former.is_queue) return;
  if (is_queue) {
    queue.take_over(former.queue, first_carried);
    ring_for_room();
  } else if (former.latest.last_read() >= first_carried && copy != 0) {
    latest.pass(copy);
  }
}

void ReadEnd::release_taken_over(const channel::Borrowed& borrowed) {
  if (!is_queue) return;
  queue.release_taken_over(borrowed.data);
  ring_for_room();
}

void ReadEnd::pass_first_writers() {
  if (!is_queue) return latest.pass_first_writers();
  queue.pass_first_writers();
  ring_for_room();
}

void ReadEnd::drain_abandoned() {
  ignore_mark();
  queue.drain_abandoned();
}

void ReadEnd::ignore_mark() {
  superseded = &channel::kNoMark;
  latest.ignore_mark();
  queue.ignore_mark();
}

bool ReadEnd::drain_to_mark() {
  const uint64_t end = end_position->load(std::memory_order_acquire);  // MK2
  if (!is_queue || end == 0) return false;
  queue.drain_to(end - 1);
  return true;
}

}  // namespace eshm::endpoint
