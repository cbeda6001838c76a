// SPDX-License-Identifier: MIT
// The one who recovers dies, too: a successor is stepped through its adoption
// and first calls on what a death in any call of the data path left, and others
// go on from what that leaves.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crash/looks.h"
#include "crash/own_steps.h"
#include "crash/reporting.h"
#include "crash/scenes.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;
using namespace eshm;

constexpr uint64_t kFirstOfThird = 3001;

// In the short form every so many-th image of every so many-th scene is recovered.
uint64_t stride() { return count(7, 1); }
size_t scene_stride() { return count(4, 1); }

constexpr Marks kSteps = {begin_steps, end_steps};

class SecondDeath : public LinkTest {
 protected:
  void step_all(ESHMDelivery delivery, bool of_writer);
  void step_successors(const Scene& scene, ESHMBackend backend, const Spoil& spoil,
                       std::vector<std::string>& faults);
  // For those who are left nothing else has been like it: where they stand follows
  // from the script alone, whoever died, in which call and on which backend.
  bool is_new(const Scene& scene, PlayedScene& played, const Image& image);
  // `spoil` is what a successor does before it adopts.
  Tally step_successor(const Scene& scene, PlayedScene& played, const Image& image,
                       const Spoil& spoil, std::vector<std::string>& faults);

  Tally total_;
  uint64_t images_ = 0;
  std::set<std::pair<std::string, size_t>> recovered_;
};

Numbers drain(ChannelEnd reader, Actor actor) {
  Numbers numbers;
  while (actor.act(reader, Act::kRead) == Answer::kDone) numbers.push_back(actor.number_read());
  return numbers;
}

