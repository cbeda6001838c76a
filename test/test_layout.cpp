// What is worked out once and judged by everybody who attaches: sizes and places.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "eshm_data.h"
#include "layout/validate.h"

namespace {

using namespace eshm::layout;

constexpr uint64_t kPageSizes[] = {4096, 16384, 65536};

ChannelShape shape_of_size(uint64_t max_message_bytes) {
  ChannelShape shape;
  shape.max_message_bytes = max_message_bytes;
  return shape;
}

// The first page of a segment, as its creator writes it.
std::vector<unsigned char> header_of(Plan plan) {
  plan.identity.fingerprint = fingerprint_of(plan);
  std::vector<unsigned char> bytes(kControlBytes);
  std::memcpy(bytes.data(), &plan.identity, sizeof plan.identity);
  std::memcpy(bytes.data() + offsetof(ControlPage, geometry), &plan.geometry, sizeof plan.geometry);
  return bytes;
}

TEST(Layout, AreasLieInPagesOfTheirOwnWhateverTheHostsPageSize) {
  for (const uint64_t page : kPageSizes) {
    for (const uint64_t size : {uint64_t(1), uint64_t(4096), uint64_t(1'000'001)}) {
      const Plan plan =
          plan_segment(ESHM_BACKEND_POSIX, shape_of_size(size), shape_of_size(4096), true, page);
      uint64_t end_of_last = kControlBytes;
      for (const ChannelGeometry& geometry : plan.geometry) {
        EXPECT_EQ(geometry.data_offset % page, 0u) << page;
        EXPECT_EQ(geometry.data_bytes % page, 0u) << page;
        EXPECT_GE(geometry.data_offset, end_of_last) << page;
        EXPECT_GE(geometry.data_bytes, kFirstSlotOffset + geometry.slot_count * geometry.slot_stride);
        end_of_last = geometry.data_offset + geometry.data_bytes;
      }
      EXPECT_EQ(plan.identity.segment_bytes, end_of_last) << page;
    }
  }
}

TEST(Layout, SegmentIsFineOnAHostOfItsPageSizeAndRefusedByBothNumbersElsewhere) {
  for (const uint32_t backend : {ESHM_BACKEND_POSIX, ESHM_BACKEND_SYSV}) {
    for (const uint64_t page : kPageSizes) {
      const Plan plan =
          plan_segment(backend, shape_of_size(64), shape_of_size(4096), false, page);
      const std::vector<unsigned char> header = header_of(plan);
      for (const uint64_t host : kPageSizes) {
        const Judgement judgement =
            judge(header.data(), header.size(), plan.identity.segment_bytes, host);
        EXPECT_EQ(judgement.finding, host == page ? Finding::kFine : Finding::kOtherSizes)
            << page << " on " << host << ": " << judgement.reason;
        if (host == page) continue;
        EXPECT_NE(judgement.reason.find(std::to_string(page)), std::string::npos);
        EXPECT_NE(judgement.reason.find(std::to_string(host)), std::string::npos);
      }
    }
  }
}

TEST(Layout, PlacesOfAnotherPageSizeThanTheHeaderClaimsAreCorrupt) {
  Plan plan =
      plan_segment(ESHM_BACKEND_POSIX, shape_of_size(64), shape_of_size(64), true, 4096);
  plan.identity.page_bytes = 65536;
  const std::vector<unsigned char> header = header_of(plan);
  EXPECT_EQ(judge(header.data(), header.size(), plan.identity.segment_bytes, 65536).finding,
            Finding::kCorrupt);
}

}  // namespace
