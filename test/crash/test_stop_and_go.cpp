// SPDX-License-Identifier: MIT
// A process is stopped at any instruction of a call, its peer works meanwhile,
// and then it goes on: nothing is torn, lost or given twice. At every other point
// a signal's handler runs there, too.
#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "crash/caller.h"
#include "crash/memory.h"
#include "crash/reporting.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

constexpr size_t kSize = 48;
constexpr uint64_t kFurthest = 500;  // instruction of a call

// The peer of a writer: it reads everything that there is, and nothing else.
class Reading {
 public:
  Reading(Caller& caller, bool is_queue) : caller_(caller), is_queue_(is_queue) {}

  // False: something else came.
  bool read_all() {
    for (;; ++messages_) {
      const Answer answer = caller_.peer_actor().act(caller_.peer(), Act::kRead);
      if (answer != Answer::kDone) return answer == Answer::kNothing;
      const uint64_t number = caller_.peer_actor().number_read();
      if (is_queue_ ? number != last_ + 1 : number <= last_) return false;
      last_ = number;
    }
  }
  uint64_t last() const { return last_; }
  uint64_t messages() const { return messages_; }

 private:
  Caller& caller_;
  bool is_queue_;
  uint64_t last_ = 0;
  uint64_t messages_ = 0;
};

class StopAndGo : public LinkTest {
 protected:
  // What somebody else does to the control page while the process stands still: a
  // fault that must be found.
  using Spoil = std::function<void(const ChannelMemory&)>;

  void stop_everywhere(ESHMDelivery delivery, const std::vector<Act>& calls);
  // One process's worth of points: its messages have numbers of their own. What
  // did not hold, in words.
  std::string stop_often(const Scene& scene, const std::vector<Act>& calls, const Spoil& spoil);

  Random random_;
  uint64_t points_ = 0;
  uint64_t wanted_ = 0;
  uint64_t read_ = 0;
};

std::string StopAndGo::stop_often(const Scene& scene, const std::vector<Act>& calls,
                                  const Spoil& spoil) {
  const bool is_writer = is_writers(calls[0]);
  Caller caller(config(ESHM_ROLE_AUTO), scene, calls);
  if (HasFailure()) return "no link";
  const LinkMemory memory(path(), direction_of(scene));
  Reading reading(caller, scene.delivery == ESHM_DELIVERY_QUEUE);
  Actor& peer = caller.peer_actor();
  uint64_t written = 0;  // by the process that is stopped
  while (points_ < wanted_ && peer.next_number() + written + 100 < Letters::kMost) {
    for (const Act call : calls) {
      if (!is_writer && call != Act::kRelease) peer.act(caller.peer(), Act::kWrite);
      const uint64_t stop = random_.up_to(kFurthest);
      const std::string where =
          std::string(name_of(call)) + " at instruction " + std::to_string(stop);
      if (caller.child().run_to_mark() != Stepper::Stop::kMarked) return "before " + where;
      Stepper::Stop now = Stepper::Stop::kStepped;
      for (uint64_t i = 0; i < stop && now == Stepper::Stop::kStepped; ++i) {
        now = caller.child().step();
      }
      if (now == Stepper::Stop::kStepped) {
        ++points_;
        if (random_.up_to(1) == 0) kill(caller.child().pid(), SIGUSR2);
      }
      if (spoil) spoil(memory);
      if (is_writer) {
        if (!reading.read_all()) return "a read during " + where;
        if (reading.last() < written) return "not the last good value during " + where;
      } else {
        for (uint64_t i = random_.up_to(10); i > 0; --i) peer.act(caller.peer(), Act::kWrite);
      }
      if (now == Stepper::Stop::kStepped) now = caller.child().run_to_mark();
      if (now != Stepper::Stop::kMarked) return "no end of " + where;
      if (call == Act::kWrite || call == Act::kPublish) ++written;
      if (is_writer && (!reading.read_all() || reading.last() != written)) {
        return "a read after " + where;
      }
      if (!is_writer) ++read_;
    }
  }
  read_ += reading.messages();
  return "";
}

void StopAndGo::stop_everywhere(ESHMDelivery delivery, const std::vector<Act>& calls) {
  wanted_ = count(150, 3200);  // sixteen times that in all
  while (points_ < wanted_) {
    const bool is_master = random_.up_to(1) == 0;
    const Scene scene = {delivery, kSize, {}, calls[0], is_master, false};
    ASSERT_EQ(stop_often(scene, calls, {}), "") << (is_master ? "master" : "slave");
  }
  std::printf("%llu points, %llu messages read, ESHM_SEED=%llu\n",
              static_cast<unsigned long long>(points_), static_cast<unsigned long long>(read_),
              static_cast<unsigned long long>(seed()));
  tally("stop_continue", points_);
  EXPECT_GT(read_, points_ / 8);
}

const std::vector<Act> kCopiedIn = {Act::kWrite}, kLent = {Act::kLoan, Act::kPublish},
                       kCopiedOut = {Act::kRead}, kBorrowed = {Act::kBorrow, Act::kRelease};

#define STOP_AND_GO(name, delivery, calls)                \
  TEST_P(StopAndGo, name) {                               \
    SKIP_WITHOUT_STEPS();                                 \
    stop_everywhere(delivery, calls);                     \
  }

STOP_AND_GO(ReaderOfAStoppedLatestWriterHasTheLastGoodValue, ESHM_DELIVERY_LATEST, kCopiedIn)
STOP_AND_GO(ReaderOfAStoppedLatestLenderHasTheLastGoodValue, ESHM_DELIVERY_LATEST, kLent)
STOP_AND_GO(StoppedLatestReaderGetsAWholeAndNewerValue, ESHM_DELIVERY_LATEST, kCopiedOut)
STOP_AND_GO(StoppedLatestBorrowerGetsAWholeAndNewerValue, ESHM_DELIVERY_LATEST, kBorrowed)
STOP_AND_GO(ReaderOfAStoppedQueueWriterGetsEachMessageOnce, ESHM_DELIVERY_QUEUE, kCopiedIn)
STOP_AND_GO(ReaderOfAStoppedQueueLenderGetsEachMessageOnce, ESHM_DELIVERY_QUEUE, kLent)
STOP_AND_GO(StoppedQueueReaderGetsEachMessageOnce, ESHM_DELIVERY_QUEUE, kCopiedOut)
STOP_AND_GO(StoppedQueueBorrowerGetsEachMessageOnce, ESHM_DELIVERY_QUEUE, kBorrowed)

// Room that is not free: the peer writes over what is unread.
TEST_P(StopAndGo, QueueReaderWhoseMessagesAreOverwrittenIsFound) {
  SKIP_WITHOUT_STEPS();
  wanted_ = 300;
  const Scene scene = {ESHM_DELIVERY_QUEUE, kSize, {}, Act::kRead, false, false};
  const std::string fault = stop_often(scene, kCopiedOut, [](const ChannelMemory& memory) {
    memory.reader().position =
        reinterpret_cast<eshm::layout::DataArea*>(memory.view().data)->publish.published.load();
  });
  EXPECT_NE(fault, "");
  // An end that finds the other's position corrupt lets go of the link, and of its name.
  remove_name_of_the_killed();
}

ESHM_ON_BOTH_BACKENDS(StopAndGo);

}  // namespace
