// SPDX-License-Identifier: MIT
// One call of the data path on a real link, stepped from its first instruction
// to its last, and the twins of its two ends.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crash/left_alone.h"
#include "crash/memory.h"
#include "crash/twins.h"
#include "support/link.h"

namespace test {

using Script = std::vector<Act>;

struct Scene {
  ESHMDelivery delivery;
  size_t largest;
  Script script;  // what both ends did before
  Act act;        // what is stepped
  bool is_master;   // the one that is stepped
  bool is_awaited;  // the peer has announced that it sleeps: the call rings
};
std::string describe(const Scene& scene);

constexpr uint32_t kBorrowsAndLoans = 2;
eshm::layout::ChannelGeometry geometry_of(const Scene& scene);
uint32_t direction_of(const Scene& scene);

// A scene played by twins: before the call, and after it.
class PlayedScene {
 public:
  explicit PlayedScene(const Scene& scene);
  // The call means something then: there is a loan to publish, and so on.
  bool is_possible() const { return is_possible_; }
  const Twins& before() const { return before_; }
  const Twins& after() const { return after_; }
  Answer answer() const { return answer_; }
  const Letters& letters() const { return letters_; }
  Arena& bench() { return bench_; }
  const Image& image_before() const { return image_before_; }
  // Of the bench now.
  void load(const Image& image) { bench_.load(image); }

 private:
  Letters letters_;
  Arena bench_;
  Twins before_;
  Twins after_;
  Image image_before_;
  Answer answer_ = Answer::kOther;
  bool is_possible_;
};

// Nothing but the calls themselves changes the memory.
ESHMConfig quiet_link(const ESHMConfig& config, const Scene& scene);

// The link of a scene, its stepped process standing right before the call.
class SteppedCall {
 public:
  // `config` names the link.
  SteppedCall(const ESHMConfig& config, const Scene& scene, const PlayedScene& played);
  Stepper& child() { return *child_; }
  const LinkMemory& memory() const { return *memory_; }
  ESHMHandle* peer() const { return peer_.get(); }
  Actor& peer_actor() { return peer_actor_; }

 private:
  Link peer_;
  std::unique_ptr<Stepper> child_;
  std::unique_ptr<LinkMemory> memory_;
  Actor peer_actor_;
};

}  // namespace test
