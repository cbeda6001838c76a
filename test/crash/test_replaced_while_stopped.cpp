// SPDX-License-Identifier: MIT
// A master is stopped at any instruction of a call and replaced, its slave works
// with the successor, then it goes on: nothing of it counts any more, and its next
// call says SUPERSEDED.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "crash/hung_soon.h"
#include "crash/ends.h"
#include "crash/memory.h"
#include "crash/reporting.h"
#include "crash/stepped_call.h"
#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

constexpr int kWasHeard = 0, kWasSuperseded = 10;  // exit codes
constexpr char kOld[] = "of the old master", kNew[] = "of the new master";
constexpr char kEarly[] = "early", kLate[] = "late";  // the slave's

class ReplacedWhileStopped : public HungSoon {
 protected:
  enum class Fault {
    kNone,
    kLies,     // the old master says that it was heard, whatever it was told
    kIsBlind,  // it does not see the mark
  };
  // Whether it came so far.
  bool stop_at(ESHMDelivery delivery, bool is_writer, uint64_t step, Fault fault = Fault::kNone);
  void stop_everywhere(bool is_writer);

  uint64_t heard_ = 0;
  uint64_t superseded_ = 0;
  uint64_t heard_before_ = 0;  // the mark, and superseded none the less
};

int write_once(ESHMHandle* link, bool is_lying) {
  mark();
  const int code = write_text(link, kOld);
  mark();
  CHILD_CHECK(code == ESHM_SUCCESS || code == ESHM_ERROR_SUPERSEDED);
  CHILD_CHECK(write_text(link, kOld) == ESHM_ERROR_SUPERSEDED);
  return code == ESHM_SUCCESS || is_lying ? kWasHeard : kWasSuperseded;
}

int read_once(ESHMHandle* link) {
  mark();
  const std::string text = read_text(link, 0);
  mark();
  const std::string refused = "error " + std::to_string(ESHM_ERROR_SUPERSEDED);
  CHILD_CHECK(text == kEarly || text == refused);
  CHILD_CHECK(read_text(link, 0) == refused);
  CHILD_CHECK(write_text(link, kOld) == ESHM_ERROR_SUPERSEDED);
  return text == kEarly ? kWasHeard : kWasSuperseded;
}

bool ReplacedWhileStopped::stop_at(ESHMDelivery delivery, bool is_writer, uint64_t step,
                                   Fault fault) {
  Stepper old_master([&] {
    const Link link = open_link(quiet(ESHM_ROLE_MASTER, delivery));
    CHILD_CHECK(link);
    mark();
    return is_writer ? write_once(link.get(), fault == Fault::kLies) : read_once(link.get());
  });
  EXPECT_EQ(old_master.run_to_mark(), Stepper::Stop::kMarked);
  Link slave = open_link(at_once(quiet(ESHM_ROLE_SLAVE, delivery)));
  EXPECT_TRUE(slave) << last_error();
  if (!slave) return false;
  EXPECT_EQ(write_text(slave.get(), kEarly), ESHM_SUCCESS);
  EXPECT_EQ(old_master.run_to_mark(), Stepper::Stop::kMarked);
  bool is_inside = true;
  for (uint64_t i = 0; i < step && is_inside; ++i) {
    is_inside = old_master.step() == Stepper::Stop::kStepped;
  }
  const bool was_heard_before = read_text(slave.get(), 0) == kOld;

  const LinkMemory old_memory(path(), eshm::layout::kSlaveToMaster);
  Link master = open_link(quiet(ESHM_ROLE_MASTER, delivery));
  EXPECT_TRUE(master) << last_error();
  if (!master) return false;
  EXPECT_EQ(write_text(master.get(), kNew), ESHM_SUCCESS);
  uint64_t olds = was_heard_before ? 1 : 0;
  for (std::string text; text != kNew;) {
    text = read_text(slave.get(), 1);
    if (text == kOld) ++olds;
  }
  while (write_text(slave.get(), kLate) != ESHM_SUCCESS) {
  }
  while (read_text(master.get(), 1) != kLate) {
  }
  if (fault == Fault::kIsBlind) old_memory.page().mark.superseded = 0;
  if (is_inside) old_master.run_to_mark();
  const int end = old_master.finish();
  expect(end == kWasHeard || end == kWasSuperseded, "exit code " + std::to_string(end));
  expect(olds <= (is_writer ? 1 : 0), "a message was given twice");
  const bool must_be_heard = is_writer && delivery == ESHM_DELIVERY_QUEUE && end == kWasHeard;
  expect(!must_be_heard || olds == 1, "a message that was said to be written is lost");
  ++(end == kWasHeard ? heard_ : superseded_);
  if (is_writer && olds == 1 && end == kWasSuperseded) ++heard_before_;
  // What the old one did since then is nothing to the two.
  const std::string after = read_text(slave.get(), 0);
  expect(after == "error " + std::to_string(ESHM_ERROR_NO_DATA), "the slave reads " + after);
  expect(write_text(master.get(), kNew) == ESHM_SUCCESS, "the new master cannot write");
  const std::string next = read_text(slave.get(), UINT32_MAX);
  expect(next == kNew, "the slave reads " + next);
  return is_inside && !HasFailure();
}

