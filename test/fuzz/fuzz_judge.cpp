// SPDX-License-Identifier: MIT
// layout::judge() on any header. What it calls fine, or superseded, is mapped and
// used by its numbers: they are checked here once more, in another way.
#include "eshm_data.h"
#include "fuzz/input.h"
#include "layout/validate.h"

using namespace eshm::layout;

namespace {

constexpr uint64_t kPageBytes = 4096;

// Puts right what a fuzzer does not find by itself.
void make_plausible(unsigned char* bytes, uint64_t file_bytes) {
  Plan plan;
  std::memcpy(&plan.identity, bytes, sizeof plan.identity);
  std::memcpy(&plan.geometry, bytes + offsetof(ControlPage, geometry), sizeof plan.geometry);
  plan.identity.magic = kMagic;
  plan.identity.layout_version = kLayoutVersion;
  plan.identity.segment_bytes = file_bytes;
  plan.identity.page_bytes = kPageBytes;
  plan.identity.fingerprint = fingerprint_of(plan);
  std::memcpy(bytes, &plan.identity, sizeof plan.identity);
}

void check(const ChannelGeometry& geometry, bool is_in_file, uint64_t file_bytes) {
  fuzz::require(geometry.max_message_bytes >= 1 && geometry.max_message_bytes <= INT32_MAX);
  fuzz::require(geometry.payload_offset >= sizeof(Slot) && geometry.payload_offset <= kLineBytes);
  fuzz::require(geometry.pin_count >= 1 && geometry.pin_count <= kMaxPins);
  fuzz::require(geometry.max_borrows < geometry.pin_count && geometry.max_loans <= ESHM_MAX_LOANS);
  fuzz::require(geometry.data_bytes % kPageBytes == 0 && geometry.data_offset % kPageBytes == 0);
  if (is_in_file) {
    fuzz::require(geometry.data_offset >= kControlBytes && geometry.data_offset <= file_bytes &&
                  geometry.data_bytes <= file_bytes - geometry.data_offset);
  }
  const uint64_t room = geometry.data_bytes - kFirstSlotOffset;
  if (geometry.delivery == ESHM_DELIVERY_LATEST) {
    fuzz::require(geometry.slot_count <= kMaxSlots &&
                  geometry.slot_count > 2 + geometry.pin_count + geometry.max_loans &&
                  geometry.slot_stride % kLineBytes == 0 &&
                  geometry.slot_stride >= geometry.payload_offset + geometry.max_message_bytes &&
                  geometry.slot_stride <= room / geometry.slot_count);
  } else {
    fuzz::require(geometry.delivery == ESHM_DELIVERY_QUEUE && geometry.slot_count == 0 &&
                  geometry.ring_bytes <= room && geometry.ring_bytes % kLineBytes == 0 &&
                  geometry.hands_bytes < geometry.ring_bytes &&
                  record_bytes(geometry, geometry.max_message_bytes) <= geometry.ring_bytes / 2);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const uint8_t how = input.take<uint8_t>();
  uint64_t file_bytes = input.take<uint64_t>();
  unsigned char head[kJudgedBytes] = {};
  size_t count = std::min(input.left(), sizeof head);
  input.take_into(head, sizeof head);
  if ((how & 1) != 0) count = sizeof head;
  if ((how & 2) != 0) make_plausible(head, file_bytes);
  // Behind the last byte that it may read begins nothing.
  const std::vector<unsigned char> copy(head, head + count);
  const Judgement judgement = judge(copy.data(), copy.size(), file_bytes, kPageBytes);
  fuzz::require(judgement.finding != Finding::kAbsent);
  if (judgement.finding != Finding::kFine && judgement.finding != Finding::kSuperseded) {
    fuzz::require(!judgement.reason.empty());
    return 0;
  }
  const Plan& plan = judgement.plan;
  fuzz::require(plan.identity.backend <= ESHM_BACKEND_SYSV);
  for (const ChannelGeometry& geometry : plan.geometry) {
    check(geometry, plan.identity.backend == ESHM_BACKEND_POSIX, file_bytes);
  }
  const bool overlap = plan.geometry[0].data_offset < plan.geometry[1].data_offset +
                                                          plan.geometry[1].data_bytes &&
                       plan.geometry[1].data_offset < plan.geometry[0].data_offset +
                                                          plan.geometry[0].data_bytes;
  fuzz::require(plan.identity.backend != ESHM_BACKEND_POSIX || !overlap);
  return 0;
}
