// SPDX-License-Identifier: MIT
// Two ends that use different types, seen through the C interface.
#include "eshm_types.hpp"
#include "support/player.h"

namespace {

using namespace test;

class MessageTypes : public LinkTest {
 protected:
  // The numbers are fingerprints of what has no text.
  ESHMConfig typed(ESHMRole role, const char* m2s, uint64_t m2s_print, const char* s2m = nullptr,
                   uint64_t s2m_print = 0) const {
    ESHMConfig link = config(role);
    link.m2s.type = {m2s, m2s == nullptr ? m2s_print : eshm::fnv1a(m2s)};
    link.s2m.type = {s2m, s2m == nullptr ? s2m_print : eshm::fnv1a(s2m)};
    return at_once(link);
  }
};

constexpr const char* kPose = "Pose{x:f64@0,y:f64@8,id:u32@16}24";
constexpr const char* kOtherPose = "Pose{x:f64@0,y:f32@8,id:u32@16}24";

TEST_P(MessageTypes, LikeEndsTalk) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER, kPose, 1, "Go{v:f32@0}4", 2));
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(typed(ESHM_ROLE_SLAVE, kPose, 1, "Go{v:f32@0}4", 2));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "typed"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), 0), "typed");
}

TEST_P(MessageTypes, UnlikeEndsAreRefusedAndToldTheFieldInWhichTheyDiffer) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER, kPose, 1));
  ASSERT_TRUE(master) << last_error();
  EXPECT_FALSE(open_link(typed(ESHM_ROLE_SLAVE, kOtherPose, 2)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TYPE_MISMATCH);
  for (const char* piece : {"m2s", kPose, kOtherPose, "y:f64@8 there", "y:f32@8 here"}) {
    EXPECT_NE(last_error().find(piece), std::string::npos) << piece << " in: " << last_error();
  }
}

TEST_P(MessageTypes, EachDirectionIsComparedByItself) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER, kPose, 1, "Go{v:f32@0}4", 2));
  ASSERT_TRUE(master) << last_error();
  EXPECT_FALSE(open_link(typed(ESHM_ROLE_SLAVE, kPose, 1, "Go{v:f64@0}8", 3)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TYPE_MISMATCH);
  EXPECT_NE(last_error().find("s2m"), std::string::npos) << last_error();
}

TEST_P(MessageTypes, AnEndThatNamesNoneTakesAny) {
  for (const bool master_is_typed : {true, false}) {
    const Link master = open_link(master_is_typed ? typed(ESHM_ROLE_MASTER, kPose, 1)
                                                  : typed(ESHM_ROLE_MASTER, nullptr, 0));
    ASSERT_TRUE(master) << last_error();
    const Link slave = open_link(master_is_typed ? typed(ESHM_ROLE_SLAVE, nullptr, 0)
                                                 : typed(ESHM_ROLE_SLAVE, kPose, 1));
    ASSERT_TRUE(slave) << last_error();
    ASSERT_EQ(write_text(master.get(), "any"), ESHM_SUCCESS);
    EXPECT_EQ(read_text(slave.get(), 0), "any");
  }
}

TEST_P(MessageTypes, FingerprintAloneIsEnoughToRefuse) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER, nullptr, 7));
  ASSERT_TRUE(master) << last_error();
  EXPECT_FALSE(open_link(typed(ESHM_ROLE_SLAVE, nullptr, 8)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_TYPE_MISMATCH);
}

TEST_P(MessageTypes, DifferenceIsToldWhereverAndWhateverItIs) {
  const std::string long_text = "L{" + std::string(150, 'x') + "}";
  struct Case {
    const char* theirs;
    const char* ours;
    std::string piece;
  };
  for (const Case& c : {
           Case{"A{x}", "B{x}", "A there, B here"},
           {"A{x}", "A{x}{y}", "nothing there"},
           {"A{x}", nullptr, "only a fingerprint"},
           {nullptr, "A{x}", "only a fingerprint"},
           {"A\x01\x7f\xff{x}", "B", "A??? there"},
           {long_text.c_str(), "L{y}", "m2s carries " + long_text.substr(0, 120) + "..."},
       }) {
    const Link master = open_link(typed(ESHM_ROLE_MASTER, c.theirs, 1));
    ASSERT_TRUE(master) << last_error();
    EXPECT_FALSE(open_link(typed(ESHM_ROLE_SLAVE, c.ours, 2)));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_TYPE_MISMATCH);
    EXPECT_NE(last_error().find(c.piece), std::string::npos) << c.piece << " in: " << last_error();
  }
}