void ReplacedWhileStopped::stop_everywhere(bool is_writer) {
  const Part part{count(121, 2)};
  uint64_t points = 0;
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    for (uint64_t step = part.begin;; step += part.stride) {
      SCOPED_TRACE("stopped at instruction " + std::to_string(step) +
                   (delivery == ESHM_DELIVERY_QUEUE ? ", queue" : ", latest") +
                   ", ESHM_SEED=" + std::to_string(seed()));
      const bool is_inside = stop_at(delivery, is_writer, step);
      ASSERT_TRUE(faults_.empty()) << all_of(faults_);
      if (!is_inside) break;
      ++points;
    }
  }
  std::printf("%s: %llu points: success %llu times, superseded %llu, %llu of them with a message "
              "that was read before\n",
              part.text().c_str(), static_cast<unsigned long long>(points), static_cast<unsigned long long>(heard_),
              static_cast<unsigned long long>(superseded_),
              static_cast<unsigned long long>(heard_before_));
  tally("stop_continue", points);
  EXPECT_GT(heard_, 0u);
  EXPECT_GT(superseded_, 0u);
}

TEST_P(ReplacedWhileStopped, WriterIsHeardByNobodyAndLearnsIt) {
  SKIP_WITHOUT_STEPS();
  stop_everywhere(true);
}

TEST_P(ReplacedWhileStopped, ReaderHearsNothingNewAndLearnsIt) {
  SKIP_WITHOUT_STEPS();
  stop_everywhere(false);
}

TEST_P(ReplacedWhileStopped, WriterThatSaysThatItWasHeardIsFound) {
  SKIP_WITHOUT_STEPS();
  ASSERT_TRUE(stop_at(ESHM_DELIVERY_QUEUE, true, 0, Fault::kLies));
  EXPECT_NE(all_of(faults_).find("is lost"), std::string::npos) << all_of(faults_);
}

TEST_P(ReplacedWhileStopped, OneThatDoesNotSeeTheMarkIsFound) {
  SKIP_WITHOUT_STEPS();
  // Stopped before it looks at its name, it learns it there.
  for (const bool is_writer : {false, true}) {
    faults_.clear();
    bool is_inside = true;
    for (uint64_t step = 0; is_inside && faults_.empty(); step += 25) {
      is_inside = stop_at(ESHM_DELIVERY_QUEUE, is_writer, step, Fault::kIsBlind);
    }
    EXPECT_NE(all_of(faults_).find("exit code 1"), std::string::npos) << all_of(faults_);
  }
}

ESHM_ON_BOTH_BACKENDS(ReplacedWhileStopped);

}  // namespace
