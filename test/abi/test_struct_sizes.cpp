// SPDX-License-Identifier: MIT
// What a library writes into the structs of a program that has other headers: as many
// bytes as struct_size says, and none after them.
#include <new>

#include "abi/support.h"

namespace {

using namespace releases;

constexpr size_t kGuards[] = {64, 0};
constexpr size_t kTextBytes = 5;

class Abi : public AbiTest {
 protected:
  void expect_written(const Place& place, uint32_t struct_size, size_t first, size_t growth,
                      uint64_t mark) {
    SCOPED_TRACE("struct_size " + std::to_string(struct_size));
    const size_t room = struct_size == 0 ? first : struct_size;
    const size_t known = first + (library_is_grown() ? growth : 0);
    EXPECT_EQ(place.at<uint32_t>(0), struct_size) << "struct_size is the caller's";
    const uint64_t expected = library_is_grown() ? mark : 0;
    if (room > first && growth != 0) {
      const uint64_t grown = place.at<uint64_t>(first);
      EXPECT_EQ(std::memcmp(&grown, &expected, std::min(growth, room - first)), 0) << grown;
    }
    if (room > known) {
      EXPECT_EQ(place.first_other(known, room, 0), room);
    }
    EXPECT_EQ(place.first_other(room, place.end(), Place::kUntouched), place.end());
  }

