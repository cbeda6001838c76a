// SPDX-License-Identifier: MIT
// A link's messages, read as an observer: the two sides never notice.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "commands.h"
#include "eshm.h"
#include "type.h"

namespace tool {

struct Destroy {
  void operator()(ESHMHandle* handle) const { eshm_destroy(handle); }
};
using Handle = std::unique_ptr<ESHMHandle, Destroy>;

class Observer {
 public:
  // False: the library's last sentence says why.
  bool open(const std::string& name);
  // The next message of either direction. As eshm_read_msg, but any size fits.
  int read(uint32_t timeout_ms);
  const ESHMMessageInfo& info() const { return info_; }
  const char* data() const { return buffer_.data(); }
  size_t size() const { return size_t(info_.size); }

 private:
  Handle handle_;
  std::vector<char> buffer_ = std::vector<char>(65536);
  ESHMMessageInfo info_ = {};
};

// The type of one direction, read once, and again when the segment is another.
class KnownType {
 public:
  KnownType(std::string name, ESHMDirection direction)
      : name_(std::move(name)), direction_(direction) {}
  // Null: untyped, or not understood.
  const Type* get(uint32_t generation);

 private:
  std::string name_;
  ESHMDirection direction_;
  uint32_t generation_ = 0;
  bool is_known_ = false;
  bool is_typed_ = false;
  Type type_;
};

// Whether a process still has a role of it.
bool is_in_use(const std::string& name);

}  // namespace tool
