// SPDX-License-Identifier: MIT
// Processes that are killed in a call of the data path, before it and after each
// step that changed shared bytes (a death elsewhere leaves the same), before the
// eyes of a real peer, which goes on with a real successor.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "crash/left_alone.h"
#include "crash/reporting.h"
#include "crash/scenes.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;
using namespace eshm;

class KilledCalls : public LinkTest {
 protected:
  void kill_everywhere(const Scene& scene);
  // Whether it was killed before the call's end.
  bool kill_after(const Scene& scene, uint64_t changes, const Spoil& spoil = {});
  void look(const Scene& scene, const PlayedScene& played, SteppedCall& call);
  void expect(bool condition, const std::string& what) {
    if (!condition) faults_.push_back(what);
  }

  std::vector<std::string> faults_;
};

// Somebody at a real link.
struct Person {
  LinkEnd end;
  Actor actor;

  Numbers drain() {
    Numbers numbers;
    while (actor.act(end, Act::kRead) == Answer::kDone) numbers.push_back(actor.number_read());
    return numbers;
  }
  bool is_heard_by(Person& reader) {
    const uint64_t number = actor.next_number();
    return actor.act(end, Act::kWrite) == Answer::kDone && reader.drain() == Numbers{number};
  }
};

void KilledCalls::look(const Scene& scene, const PlayedScene& played, SteppedCall& call) {
  const Ledger& before = played.before().ledger;
  const Ledger& after = played.after().ledger;
  ESHMConfig config = quiet_link(this->config(scene.is_master ? ESHM_ROLE_MASTER : ESHM_ROLE_SLAVE),
                                 scene);
  const Link successor = open_link(config);
  ASSERT_TRUE(successor) << last_error();
  Person peer = {LinkEnd(call.peer()), call.peer_actor()};
  Person next = {LinkEnd(successor.get()), Actor(played.letters(), true)};
  if (is_writers(scene.act)) {
    next.actor.go_on_with(kFirstOfSuccessor);
    const auto unread = [](const Ledger& ledger, size_t begin) {
      const Numbers all = ledger.recovered();
      return Numbers(all.begin() + static_cast<std::ptrdiff_t>(begin), all.end());
    };
    const Numbers read = peer.drain();
    expect(read == unread(before, before.handed_out()) ||
               read == unread(after, before.handed_out()),
           "the reader goes on with " + text_of(read));
    for (int i = 0; i < 8; ++i) expect(next.is_heard_by(peer), "the successor is not heard");
  } else {
    const Numbers all = before.visible();
    const Numbers read = next.drain();
    const size_t begin = all.size() - std::min(read.size(), all.size());
    expect(read == Numbers(all.begin() + static_cast<std::ptrdiff_t>(begin), all.end()),
           "the successor reads " + text_of(read));
    expect(begin >= before.first_unconsumed(), "shown again: " + text_of(read));
    expect(begin <= after.first_unconsumed(), "lost before " + text_of(read));
    for (int i = 0; i < 8; ++i) expect(peer.is_heard_by(next), "the writer is not heard");
  }
}

// False: its end came first.
bool step_to_change(SteppedCall& call) {
  const Image before = call.memory().image();
  while (call.memory().equals(before)) {
    if (call.child().step() != Stepper::Stop::kStepped) return false;
  }
  return true;
}

bool KilledCalls::kill_after(const Scene& scene, uint64_t changes, const Spoil& spoil) {
  const PlayedScene played(scene);
  SteppedCall call(config(ESHM_ROLE_AUTO), scene, played);
  if (HasFailure()) return false;
  for (; changes > 0; --changes) {
    if (!step_to_change(call)) {
      call.child().kill_now();
      return false;
    }
  }
  call.child().kill_now();
  if (spoil) spoil(call.memory());
  look(scene, played, call);
  return !HasFailure();
}

void KilledCalls::kill_everywhere(const Scene& scene) {
  uint64_t kills = 0;
  for (uint64_t changes = 0;; ++changes) {
    SCOPED_TRACE(describe(scene) + ", killed after " + std::to_string(changes) + " changes");
    if (!kill_after(scene, changes)) break;
    ++kills;
    ASSERT_TRUE(faults_.empty()) << all_of(faults_);
  }
  std::printf("%s: %llu killed\n", describe(scene).c_str(), static_cast<unsigned long long>(kills));
  tally("real_kills", kills);
  EXPECT_GT(kills, 0u);
}

constexpr Act W = Act::kWrite, R = Act::kRead;

TEST_P(KilledCalls, ReaderAndSuccessorGoOnWithTheQueueOfAKilledWriter) {
  SKIP_WITHOUT_STEPS();
  const Script begun = times(3, {W, R}) + Script{W, W};
  kill_everywhere({ESHM_DELIVERY_QUEUE, kShortMessage, begun, W, true, true});
  kill_everywhere({ESHM_DELIVERY_QUEUE, kShortMessage, begun + Script{Act::kLoan, W}, Act::kPublish,
                   false, false});
}

TEST_P(KilledCalls, WriterAndSuccessorGoOnWithTheQueueOfAKilledReader) {
  SKIP_WITHOUT_STEPS();
  const Script begun = times(3, {W, R}) + Script{Act::kFill, R};
  kill_everywhere({ESHM_DELIVERY_QUEUE, kShortMessage, begun, R, false, true});
  kill_everywhere({ESHM_DELIVERY_QUEUE, kShortMessage, begun + Script{Act::kBorrow}, Act::kRelease,
                   true, false});
}

TEST_P(KilledCalls, AReaderThatConsumedWhatItHadNotReadIsFound) {
  SKIP_WITHOUT_STEPS();
  const Scene scene = {ESHM_DELIVERY_QUEUE, kShortMessage, {W, W, W}, R, false, false};
  ASSERT_TRUE(kill_after(scene, 0, [](const ChannelMemory& memory) {
    memory.reader().position =
        reinterpret_cast<layout::DataArea*>(memory.view().data)->publish.published.load();
  }));
  EXPECT_NE(all_of(faults_).find("lost before"), std::string::npos) << all_of(faults_);
}

ESHM_ON_BOTH_BACKENDS(KilledCalls);

}  // namespace
