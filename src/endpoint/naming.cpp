// SPDX-License-Identifier: MIT
#include "endpoint/naming.h"

#include <cerrno>

#include "endpoint/attachment.h"

namespace eshm::endpoint {

Naming give_free_name(const Settings& settings, const os::Fd& file) {
  const int failure = os::link_file(file, os::object_path(settings.name));
  return {failure == 0, failure == EEXIST ? 0 : failure};
}

namespace {

// A process that knows nothing of links may have changed the name at any moment: so what
// comes out is looked at, and put back if it is not `old`.
Naming exchange(const std::string& waiting, const std::string& path, const SegmentFile& old) {
  int failure = os::exchange_names(waiting, path);
  if (failure == EINVAL || failure == ENOSYS) {  // not here: then it is not looked at
    failure = os::rename_over(waiting, path);
    return {failure == 0, failure};
  }
  if (failure == ENOENT) return {};
  if (failure != 0) return {false, failure};
  if (!os::exists(waiting) || os::names_file(waiting, old.meta())) return {true, 0};
  // Put back. If the name is free again, the stranger's file gets it all the same.
  if (os::exchange_names(waiting, path) != 0) (void)os::rename_if_free(waiting, path);
  return {};
}

}  // namespace

Naming give_name_over(const Settings& settings, SegmentFile& old,
                      const std::shared_ptr<SegmentFile>& fresh) {
  Succession nobody_else(fresh);
  nobody_else.try_take();  // cannot fail: no other process knows this file
  const std::string path = os::object_path(settings.name);
  const std::string waiting = os::successor_path(settings.name);
  remove_abandoned_successor(settings);
  const int failure = os::link_file(fresh->file(), waiting);
  if (failure != 0) return {false, failure};
  mark_superseded(settings, old, os::self().pid);
  const Naming naming = exchange(waiting, path, old);
  os::unlink_name(waiting);
  return naming;
}

void remove_abandoned_successor(const Settings& settings) {
  os::unlink_name(os::successor_path(settings.name));
}

}  // namespace eshm::endpoint
