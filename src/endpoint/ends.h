// SPDX-License-Identifier: MIT
// What every message needs, looked up once a segment: the two ends of the
// channels that this process holds, of either kind. Plain values that an
// Endpoint keeps in its own memory, so that no call follows a chain of pointers.
#pragma once

#include <atomic>
#include <cstdint>

#include "channel/latest.h"
#include "channel/queue.h"
#include "channel/wakeup.h"
#include "os/cpu.h"

namespace eshm::endpoint {

// A number that no other living thread of this process has.
inline uint64_t this_thread() {
  // initial-exec: this is on the fast path of a poll.
  __attribute__((tls_model("initial-exec"))) thread_local const char mine = 0;
  return reinterpret_cast<uintptr_t>(&mine);
}

struct WriteEnd {
  bool is_queue = false;
  bool is_stamped = false;
  uint64_t largest = 0;  // message, bytes
  const std::atomic<uint64_t>* role = nullptr;  // incarnation of whoever holds ours
  uint64_t incarnation = 0;                     // our own
  uint32_t announcer = 0;  // names this process in its announcements; not 0
  const std::atomic<uint32_t>* superseded = nullptr;
  layout::WakeLine* wake = nullptr;  // its reader waits there
  layout::WakeLine* room = nullptr;  // we wait there for room in a queue
  channel::LatestWriter latest;
  channel::QueueWriter queue;

  bool has_successor() const { return role->load(std::memory_order_relaxed) != incarnation; }

  // As the channel's own. On kDone a full fence has passed since the publication.
  ESHM_ALWAYS_INLINE channel::WriteResult write(const void* data, size_t size,
                                                uint64_t timestamp_ns) {
    if (is_queue) return queue.try_write(data, size, timestamp_ns);
    latest.write(data, size, timestamp_ns);
    return channel::WriteResult::kDone;
  }
  channel::WriteResult loan(size_t size, void** payload) {
    return is_queue ? queue.loan(size, payload) : latest.loan(size, payload);
  }
  channel::WriteResult publish(const void* payload, size_t size, uint64_t timestamp_ns) {
    return is_queue ? queue.publish(payload, size, timestamp_ns)
                    : latest.publish(payload, size, timestamp_ns);
  }
  channel::WriteResult discard(const void* payload) {
    return is_queue ? queue.discard(payload) : latest.discard(payload);
  }

  uint32_t loans_out() const { return is_queue ? queue.loans_out() : latest.loans_out(); }
  uint64_t written() const { return is_queue ? queue.written() : latest.written(); }
};

struct ReadEnd {
  bool is_queue = false;
  const std::atomic<uint64_t>* role = nullptr;
  uint64_t incarnation = 0;
  uint32_t announcer = 0;
  const std::atomic<uint32_t>* superseded = nullptr;
  const std::atomic<uint64_t>* end_position = nullptr;  // of a superseded queue, plus 1
  layout::WakeLine* wake = nullptr;  // we wait there
  layout::WakeLine* room = nullptr;  // a queue's writer waits there
  std::atomic<uint64_t>* read_count = nullptr;
  channel::LatestReader latest;
  channel::QueueReader queue;

  bool has_successor() const { return role->load(std::memory_order_relaxed) != incarnation; }

  // As the channel's own; `missed` is set only with a message.
  channel::ReadResult read(void* buffer, size_t bytes, channel::Message& message,
                           uint64_t& missed, bool thorough);
  channel::ReadResult borrow(channel::Borrowed& borrowed, uint64_t& missed, bool thorough);
  bool release(const channel::Borrowed& borrowed);
  // Whether read() would return a message or an error.
  bool has_unread(bool thorough) {
    return is_queue ? queue.has_next() : latest.has_unread(thorough);
  }
  // A clean end: nothing that was handed out is shown again.
  void consume_handed_out();

  // Of a superseded queue, what was committed before the mark may still be
  // read. False while it is not known how much that is.
  bool drain_to_mark();

  // This segment begins with copies of the former one's unread messages, of which the
  // first is its number `first_carried`: what was read there is not read again.
  // `copy`: of a LATEST channel: the number here of the value that was carried over.
  void take_over(ReadEnd& former, uint64_t first_carried, uint64_t copy);
  void release_taken_over(const channel::Borrowed& borrowed);
  void pass_first_writers();
  bool is_corrupt_queue() const { return is_queue && queue.is_corrupt(); }
  // See QueueReader. What a LATEST channel's dead writer left counts in spite of the mark.
  void drain_abandoned();
  // For the master that has marked the segment itself: what the slave writes still counts.
  void ignore_mark();
  uint32_t borrows_out() const { return is_queue ? queue.borrows_out() : latest.borrows_out(); }

 private:
  void ring_for_room();
};

struct Ends {
  WriteEnd out;
  ReadEnd in;
};

ESHM_ALWAYS_INLINE channel::ReadResult ReadEnd::read(void* buffer, size_t bytes,
                                                     channel::Message& message, uint64_t& missed,
                                                     bool thorough) {
  if (is_queue) {
    channel::Message next;  // keeps `message` in registers: 16 instructions of a LATEST read
    const channel::ReadResult result = queue.read(buffer, bytes, next, this_thread());
    message = next;
    missed = 0;
    ring_for_room();
    return result;
  }
  const uint64_t before = latest.last_read();
  const channel::ReadResult result = latest.read(buffer, bytes, message, thorough);
  missed = message.number - before - 1;
  return result;
}

inline void ReadEnd::ring_for_room() {
  if (queue.freed_room() && channel::is_announced(*room)) channel::ring_announced(*room);
}

}  // namespace eshm::endpoint
