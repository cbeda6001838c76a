// SPDX-License-Identifier: MIT
#include "endpoint/inheritance.h"

#include <algorithm>
#include <cerrno>

namespace eshm::endpoint {

using channel::QueueRemains;
using channel::WriteResult;
using layout::Direction;
using std::memory_order_acquire;
using std::memory_order_relaxed;

Inheritance::Inheritance(const Settings& settings, const SegmentFile& former)
    : settings_(settings),
      former_(former),
      is_orphan_(!former.is_held(layout::kSlaveByte)) {
  // What a renewed one held is where its master went.
  if (former.page().mark.superseded.load(memory_order_acquire) == layout::kRenewed) return;
  for (const Direction direction : layout::kDirections) {
    const layout::ChannelGeometry& geometry = former.plan().geometry[direction];
    if (geometry.delivery != ESHM_DELIVERY_QUEUE) continue;
    Queue& queue = queues_[direction];
    if (Failure failure = DataMapping::map(settings, former, direction, false, queue.data)) {
      // Of System V memory that is gone with its last process the kernel says so.
      const bool is_sysv = former.plan().identity.backend == ESHM_BACKEND_SYSV;
      const int error = failure.error_number;  // 0: the id means another block by now
      const bool is_gone = is_sysv && (error == 0 || error == EINVAL || error == EIDRM);
      if (!is_gone) failure_ = std::move(failure);
      continue;
    }
    queue.is_there = true;
    const bool is_m2s = direction == layout::kMasterToSlave;
    // Dead before any mark: all that it left counts.
    queue.is_writer_dead =
        former.page().mark.superseded.load(memory_order_acquire) == 0 &&
        !former.is_held(is_m2s ? layout::kMasterByte : layout::kSlaveByte);
    queue.view = {geometry, queue.data.data(), &former.page().reader[direction].line,
                  &former.page().mark.superseded};
    count(direction);
  }
}

// What a writer that lives, or hangs, stores behind the mark does not count.
uint64_t Inheritance::end_of(Direction direction) const {
  const Queue& queue = queues_[direction];
  if (queue.is_writer_dead) return QueueRemains::kToItsEnd;
  const uint64_t end = former_.page().mark.end_position[direction].load(memory_order_acquire);
  if (end != 0) return end - 1;  // MK2
  return queue.data.publish_line().published.load(memory_order_acquire);
}

void Inheritance::count(Direction direction) {
  Queue& queue = queues_[direction];
  const layout::ChannelGeometry fresh = layout::plan_channel(settings_.shape[direction]);
  const layout::ChannelGeometry& former = queue.view.geometry;
  const bool is_welcome = fresh.delivery == ESHM_DELIVERY_QUEUE &&
                          layout::types_fit(fresh.type_fingerprint, former.type_fingerprint);
  // It begins empty, at the ring's beginning: a header's room stays free, and no more.
  const uint64_t room = is_welcome ? fresh.ring_bytes - layout::record_unit(fresh) : 0;
  uint64_t used = 0;
  uint64_t last = 0;
  const uint64_t end = end_of(direction);
  QueueRemains remains(queue.view, end);
  while (remains.next()) {
    ++queue.messages;
    const uint64_t number = remains.number();
    is_corrupt_ = is_corrupt_ || (last != 0 && number != 0 && number != last + 1);
    if (number != 0) last = number;
    queue.bytes += remains.size();
    const uint64_t record =
        is_welcome ? layout::record_bytes(fresh, remains.size()) : 0;
    const bool fits =
        is_welcome && remains.size() <= fresh.max_message_bytes && used + record <= room;
    used += fits ? record : 0;
    queue.unfit += !fits;
  }
  const uint64_t shown = queue.is_writer_dead
                             ? queue.data.publish_line().published.load(memory_order_acquire)
                             : end;
  is_corrupt_ = is_corrupt_ || remains.position() < shown;
}

bool Inheritance::is_empty() const {
  return queues_[0].messages == 0 && queues_[1].messages == 0;
}

bool Inheritance::fits() const { return queues_[0].unfit == 0 && queues_[1].unfit == 0; }

Failure Inheritance::refuse() const {
  std::string text;
  for (const Direction direction : layout::kDirections) {
    const Queue& queue = queues_[direction];
    if (queue.unfit == 0) continue;
    text += (text.empty() ? "" : " and ") + std::to_string(queue.unfit) + " of " +
            std::to_string(queue.messages) + " unread messages (" + std::to_string(queue.bytes) +
            " bytes) of the former " + name_of(direction) + " queue";
  }
  return fail(ESHM_ERROR_SHM_CREATE,
              about(settings_) + text + " do not fit this configuration; read them with the "
              "former one, or set unread_policy to ESHM_UNREAD_DROP");
}

void Inheritance::carry_to(Attachment& fresh, uint64_t slave) {
  for (const Direction direction : layout::kDirections) {
    if (queues_[direction].is_there) carry(direction, fresh);
  }
  if (slave == 0) return;
  layout::SeatLine& seat = fresh.page().seat;
  const Queue& to_slave = queues_[layout::kMasterToSlave];
  // 0: it reads on there.
  seat.first_carried[layout::kMasterToSlave].store(to_slave.is_complete ? to_slave.first : 0,
                                                   memory_order_relaxed);
  const layout::SeatLine& before = former_.page().seat;
  const bool is_on_its_way = slave == before.copied_for.load(memory_order_relaxed);
  // What it wrote in the segment before that one was carried then.
  seat.copied_until.store(is_on_its_way ? before.copied_until.load(memory_order_relaxed)
                                        : queues_[layout::kSlaveToMaster].last,
                          memory_order_relaxed);
  seat.copied_for.store(slave, memory_order_relaxed);
}

void Inheritance::carry(Direction direction, Attachment& fresh) {
  Queue& queue = queues_[direction];
  layout::ChannelGeometry geometry = fresh.geometry(direction);
  if (geometry.delivery != ESHM_DELIVERY_QUEUE ||
      !layout::types_fit(geometry.type_fingerprint, queue.view.geometry.type_fingerprint)) {
    return;
  }
  DataMapping data;  // one of them belongs to the slave, and is mapped read-only there
  if (DataMapping::map(settings_, fresh.segment(), direction, true, data)) return;
  geometry.max_loans = 1;  // what this takes
  layout::ReaderLine& reader = fresh.page().reader[direction].line;
  channel::QueueWriter writer;
  writer.adopt({geometry, data.data(), &reader, &fresh.page().mark.superseded}, 1);
  const bool is_stamped = (geometry.flags & ESHM_FLAG_TIMESTAMPS) != 0;
  const auto begin_again = [&] {
    queue.carried = 0;
    reader.position.store(writer.committed_position(), memory_order_relaxed);
  };
  // Again as often as the former reader goes on; one that stands still left a corrupt queue.
  const layout::ReaderLine& former_reader = *queue.view.reader;
  uint64_t position = former_reader.position.load(memory_order_relaxed);
  while (!carry_all(direction, writer, geometry.max_message_bytes, is_stamped)) {
    const uint64_t now = former_reader.position.load(memory_order_relaxed);
    if (now == position) break;
    position = now;
    begin_again();
  }
  if (!queue.is_complete && direction == layout::kMasterToSlave && !is_orphan_) begin_again();
}

// False: the reader goes on there, and has consumed what was to be copied.
bool Inheritance::carry_all(Direction direction, channel::QueueWriter& to, uint64_t largest,
                            bool is_stamped) {
  Queue& queue = queues_[direction];
  QueueRemains remains(queue.view, end_of(direction));
  uint64_t number = queue.data.publish_line().messages.load(memory_order_relaxed);
  // Where nothing is carried, the slave passes nothing, and brings all that it has.
  queue.first = UINT64_MAX;
  queue.last = 0;
  queue.is_complete = false;
  bool is_any_left_out = false;
  while (remains.next()) {
    number = remains.number() != 0 ? remains.number() : number + 1;
    if (remains.size() > largest) {
      is_any_left_out = true;
      continue;
    }
    if (queue.carried == 0) {
      to.number_after(number - 1);  // they keep their numbers
      queue.first = number;
    }
    void* payload = nullptr;
    if (to.loan(remains.size(), &payload) != WriteResult::kDone) return true;  // it is full
    if (!remains.copy(payload)) {
      (void)to.discard(payload);
      return false;
    }
    (void)to.publish(payload, remains.size(), is_stamped ? remains.timestamp_ns() : 0);
    ++queue.carried;
    queue.last = number;
  }
  if (remains.is_overwritten()) return false;
  queue.is_complete = !is_any_left_out;
  if (queue.carried == 0) to.number_after(number);
  return true;
}

uint64_t first_unread(const Settings& settings, const SegmentFile& replaced) {
  constexpr Direction kDirection = layout::kMasterToSlave;
  const layout::ChannelGeometry& geometry = replaced.plan().geometry[kDirection];
  const uint64_t end = replaced.page().mark.end_position[kDirection].load(memory_order_acquire);
  DataMapping data;
  if (geometry.delivery != ESHM_DELIVERY_QUEUE || end == 0 ||
      DataMapping::map(settings, replaced, kDirection, false, data)) {
    return 0;
  }
  QueueRemains remains({geometry, data.data(), &replaced.page().reader[kDirection].line,
                        &replaced.page().mark.superseded}, end - 1);
  if (!remains.next()) return UINT64_MAX;
  return remains.number();
}

std::string Inheritance::report(Way way) const {
  std::string text;
  for (const Direction direction : layout::kDirections) {
    const Queue& queue = queues_[direction];
    if (queue.messages == 0) continue;
    const uint64_t kept = way == Way::kStays ? queue.messages : queue.carried;
    const uint64_t dropped = queue.messages - std::min(queue.messages, kept);
    text += (text.empty() ? "" : ", ") + std::to_string(kept) + " unread messages of " +
            name_of(direction) + " are carried over";
    if (dropped != 0) text += ", " + std::to_string(dropped) + " dropped";
  }
  return text;
}

}  // namespace eshm::endpoint
