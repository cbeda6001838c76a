// SPDX-License-Identifier: MIT
// Taking a role of a link: send, echo and ping.
#pragma once

#include <string>

#include "commands.h"
#include "observer.h"

namespace tool {

// A link that this process has a role in.
class Talk {
 public:
  // Tries for `wait_s`. `type`: of what this side sends; "" for untyped. False: complained.
  bool open(const RoleOptions& options, double wait_s, const std::string& type = "");
  ESHMHandle* handle() const { return handle_.get(); }
  bool is_master() const { return is_master_; }
  // False: it has not come, or the command is to end.
  bool wait_for_peer(double seconds) const;
  // Until the other side has read all, or the time is over.
  void wait_until_read(double seconds) const;
  // Waits for room, and for a master that is away. False: complained, or it is to end.
  bool write(const void* data, size_t size) const;

 private:
  Handle handle_;
  bool is_master_ = false;
};

}  // namespace tool
