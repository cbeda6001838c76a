// SPDX-License-Identifier: MIT
// Who looks at the images of a stepped call, by what was stepped.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "crash/left_alone.h"
#include "crash/stepped_call.h"
#include "crash/survivors.h"

namespace test {

class Looks {
 public:
  // `memory` stands as it is before the call.
  Looks(const Situation& situation, const ChannelMemory& memory) {
    if (memory.geometry().delivery == ESHM_DELIVERY_QUEUE) {
      left_alone_ = std::make_unique<QueueLeftAlone>(situation);
    } else if (is_writers(situation.act)) {
      const Operation operation = {situation.letters.largest(), situation.before.newest(),
                                   situation.after.newest()};
      survivors_ = std::make_unique<Survivors>(operation, memory);
    } else {
      left_alone_ = std::make_unique<WriterLeftAlone>(situation);
    }
  }
  void look_at(const Image& image) const {
    if (survivors_) return survivors_->look_at(image);
    left_alone_->look_at(image);
  }
  void finish() const {
    if (survivors_) survivors_->finish();
  }
  const std::vector<std::string>& faults() const {
    return survivors_ ? survivors_->faults() : left_alone_->faults();
  }
  uint64_t messages_read() const {
    return survivors_ ? survivors_->messages_read() : left_alone_->messages_read();
  }

 private:
  std::unique_ptr<Survivors> survivors_;
  std::unique_ptr<LeftAlone> left_alone_;
};

}  // namespace test
