// SPDX-License-Identifier: MIT
// eshm.hpp: senders and receivers of described types.
#include <cstring>
#include <optional>
#include <vector>

#include "eshm.hpp"
#include "support/link.h"

namespace {

using namespace std::literals;
using eshm::Code;
using eshm::Config;
using eshm::Receiver;
using eshm::Role;
using eshm::Sender;

struct Pose {
  double x, y;
  uint32_t id;
};
ESHM_DESCRIBE(Pose, x, y, id);

struct Command {
  int32_t speed;
};
ESHM_DESCRIBE(Command, speed);

// What another build of the same program may take for a Pose.
namespace other_build {
struct Pose {
  double x;
  float y;
  uint32_t id;
};
ESHM_DESCRIBE(Pose, x, y, id);
}  // namespace other_build

struct Plain {
  double value;
  uint64_t number;
};
struct PlainLikewise {
  uint64_t words[2];
};
struct PlainLonger {
  uint64_t words[3];
};

struct alignas(32) Vector {
  float lane[8];
};
ESHM_DESCRIBE(Vector, lane);

class CppTyped : public test::LinkTest {
 protected:
  Config config_of(Role role) const {
    Config config(name());
    config.role(role)
        .backend(static_cast<eshm::Backend>(GetParam()))
        .stale_threshold(std::chrono::milliseconds(test::kPatientMs));
    if (role == Role::kSlave) config.max_reconnect_attempts(1);
    return config;
  }
};

TEST_P(CppTyped, ObserverReadsTheDirectionThatCarriesTheType) {
  Receiver<Pose> early(config_of(Role::kObserver));
  Sender<Pose> sender(config_of(Role::kMaster).s2m(eshm::Channel().max_message_size(4096)));
  eshm::Link slave(config_of(Role::kSlave));
  Receiver<Pose> late(config_of(Role::kObserver));
  const std::vector<char> large(1000, 'x');
  ASSERT_TRUE(slave.write(large));  // larger than a Pose, and of the other direction
  ASSERT_TRUE(sender.write({1, 2, 3}));
  for (Receiver<Pose>* receiver : {&early, &late}) {
    const auto pose = receiver->read();
    ASSERT_TRUE(pose) << pose.what();
    EXPECT_EQ(pose->id, 3u);
    EXPECT_EQ(receiver->read(20ms).code(), Code::kTimeout);
    EXPECT_EQ(receiver->read(eshm::kNoWait).code(), Code::kNoData);
  }
}

TEST_P(CppTyped, ObserverOfAnotherTypeIsRefused) {
  Sender<Pose> sender(config_of(Role::kMaster));
  EXPECT_EQ(Receiver<Command>::open(config_of(Role::kObserver)).code(), Code::kTypeMismatch);
  eshm::Link link(config_of(Role::kObserver));
  EXPECT_EQ(Receiver<other_build::Pose>::on(link).code(), Code::kTypeMismatch);
  EXPECT_TRUE(Receiver<Pose>::on(link));
}

TEST_P(CppTyped, ObserverThatWasThereFirstIsToldThatNoDirectionCarriesTheType) {
  Receiver<Command> receiver(config_of(Role::kObserver));
  Sender<Pose> sender(config_of(Role::kMaster));
  ASSERT_TRUE(sender.write({1, 2, 3}));
  EXPECT_EQ(receiver.read(20ms).code(), Code::kTypeMismatch);
}

TEST_P(CppTyped, ObjectsTravelFromMasterToSlave) {
  Sender<Pose> sender(config_of(Role::kMaster));
  Receiver<Pose> receiver(config_of(Role::kSlave));
  ASSERT_TRUE(sender.write({1, 2, 3}));
  const auto pose = receiver.read();
  ASSERT_TRUE(pose) << pose.what();
  EXPECT_EQ(pose->x, 1);
  EXPECT_EQ(pose->y, 2);
  EXPECT_EQ(pose->id, 3u);
  EXPECT_EQ(receiver.read(eshm::kNoWait).code(), Code::kNoData);
}

TEST_P(CppTyped, ObjectsTravelFromSlaveToMaster) {
  Receiver<Pose> receiver(config_of(Role::kMaster));
  Sender<Pose> sender(config_of(Role::kSlave));
  ASSERT_TRUE(sender.write({1, 2, 3}));
  Pose pose = {};
  eshm::MessageInfo info = {};
  ASSERT_TRUE(receiver.read_into(pose, info));
  EXPECT_EQ(pose.id, 3u);
  EXPECT_EQ(info.sequence, 1u);
  EXPECT_EQ(info.size, sizeof pose);
}

TEST_P(CppTyped, OneLinkServesATypeEachWay) {
  eshm::Link master(config_of(Role::kMaster).sends<Pose>().receives<Command>());
  eshm::Link slave(config_of(Role::kSlave).sends<Command>().receives<Pose>());
  Sender<Pose> poses(master);
  Receiver<Command> commands(master);
  ASSERT_TRUE(poses.write({1, 2, 3}));
  ASSERT_TRUE(Sender<Command>(slave).write({7}));
  EXPECT_EQ(Receiver<Pose>(slave).read()->id, 3u);
  EXPECT_EQ(commands.read()->speed, 7);
}

TEST_P(CppTyped, LinkOfAnotherTypeIsRefusedWithoutTroublingThePeer) {
  eshm::Link link(config_of(Role::kMaster).sends<Pose>());
  EXPECT_EQ(Sender<Command>::on(link).code(), Code::kTypeMismatch);
  EXPECT_EQ(Receiver<Pose>::on(link).code(), Code::kTypeMismatch);
  EXPECT_THROW(Sender<Command>{link}, eshm::Error);
}

TEST_P(CppTyped, LoanAndBorrowShowTheObjectInPlace) {
  Sender<Pose> sender(config_of(Role::kMaster));
  Receiver<Pose> receiver(config_of(Role::kSlave));
  {
    auto loan = sender.loan();
    ASSERT_TRUE(loan) << loan.what();
    *loan = {1, 2, 3};
    loan->id = 4;
    ASSERT_TRUE(loan.publish());
  }
  const auto borrow = receiver.borrow();
  ASSERT_TRUE(borrow) << borrow.what();
  EXPECT_EQ(borrow->y, 2);
  EXPECT_EQ((*borrow).id, 4u);
  EXPECT_EQ(borrow.info().sequence, 1u);
}

TEST_P(CppTyped, QueueOfObjectsKeepsEachInOrder) {
  Sender<Command> sender(config_of(Role::kMaster).m2s(eshm::Channel().queue()));
  Receiver<Command> receiver(config_of(Role::kSlave));
  for (int32_t speed = 0; speed < 100; ++speed) ASSERT_TRUE(sender.write({speed}));
  for (int32_t speed = 0; speed < 100; ++speed) ASSERT_EQ(receiver.read()->speed, speed);
}

TEST_P(CppTyped, ObjectsOfWideAlignmentLieAligned) {
  Sender<Vector> sender(config_of(Role::kMaster));
  Receiver<Vector> receiver(config_of(Role::kSlave));
  for (int round = 0; round < 10; ++round) {
    auto loan = sender.loan();
    ASSERT_TRUE(loan) << loan.what();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(&*loan) % alignof(Vector), 0u);
    loan->lane[7] = 7;
    ASSERT_TRUE(loan.publish());
    const auto borrow = receiver.borrow();
    ASSERT_TRUE(borrow) << borrow.what();
    EXPECT_EQ(borrow->lane[7], 7);
  }
}

