// SPDX-License-Identifier: MIT
// The ring's arithmetic that every message of a QUEUE passes through, inline.
#pragma once

#include "channel/queue.h"  // which ends with this file
#include "os/cpu.h"

namespace eshm::channel {
namespace record {

// RecordHeader::commit.
constexpr uint32_t kSizeBits = 31;
constexpr uint64_t kSizeMask = (uint64_t(1) << kSizeBits) - 1;
constexpr uint32_t kKindBits = 3;
constexpr uint64_t kKindMask = (uint64_t(1) << kKindBits) - 1;
constexpr uint64_t kPaddingUnit = 16;

constexpr uint64_t commit_word(layout::RecordKind kind, uint64_t size, uint32_t generation) {
  return size | uint64_t(kind) << kSizeBits | uint64_t(generation) << (kSizeBits + kKindBits);
}

}  // namespace record

ESHM_ALWAYS_INLINE bool Ring::fits(uint64_t consumed, const Place& tail, uint64_t bytes,
                                   uint64_t& padding) const {
  const uint64_t to_end = capacity_ - tail.index;
  padding = bytes > to_end ? to_end : 0;
  return tail.position - consumed + padding + bytes <= usable_bytes();
}

ESHM_ALWAYS_INLINE uint64_t Ring::timestamp_ns(const Place& place) const {
  if (payload_offset_ == sizeof(layout::RecordHeader)) return 0;
  return reinterpret_cast<layout::StampedRecord&>(header(place))
      .timestamp_ns.load(std::memory_order_relaxed);
}

ESHM_ALWAYS_INLINE void Ring::stamp(const Place& place, uint64_t timestamp_ns) const {
  if (payload_offset_ == sizeof(layout::RecordHeader)) return;
  reinterpret_cast<layout::StampedRecord&>(header(place))
      .timestamp_ns.store(timestamp_ns, std::memory_order_relaxed);
}

ESHM_ALWAYS_INLINE bool Ring::parse(const Place& place, Record& record) const {
  // Q6 -> Q4: whoever sees the commit word sees the record under it, and the 0
  // or a later value in the header behind it.
  const uint64_t word = header(place).commit.load(std::memory_order_acquire);
  record.kind = layout::RecordKind(word >> record::kSizeBits & record::kKindMask);
  record.size = word & record::kSizeMask;
  record.generation = uint32_t(word >> (record::kSizeBits + record::kKindBits));
  switch (record.kind) {
    case layout::RecordKind::kNone:
      return word == 0;
    case layout::RecordKind::kPadding:
      record.bytes = record.size * record::kPaddingUnit;
      if (record.bytes == 0 || (record.bytes & (unit_ - 1)) != 0) return false;
      if (header(place).tag.load(std::memory_order_relaxed) != place.position) return false;
      break;
    case layout::RecordKind::kMessage:
    case layout::RecordKind::kLoan:
    case layout::RecordKind::kHeld:
      record.bytes = record_bytes(record.size);
      if (record.size > max_message_bytes_) return false;
      break;
    default:
      return false;
  }
  return record.bytes <= capacity_ - place.index;
}

}  // namespace eshm::channel
