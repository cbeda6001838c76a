// SPDX-License-Identifier: MIT
// A slave is stopped at any instruction of a call, its hung master is replaced and
// tries to write one thing more, then the slave goes on: it takes nothing that was
// written behind the mark, loses nothing that lies before it, and is at the new
// master's.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "crash/hung_soon.h"
#include "crash/memory.h"
#include "crash/reporting.h"
#include "crash/stepper.h"
#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/player.h"

namespace {

using namespace test;

constexpr char kOld[] = "before the mark", kGrave[] = "behind the mark", kNew[] = "the new one's";
constexpr char kFirst[] = "first", kLast[] = "last";  // the slave's
constexpr int kHeardTheGrave = 20, kLostTheOld = 21, kRefused = 22;  // exit codes

enum class Call { kRead, kBorrow, kWrite };
const char* name_of(Call call) {
  return call == Call::kRead ? "read" : call == Call::kBorrow ? "borrow" : "write";
}

class SlaveStopped : public HungSoon {
 protected:
  // Whether it stood in the call. `is_blind`: nobody in the old segment sees the mark.
  bool stop_at(ESHMDelivery delivery, Call call, uint64_t step, bool is_blind = false);
  void stop_everywhere(Call call);

  uint64_t refused_ = 0;
};

std::string borrowed_text(ESHMHandle* link) {
  ESHMView view = {};
  const int code = eshm_borrow(link, &view, 0);
  if (code != ESHM_SUCCESS) return error(code);
  const std::string text(static_cast<const char*>(view.data), view.size);
  return eshm_release(link, &view) == ESHM_SUCCESS ? text : "not released";
}

// Until the new master's message comes. The old one's comes at most once, and of a
// queue once.
int hear_the_new_one(ESHMHandle* link, std::string text, bool is_queue) {
  int olds = 0;
  for (; text != kNew; text = read_text(link, 1)) {
    if (text == kGrave) return kHeardTheGrave;
    olds += text == kOld;
    CHILD_CHECK(text == kOld || text == error(ESHM_ERROR_NO_DATA) ||
                text == error(ESHM_ERROR_TIMEOUT) || text.empty());
  }
  return olds > 1 || (is_queue && olds == 0) ? kLostTheOld : 0;
}

int slave_of_both(const ESHMConfig& config, Call call) {
  const Link link = open_link(config);
  CHILD_CHECK(link);
  mark();
  std::string text;
  int code = ESHM_SUCCESS;
  mark();
  if (call == Call::kRead) text = read_text(link.get(), 0);
  if (call == Call::kBorrow) text = borrowed_text(link.get());
  if (call == Call::kWrite) code = write_text(link.get(), kFirst);
  mark();
  const int heard =
      hear_the_new_one(link.get(), text, config.m2s.delivery == ESHM_DELIVERY_QUEUE);
  if (heard != 0) return heard;
  while (write_text(link.get(), kLast) != ESHM_SUCCESS) {
  }
  mark();
  return code == ESHM_SUCCESS ? 0 : kRefused;
}

bool SlaveStopped::stop_at(ESHMDelivery delivery, Call call, uint64_t step, bool is_blind) {
  Child old_master = obeying(quiet(ESHM_ROLE_MASTER, delivery));
  EXPECT_EQ(old_master.hear(), "open");
  Stepper slave([&] { return slave_of_both(quiet(ESHM_ROLE_SLAVE, delivery), call); });
  EXPECT_EQ(slave.run_to_mark(), Stepper::Stop::kMarked);
  EXPECT_EQ(ask(old_master, "write " + std::string(kOld)), "0");
  EXPECT_EQ(slave.run_to_mark(), Stepper::Stop::kMarked);
  bool is_inside = true;
  for (uint64_t i = 0; i < step && is_inside; ++i) {
    is_inside = slave.step() == Stepper::Stop::kStepped;
  }

  const LinkMemory old_memory(path(), eshm::layout::kMasterToSlave);
  const Link master = open_link(quiet(ESHM_ROLE_MASTER, delivery));
  EXPECT_TRUE(master) << last_error();
  if (!master) return false;
  EXPECT_EQ(write_text(master.get(), kNew), ESHM_SUCCESS);
  if (is_blind) old_memory.page().mark.superseded = 0;
  const std::string grave = ask(old_master, "write " + std::string(kGrave));
  expect(grave == std::to_string(ESHM_ERROR_SUPERSEDED), "the old master hears " + grave);

  const bool was_inside = is_inside;
  if (is_inside) slave.run_to_mark();
  const bool is_at_the_new_one = slave.run_to_mark() == Stepper::Stop::kMarked;
  std::vector<std::string> heard;
  while (is_at_the_new_one && (heard.empty() || heard.back() != kLast)) {
    const std::string text = read_text(master.get(), 1);
    if (text.compare(0, 5, "error") != 0) heard.push_back(text);
  }
  const int end = slave.finish();
  expect(end == 0 || end == kRefused,
         end == kHeardTheGrave ? "what was written behind the mark is read"
         : end == kLostTheOld  ? "what was written before the mark is lost, or given twice"
                               : "exit code " + std::to_string(end));
  const bool may_come = call == Call::kWrite && end != kRefused;
  const bool must_come = may_come && delivery == ESHM_DELIVERY_QUEUE;
  const bool has_come = heard == std::vector<std::string>{kFirst, kLast};
  expect(has_come ? may_come : !must_come && heard == std::vector<std::string>{kLast},
         "the new master reads " + std::to_string(heard.size()) + " messages, " +
             (heard.empty() ? "none" : heard[0]) + " first");
  refused_ += end == kRefused;
  leave(old_master);
  return was_inside && !HasFailure();
}

void SlaveStopped::stop_everywhere(Call call) {
  const Part part{count(121, 4)};
  uint64_t points = 0;
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    for (uint64_t step = part.begin;; step += part.stride) {
      SCOPED_TRACE(std::string(name_of(call)) + ", stopped at instruction " +
                   std::to_string(step) +
                   (delivery == ESHM_DELIVERY_QUEUE ? ", queue" : ", latest") +
                   ", ESHM_SEED=" + std::to_string(seed()));
      const bool is_inside = stop_at(delivery, call, step);
      ASSERT_TRUE(faults_.empty()) << all_of(faults_);
      if (!is_inside) break;
      ++points;
    }
  }
  std::printf("%s: %llu points, %llu times refused\n", part.text().c_str(),
              static_cast<unsigned long long>(points), static_cast<unsigned long long>(refused_));
  tally("stop_continue", points);
  EXPECT_GT(points, 2u);
}

TEST_P(SlaveStopped, ReaderTakesNothingFromBehindTheMarkAndFollows) {
  SKIP_WITHOUT_STEPS();
  stop_everywhere(Call::kRead);
}

TEST_P(SlaveStopped, BorrowerTakesNothingFromBehindTheMarkAndFollows) {
  SKIP_WITHOUT_STEPS();
  stop_everywhere(Call::kBorrow);
}

TEST_P(SlaveStopped, WriterIsHeardByTheNewMasterWhenItWasToldSo) {
  SKIP_WITHOUT_STEPS();
  stop_everywhere(Call::kWrite);
}

TEST_P(SlaveStopped, ReaderThatDoesNotSeeTheMarkIsFound) {
  SKIP_WITHOUT_STEPS();
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    faults_.clear();
    stop_at(delivery, Call::kRead, 3, true);
    EXPECT_NE(all_of(faults_).find("behind the mark is read"), std::string::npos)
        << all_of(faults_);
  }
}

ESHM_ON_BOTH_BACKENDS(SlaveStopped);

}  // namespace
