// SPDX-License-Identifier: MIT
#include "endpoint/role_seeker.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "endpoint/inheritance.h"
#include "endpoint/message_types.h"
#include "endpoint/naming.h"
#include "os/clock.h"

namespace eshm::endpoint {

using layout::Finding;
using std::memory_order_relaxed;
using std::memory_order_release;
using Step = RoleSeeker::Step;
using Verdict = RoleSeeker::Verdict;

namespace {

bool has_queue(const layout::Plan& plan) {
  return plan.geometry[0].delivery == ESHM_DELIVERY_QUEUE ||
         plan.geometry[1].delivery == ESHM_DELIVERY_QUEUE;
}

// Incarnation of the slave that lives in the segment, or may come from the one before; or 0.
uint64_t slave_on_its_way(const SegmentFile& segment) {
  const uint64_t seated = segment.page().slave.incarnation.load(std::memory_order_acquire);
  if (seated == 0) return segment.page().seat.copied_for.load(memory_order_relaxed);
  return segment.is_held(layout::kSlaveByte) ? seated : 0;
}

Step taken(std::unique_ptr<Attachment> attachment) {
  attachment->segment().close_file();
  return {Verdict::kTaken, {}, std::move(attachment)};
}

}  // namespace

Step RoleSeeker::step() {
  switch (settings_.role) {
    case ESHM_ROLE_MASTER:
      return seek_master(true);
    case ESHM_ROLE_SLAVE:
      return seek_slave();
    default:
      return seek_either();
  }
}

// AUTO: the master's rules except replacing, then the slave's. If the master went
// away in between, both are tried again: there is none to wait for.
Step RoleSeeker::seek_either() {
  Step as_master = seek_master(false);
  if (as_master.verdict != Verdict::kHasMaster) return as_master;
  Step as_slave = seek_slave();
  if (as_slave.verdict == Verdict::kNoMaster) return try_again(std::move(as_slave.failure));
  return as_slave;
}

Step RoleSeeker::seek_master(bool may_replace) {
  Found found = inspect_name(settings_);
  if (found.finding == Finding::kAbsent) return give_birth();
  if (found.refusal) return refused(std::move(found.refusal));
  SegmentPtr segment;
  if (Failure failure = SegmentFile::open(settings_, std::move(found), segment)) {
    return refused(std::move(failure));
  }
  if (segment->is_superseded() || !segment->is_held(layout::kMasterByte)) {
    return succeed(segment);
  }
  if (!may_replace) return {Verdict::kHasMaster, {}, nullptr};
  return challenge(segment);
}

Step RoleSeeker::give_birth() {
  std::unique_ptr<Attachment> fresh;
  if (Failure failure = Attachment::create(settings_, fresh)) {
    // Among racers the room may be another's unnamed segment, soon given back.
    if (failure.may_pass) return {Verdict::kNoRoom, std::move(failure), nullptr};
    return refused(std::move(failure));
  }
  Succession succession(fresh->segment_ptr());
  const bool must_tidy = os::exists(os::successor_path(settings_.name));
  if (must_tidy) succession.try_take();  // cannot fail: no other process knows this file
  const std::string path = os::object_path(settings_.name);
  const std::string abandoned = os::successor_path(settings_.name);
  const int failure = os::link_file(fresh->segment().file(), path);
  if (must_tidy && failure == 0) os::unlink_name(abandoned);  // from here on nothing allocates
  if (failure == EEXIST) return try_again();
  if (failure != 0) {
    return refused(fail(ESHM_ERROR_SHM_CREATE,
                        about(settings_) + "cannot be named: " + strerror(failure), failure));
  }
  return taken(std::move(fresh));
}

// The segment has no master, or does not count any more.
Step RoleSeeker::succeed(const SegmentPtr& segment) {
  Succession succession(segment);
  if (!succession.try_take()) return succession_is_busy(*segment);
  if (!segment->is_named(settings_)) return try_again();
  if (segment->is_superseded()) {
    // The process that superseded it died before it moved the name.
    if (segment->meta().st_uid != geteuid()) return refuse_foreign();
    return supersede(segment);
  }
  if (segment->is_held(layout::kMasterByte)) return try_again();
  const bool slave_lives = segment->is_held(layout::kSlaveByte);
  if (slave_lives && same_shape(segment->plan())) return adopt(segment);
  if (segment->meta().st_uid != geteuid()) return refuse_foreign();
  return slave_lives ? supersede(segment) : inherit(segment);
}

// A slave lives in it: it loses nothing. (Under the succession lock.)
Step RoleSeeker::adopt(const SegmentPtr& segment) {
  std::unique_ptr<Attachment> attachment;
  if (Failure failure = Attachment::map(settings_, segment, ESHM_ROLE_MASTER, attachment)) {
    return without_areas(*segment, ESHM_ROLE_SLAVE, std::move(failure));
  }
  if (attachment->segment().locks().try_lock(layout::kMasterByte) != 0) return try_again();
  attachment->assume_role(settings_, os::random_nonzero());
  wake_all_waiters(attachment->segment());
  remove_abandoned_successor(settings_);
  return taken(std::move(attachment));
}

// Both have ended. What is unread in its queues is kept: where it lies, or carried to a
// segment of another shape. (Under the succession lock.)
Step RoleSeeker::inherit(const SegmentPtr& segment) {
  const layout::SeatLine& seat = segment->page().seat;
  // Its slave may live in the segment before, where everything is.
  const bool has_only_copies =
      seat.is_renewal.load(std::memory_order_acquire) != 0 &&
      seat.reserved_for.load(std::memory_order_acquire) != 0 &&
      segment->page().slave.incarnation.load(std::memory_order_acquire) == 0;
  if (has_only_copies || !has_queue(segment->plan())) return start_afresh(segment);
  Inheritance unread(settings_, *segment);
  if (unread.failure()) return refused(unread.failure());
  if (unread.is_corrupt()) return start_afresh(segment);
  if (!is_as_configured(*segment)) {
    const bool is_awaited = seat.copied_for.load(memory_order_relaxed) != 0;
    return unread.is_empty() && !is_awaited ? start_afresh(segment) : supersede(segment);
  }
  std::unique_ptr<Attachment> attachment;
  if (Failure failure = Attachment::map(settings_, segment, ESHM_ROLE_MASTER, attachment)) {
    // The kernel frees System V areas with the last process.
    const bool is_sysv = segment->plan().identity.backend == ESHM_BACKEND_SYSV;
    const int error = failure.error_number;
    const bool is_gone = is_sysv && (error == 0 || error == EINVAL || error == EIDRM);
    return is_gone ? start_afresh(segment) : refused(std::move(failure));
  }
  if (segment->locks().try_lock(layout::kMasterByte) != 0) return try_again();
  if (!attachment->inherit(settings_, os::random_nonzero())) return start_afresh(segment);
  attachment->report = unread.report(Inheritance::Way::kStays);
  remove_abandoned_successor(settings_);
  return taken(std::move(attachment));
}

// Nothing in it may be read as new. (Under the succession lock.)
Step RoleSeeker::start_afresh(const SegmentPtr& segment) {
  if (segment->locks().try_lock(layout::kMasterByte) != 0 ||
      segment->locks().try_lock(layout::kSlaveByte) != 0) {
    return try_again();
  }
  mark_superseded(settings_, *segment, os::self().pid);
  if (segment->plan().identity.backend == ESHM_BACKEND_POSIX) {
    // Before the new one is made: /dev/shm may have room for one only.
    os::punch_hole(segment->file(), layout::kControlBytes,
                   segment->plan().identity.segment_bytes - layout::kControlBytes);
  }
  std::unique_ptr<Attachment> fresh;
  if (Failure failure = Attachment::create(settings_, fresh)) return refused(std::move(failure));
  const Naming naming = give_name_over(settings_, *segment, fresh->segment_ptr());
  return installed(naming, std::move(fresh));
}

// Another process is master. If it is healthy, this one is refused with its PID; if it
// hangs, it is replaced.
Step RoleSeeker::challenge(const SegmentPtr& segment) {
  const Holder holder = read_record(segment->page().master);
  if (holder.incarnation == 0) return wait_for_record(*segment);
  const Pulse pulse = compare_signs(holder, segment->signs_of_life(ESHM_ROLE_MASTER));
  if (pulse == Pulse::kLives) return refuse_taken("master", holder, pulse);
  // Under its predecessor's record an adopter may hang.
  if (segment->is_held(layout::kSuccessionByte)) return succession_is_busy(*segment);
  if (pulse == Pulse::kUndecided) return {Verdict::kComparing, {}, nullptr};
  if (is_exiting(holder)) return wait_for_exit("master", holder);  // then it is adopted
  if (segment->meta().st_uid != geteuid()) return refuse_foreign();
  Succession succession(segment);
  if (!succession.try_take()) return succession_is_busy(*segment);
  // Judge again under the lock: is the same silent master still the holder?
  if (!segment->is_named(settings_) || segment->is_superseded() ||
      !segment->is_held(layout::kMasterByte) ||
      segment->page().master.incarnation.load(memory_order_relaxed) != watched_.incarnation ||
      segment->signs_of_life(ESHM_ROLE_MASTER) != watched_.signs) {
    return try_again();
  }
  return supersede(segment);
}

// A fresh segment takes the name of one whose master is hung, whose dead master had other
// sizes, or which was superseded already. The slave comes over; its seat is kept for it.
Step RoleSeeker::supersede(const SegmentPtr& segment) {
  std::unique_ptr<Attachment> fresh;
  if (Failure failure = Attachment::create(settings_, fresh)) return refused(std::move(failure));
  const bool slave_lives = segment->is_held(layout::kSlaveByte);
  if (slave_lives) {
    fresh->reserve_seat(read_record(segment->page().slave));
    fresh->replaced = segment;
  }
  Inheritance unread(settings_, *segment);
  if (unread.failure()) return refused(unread.failure());
  if (!slave_lives && !unread.fits() && settings_.unread_policy == ESHM_UNREAD_KEEP) {
    return refused(unread.refuse());
  }
  // A slave that lives brings, and reads there, what does not fit.
  if (has_queue(segment->plan()) && (!slave_lives || unread.fits())) {
    mark_superseded(settings_, *segment, os::self().pid);
    unread.carry_to(*fresh, slave_on_its_way(*segment));
    fresh->assume_role(settings_, os::random_nonzero());
    fresh->report = unread.report(Inheritance::Way::kIsCarried);
    fresh->is_report_bad = !unread.fits();
  }
  const Naming naming = give_name_over(settings_, *segment, fresh->segment_ptr());
  Step step = installed(naming, std::move(fresh));
  if (step.verdict == Verdict::kTaken) wake_all_waiters(*segment);
  // What its slave consumes there may have to be seen.
  const bool is_kept = step.attachment != nullptr && step.attachment->replaced != nullptr;
  if (!is_kept) segment->close_file();
  return step;
}

Step RoleSeeker::installed(const Naming& naming, std::unique_ptr<Attachment> fresh) const {
  if (naming.is_done()) return taken(std::move(fresh));
  if (naming.error_number == 0) return try_again();
  return refused(fail(ESHM_ERROR_SHM_CREATE,
                      about(settings_) + "cannot be renewed: " + strerror(naming.error_number),
                      naming.error_number));
}

Step RoleSeeker::seek_slave() {
  const auto no_master = [&](const std::string& why) {
    return Step{Verdict::kNoMaster, fail(ESHM_ERROR_TIMEOUT, about(settings_) + why), nullptr};
  };
  Found found = inspect_name(settings_);
  if (found.finding == Finding::kAbsent) {
    return no_master("there is no master: nothing has that name");
  }
  if (found.refusal) return refused(std::move(found.refusal));
  if (found.finding == Finding::kSuperseded) {
    return no_master("its master was superseded and has no successor yet");
  }
  SegmentPtr segment;
  if (Failure failure = SegmentFile::open(settings_, std::move(found), segment)) {
    return refused(std::move(failure));
  }
  if (segment->is_superseded()) return try_again();
  if (!segment->is_held(layout::kMasterByte)) return no_master("its master is dead or gone");
  if (must_be_reserved_ && !is_reserved_for_us(*segment)) {
    return no_master("it keeps no seat for this slave");
  }
  if (Failure failure = compare_types(settings_, *segment)) return refused(std::move(failure));
  if (!segment->is_held(layout::kSlaveByte)) return take_seat(segment);

  // Taken. A holder on its way in or out has the succession lock, or no record.
  const Holder holder = read_record(segment->page().slave);
  if (holder.incarnation == 0 || segment->is_held(layout::kSuccessionByte)) {
    return wait_for_record(*segment);
  }
  const Pulse pulse = compare_signs(holder, segment->signs_of_life(ESHM_ROLE_SLAVE));
  if (pulse == Pulse::kUndecided) return {Verdict::kComparing, {}, nullptr};
  if (pulse == Pulse::kStill && is_exiting(holder)) return wait_for_exit("slave", holder);
  return refuse_taken("slave", holder, pulse);
}

Step RoleSeeker::take_seat(const SegmentPtr& segment) {
  Succession succession(segment);
  if (!succession.try_take()) return succession_is_busy(*segment);
  // No process is changing roles now, so a held master lock has a complete record.
  if (!segment->is_named(settings_) || segment->is_superseded() ||
      !segment->is_held(layout::kMasterByte)) {
    return try_again();
  }
  const bool is_expected = is_reserved_for_us(*segment);
  if (must_be_reserved_ && !is_expected) return try_again();
  if (!is_expected && segment->page().seat.reserved_for.load(std::memory_order_acquire) != 0) {
    return wait_for_seat(*segment);
  }
  std::unique_ptr<Attachment> attachment;
  if (Failure failure = Attachment::map(settings_, segment, ESHM_ROLE_SLAVE, attachment)) {
    return without_areas(*segment, ESHM_ROLE_MASTER, std::move(failure));
  }
  if (segment->locks().try_lock(layout::kSlaveByte) != 0) return try_again();
  attachment->has_reserved_seat = is_expected;
  attachment->assume_role(settings_, os::random_nonzero());
  return taken(std::move(attachment));
}

bool RoleSeeker::is_reserved_for_us(const SegmentFile& segment) const {
  return predecessor_ != 0 &&
         segment.page().seat.reserved_for.load(std::memory_order_acquire) == predecessor_;
}

bool RoleSeeker::same_shape(const layout::Plan& plan) const {
  for (const layout::Direction direction : layout::kDirections) {
    const layout::ChannelShape& ours = settings_.shape[direction];
    const layout::ChannelShape theirs = layout::shape_of(plan.geometry[direction]);
    // A segment without our type could not report a mismatch to later processes.
    const bool same_type =
        ours.type_fingerprint == 0 || ours.type_fingerprint == theirs.type_fingerprint;
    if (!(theirs == ours) || !same_type) return false;
  }
  return plan.identity.backend == uint32_t(settings_.backend);
}

// So that nothing but its former users is missing.
bool RoleSeeker::is_as_configured(const SegmentFile& segment) const {
  return same_shape(segment.plan()) &&
         (segment.plan().identity.auto_cleanup != 0) == settings_.auto_cleanup &&
         (segment.meta().st_mode & 0777) == settings_.permissions;
}

}  // namespace eshm::endpoint
