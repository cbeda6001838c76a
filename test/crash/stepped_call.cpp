// SPDX-License-Identifier: MIT
#include "crash/stepped_call.h"

#include <gtest/gtest.h>

#include <memory>

#include "support/child.h"

namespace test {

using namespace eshm;

namespace {

// Makes it a ring of four or five largest messages.
constexpr uint64_t kQueueMessages = 5;

layout::ChannelShape shape_of(const Scene& scene) {
  layout::ChannelShape shape;
  shape.delivery = scene.delivery;
  shape.max_borrows = shape.max_loans = kBorrowsAndLoans;
  shape.max_message_bytes = scene.largest;
  if (scene.delivery == ESHM_DELIVERY_QUEUE) {
    shape.queue_bytes = kQueueMessages * (scene.largest + layout::kRecordUnit);
  }
  return shape;
}

bool can_act(const Twins& twins, const Scene& scene) {
  const Ledger& ledger = twins.ledger;
  switch (scene.act) {
    case Act::kPublish:
    case Act::kPublishNewest:
    case Act::kDiscard:
      return !twins.writing.loans().empty();
    case Act::kRelease:
    case Act::kReleaseNewest:
      return !twins.reading.borrows().empty();
    case Act::kWriteWaiting:
    case Act::kFill:
      return scene.delivery == ESHM_DELIVERY_QUEUE;
    case Act::kReadWaiting:
      return scene.delivery == ESHM_DELIVERY_QUEUE
                 ? ledger.handed_out() == ledger.visible().size()
                 : scene.script.empty() || scene.script.back() == Act::kRead;
    default:
      return true;
  }
}

Twins played(const ChannelMemory& memory, const Letters& letters, const Scene& scene) {
  Twins twins(memory, letters);
  for (const Act act : scene.script) twins.act(act);
  if (can_act(twins, scene)) twins.writing.prepare(scene.act);
  return twins;
}

int play(const ESHMConfig& config, const Scene& scene, const Letters& letters, Answer expected,
         uint64_t number_read) {
  const Link link = open_link(config);
  CHILD_CHECK(link);
  mark();
  LinkEnd end(link.get());
  Actor actor(letters, scene.delivery == ESHM_DELIVERY_QUEUE);
  for (const Act act : scene.script) {
    if (is_writers(act) != is_writers(scene.act)) continue;
    CHILD_CHECK(actor.act(end, act) != Answer::kOther);
    mark();
  }
  CHILD_CHECK(actor.act(end, scene.act, {mark, mark}) == expected);
  if (!is_writers(scene.act)) CHILD_CHECK(actor.number_read() == number_read);
  return 0;
}

}  // namespace

std::string describe(const Scene& scene) {
  std::string text = scene.delivery == ESHM_DELIVERY_QUEUE ? "queue" : "latest";
  text += scene.is_master ? ", master" : ", slave";
  text += ", largest " + std::to_string(scene.largest) + ", after";
  for (const Act act : scene.script) text += std::string(" ") + name_of(act) + ",";
  if (scene.is_awaited) text += " awaited,";
  return text + " stepped: " + name_of(scene.act);
}

layout::ChannelGeometry geometry_of(const Scene& scene) {
  return layout::plan_channel(shape_of(scene));
}

uint32_t direction_of(const Scene& scene) {
  return scene.is_master == is_writers(scene.act) ? layout::kMasterToSlave
                                                  : layout::kSlaveToMaster;
}

PlayedScene::PlayedScene(const Scene& scene)
    : letters_(scene.largest),
      bench_(geometry_of(scene), direction_of(scene)),
      before_(played(bench_, letters_, scene)),
      after_(before_),
      image_before_(bench_.image()),
      is_possible_(can_act(before_, scene)) {
  if (is_possible_) answer_ = after_.act(scene.act);
}

ESHMConfig quiet_link(const ESHMConfig& config, const Scene& scene) {
  const layout::ChannelShape shape = shape_of(scene);
  ESHMConfig quiet = config;
  quiet.use_threads = false;
  quiet.spin_us = 0;
  quiet.stale_threshold_ms = 600'000;  // a stepped process is slow, not hung
  quiet.disconnect_behavior = ESHM_DISCONNECT_NEVER;
  for (ESHMChannelConfig* channel : {&quiet.m2s, &quiet.s2m}) {
    channel->delivery = scene.delivery;
    channel->max_borrows = channel->max_loans = kBorrowsAndLoans;
    channel->max_message_size = shape.max_message_bytes;
    if (scene.delivery == ESHM_DELIVERY_QUEUE) channel->queue_capacity = shape.queue_bytes;
  }
  return quiet;
}

SteppedCall::SteppedCall(const ESHMConfig& config, const Scene& scene, const PlayedScene& played)
    : peer_actor_(played.letters(), scene.delivery == ESHM_DELIVERY_QUEUE) {
  ESHMConfig childs = quiet_link(config, scene);
  childs.role = scene.is_master ? ESHM_ROLE_MASTER : ESHM_ROLE_SLAVE;
  ESHMConfig peers = childs;
  peers.role = scene.is_master ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  if (!scene.is_master) peer_ = open_link(peers);
  child_ = std::make_unique<Stepper>([&] {
    return play(childs, scene, played.letters(), played.answer(),
                played.after().reading.number_read());
  });
  const auto let_child_act = [&] {
    EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked) << describe(scene);
  };
  let_child_act();
  if (scene.is_master) peer_ = open_link(at_once(peers));
  EXPECT_TRUE(peer_) << last_error();
  if (!peer_) return;
  LinkEnd end(peer_.get());
  for (const Act act : scene.script) {
    if (is_writers(act) == is_writers(scene.act)) {
      let_child_act();
    } else {
      EXPECT_NE(peer_actor_.act(end, act), Answer::kOther) << describe(scene);
    }
  }
  let_child_act();
  memory_ = std::make_unique<LinkMemory>(path_of(config.shm_name), direction_of(scene));
  if (scene.is_awaited) (is_writers(scene.act) ? memory_->wake() : memory_->room()).announced = 1;
}

}  // namespace test
