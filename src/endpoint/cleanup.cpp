// SPDX-License-Identifier: MIT
#include "endpoint/cleanup.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "endpoint/naming.h"
#include "endpoint/waiting.h"

namespace eshm::endpoint {

bool stays(const SegmentFile& segment, ESHMRole role) {
  if (!segment.is_held(role == ESHM_ROLE_MASTER ? layout::kMasterByte : layout::kSlaveByte)) {
    return false;
  }
  const layout::RoleRecord& record = segment.record(role);
  return record.left.load(std::memory_order_acquire) !=
         record.incarnation.load(std::memory_order_acquire);
}

namespace {

bool has_queue(const SegmentFile& segment) {
  for (const layout::ChannelGeometry& geometry : segment.plan().geometry) {
    if (geometry.delivery == ESHM_DELIVERY_QUEUE) return true;
  }
  return false;
}

// Whether no end remains that needs the name. Under the succession lock, so of two that leave
// at once the second sees that the first one does. A master that was superseded does not
// come back, though it may hang and hold its lock. (A superseded link has a name only if its
// successor died before the rename.)
bool is_last_out(ESHMRole role, const SegmentFile& segment, const SegmentFile* awaited_from) {
  if (segment.is_superseded()) return true;
  if (role == ESHM_ROLE_SLAVE) return !stays(segment, ESHM_ROLE_MASTER);
  if (!has_queue(segment)) return true;
  // What is unread in a queue is kept for the next master, and for its slave, which may be
  // on its way here.
  const bool is_awaited = awaited_from != nullptr && stays(*awaited_from, ESHM_ROLE_SLAVE);
  return !is_awaited && !stays(segment, ESHM_ROLE_SLAVE);
}

}  // namespace

Failure clean_up_name(const Settings& settings, ESHMRole role,
                      const std::shared_ptr<SegmentFile>& segment, uint64_t patience_ns,
                      const SegmentFile* awaited_from) {
  if (segment->plan().identity.auto_cleanup == 0) return success();
  if (!segment->locks().is_still_ours()) {  // its number may mean another file by now
    return fail(ESHM_ERROR_SHM_DELETE,
                about(settings) + "stays: its descriptor was closed by the application");
  }
  const uint64_t began = os::monotonic_ns();
  Succession succession(segment);
  while (!succession.try_take()) {  // a newcomer has it, for microseconds
    if (os::monotonic_ns() - began >= patience_ns) {
      return fail(ESHM_ERROR_SHM_DELETE,
                  about(settings) + name_of(read_record(segment->page().succession)) +
                      " hangs while it changes the roles of this link");
    }
    pause_out_of_step();
  }
  // CL1: this end's own record, since it holds the role's lock.
  layout::RoleRecord& own = segment->record(role);
  own.left.store(own.incarnation.load(std::memory_order_relaxed), std::memory_order_release);
  if (!is_last_out(role, *segment, awaited_from)) return success();
  if (!segment->is_named(settings)) {
    const bool is_elsewhere = !(os::names_directory() == settings.names_directory);
    if (!is_elsewhere || os::names_of(segment->locks().fd()) == 0) return success();
    return fail(ESHM_ERROR_SHM_DELETE,
                about(settings) + "stays: this process has another root or /dev/shm than at "
                                  "eshm_init");
  }
  remove_abandoned_successor(settings);
  const int failure = os::unlink_name(os::object_path(settings.name));
  if (failure == 0 || failure == ENOENT) return success();
  return fail(ESHM_ERROR_SHM_DELETE,
              about(settings) + "cannot be removed: " + std::strerror(failure), failure);
}

void clean_up_renewed(const Settings& settings, uint64_t own, uint64_t patience_ns) {
  Found found = inspect_name(settings);
  if (found.finding != layout::Finding::kFine || found.plan.identity.auto_cleanup == 0) return;
  std::shared_ptr<SegmentFile> segment;
  if (SegmentFile::open(settings, std::move(found), segment)) return;
  const uint64_t began = os::monotonic_ns();
  Succession succession(segment);
  while (!succession.try_take()) {
    if (os::monotonic_ns() - began >= patience_ns) return;
    pause_out_of_step();
  }
  const bool is_ours =
      segment->is_named(settings) &&
      segment->page().seat.reserved_for.load(std::memory_order_acquire) == own &&
      !stays(*segment, ESHM_ROLE_MASTER);
  if (is_ours) os::unlink_name(os::object_path(settings.name));
}

}  // namespace eshm::endpoint
