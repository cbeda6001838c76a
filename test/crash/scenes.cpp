// SPDX-License-Identifier: MIT
#include "crash/scenes.h"

#include "support/counts.h"

namespace test {

Script operator+(Script one, const Script& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

Script times(int count, const Script& script) {
  Script all;
  for (int i = 0; i < count; ++i) all = all + script;
  return all;
}

namespace {
constexpr Act W = Act::kWrite, R = Act::kRead, L = Act::kLoan, B = Act::kBorrow;
}  // namespace

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

std::vector<Act> calls(bool of_writer) {
  if (of_writer) {
    return {Act::kWrite,   Act::kWriteWaiting,  Act::kLoan,
            Act::kPublish, Act::kPublishNewest, Act::kDiscard};
  }
  return {Act::kRead,   Act::kReadMsg, Act::kReadWaiting,
          Act::kBorrow, Act::kRelease, Act::kReleaseNewest};
}

std::vector<Scene> scenes(ESHMDelivery delivery, bool of_writer) {
  constexpr size_t kLongScript = 15;  // those that have gone round
  std::vector<Scene> all;
  for (const Script& script : beginnings(delivery)) {
    for (const Act act : calls(of_writer)) {
      for (const size_t largest : {kShortMessage, kLongMessage}) {
        if (largest == kLongMessage && !soak() && script.size() < kLongScript) continue;
        Scene scene = {delivery, largest, script, act, of_writer, false};
        if (!PlayedScene(scene).is_possible()) continue;
        for (int variant = 0; variant < (soak() ? 4 : 1); ++variant) {
          const size_t turn = all.size();
          scene.is_master = turn % 2 == 0;
          scene.is_awaited = turn / 2 % 2 == 0;
          all.push_back(scene);
        }
      }
    }
  }
  return all;
}

}  // namespace test
