// SPDX-License-Identifier: MIT
// A process that makes one call after the other, each between two marks, and a
// peer that works while it stands still.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "crash/stepped_call.h"

namespace test {

// The scene's script is what both did before; `calls` comes again and again.
class Caller {
 public:
  Caller(const ESHMConfig& config, const Scene& scene, const std::vector<Act>& calls);
  Stepper& child() { return *child_; }
  End& peer() { return *peer_end_; }
  Actor& peer_actor() { return peer_actor_; }
  ESHMHandle* peer_link() const { return peer_.get(); }
  const Letters& letters() const { return letters_; }

 private:
  Letters letters_;
  Link peer_;
  std::unique_ptr<Stepper> child_;
  std::unique_ptr<LinkEnd> peer_end_;
  Actor peer_actor_;
};

}  // namespace test