  void write_text() { ASSERT_EQ(eshm_write(master_.get(), "text", kTextBytes), ESHM_SUCCESS); }
};

TEST_F(Abi, ProgramRunsWithTheLibraryThatTheTestNames) {
  ASSERT_NE(given("ESHM_ABI_LIBRARY"), "");
  EXPECT_EQ(library_in_use(), real_path(given("ESHM_ABI_LIBRARY")));
  EXPECT_TRUE(library_is_grown() || given("ESHM_ABI_LIBRARY_IS") == "eshm");
}

TEST_F(Abi, StatsOfAnySizeAreFilledAsFarAsBothKnowThem) {
  ASSERT_NO_FATAL_FAILURE(open_all());
  ASSERT_NO_FATAL_FAILURE(write_text());
  for (ESHMHandle* link : {master_.get(), observer_.get()}) {
    for (const size_t guard : kGuards) {
      for (const size_t size :
           {size_t{0}, size_t{4}, size_t{7}, size_t{24}, size_t{64}, kFirstStats - 1, kFirstStats,
            kFirstStats + 1, kFirstStats + 7, kFirstStats + 8, kFirstStats + 16,
            sizeof(ESHMStatsEx), size_t{2000}}) {
        Place place(size == 0 ? kFirstStats : size, guard);
        auto* stats = place.as<ESHMStatsEx>();
        const auto struct_size = uint32_t(size);
        std::memcpy(stats, &struct_size, sizeof struct_size);
        ASSERT_EQ(eshm_get_stats_ex(link, stats), ESHM_SUCCESS) << last_error();
        expect_written(place, struct_size, kFirstStats, kGrowth, grown::kStats);
        const size_t room = size == 0 ? kFirstStats : size;
        if (room >= 24) {
          EXPECT_EQ(stats->messages_written, link == master_.get() ? 1u : 0u);
        }
        if (room >= kFirstStats) {
          EXPECT_EQ(stats->max_read_size, 4096u);
        }
      }
    }
  }
}

TEST_F(Abi, MessageInfoOfAnySizeIsFilledAsFarAsBothKnowIt) {
  ASSERT_NO_FATAL_FAILURE(open_all());
  char buffer[8];
  for (ESHMHandle* link : {slave_.get(), observer_.get()}) {
    for (const size_t guard : kGuards) {
      for (const size_t size :
           {size_t{0}, size_t{4}, size_t{40}, kFirstInfo - 1, kFirstInfo, kFirstInfo + 1,
            kFirstInfo + 8, sizeof(ESHMMessageInfo), size_t{2000}}) {
        ASSERT_NO_FATAL_FAILURE(write_text());
        Place place(size == 0 ? kFirstInfo : size, guard);
        auto* info = place.as<ESHMMessageInfo>();
        const auto struct_size = uint32_t(size);
        std::memcpy(info, &struct_size, sizeof struct_size);
        ASSERT_EQ(eshm_read_msg(link, buffer, sizeof buffer, info, 1000), ESHM_SUCCESS)
            << last_error();
        expect_written(place, struct_size, kFirstInfo, 0, 0);
        const size_t room = size == 0 ? kFirstInfo : size;
        if (room >= 40) {
          EXPECT_EQ(info->size, kTextBytes);
        }
        // In the place of the first reserved 8 bytes of release 0.1.
        if (room >= 56) {
          EXPECT_EQ(place.at<uint64_t>(48), library_is_grown() ? grown::kInfo : 0);
        }
        // The same where the buffer is too small.
        ASSERT_NO_FATAL_FAILURE(write_text());
        Place other(size == 0 ? kFirstInfo : size, guard);
        info = other.as<ESHMMessageInfo>();
        std::memcpy(info, &struct_size, sizeof struct_size);
        ASSERT_EQ(eshm_read_msg(link, buffer, 1, info, 1000), ESHM_ERROR_BUFFER_TOO_SMALL);
        expect_written(other, struct_size, kFirstInfo, 0, 0);
      }
    }
  }
}

TEST_F(Abi, ViewOfAnySizeIsBorrowedAndGivenBack) {
  ASSERT_NO_FATAL_FAILURE(open_all());
  for (const size_t guard : kGuards) {
    for (const size_t size : {size_t{0}, kFirstView, kFirstView + 1, kFirstView + 7, kFirstView + 8,
                              kFirstView + 16, sizeof(ESHMView), size_t{2000}}) {
      ASSERT_NO_FATAL_FAILURE(write_text());
      Place place(size == 0 ? kFirstView : size, guard);
      auto* view = place.as<ESHMView>();
      view->struct_size = uint32_t(size);
      ASSERT_EQ(eshm_borrow(slave_.get(), view, 1000), ESHM_SUCCESS) << last_error();
      expect_written(place, uint32_t(size), kFirstView, kGrowth, grown::kView);
      ASSERT_EQ(view->size, kTextBytes);
      EXPECT_EQ(std::memcmp(view->data, "text", kTextBytes), 0);
      EXPECT_EQ(view->info.size, kTextBytes);
      // Only what the first release knew is there when it is given back.
      Place copy(kFirstView, guard);
      std::memcpy(copy.as<ESHMView>(), view, kFirstView);
      EXPECT_EQ(eshm_release(slave_.get(), copy.as<ESHMView>()), ESHM_SUCCESS) << last_error();
      EXPECT_EQ(eshm_release(slave_.get(), view), ESHM_ERROR_INVALID_PARAM) << "it was the same";
    }
  }
}

TEST_F(Abi, ViewThatIsSmallerThanTheFirstReleasesIsRefused) {
  ASSERT_NO_FATAL_FAILURE(open_all());
  ASSERT_NO_FATAL_FAILURE(write_text());
  for (const size_t size : {size_t{4}, size_t{64}, kFirstView - 8, kFirstView - 1}) {
    Place place(size, 0);
    auto* view = place.as<ESHMView>();
    const auto struct_size = uint32_t(size);
    std::memcpy(view, &struct_size, sizeof struct_size);
    EXPECT_EQ(eshm_borrow(slave_.get(), view, 0), ESHM_ERROR_INVALID_PARAM) << size;
    EXPECT_EQ(place.first_other(sizeof struct_size, place.end(), Place::kUntouched), place.end());
  }
}

// Returned into memory of 256 bytes, and read from there.
TEST_F(Abi, ConfigHas256BytesAndAsManyAreReadAndWritten) {
  static_assert(sizeof(ESHMConfig) == 256);
  for (const size_t guard : kGuards) {
    Place place(sizeof(ESHMConfig), guard);
    auto* config = ::new (place.as<void>()) ESHMConfig(eshm_default_config(name_.c_str()));
    EXPECT_EQ(place.first_other(sizeof *config, place.end(), Place::kUntouched), place.end());
    EXPECT_EQ(config->struct_size, sizeof *config);
    config->role = ESHM_ROLE_MASTER;
    EXPECT_TRUE(Link(eshm_init(config))) << last_error();
    for (const uint32_t size : {1u, 36u, 255u, 257u, 264u}) {
      config->struct_size = size;
      EXPECT_FALSE(Link(eshm_init(config))) << size;
    }
  }
}

// What lies in the rest is of no importance, new fields included.
TEST_F(Abi, ConfigWithoutAStructSizeIsItsNineFields) {
  Place place(sizeof(ESHMConfig), 0);
  auto* config = place.as<ESHMConfig>();
  const ESHMConfig nine = config_of(ESHM_ROLE_MASTER);
  std::memcpy(config, &nine, offsetof(ESHMConfig, struct_size));
  config->struct_size = 0;
  master_.reset(eshm_init(config));
  ASSERT_TRUE(master_) << last_error();
  Place stats(kFirstStats + kGrowth, 0);
  stats.as<ESHMStatsEx>()->struct_size = kFirstStats + kGrowth;
  ASSERT_EQ(eshm_get_stats_ex(master_.get(), stats.as<ESHMStatsEx>()), ESHM_SUCCESS);
  EXPECT_EQ(stats.as<ESHMStatsEx>()->max_write_size, 4096u);
  EXPECT_EQ(stats.at<uint64_t>(kFirstStats), library_is_grown() ? grown::kStats + 0 : 0);
}

}  // namespace