TEST_P(MessageTypes, TextsOfAnyLengthUpToTheLimit) {
  for (const size_t size : {size_t{1}, size_t{4095}, size_t{4096}, size_t{ESHM_MAX_TYPE_BYTES}}) {
    const std::string text(size, 'x');
    const Link master = open_link(typed(ESHM_ROLE_MASTER, text.c_str(), 1, text.c_str(), 2));
    ASSERT_TRUE(master) << size << ": " << last_error();
    const Link slave = open_link(typed(ESHM_ROLE_SLAVE, text.c_str(), 1, text.c_str(), 2));
    ASSERT_TRUE(slave) << size << ": " << last_error();
    ASSERT_EQ(write_text(slave.get(), "there"), ESHM_SUCCESS);
    EXPECT_EQ(read_text(master.get(), 0), "there");
  }
  const std::string too_long(ESHM_MAX_TYPE_BYTES + 1, 'x');
  EXPECT_FALSE(open_link(typed(ESHM_ROLE_MASTER, too_long.c_str(), 1)));
  EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
}

TEST_P(MessageTypes, FingerprintThatIsNotTheTextsIsRefused) {
  for (const uint64_t made_up : {uint64_t{0}, uint64_t{1}, eshm::fnv1a(kOtherPose)}) {
    ESHMConfig link = typed(ESHM_ROLE_MASTER, kPose, 0);
    link.m2s.type.fingerprint = made_up;
    EXPECT_FALSE(open_link(link));
    EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
    for (const std::string& piece : {std::string("m2s.type.fingerprint"), std::string("eshm_type_of"),
                                     std::to_string(eshm::fnv1a(kPose))}) {
      EXPECT_NE(last_error().find(piece), std::string::npos) << piece << " in: " << last_error();
    }
  }
}

TEST_P(MessageTypes, ChannelIsAsTheCreatorOfTheSegmentMadeIt) {
  ESHMConfig link = typed(ESHM_ROLE_MASTER, kPose, 0);
  link.m2s.delivery = ESHM_DELIVERY_QUEUE;
  link.m2s.max_message_size = 100;
  link.m2s.queue_capacity = 1 << 16;
  link.m2s.max_borrows = 3;
  link.m2s.max_loans = 4;
  ESHMChannelConfig channel = {};
  ESHMConfig looks_on = config(ESHM_ROLE_OBSERVER);
  const Link observer = open_link(looks_on);
  ASSERT_TRUE(observer) << last_error();
  EXPECT_EQ(eshm_get_channel(observer.get(), ESHM_M2S, &channel), ESHM_ERROR_NO_DATA);
  const Link master = open_link(link);
  ASSERT_TRUE(master) << last_error();
  const Link slave = open_link(typed(ESHM_ROLE_SLAVE, nullptr, 0));
  ASSERT_TRUE(slave) << last_error();
  const Link late = open_link(looks_on);
  ASSERT_TRUE(late) << last_error();
  for (ESHMHandle* handle : {master.get(), slave.get(), late.get()}) {
    ASSERT_EQ(eshm_get_channel(handle, ESHM_M2S, &channel), ESHM_SUCCESS);
    EXPECT_EQ(channel.delivery, ESHM_DELIVERY_QUEUE);
    EXPECT_EQ(channel.max_message_size, 100u);
    EXPECT_EQ(channel.queue_capacity, 1u << 16);
    EXPECT_EQ(channel.max_borrows, 3u);
    EXPECT_EQ(channel.max_loans, 4u);
    EXPECT_EQ(channel.type.fingerprint, eshm::fnv1a(kPose));
    EXPECT_EQ(channel.type.text, nullptr);
    ASSERT_EQ(eshm_get_channel(handle, ESHM_S2M, &channel), ESHM_SUCCESS);
    EXPECT_EQ(channel.delivery, ESHM_DELIVERY_LATEST);
    EXPECT_EQ(channel.type.fingerprint, 0u);
    EXPECT_EQ(eshm_get_channel(handle, static_cast<ESHMDirection>(2), &channel),
              ESHM_ERROR_INVALID_PARAM);
  }
}

