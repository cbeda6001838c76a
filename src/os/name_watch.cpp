// SPDX-License-Identifier: MIT
#include "os/name_watch.h"

#include <sys/stat.h>

namespace eshm::os {

bool NameWatch::has_changed() {
  struct stat meta;
  FileId now;
  if (lstat(path_.c_str(), &meta) == 0) now = {meta.st_dev, meta.st_ino};
  const bool is_known = has_looked_ && now == seen_;
  has_looked_ = true;
  seen_ = now;
  return !is_known;
}

}  // namespace eshm::os
