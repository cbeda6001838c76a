// Every instruction of every call of the data path is a crash point, on real
// links: whoever is left, and whoever comes in the dead one's place, goes on.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "crash/left_alone.h"
#include "crash/reporting.h"
#include "crash/stepped_call.h"
#include "crash/survivors.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;
using namespace eshm;

constexpr size_t kShort = 48;
constexpr size_t kLong = 600;

Script operator+(Script one, const Script& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

Script times(int count, const Script& script) {
  Script all;
  for (int i = 0; i < count; ++i) all = all + script;
  return all;
}

constexpr Act W = Act::kWrite, R = Act::kRead, L = Act::kLoan, B = Act::kBorrow;

// What may stand in a channel when the call begins.
std::vector<Script> beginnings(ESHMDelivery delivery) {
  const Script round = times(7, {W, R});
  std::vector<Script> all = {
      {},                      // empty
      {W},                     // one message
      {W, R},                  // it is read
      round + Script{W},       // the ring has gone round
      {W, W, R, W},            // one in hand
      {W, B, W},               // borrowed, and a newer one
      {W, B, W, B, W},         // as many borrowed as may be
      {L},                     // lent
      {W, L, W, W},            // lent, and written behind it
      round + Script{L, W, L, W, R},
      round + Script{W, B, L, W},
  };
  if (delivery == ESHM_DELIVERY_QUEUE) {
    all.push_back({Act::kFill});
    all.push_back(round + Script{Act::kFill});
    all.push_back(round + Script{Act::kFill, R, R});
    all.push_back(round + Script{Act::kFill, B, R, B});
    all.push_back({L, Act::kFill});
    all.push_back(round + Script{L, W, Act::kPublish, W, B, B});
  }
  return all;
}

const Act kWriters[] = {Act::kWrite,   Act::kWriteWaiting,  Act::kLoan,
                        Act::kPublish, Act::kPublishNewest, Act::kDiscard};
const Act kReaders[] = {Act::kRead,   Act::kReadMsg, Act::kReadWaiting,
                        Act::kBorrow, Act::kRelease, Act::kReleaseNewest};

struct Finding {
  Tally tally;
  uint64_t messages_read = 0;
  std::vector<std::string> faults;
  std::vector<Image> images;
};

// Those who are left by a death in that scene.
class Looks {
 public:
  // `memory` stands as it is before the call.
  Looks(const Scene& scene, PlayedScene& played, const ChannelMemory& memory, const Spoil& spoil) {
    const Situation situation = {played.letters(), played.bench(), scene.act,
                                 played.before(),  played.after(), spoil};
    if (scene.delivery == ESHM_DELIVERY_QUEUE) {
      left_alone_ = std::make_unique<QueueLeftAlone>(situation);
    } else if (is_writers(scene.act)) {
      const Operation operation = {scene.largest, played.before().newest(),
                                   played.after().newest()};
      survivors_ = std::make_unique<Survivors>(operation, memory);
    } else {
      left_alone_ = std::make_unique<WriterLeftAlone>(situation);
    }
  }
  void look_at(const Image& image) const {
    if (survivors_) return survivors_->look_at(image);
    left_alone_->look_at(image);
  }
  void finish() const {
    if (survivors_) survivors_->finish();
  }
  const std::vector<std::string>& faults() const {
    return survivors_ ? survivors_->faults() : left_alone_->faults();
  }
  uint64_t messages_read() const {
    return survivors_ ? survivors_->messages_read() : left_alone_->messages_read();
  }

 private:
  std::unique_ptr<Survivors> survivors_;
  std::unique_ptr<LeftAlone> left_alone_;
};

class DataPath : public LinkTest {
 protected:
  ESHMConfig link() const { return config(ESHM_ROLE_AUTO); }

  Finding step(const Scene& scene);
  void step_all(ESHMDelivery delivery, bool is_writer);
};

Finding DataPath::step(const Scene& scene) {
  Finding finding;
  PlayedScene played(scene);
  SteppedCall call(link(), scene, played);
  if (HasFailure()) return finding;
  played.load(played.image_before());
  EXPECT_TRUE(are_alike(call.memory(), played.bench())) << "before";

  const Looks looks(scene, played, call.memory(), {});
  finding.tally = step_through(call.child(), call.memory(), [&](const Image& image) {
    finding.images.push_back(image);
    looks.look_at(image);
  });
  looks.finish();
  finding.faults = looks.faults();
  finding.messages_read = looks.messages_read();

  // What the stepped call has done is what its twin does.
  played.load(played.image_before());
  Twins twins = played.before();
  twins.act(scene.act);
  EXPECT_TRUE(are_alike(call.memory(), played.bench())) << "after";
  EXPECT_EQ(call.child().finish(), 0);
  return finding;
}

void DataPath::step_all(ESHMDelivery delivery, bool is_writer) {
  std::map<std::string, Tally> tallies;
  uint64_t messages_read = 0;
  bool is_master = is_writer;
  for (const Script& script : beginnings(delivery)) {
    for (const Act act : is_writer ? kWriters : kReaders) {
      for (const size_t largest : {kShort, kLong}) {
        if (largest == kLong && !soak() && script.size() < 15) continue;
        const int roles = soak() ? 2 : 1;
        for (int i = 0; i < roles; ++i) {
          is_master = !is_master;
          const Scene scene = {delivery, largest, script, act, is_master};
          if (!PlayedScene(scene).is_possible()) continue;
          SCOPED_TRACE(describe(scene));
          const Finding finding = step(scene);
          if (HasFailure()) return;
          EXPECT_TRUE(finding.faults.empty()) << all_of(finding.faults);
          EXPECT_GT(finding.tally.steps, finding.tally.changes);
          tallies[name_of(act)] += finding.tally;
          messages_read += finding.messages_read;
        }
      }
    }
  }
  for (const auto& [act, tally] : tallies) {
    print((delivery == ESHM_DELIVERY_QUEUE ? "queue, " : "latest, ") + act, tally);
    EXPECT_GT(tally.images, 1u) << act;
  }
  std::printf("%llu messages read by those who are left\n",
              static_cast<unsigned long long>(messages_read));
  EXPECT_GT(messages_read, 1000u);
}

TEST_P(DataPath, LatestWriterDeadAtAnyInstructionLeavesTheLastGoodValue) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_LATEST, true);
}

TEST_P(DataPath, LatestReaderDeadAtAnyInstructionIsInNobodysWay) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_LATEST, false);
}

TEST_P(DataPath, QueueWriterDeadAtAnyInstructionLosesNothing) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_QUEUE, true);
}

TEST_P(DataPath, QueueReaderDeadAtAnyInstructionLosesNothingAndRepeatsWhatItHadInHand) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_QUEUE, false);
}

ESHM_ON_BOTH_BACKENDS(DataPath);

}  // namespace
