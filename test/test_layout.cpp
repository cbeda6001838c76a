// SPDX-License-Identifier: MIT
// What is worked out once and judged by everybody who attaches: sizes and places.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "eshm_data.h"
#include "layout/validate.h"

namespace {

using namespace eshm::layout;

constexpr uint64_t kPageSizes[] = {4096, 16384, 65536};

ChannelShape shape_of_size(uint64_t max_message_bytes) {
  ChannelShape shape;
  shape.max_borrows = shape.max_loans = 1;
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

// A fingerprint made right does not make rubbish right.
TEST(Layout, EachNumberOutOfItsRangeIsCorrupt) {
  struct Case {
    const char* what;
    std::function<void(Plan&)> spoil;
  };
  const Case cases[] = {
      {"nothing", [](Plan&) {}},
      {"backend", [](Plan& plan) { plan.identity.backend = 2; }},
      {"auto_cleanup", [](Plan& plan) { plan.identity.auto_cleanup = 2; }},
      {"delivery", [](Plan& plan) { plan.geometry[0].delivery = 2; }},
      {"flags", [](Plan& plan) { plan.geometry[0].flags = 0x80000000; }},
      {"borrows", [](Plan& plan) { plan.geometry[0].max_borrows = ESHM_MAX_BORROWS + 1; }},
      {"loans", [](Plan& plan) { plan.geometry[0].max_loans = ESHM_MAX_LOANS + 1; }},
      {"smallest message", [](Plan& plan) { plan.geometry[0].max_message_bytes = 0; }},
      {"largest message",
       [](Plan& plan) { plan.geometry[0].max_message_bytes = uint64_t(INT32_MAX) + 1; }},
      {"ring of a newest value", [](Plan& plan) { plan.geometry[0].queue_bytes = 4096; }},
      {"queue too small", [](Plan& plan) { plan.geometry[1].queue_bytes = 63; }},
      {"ring", [](Plan& plan) { plan.geometry[1].ring_bytes += 64; }},
      {"hands", [](Plan& plan) { plan.geometry[1].hands_bytes += 16; }},
      {"ring too large", [](Plan& plan) { plan.geometry[1].queue_bytes = kMostQueueBytes + 64; }},
      {"type text",
       [](Plan& plan) {
         plan.geometry[0].type_text_bytes = ESHM_MAX_TYPE_BYTES + 1;
         plan.geometry[0].type_fingerprint = 1;
       }},
      {"text without a type", [](Plan& plan) { plan.geometry[0].type_text_bytes = 1; }},
      {"slots", [](Plan& plan) { ++plan.geometry[0].slot_count; }},
      {"reserved", [](Plan& plan) { plan.geometry[1].reserved = 1; }},
  };
  ChannelShape queue = shape_of_size(64);
  queue.delivery = ESHM_DELIVERY_QUEUE;
  queue.queue_bytes = 1000;
  for (const Case& c : cases) {
    Plan plan = plan_segment(ESHM_BACKEND_POSIX, shape_of_size(64), queue, true, 4096);
    c.spoil(plan);
    const std::vector<unsigned char> header = header_of(plan);
    const Judgement judgement =
        judge(header.data(), header.size(), plan.identity.segment_bytes, 4096);
    const bool is_first = &c == cases;
    EXPECT_EQ(judgement.finding, is_first ? Finding::kFine : Finding::kCorrupt) << c.what;
    EXPECT_EQ(judgement.reason.empty(), is_first) << c.what;
  }
}

TEST(Layout, ShapesAreTheSameOnlyWhereEachNumberIs) {
  const ChannelShape shape = shape_of_size(64);
  EXPECT_TRUE(shape == shape_of_size(64));
  const std::function<void(ChannelShape&)> changes[] = {
      [](ChannelShape& other) { other.delivery = ESHM_DELIVERY_QUEUE; },
      [](ChannelShape& other) { other.flags = ESHM_FLAG_TIMESTAMPS; },
      [](ChannelShape& other) { ++other.max_borrows; },
      [](ChannelShape& other) { ++other.max_loans; },
      [](ChannelShape& other) { ++other.max_message_bytes; },
      [](ChannelShape& other) { ++other.queue_bytes; },
  };
  for (const auto& change : changes) {
    ChannelShape other = shape;
    change(other);
    EXPECT_FALSE(shape == other) << &change - changes;
  }
}

}  // namespace