TEST(TypeOf, ComputesTheFingerprintOfACanonicalText) {
  for (const char* text :
       {kPose, kOtherPose, "A{x:i8@0}1", "A_1{x:u64@0,y:f32[2][3]@8,z:char@32,w:bool@33}40",
        "A{p:{x:f64@0,q:{y:i16@0}[2]@8}@0,n:{m:u8@0}[3]@16}24"}) {
    ESHMType type = {};
    EXPECT_EQ(eshm_type_of(text, &type), ESHM_SUCCESS) << last_error();
    EXPECT_EQ(type.text, text);
    EXPECT_EQ(type.fingerprint, eshm::fnv1a(text));
  }
}

TEST(TypeOf, RefusesATextThatIsNotCanonicalAndNamesThePlace) {
  struct Case {
    const char* text;
    const char* piece;
  };
  for (const Case& c : {
           Case{"", "byte 0 a name"},
           {"1A{x:i8@0}1", "a name"},
           {"A", "byte 1 '{'"},
           {"A{}0", "byte 2 a name"},
           {"A{x}1", "byte 3 ':'"},
           {"A{x:int@0}1", "a kind"},
           {"A{x:i8}1", "'@'"},
           {"A{x:i8@}1", "a number"},
           {"A{x:i8@00}1", "a number"},
           {"A{x:i8@0}", "a number"},
           {"A{x:i8@0,}1", "a name"},
           {"A{x:i8@0 }1", "',' or '}'"},
           {"A{x:i8[0]@0}1", "a number of elements"},
           {"A{x:i8[2@0}2", "']'"},
           {"A{x:f64@0}4", "a size that holds all fields"},
           {"A{x:u8[4294967296]@0}1", "a number below"},
           {"A{x:i8@0}1 ", "the end"},
           {"?{}24/8", "a name"},
       }) {
    ESHMType type = {"untouched", 7};
    EXPECT_EQ(eshm_type_of(c.text, &type), ESHM_ERROR_INVALID_PARAM) << c.text;
    EXPECT_NE(last_error().find(c.piece), std::string::npos) << c.text << ": " << last_error();
    EXPECT_EQ(type.fingerprint, 7u);
  }
  std::string nested = "A";
  for (int i = 0; i < 20000; ++i) nested += "{x:";
  ESHMType type = {};
  EXPECT_EQ(eshm_type_of(nested.c_str(), &type), ESHM_ERROR_INVALID_PARAM);
  EXPECT_EQ(eshm_type_of(std::string(ESHM_MAX_TYPE_BYTES + 1, 'x').c_str(), &type),
            ESHM_ERROR_INVALID_PARAM);
}

TEST_P(MessageTypes, NewMasterOfAnotherTypeMakesAFreshSegmentAndTheOldSlaveStaysAway) {
  Child master = obeying(typed(ESHM_ROLE_MASTER, kPose, 1));
  ASSERT_EQ(master.hear(), "open");
  ESHMConfig waiting = typed(ESHM_ROLE_SLAVE, kPose, 1);
  waiting.reconnect_wait_ms = 300;
  waiting.max_reconnect_attempts = 0;
  waiting.reconnect_retry_interval_ms = 20;
  const Link slave = open_link(waiting);
  ASSERT_TRUE(slave) << last_error();
  master.kill_now();
  const Link next = open_link(typed(ESHM_ROLE_MASTER, kOtherPose, 2));
  ASSERT_TRUE(next) << last_error();
  ASSERT_EQ(write_text(next.get(), "of another type"), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave.get(), UINT32_MAX), error(ESHM_ERROR_MASTER_STALE));
}

TEST_P(MessageTypes, NewMasterOfTheSameTypeAdoptsTheSegment) {
  Child master = obeying(typed(ESHM_ROLE_MASTER, kPose, 1));
  ASSERT_EQ(master.hear(), "open");
  const Link slave = open_link(for_ever(typed(ESHM_ROLE_SLAVE, kPose, 1)));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(write_text(slave.get(), "kept"), ESHM_SUCCESS);
  master.kill_now();
  const Link next = open_link(typed(ESHM_ROLE_MASTER, kPose, 1));
  ASSERT_TRUE(next) << last_error();
  EXPECT_EQ(read_text(next.get(), 0), "kept");
}

ESHM_ON_BOTH_BACKENDS(MessageTypes);

}  // namespace
