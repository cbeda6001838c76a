// SPDX-License-Identifier: MIT
#include "endpoint/removal.h"

#include <cerrno>
#include <cstring>

#include "endpoint/attachment.h"
#include "endpoint/cleanup.h"
#include "endpoint/naming.h"
#include "endpoint/waiting.h"

namespace eshm::endpoint {

using layout::Finding;

namespace {

Settings settings_of_link(const std::string& name) {
  Settings settings = {};
  settings.name = name;
  settings.role = ESHM_ROLE_MASTER;
  settings.permissions = 0666;  // whatever mode it has
  return settings;
}

Failure unlink_link(const Settings& settings) {
  const int failure = os::unlink_name(os::object_path(settings.name));
  if (failure == 0 || failure == ENOENT) return success();
  const bool is_forbidden = failure == EPERM || failure == EACCES;
  return fail(is_forbidden ? ESHM_ERROR_PERMISSION : ESHM_ERROR_SHM_DELETE,
              about(settings) + "cannot be removed: " + std::strerror(failure), failure);
}

// What killed processes left outside the name. True if there was something.
bool remove_leftovers(const Settings& settings) {
  int removed = 0;
  for (const layout::Direction direction : layout::kDirections) {
    removed += os::SysvBlock::remove_leftovers(sysv_key_of(settings.name, direction));
  }
  return removed > 0;
}

// The same if nothing has the name. A living process that is giving it away holds locks of
// the file that is to have it.
bool remove_successor_alone(const Settings& settings) {
  const std::string path = os::successor_path(settings.name);
  os::Fd file;
  os::LockFile locks;
  if (os::open_named(path, true, file) != 0) return false;
  if (os::LockFile::reopen(file, true, locks) != 0) return false;
  const bool is_abandoned = locks.try_lock(layout::kSuccessionByte) == 0 &&
                            locks.try_lock(layout::kMasterByte) == 0 &&
                            locks.try_lock(layout::kSlaveByte) == 0;
  return is_abandoned && os::unlink_name(path) == 0;
}

Failure remove_absent(const Settings& settings) {
  const bool had_successor = remove_successor_alone(settings);
  if (remove_leftovers(settings) || had_successor) return success();
  return fail(ESHM_ERROR_NO_DATA, about(settings) + "nothing has that name");
}

Failure remove_no_segment(const Settings& settings, const Found& found, bool force) {
  return force ? unlink_link(settings) : found.refusal;
}

Failure refuse_held(const Settings& settings, const SegmentFile& segment, ESHMRole role) {
  const std::string which = role == ESHM_ROLE_MASTER ? "master" : "slave";
  return fail(ESHM_ERROR_ROLE_MISMATCH, about(settings) + "the " + which + "'s role is held by " +
                                            name_of(read_record(segment.record(role))));
}

// Under the succession lock. Nobody can come to a role that is held here.
Failure remove_unused(const Settings& settings, SegmentFile& segment) {
  if (segment.locks().try_lock(layout::kMasterByte) != 0) {
    return refuse_held(settings, segment, ESHM_ROLE_MASTER);
  }
  if (segment.locks().try_lock(layout::kSlaveByte) != 0) {
    return refuse_held(settings, segment, ESHM_ROLE_SLAVE);
  }
  remove_abandoned_successor(settings);
  return unlink_link(settings);
}

Failure roles_are_changing(const Settings& settings, const SegmentFile& segment) {
  return fail(ESHM_ERROR_SHM_DELETE,
              about(settings) + name_of(read_record(segment.page().succession)) +
                  " hangs while it changes the roles of this link");
}

// One look at the name. False: it meant another file in the end, look again.
bool remove_once(const Settings& settings, bool force, bool is_late, Failure& out) {
  Found found = inspect_name(settings);
  if (found.finding == Finding::kAbsent) {
    out = remove_absent(settings);
    return true;
  }
  const bool is_segment =
      !found.refusal && (found.finding == Finding::kFine || found.finding == Finding::kSuperseded);
  if (!is_segment) {
    out = remove_no_segment(settings, found, force);
    return true;
  }
  std::shared_ptr<SegmentFile> segment;
  out = SegmentFile::open(settings, std::move(found), segment);
  if (out) return true;
  Succession succession(segment);
  const bool is_ours = succession.try_take();
  if (!is_ours && !is_late) return false;
  if (!is_ours && !force) {
    out = roles_are_changing(settings, *segment);
    return true;
  }
  if (!segment->is_named(settings)) return false;
  out = force ? unlink_link(settings) : remove_unused(settings, *segment);
  if (!out) remove_leftovers(settings);
  return true;
}

}  // namespace

Failure remove_link(const std::string& name, bool force) {
  const Settings settings = settings_of_link(name);
  const os::Deadline deadline = os::Deadline::after_ms(kCleanupPatienceNs / os::kNsPerMs);
  for (;;) {
    Failure outcome;
    const bool is_late = deadline.has_passed();
    if (remove_once(settings, force, is_late, outcome)) return outcome;
    if (is_late) {
      return fail(ESHM_ERROR_SHM_DELETE, about(settings) + "the name keeps changing hands");
    }
    pause_out_of_step();
  }
}

}  // namespace eshm::endpoint
