// SPDX-License-Identifier: MIT
// Seeing that a name means another file.
#pragma once

#include <string>

#include "os/shm_object.h"

namespace eshm::os {

// Looks at a name now and then: one system call a look. (An inotify watch would tell at
// once. But a process that has one dies slowly: the kernel closes it only after a grace
// period, which was 10 to 20 ms and on a busy machine several seconds, and until then the
// process keeps its locks.)
class NameWatch {
 public:
  explicit NameWatch(std::string path) : path_(std::move(path)) {}
  // Whether the name means another file than at the last look, or nothing where it meant
  // one, or the other way round. The first look answers true.
  bool has_changed();

 private:
  const std::string path_;
  bool has_looked_ = false;
  FileId seen_;  // all 0: nothing
};

}  // namespace eshm::os
