// SPDX-License-Identifier: MIT
// What eshm.hpp says of a message type: text and fingerprint, worked out by the
// compiler, and where a typed end puts them.
#include <gtest/gtest.h>

#include "eshm.hpp"

namespace robot {

enum class Mode : int16_t { kIdle, kRunning };

struct Point {
  float x, y;
};
ESHM_DESCRIBE(Point, x, y);

struct Pose {
  double x, y;
  uint32_t id;
};
ESHM_DESCRIBE(Pose, x, y, id);

// Adds nothing, and is not what it derives from.
struct DerivedPose : Pose {};

class Arm {
 public:
  struct State {
    uint64_t number;
  };
};
ESHM_DESCRIBE(Arm::State, number);

}  // namespace robot

namespace {

struct Kinds {
  int8_t i8;
  int16_t i16;
  int32_t i32;
  int64_t i64;
  uint8_t u8;
  uint16_t u16;
  uint32_t u32;
  uint64_t u64;
  float f32;
  double f64;
  bool truth;
  char letter;
};
ESHM_DESCRIBE(Kinds, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, truth, letter);

struct Aliases {
  signed char a;
  unsigned char b;
  std::byte c;
  long d;
  unsigned long long e;
  std::size_t f;
  robot::Mode mode;
  const int fixed;
};
ESHM_DESCRIBE(Aliases, a, b, c, d, e, f, mode, fixed);

struct Arrays {
  char name[8];
  double matrix[3][4];
  std::array<uint16_t, 2> pair;
  std::array<std::array<float, 3>, 2> rows;
  const uint8_t fixed[2];
};
ESHM_DESCRIBE(Arrays, name, matrix, pair, rows, fixed);

// As many as there may be.
struct Fields64 {
  uint8_t q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15, q16, q17, q18,
    q19, q20, q21, q22, q23, q24, q25, q26, q27, q28, q29, q30, q31, q32, q33, q34, q35, q36, q37,
    q38, q39, q40, q41, q42, q43, q44, q45, q46, q47, q48, q49, q50, q51, q52, q53, q54, q55, q56,
    q57, q58, q59, q60, q61, q62, q63;
};
ESHM_DESCRIBE(Fields64, q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15, q16,
    q17, q18, q19, q20, q21, q22, q23, q24, q25, q26, q27, q28, q29, q30, q31, q32, q33, q34, q35,
    q36, q37, q38, q39, q40, q41, q42, q43, q44, q45, q46, q47, q48, q49, q50, q51, q52, q53, q54,
    q55, q56, q57, q58, q59, q60, q61, q62, q63);

struct Inherits : Kinds {};
ESHM_DESCRIBE(Inherits, i8, f64);

struct Track {
  robot::Pose pose;
  robot::Point points[2][3];
  uint32_t count;
};
ESHM_DESCRIBE(Track, pose, points, count);

struct alignas(64) Padded {
  uint8_t first;
  uint64_t second;
};
ESHM_DESCRIBE(Padded, first, second);

struct Undescribed {
  double value;
  char letter;
};

struct Thirtytwo {
  uint8_t a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, aa, bb, cc,
      dd, ee, ff;
};
ESHM_DESCRIBE(Thirtytwo, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y,
              z, aa, bb, cc, dd, ee, ff);

using eshm::type_fingerprint;
using eshm::type_text;

// A constant expression, or this file does not compile.
static_assert(type_text<robot::Pose> == "Pose{x:f64@0,y:f64@8,id:u32@16}24");
static_assert(type_fingerprint<robot::Pose> == eshm::fnv1a(type_text<robot::Pose>));
static_assert(eshm::is_described<robot::Pose> && !eshm::is_described<Undescribed>);

TEST(CppTypes, SixtyFourFieldsAreDescribed) {
  const std::string_view text = eshm::type_text<Fields64>;
  EXPECT_EQ(text.substr(0, 29), "Fields64{q0:u8@0,q1:u8@1,q2:u");
  EXPECT_EQ(text.substr(text.size() - 13), ",q63:u8@63}64");
}

TEST(CppTypes, InheritedFieldsAreDescribedByTheStructThatHasThem) {
  EXPECT_EQ(eshm::type_text<Inherits>, "Inherits{i8:i8@0,f64:f64@40}56");
}

TEST(TypeText, NamesEachFieldWithKindAndOffset) {
  EXPECT_EQ(type_text<Kinds>,
            "Kinds{i8:i8@0,i16:i16@2,i32:i32@4,i64:i64@8,u8:u8@16,u16:u16@18,u32:u32@20,"
            "u64:u64@24,f32:f32@32,f64:f64@40,truth:bool@48,letter:char@49}56");
}

TEST(TypeText, NamesAKindByItsBitsHoweverItIsSpelled) {
  EXPECT_EQ(type_text<Aliases>,
            "Aliases{a:i8@0,b:u8@1,c:u8@2,d:i64@8,e:u64@16,f:u64@24,mode:i16@32,fixed:i32@36}40");
}

TEST(TypeText, WritesArraysWithEachExtent) {
  EXPECT_EQ(type_text<Arrays>,
            "Arrays{name:char[8]@0,matrix:f64[3][4]@8,pair:u16[2]@104,rows:f32[2][3]@108,"
            "fixed:u8[2]@132}136");
}

TEST(TypeText, WritesADescribedStructWhereItStands) {
  EXPECT_EQ(type_text<Track>,
            "Track{pose:{x:f64@0,y:f64@8,id:u32@16}@0,points:{x:f32@0,y:f32@4}[2][3]@24,"
            "count:u32@72}80");
}

TEST(TypeText, TakesOffsetsAndSizeFromTheCompiler) {
  EXPECT_EQ(type_text<Padded>, "Padded{first:u8@0,second:u64@8}64");
}

TEST(TypeText, LeavesOutWhatEnclosesTheType) {
  EXPECT_EQ(type_text<robot::Arm::State>, "State{number:u64@0}8");
}

TEST(TypeText, TellsSizeAndAlignmentOfWhatIsNotDescribed) {
  EXPECT_EQ(type_text<Undescribed>, "?{}16/8");
  EXPECT_EQ(type_text<robot::DerivedPose>, "?{}24/8");
  EXPECT_EQ(type_text<double>, "?{}8/8");
  EXPECT_EQ(type_text<char[3]>, "?{}3/1");
}

TEST(TypeText, HoldsThirtytwoFields) {
  EXPECT_EQ(type_text<Thirtytwo>.substr(0, 21), "Thirtytwo{a:u8@0,b:u8");
  const std::string_view end = "ee:u8@30,ff:u8@31}32";
  EXPECT_EQ(type_text<Thirtytwo>.substr(type_text<Thirtytwo>.size() - end.size()), end);
}

TEST(TypeText, EndsInAZeroForTheCAbi) {
  EXPECT_STREQ(type_text<robot::Point>.data(), "Point{x:f32@0,y:f32@4}8");
}

// Published test vectors of the hash, and one of a type for other languages.
TEST(TypeFingerprint, IsFnv1aOfTheText) {
  EXPECT_EQ(eshm::fnv1a(""), 0xcbf29ce484222325u);
  EXPECT_EQ(eshm::fnv1a("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(eshm::fnv1a("foobar"), 0x85944171f73967e8u);
  EXPECT_EQ(type_fingerprint<robot::Pose>, 0xea6fd83f4b7657fdu);
}

TEST(TypeFingerprint, TellsTypesApartThatDifferInOneWord) {
  EXPECT_NE(eshm::fnv1a("P{x:f64@0}8"), eshm::fnv1a("P{y:f64@0}8"));
  EXPECT_NE(eshm::fnv1a("P{x:f64@0}8"), eshm::fnv1a("P{x:i64@0}8"));
  EXPECT_NE(eshm::fnv1a("P{x:f64@0}8"), eshm::fnv1a("P{x:f64@0}16"));
}

using eshm::Config;
using eshm::Role;
using robot::Point;
using robot::Pose;

void expect_type(const ESHMChannelConfig& channel, std::string_view text) {
  ASSERT_NE(channel.type.text, nullptr);
  EXPECT_EQ(channel.type.text, text);
  EXPECT_EQ(channel.type.fingerprint, eshm::fnv1a(text));
}

void expect_untyped(const ESHMChannelConfig& channel) {
  EXPECT_EQ(channel.type.text, nullptr);
  EXPECT_EQ(channel.type.fingerprint, 0u);
  EXPECT_EQ(channel.max_message_size, uint64_t{ESHM_MAX_DATA_SIZE});
}

TEST(TypedConfig, PutsTheTypeIntoTheDirectionOfTheRole) {
  Config config("name");
  config.sends<Pose>();
  expect_type(config.role(Role::kMaster).c_config()->m2s, type_text<Pose>);
  expect_untyped(config.c_config()->s2m);
  expect_type(config.role(Role::kSlave).c_config()->s2m, type_text<Pose>);
  expect_untyped(config.c_config()->m2s);
  config.receives<Point>();
  expect_type(config.c_config()->m2s, type_text<Point>);
  expect_type(config.role(Role::kMaster).c_config()->s2m, type_text<Point>);
}

TEST(TypedConfig, MakesRoomForExactlyOneObject) {
  EXPECT_EQ(Config("name").role(Role::kMaster).sends<Pose>().c_config()->m2s.max_message_size,
            sizeof(Pose));
}

TEST(TypedConfig, KeepsTheRestOfTheChannel) {
  const eshm::Channel queue = eshm::Channel().queue(1 << 16).max_loans(3);
  const auto config = Config("name").role(Role::kMaster).m2s(queue).sends<Pose>().c_config();
  ASSERT_TRUE(config);
  EXPECT_EQ(config->m2s.delivery, ESHM_DELIVERY_QUEUE);
  EXPECT_EQ(config->m2s.queue_capacity, 1u << 16);
  EXPECT_EQ(config->m2s.max_loans, 3u);
}

TEST(TypedConfig, AsksForAlignedPayloadsWhereTheTypeNeedsThem) {
  Config config("name");
  config.role(Role::kMaster);
  EXPECT_EQ(config.sends<Pose>().c_config()->flags, 0u);
  EXPECT_EQ(config.sends<Padded>().c_config()->flags, uint32_t{ESHM_FLAG_ALIGN_PAYLOAD});
}

TEST(TypedConfig, RefusesARoleThatLeavesTheDirectionOpen) {
  for (Role role : {Role::kAuto}) {
    const auto config = Config("name").role(role).sends<Pose>().c_config();
    EXPECT_EQ(config.code(), eshm::Code::kInvalidParam);
    EXPECT_NE(std::string_view(config.what()).find("Role::kMaster or Role::kSlave"),
              std::string_view::npos);
  }
  EXPECT_FALSE(Config("name").sends<Pose>().receives<Point>().c_config());
}

TEST(TypedConfig, LetsTheRoleBeOpenWhereBothDirectionsAreAlike) {
  const auto config = Config("name").sends<Pose>().receives<Pose>().c_config();
  ASSERT_TRUE(config) << config.what();
  expect_type(config->m2s, type_text<Pose>);
  expect_type(config->s2m, type_text<Pose>);
}

}  // namespace
