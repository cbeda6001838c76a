// SPDX-License-Identifier: MIT
// A program that knows the new fields: it gets them from a library that has them, and 0
// or a refusal from one that does not.
#include "abi/support.h"
#include "eshm.hpp"

namespace {

using namespace releases;

static_assert(sizeof(ESHMStatsEx) == kFirstStats + kGrowth);
static_assert(sizeof(ESHMView) == kFirstView + kGrowth);

uint64_t from_library(uint64_t mark) { return library_is_grown() ? mark : 0; }

class GrownFields : public AbiTest {};

TEST_F(GrownFields, AreFilledOrZero) {
  ASSERT_NO_FATAL_FAILURE(open_all());
  ESHMStatsEx stats;
  std::memset(&stats, 0xAB, sizeof stats);
  stats.struct_size = sizeof stats;
  ASSERT_EQ(eshm_get_stats_ex(slave_.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.grown_stats, from_library(grown::kStats));

  char buffer[8];
  ESHMMessageInfo info;
  std::memset(&info, 0xAB, sizeof info);
  info.struct_size = sizeof info;
  ASSERT_EQ(eshm_write(master_.get(), "text", 5), ESHM_SUCCESS);
  ASSERT_EQ(eshm_read_msg(slave_.get(), buffer, sizeof buffer, &info, 0), ESHM_SUCCESS);
  EXPECT_EQ(info.grown_info, from_library(grown::kInfo));

  ESHMView view;
  std::memset(&view, 0xAB, sizeof view);
  view.struct_size = sizeof view;
  ASSERT_EQ(eshm_write(master_.get(), "text", 5), ESHM_SUCCESS);
  ASSERT_EQ(eshm_borrow(slave_.get(), &view, 0), ESHM_SUCCESS);
  EXPECT_EQ(view.grown_view, from_library(grown::kView));
  EXPECT_EQ(eshm_release(slave_.get(), &view), ESHM_SUCCESS);
}

// A library that does not know what is asked for says so; it does not do something else.
TEST_F(GrownFields, OfAConfigAreTakenOrRefused) {
  ESHMConfig config = config_of(ESHM_ROLE_MASTER);
  EXPECT_EQ(config.grown_word, 0u);
  config.grown_word = 7;
  master_.reset(eshm_init(&config));
  ASSERT_EQ(static_cast<bool>(master_), library_is_grown()) << last_error();
  if (!library_is_grown()) {
    int code = ESHM_SUCCESS;
    eshm_last_error(&code);
    EXPECT_EQ(code, ESHM_ERROR_INVALID_PARAM);
    return;
  }
  ESHMStatsEx stats = {};
  stats.struct_size = sizeof stats;
  ASSERT_EQ(eshm_get_stats_ex(master_.get(), &stats), ESHM_SUCCESS);
  EXPECT_EQ(stats.grown_stats, grown::kStats + 7);
}

// eshm.hpp names the size of its header's structs.
TEST_F(GrownFields, ComeThroughTheCppInterface) {
  const eshm::Config config(name_);
  auto master = eshm::Link::open(eshm::Config(config).role(eshm::Role::kMaster));
  ASSERT_TRUE(master) << master.what();
  auto slave = eshm::Link::open(eshm::Config(config).role(eshm::Role::kSlave));
  ASSERT_TRUE(slave) << slave.what();
  const auto stats = slave->stats_ex();
  ASSERT_TRUE(stats) << stats.what();
  EXPECT_EQ(stats->grown_stats, from_library(grown::kStats));

  const uint64_t number = 42;
  uint64_t got = 0;
  ASSERT_TRUE(master->write(eshm::bytes_of(number)));
  const auto info = slave->read_msg(eshm::room_of(got), eshm::kNoWait);
  ASSERT_TRUE(info) << info.what();
  EXPECT_EQ(info->grown_info, from_library(grown::kInfo));

  ASSERT_TRUE(master->write(eshm::bytes_of(number)));
  eshm::Borrow borrow = slave->borrow(eshm::kNoWait);
  ASSERT_TRUE(borrow) << borrow.what();
  EXPECT_EQ(borrow.bytes().size(), sizeof number);
  EXPECT_TRUE(borrow.release());
}

}  // namespace