TEST_P(CppTyped, UnlikeTypesAreRefusedWithBothSidesOfTheDifference) {
  Sender<Pose> sender(config_of(Role::kMaster));
  const auto other = Receiver<other_build::Pose>::open(config_of(Role::kSlave));
  EXPECT_EQ(other.code(), Code::kTypeMismatch);
  const std::string text = other.what();
  EXPECT_NE(text.find("f64"), std::string::npos) << text;
  EXPECT_NE(text.find("f32"), std::string::npos) << text;
  try {
    Receiver<other_build::Pose> thrown(config_of(Role::kSlave));
    FAIL() << "it was accepted";
  } catch (const eshm::Error& error) {
    EXPECT_EQ(error.code(), Code::kTypeMismatch);
  }
}

TEST_P(CppTyped, TypesWithoutADescriptionAreComparedBySizeAndAlignment) {
  Sender<Plain> sender(config_of(Role::kMaster));
  EXPECT_EQ(Receiver<PlainLonger>::open(config_of(Role::kSlave)).code(), Code::kTypeMismatch);
  Receiver<PlainLikewise> receiver(config_of(Role::kSlave));
  ASSERT_TRUE(sender.write({0, 5}));
  EXPECT_EQ(receiver.read()->words[1], 5u);
}

TEST_P(CppTyped, ShorterMessageOfAnUntypedPeerIsNotTakenForAnObject) {
  Receiver<Pose> receiver(config_of(Role::kMaster));
  eshm::Link untyped(config_of(Role::kSlave));
  ASSERT_TRUE(untyped.write("short"sv));
  EXPECT_EQ(receiver.read().code(), Code::kTypeMismatch);
  ASSERT_TRUE(untyped.write("short"sv));
  EXPECT_EQ(receiver.borrow().code(), Code::kTypeMismatch);
  ASSERT_TRUE(untyped.write(eshm::bytes_of(Pose{1, 2, 3})));
  EXPECT_EQ(receiver.read()->id, 3u) << "nothing is held of the one before";
}

TEST_P(CppTyped, RoleMustSayWhichDirectionIsMeant) {
  EXPECT_THROW(Sender<Pose>{config_of(Role::kAuto)}, eshm::Error);
  EXPECT_EQ(Receiver<Pose>::open(config_of(Role::kAuto)).code(), Code::kInvalidParam);
}

TEST_P(CppTyped, EndsGoOnAfterAMove) {
  std::optional<Sender<Pose>> first(Sender<Pose>(config_of(Role::kMaster)));
  Sender<Pose> sender = std::move(*first);
  first.reset();
  Receiver<Pose> receiver;
  receiver = Receiver<Pose>(config_of(Role::kSlave));
  ASSERT_TRUE(sender.write({1, 2, 3}));
  EXPECT_EQ(receiver.read()->id, 3u);
}

ESHM_ON_BOTH_BACKENDS(CppTyped);

}  // namespace