Numbers joined(Numbers one, const Numbers& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

// What holds before a successor comes to that image, and after its first calls.
struct Prospect {
  Twins before;
  Twins after;
};

// A writer that adopts the queue, and writes one message.
Prospect of_queue_writer(PlayedScene& played, const Image& image) {
  Arena& bench = played.bench();
  Prospect prospect = {played.before(), played.before()};
  const Twins& twins = played.before();
  Numbers read = twins.ledger.visible();
  read.resize(twins.ledger.handed_out());
  bench.load(image);
  const Numbers visible = joined(read, drain(twins.reader, twins.reading));
  bench.load(image);
  ChannelEnd writer = ChannelEnd::writer(bench, 2);
  Numbers recovered = joined(read, drain(twins.reader, twins.reading));
  prospect.before.ledger.set_messages(visible, recovered);
  bench.load(image);
  writer = ChannelEnd::writer(bench, 2);
  Actor actor(played.letters(), true);
  actor.go_on_with(kFirstOfSuccessor);
  if (actor.act(writer, Act::kWrite) == Answer::kDone) recovered.push_back(kFirstOfSuccessor);
  prospect.after.ledger.set_messages(recovered, recovered);
  return prospect;
}

// A reader that attaches to the queue, and reads twice.
Prospect of_queue_reader(PlayedScene& played, const Image& image) {
  Arena& bench = played.bench();
  Prospect prospect = {played.before(), played.before()};
  bench.load(image);
  const Numbers unread = drain(ChannelEnd::reader(bench), played.before().reading);
  const size_t begin = played.before().ledger.visible().size() - unread.size();
  prospect.before.ledger.begin_again_at(begin);
  prospect.after.ledger.begin_again_at(unread.empty() ? begin : begin + 1);
  prospect.before.reading = prospect.after.reading = Actor(played.letters(), true);
  return prospect;
}

// Of a newest value the writer's numbers tell all, and the reader's borrows are over.
Prospect of_latest(PlayedScene& played, const Image& image, bool of_writer) {
  Prospect prospect = {played.before(), played.before()};
  prospect.before.reading = prospect.after.reading = Actor(played.letters(), false);
  if (of_writer) {
    played.load(image);
    const uint64_t newest = played.bench().newest_complete();
    prospect.before.writing.go_on_with(newest + 1);
    prospect.after.writing.go_on_with(newest + 2);
  }
  return prospect;
}

Tally SecondDeath::step_successor(const Scene& scene, PlayedScene& played, const Image& image,
                                  const Spoil& spoil, std::vector<std::string>& faults) {
  const bool is_queue = scene.delivery == ESHM_DELIVERY_QUEUE;
  const bool is_writer = is_writers(scene.act);
  const Prospect prospect = !is_queue   ? of_latest(played, image, is_writer)
                            : is_writer ? of_queue_writer(played, image)
                                        : of_queue_reader(played, image);
  Arena ground(geometry_of(scene), direction_of(scene));
  ground.load(image);
  const Looks looks({played.letters(), played.bench(), is_writer ? Act::kWrite : Act::kRead,
                     prospect.before, prospect.after, {}, kFirstOfThird},
                    ground);
  Actor actor(played.letters(), is_queue);
  actor.go_on_with(is_queue ? kFirstOfSuccessor : prospect.before.writing.next_number());
  const auto recover_and_go_on = [&] {
    begin_steps();
    if (spoil) spoil(ground);
    ChannelEnd end = is_writer ? ChannelEnd::writer(ground, 2) : ChannelEnd::reader(ground);
    end_steps();
    actor.act(end, is_writer ? Act::kWrite : Act::kRead, kSteps);
    if (!is_writer) actor.act(end, is_queue ? Act::kRead : Act::kBorrow, kSteps);
  };
  const Tally tally = step_through_own(ground, recover_and_go_on,
                                       [&](const Image& left) { looks.look_at(left); });
  looks.finish();
  faults.insert(faults.end(), looks.faults().begin(), looks.faults().end());
  return tally;
}

bool SecondDeath::is_new(const Scene& scene, PlayedScene& played, const Image& image) {
  played.load(image);
  std::string start = std::to_string(scene.largest);
  for (const Act act : scene.script) start += std::string(", ") + name_of(act);
  return recovered_.emplace(start, likeness_of(played.bench())).second;
}

void SecondDeath::step_successors(const Scene& scene, ESHMBackend backend, const Spoil& spoil,
                                  std::vector<std::string>& faults) {
  PlayedScene played(scene);
  SteppedCall call(config_of(name(), ESHM_ROLE_AUTO, backend), scene, played);
  ASSERT_FALSE(HasFailure());
  std::vector<Image> images;
  step_through(call.child(), call.memory(), [&](const Image& image) { images.push_back(image); });
  EXPECT_EQ(call.child().finish(), 0);
  for (const Image& image : images) {
    if (images_++ % stride() != 0 || !is_new(scene, played, image)) continue;
    total_ += step_successor(scene, played, image, spoil, faults);
    ASSERT_FALSE(HasFailure());
  }
}

void SecondDeath::step_all(ESHMDelivery delivery, bool of_writer) {
  const std::vector<Scene> all = scenes(delivery, of_writer);
  for (size_t i = 0; i < all.size(); i += scene_stride()) {
    const Scene& scene = all[i];
    SCOPED_TRACE(describe(scene));
    for (const ESHMBackend backend : {ESHM_BACKEND_POSIX, ESHM_BACKEND_SYSV}) {
      std::vector<std::string> faults;
      step_successors(scene, backend, {}, faults);
      ASSERT_TRUE(faults.empty()) << all_of(faults);
      ASSERT_FALSE(HasFailure());
    }
  }
  std::printf("%llu images, %zu of them unlike each other and recovered; ",
              static_cast<unsigned long long>(images_), recovered_.size());
  print("successors", total_, "second_order_kill_points");
  EXPECT_GT(recovered_.size(), 5u);
  EXPECT_GT(total_.images, recovered_.size());
}

TEST_F(SecondDeath, SuccessorOfALatestWriterLeavesTheLastGoodValue) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_LATEST, true);
}

TEST_F(SecondDeath, SuccessorOfALatestReaderIsInNobodysWay) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_LATEST, false);
}

TEST_F(SecondDeath, SuccessorOfAQueueWriterLosesNothing) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_QUEUE, true);
}

TEST_F(SecondDeath, SuccessorOfAQueueReaderLosesNothingAndRepeatsWhatItHadInHand) {
  SKIP_WITHOUT_STEPS();
  step_all(ESHM_DELIVERY_QUEUE, false);
}

// It clears what its predecessor had just made visible, and only then adopts.
TEST_F(SecondDeath, SuccessorThatClearsAMessageIsFound) {
  SKIP_WITHOUT_STEPS();
  std::vector<std::string> faults;
  const Scene scene = {ESHM_DELIVERY_QUEUE, kShortMessage, {Act::kWrite}, Act::kWrite, true, false};
  const auto clear = [](const ChannelMemory& memory) {
    std::byte* const first = memory.view().data + layout::kFirstSlotOffset;
    reinterpret_cast<layout::RecordHeader*>(first)->commit = 0;
  };
  step_successors(scene, ESHM_BACKEND_POSIX, clear, faults);
  EXPECT_NE(all_of(faults).find("reads {"), std::string::npos) << all_of(faults);
}

}  // namespace
