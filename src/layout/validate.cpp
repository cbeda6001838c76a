// SPDX-License-Identifier: MIT
#include "layout/validate.h"

#include <cstring>

#include "eshm_data.h"

namespace eshm::layout {
namespace {

using std::to_string;

std::string in_hex(uint64_t value) {
  static const char digits[] = "0123456789abcdef";
  std::string text = "0x";
  for (int shift = 60; shift >= 0; shift -= 4) text += digits[(value >> shift) & 15];
  return text;
}

bool shape_in_range(const ChannelShape& shape) {
  const uint32_t known_flags = ESHM_FLAG_TIMESTAMPS | ESHM_FLAG_ALIGN_PAYLOAD;
  const bool is_queue = shape.delivery == ESHM_DELIVERY_QUEUE;
  return shape.delivery <= ESHM_DELIVERY_QUEUE && (shape.flags & ~known_flags) == 0 &&
         shape.max_borrows <= ESHM_MAX_BORROWS && shape.max_loans <= ESHM_MAX_LOANS &&
         shape.max_message_bytes >= 1 && shape.max_message_bytes <= INT32_MAX &&
         (is_queue ? shape.queue_bytes >= shape.max_message_bytes &&
                         shape.queue_bytes <= kMostQueueBytes
                   : shape.queue_bytes == 0) &&
         shape.type_text_bytes <= ESHM_MAX_TYPE_BYTES &&
         (shape.type_text_bytes == 0 || shape.type_fingerprint != 0);
}

// Every number that follows from another is worked out again, none is trusted.
bool is_consistent(const Plan& plan) {
  for (const ChannelGeometry& geometry : plan.geometry) {
    if (!shape_in_range(shape_of(geometry))) return false;
  }
  if (plan.identity.backend > ESHM_BACKEND_SYSV || plan.identity.auto_cleanup > 1) return false;
  Plan expected = plan_segment(plan.identity.backend, shape_of(plan.geometry[0]),
                               shape_of(plan.geometry[1]), plan.identity.auto_cleanup != 0,
                               plan.identity.page_bytes);
  for (const Direction direction : kDirections) {
    const ChannelGeometry& found = plan.geometry[direction];
    ChannelGeometry& wanted = expected.geometry[direction];
    wanted.data_nonce = found.data_nonce;
    wanted.sysv_id = found.sysv_id;
  }
  expected.identity.nonce = plan.identity.nonce;
  expected.identity.fingerprint = plan.identity.fingerprint;
  return std::memcmp(&expected, &plan, sizeof plan) == 0;
}

}  // namespace

Judgement judge(const unsigned char* bytes, size_t count, uint64_t file_bytes,
                uint64_t host_page_bytes) {
  Judgement result;
  const auto found = [&](Finding finding, std::string reason) {
    result.finding = finding;
    result.reason = std::move(reason);
    return result;
  };

  // The fields that every layout has come first: another version may be shorter.
  constexpr size_t kFixedBytes = 32;
  if (count < kFixedBytes) {
    return found(Finding::kTooShort, "it has " + to_string(file_bytes) +
                                         " bytes, the smallest segment has " +
                                         to_string(kControlBytes));
  }
  Identity identity;
  std::memcpy(&identity, bytes, kFixedBytes);
  if (identity.magic != kMagic) {
    return found(Finding::kForeign, "it is not an ESHM segment: it begins with " +
                                        in_hex(identity.magic) + ", a segment with " +
                                        in_hex(kMagic));
  }
  if (identity.layout_version != kLayoutVersion) {
    return found(Finding::kOtherVersion, "it has layout version " +
                                             to_string(identity.layout_version) +
                                             ", this library speaks " + to_string(kLayoutVersion));
  }
  if (count < kJudgedBytes || file_bytes < kControlBytes) {
    return found(Finding::kTooShort, "it has " + to_string(file_bytes) +
                                         " bytes, the smallest segment has " +
                                         to_string(kControlBytes));
  }
  if (identity.segment_bytes != file_bytes) {
    return found(Finding::kOtherSizes, "its header says " + to_string(identity.segment_bytes) +
                                           " bytes, the file has " + to_string(file_bytes));
  }
  std::memcpy(&result.plan.identity, bytes, sizeof(Identity));
  std::memcpy(&result.plan.geometry, bytes + offsetof(ControlPage, geometry),
              sizeof result.plan.geometry);
  const uint64_t expected = fingerprint_of(result.plan);
  if (identity.fingerprint != expected) {
    return found(Finding::kCorrupt,
                 "its header was altered, or another build of this library made it: fingerprint " +
                     in_hex(identity.fingerprint) + ", expected " + in_hex(expected));
  }
  if (result.plan.identity.page_bytes != host_page_bytes) {
    return found(Finding::kOtherSizes,
                 "it was made for pages of " + to_string(result.plan.identity.page_bytes) +
                     " bytes, this host has " + to_string(host_page_bytes));
  }
  if (!is_consistent(result.plan)) {
    return found(Finding::kCorrupt, "the sizes in its header contradict each other");
  }
  uint32_t superseded;
  std::memcpy(&superseded, bytes + offsetof(ControlPage, mark), sizeof superseded);
  if (superseded != 0) return found(Finding::kSuperseded, "it was superseded");
  result.finding = Finding::kFine;
  return result;
}

}  // namespace eshm::layout
