// SPDX-License-Identifier: MIT
#include "crash/caller.h"

#include <gtest/gtest.h>

#include <csignal>

#include "support/child.h"

namespace test {

namespace {

// Every call answers, every message read is whole, and newer than the one before;
// in a queue the very next one.
int call_for_ever(const ESHMConfig& config, const Scene& scene, const std::vector<Act>& calls,
                  const Letters& letters) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(SIGUSR2, &action, nullptr);
  const Link link = open_link(config);
  CHILD_CHECK(link);
  mark();
  LinkEnd end(link.get());
  const bool is_queue = scene.delivery == ESHM_DELIVERY_QUEUE;
  Actor actor(letters, is_queue);
  uint64_t last = 0;
  for (;;) {
    for (const Act act : calls) {
      CHILD_CHECK(actor.act(end, act, {mark, mark}) == Answer::kDone);
      if (is_writers(act) || act == Act::kRelease) continue;
      const uint64_t number = actor.number_read();
      CHILD_CHECK(is_queue ? number == last + 1 : number > last);
      last = number;
    }
  }
}

}  // namespace

Caller::Caller(const ESHMConfig& config, const Scene& scene, const std::vector<Act>& calls)
    : letters_(scene.largest), peer_actor_(letters_, scene.delivery == ESHM_DELIVERY_QUEUE) {
  ESHMConfig childs = quiet_link(config, scene);
  childs.role = scene.is_master ? ESHM_ROLE_MASTER : ESHM_ROLE_SLAVE;
  ESHMConfig peers = childs;
  peers.role = scene.is_master ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  if (!scene.is_master) peer_ = open_link(peers);
  child_ = std::make_unique<Stepper>([&] { return call_for_ever(childs, scene, calls, letters_); });
  EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
  if (scene.is_master) peer_ = open_link(at_once(peers));
  EXPECT_TRUE(peer_) << last_error();
  peer_end_ = std::make_unique<LinkEnd>(peer_.get());
}

}  // namespace test
