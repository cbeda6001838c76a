// SPDX-License-Identifier: MIT
#include "layout/segment.h"

#include <algorithm>
#include <cstring>

#include "eshm_data.h"

namespace eshm::layout {
namespace {

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

class Fnv1a {
 public:
  void add(const void* bytes, size_t count) {
    const auto* at = static_cast<const unsigned char*>(bytes);
    for (size_t i = 0; i < count; ++i) hash_ = (hash_ ^ at[i]) * 0x100000001b3;
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325;
};

// Changes with every move of a shared byte, so that two builds that forgot to
// raise kLayoutVersion still refuse each other.
constexpr uint32_t kPlaces[] = {
    kLayoutVersion,
    sizeof(Identity),
    sizeof(ChannelGeometry),
    offsetof(ControlPage, mark),
    offsetof(ControlPage, seat),
    offsetof(ControlPage, master),
    offsetof(ControlPage, slave),
    offsetof(ControlPage, succession),
    offsetof(ControlPage, beat),
    offsetof(ControlPage, data_wake),
    offsetof(ControlPage, room_wake),
    offsetof(ControlPage, reader),
    offsetof(ControlPage, pins),
    offsetof(DataArea, publish),
    sizeof(PublishLine),
    kFirstSlotOffset,
    sizeof(Slot),
    sizeof(RecordHeader),
    kRecordUnit,
};

uint32_t payload_offset_of(uint32_t flags) {
  if ((flags & ESHM_FLAG_ALIGN_PAYLOAD) != 0) return kLineBytes;
  return (flags & ESHM_FLAG_TIMESTAMPS) != 0 ? 2 * sizeof(Slot) : sizeof(Slot);
}
static_assert(sizeof(Slot) == sizeof(RecordHeader), "payload_offset is one for both");

}  // namespace

ChannelShape shape_of(const ChannelGeometry& geometry) {
  ChannelShape shape;
  shape.delivery = geometry.delivery;
  shape.flags = geometry.flags;
  shape.max_borrows = geometry.max_borrows;
  shape.max_loans = geometry.max_loans;
  shape.max_message_bytes = geometry.max_message_bytes;
  shape.queue_bytes = geometry.queue_bytes;
  shape.type_fingerprint = geometry.type_fingerprint;
  shape.type_text_bytes = geometry.type_text_bytes;
  return shape;
}

bool operator==(const ChannelShape& a, const ChannelShape& b) {
  return a.delivery == b.delivery && a.flags == b.flags && a.max_borrows == b.max_borrows &&
         a.max_loans == b.max_loans && a.max_message_bytes == b.max_message_bytes &&
         a.queue_bytes == b.queue_bytes;
}

uint64_t record_unit(const ChannelGeometry& geometry) {
  return geometry.payload_offset == kLineBytes ? kLineBytes : kRecordUnit;
}

uint64_t record_bytes(const ChannelGeometry& geometry, uint64_t message_bytes) {
  return round_up(geometry.payload_offset + message_bytes, record_unit(geometry));
}

uint64_t net_bytes(const ChannelGeometry& geometry) {
  const uint64_t messages = geometry.queue_bytes / geometry.max_message_bytes;
  return std::max(round_up(geometry.queue_bytes, record_unit(geometry)),
                  messages * record_bytes(geometry, geometry.max_message_bytes));
}

namespace {

// Of each borrow a largest message, and of each reading thread, as far as this much memory
// allows.
uint64_t hands_bytes(const ChannelGeometry& geometry) {
  constexpr uint64_t kBytesOfThreads = 16 << 10;
  const uint64_t record = record_bytes(geometry, geometry.max_message_bytes);
  const uint64_t threads = std::max<uint64_t>(1, std::min(kBytesOfThreads / record, kMaxHands));
  return (geometry.max_borrows + threads) * record;
}

// Between a reader's position and the tail there is at most one end of the ring, and the
// padding there is a unit shorter than a largest record; the header behind the tail takes a
// unit.
uint64_t ring_bytes(const ChannelGeometry& geometry) {
  const uint64_t record = record_bytes(geometry, geometry.max_message_bytes);
  return round_up(net_bytes(geometry) + hands_bytes(geometry) + record, kLineBytes);
}

}  // namespace

ChannelGeometry plan_channel(const ChannelShape& shape, uint64_t page_bytes) {
  ChannelGeometry geometry = {};
  geometry.delivery = shape.delivery;
  geometry.flags = shape.flags;
  geometry.max_borrows = shape.max_borrows;
  geometry.max_loans = shape.max_loans;
  geometry.max_message_bytes = shape.max_message_bytes;
  geometry.queue_bytes = shape.queue_bytes;
  geometry.type_fingerprint = shape.type_fingerprint;
  geometry.type_text_bytes = shape.type_text_bytes;
  geometry.payload_offset = payload_offset_of(shape.flags);
  geometry.pin_count = 1 + shape.max_borrows;  // one for copying
  if (shape.delivery == ESHM_DELIVERY_LATEST) {
    // The newest message, the next two, and whatever is held.
    geometry.slot_count = 3 + geometry.pin_count + shape.max_loans;
    geometry.slot_stride =
        round_up(geometry.payload_offset + shape.max_message_bytes, kLineBytes);
    geometry.data_bytes =
        round_up(kFirstSlotOffset + geometry.slot_count * geometry.slot_stride, page_bytes);
  } else {
    geometry.ring_bytes = ring_bytes(geometry);
    geometry.hands_bytes = hands_bytes(geometry);
    geometry.data_bytes = round_up(kFirstSlotOffset + geometry.ring_bytes, page_bytes);
  }
  return geometry;
}

Plan plan_segment(uint32_t backend, const ChannelShape& m2s, const ChannelShape& s2m,
                  bool auto_cleanup, uint64_t page_bytes) {
  Plan plan = {};
  plan.identity.magic = kMagic;
  plan.identity.layout_version = kLayoutVersion;
  plan.identity.control_bytes = kControlBytes;
  plan.identity.backend = backend;
  plan.identity.auto_cleanup = auto_cleanup ? 1 : 0;
  plan.identity.page_bytes = page_bytes;
  plan.geometry[kMasterToSlave] = plan_channel(m2s, page_bytes);
  plan.geometry[kSlaveToMaster] = plan_channel(s2m, page_bytes);
  uint64_t file_bytes = kControlBytes;
  for (ChannelGeometry& geometry : plan.geometry) {
    if (geometry.type_text_bytes == 0) continue;
    geometry.type_text_offset = file_bytes;
    file_bytes += geometry.type_text_bytes;
  }
  file_bytes = round_up(file_bytes, page_bytes);
  if (backend == ESHM_BACKEND_POSIX) {
    for (ChannelGeometry& geometry : plan.geometry) {
      geometry.data_offset = file_bytes;
      file_bytes += geometry.data_bytes;
    }
  }
  plan.identity.segment_bytes = file_bytes;
  return plan;
}

uint64_t memory_bytes(const Plan& plan) {
  uint64_t bytes = plan.identity.segment_bytes;
  for (const ChannelGeometry& geometry : plan.geometry) {
    bytes += plan.identity.backend == ESHM_BACKEND_SYSV ? geometry.data_bytes : 0;
  }
  return bytes;
}

uint64_t fingerprint_of(const Plan& plan) {
  Plan copy = plan;
  copy.identity.fingerprint = 0;
  Fnv1a hash;
  hash.add(kPlaces, sizeof kPlaces);
  hash.add(&copy, sizeof copy);
  return hash.value();
}

static_assert(sizeof(Plan) == sizeof(Identity) + 2 * sizeof(ChannelGeometry), "no padding to hash");

}  // namespace eshm::layout
