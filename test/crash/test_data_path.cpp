// SPDX-License-Identifier: MIT
// Every instruction of every call of the data path is a crash point, on real
// links: whoever is left, and whoever comes in the dead one's place, goes on.
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "crash/looks.h"
#include "crash/reporting.h"
#include "crash/scenes.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;
using namespace eshm;

constexpr Act W = Act::kWrite, R = Act::kRead, L = Act::kLoan, B = Act::kBorrow;

struct Finding {
  Tally tally;
  uint64_t messages_read = 0;
  std::vector<std::string> faults;
};

class DataPath : public LinkTest {
 protected:
  // Changes an image that is looked at, once it lies on the bench.
  using SpoilImage = std::function<void(const ChannelMemory&, const PlayedScene&)>;

  Finding step(const Scene& scene, const SpoilImage& spoil_image = {}, const Spoil& spoil = {});
  void step_all(ESHMDelivery delivery, bool of_writer);
  void expect_found(const Scene& scene, const std::string& complaint,
                    const SpoilImage& spoil_image, const Spoil& spoil = {});
};

Finding DataPath::step(const Scene& scene, const SpoilImage& spoil_image, const Spoil& spoil) {
  Finding finding;
  PlayedScene played(scene);
  SteppedCall call(config(ESHM_ROLE_AUTO), scene, played);
  if (HasFailure()) return finding;
  Arena& bench = played.bench();
  bench.load(played.image_before());
  EXPECT_TRUE(are_alike(call.memory(), bench)) << "before the call";

  const Looks looks({played.letters(), bench, scene.act, played.before(), played.after(), spoil},
                    call.memory());
  finding.tally = step_through(call.child(), call.memory(), [&](const Image& image) {
    if (!spoil_image) return looks.look_at(image);
    bench.load(image);
    spoil_image(bench, played);
    looks.look_at(bench.image());
  });
  looks.finish();
  finding.faults = looks.faults();
  finding.messages_read = looks.messages_read();

  // What the call has done is what its twin does.
  bench.load(played.image_before());
  Twins(played.before()).act(scene.act);
  EXPECT_TRUE(are_alike(call.memory(), bench)) << "after the call";
  EXPECT_EQ(call.child().finish(), 0);
  return finding;
}

void DataPath::step_all(ESHMDelivery delivery, bool of_writer) {
  std::map<std::string, Tally> tallies;
  uint64_t messages_read = 0;
  for (const Scene& scene : scenes(delivery, of_writer)) {
    SCOPED_TRACE(describe(scene));
    const Finding finding = step(scene);
    ASSERT_TRUE(finding.faults.empty()) << all_of(finding.faults);
    ASSERT_FALSE(HasFailure());
    EXPECT_GT(finding.tally.steps, finding.tally.changes);
    tallies[name_of(scene.act)] += finding.tally;
    messages_read += finding.messages_read;
  }
  for (const auto& [act, tally] : tallies) {
    print((delivery == ESHM_DELIVERY_QUEUE ? "queue, " : "latest, ") + act, tally);
    EXPECT_GT(tally.changes, 1u) << act;
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

// Lapped again and again, the reader pins: the writer goes round while it is
// looked at, and finds the pin of a dead one.
TEST_P(DataPath, ReaderThatIsLappedDiesWithItsPinAtAnyInstruction) {
  SKIP_WITHOUT_STEPS();
  constexpr uint64_t kStepsBetweenLaps = 23, kMostLaps = 150, kLapsWithAPin = 8;
  for (const Act act : {Act::kRead, Act::kBorrow}) {
    const Scene scene = {ESHM_DELIVERY_LATEST, kLongMessage, {W}, act, false, false};
    PlayedScene played(scene);
    SteppedCall call(config(ESHM_ROLE_AUTO), scene, played);
    ASSERT_FALSE(HasFailure());
    Arena& bench = played.bench();
    Twins twins = played.before();
    Image twin_image = played.image_before();
    LinkEnd peer(call.peer());
    uint64_t images = 0, pinned = 0, steps = 0, laps = 0, laps_pinned = 0;
    Image last;
    do {
      if (steps % kStepsBetweenLaps == 0 && laps < kMostLaps && laps_pinned < kLapsWithAPin) {
        ++laps;
        if (pinned != 0) ++laps_pinned;
        bench.load(twin_image);
        for (uint32_t pin = 0; pin < layout::kMaxPins; ++pin) {
          bench.pins().slot[pin] = call.memory().pins().slot[pin].load();
        }
        for (uint32_t i = 0; i <= bench.geometry().slot_count; ++i) {
          call.peer_actor().act(peer, Act::kWrite);
          twins.act(Act::kWrite);
        }
        twin_image = bench.image();
        ASSERT_TRUE(are_alike(call.memory(), bench)) << "lap " << laps;
      }
      const Image image = call.memory().image();
      if (image != last) {
        last = image;
        ++images;
        if (call.memory().pins().slot[0] != 0 || call.memory().pins().slot[1] != 0) ++pinned;
        const Looks looks({played.letters(), bench, act, twins, twins, {}}, call.memory());
        looks.look_at(image);
        ASSERT_TRUE(looks.faults().empty()) << all_of(looks.faults());
      }
      ++steps;
    } while (call.child().step() == Stepper::Stop::kStepped);
    EXPECT_GT(pinned, 0u);
    std::printf("latest, lapped %s: %llu steps, %llu different images, %llu of them with a pin\n",
                name_of(act), static_cast<unsigned long long>(steps),
                static_cast<unsigned long long>(images), static_cast<unsigned long long>(pinned));
    tally_images(std::string("lapped ") + name_of(act), images);
    call.child().kill_now();  // it has read a message that its twin has not
  }
}

// ---- the looks find what they are for ------------------------------------------------

void DataPath::expect_found(const Scene& scene, const std::string& complaint,
                            const SpoilImage& spoil_image, const Spoil& spoil) {
  const Finding finding = step(scene, spoil_image, spoil);
  EXPECT_NE(all_of(finding.faults).find(complaint), std::string::npos)
      << complaint << " was not found in " << describe(scene) << all_of(finding.faults);
}

layout::RecordHeader& header_at(const ChannelMemory& memory, uint64_t position) {
  return *reinterpret_cast<layout::RecordHeader*>(
      memory.view().data + layout::kFirstSlotOffset +
      position % memory.geometry().ring_bytes);
}

uint64_t published(const ChannelMemory& memory) {
  return reinterpret_cast<layout::DataArea*>(memory.view().data)->publish.published;
}

constexpr int kKindShift = 31;

uint64_t kind_of(const layout::RecordHeader& header) { return header.commit >> kKindShift & 7; }

TEST_P(DataPath, QueueSuccessorThatBelievesTheHintIsFound) {
  SKIP_WITHOUT_STEPS();
  expect_found({ESHM_DELIVERY_QUEUE, kShortMessage, {W}, W, true, false}, "takes no message", {},
               [](const ChannelMemory& memory) {
                 header_at(memory, published(memory)).commit = 0;
               });
}

TEST_P(DataPath, QueueSuccessorThatPublishesALoanOfTheDeadIsFound) {
  SKIP_WITHOUT_STEPS();
  expect_found({ESHM_DELIVERY_QUEUE, kShortMessage, {W, L}, W, true, false},
               "not as it was written", {}, [](const ChannelMemory& memory) {
                 layout::RecordHeader& header = header_at(memory, published(memory));
                 if (kind_of(header) != static_cast<uint64_t>(layout::RecordKind::kLoan)) return;
                 header.tag = 2;
                 header.commit = (header.commit & ~(uint64_t{7} << kKindShift)) |
                                 uint64_t{1} << kKindShift;
               });
}

// The record is complete before its payload is there.
TEST_P(DataPath, QueueWriterThatCommitsBeforeThePayloadIsFound) {
  SKIP_WITHOUT_STEPS();
  expect_found({ESHM_DELIVERY_QUEUE, kShortMessage, {W}, W, true, false}, "not as it was written",
               [](const ChannelMemory& memory, const PlayedScene& played) {
                 layout::RecordHeader& first = header_at(memory, 0);
                 const uint64_t bytes =
                     layout::record_bytes(memory.geometry(), played.letters().size_of(1));
                 const uint64_t size = played.letters().size_of(2);
                 layout::RecordHeader& header = header_at(memory, bytes);
                 header.tag = 2;
                 header.commit = (first.commit & ~uint64_t{0x7fffffff}) | size;
               });
}

TEST_P(DataPath, QueueReaderThatConsumesWhatItHasNotReadIsFound) {
  SKIP_WITHOUT_STEPS();
  expect_found({ESHM_DELIVERY_QUEUE, kShortMessage, {W, W, W}, R, true, false}, "messages are lost",
               [](const ChannelMemory& memory, const PlayedScene&) {
                 memory.reader().position = published(memory);
               });
}

TEST_P(DataPath, QueueReaderThatConsumesNothingIsFound) {
  SKIP_WITHOUT_STEPS();
  expect_found({ESHM_DELIVERY_QUEUE, kShortMessage, {W, W, R, R}, R, true, false}, "shown again",
               [](const ChannelMemory& memory, const PlayedScene&) {
                 memory.reader().position = 0;
               });
}

TEST_P(DataPath, LatestReaderWithoutPinIsFound) {
  SKIP_WITHOUT_STEPS();
  expect_found({ESHM_DELIVERY_LATEST, kShortMessage, {W, B, W}, R, true, false},
               "borrow was overwritten", [](const ChannelMemory& memory, const PlayedScene&) {
                 for (std::atomic<uint32_t>& pin : memory.pins().slot) pin = 0;
               });
}

ESHM_ON_BOTH_BACKENDS(DataPath);

}  // namespace
