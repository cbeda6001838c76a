// SPDX-License-Identifier: MIT
// What keeps a newcomer from its role: for now, or for good.
#include <unistd.h>

#include <algorithm>

#include "endpoint/role_seeker.h"
#include "os/clock.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using Step = RoleSeeker::Step;
using Verdict = RoleSeeker::Verdict;

namespace {

// A process that holds the succession lock for longer than this hangs: healthy ones
// hold it for microseconds.
constexpr uint64_t kSuccessionPatienceNs = 1'000 * os::kNsPerMs;
// A master that runs has found its slave dead by then.
constexpr uint64_t kSeatPatienceNs = 1'000 * os::kNsPerMs;
// A holder with an incomplete record cannot be distinguished from its successor: it hangs
// if this many tries in a row find the record incomplete.
constexpr uint32_t kIncompleteTries = 200;
// If the holder changes this often, the role is in use.
constexpr uint32_t kHoldersWatched = 1'000;

}  // namespace

Step RoleSeeker::try_again(Failure meanwhile) {
  return {Verdict::kTryAgain, std::move(meanwhile), nullptr};
}

Step RoleSeeker::refused(Failure failure) { return {Verdict::kRefused, std::move(failure), nullptr}; }

bool RoleSeeker::is_exiting(const Holder& holder) {
  const bool is_visible = holder.process.pid_namespace == os::self().pid_namespace &&
                          holder.process.start_time == os::start_time_of(holder.process.pid);
  return is_visible && os::is_exiting(holder.process.pid);
}

RoleSeeker::Pulse RoleSeeker::compare_signs(const Holder& holder, uint64_t signs) {
  const uint64_t now = os::monotonic_ns();
  const uint64_t threshold_ns =
      std::max(settings_.stale_threshold_ms * os::kNsPerMs, holder.stale_threshold_ns);
  if (watched_.incarnation != holder.incarnation) {
    if (++holders_watched_ > kHoldersWatched) return Pulse::kLives;
    watched_ = {holder.incarnation, signs, now,
                Silence(longest_gap_ns(kCompareIntervalNs, threshold_ns), false)};
    watched_.silence.end(now);
    return Pulse::kUndecided;
  }
  if (watched_.signs != signs) return Pulse::kLives;
  return watched_.silence.lasted_ns(now) >= threshold_ns ? Pulse::kStill : Pulse::kUndecided;
}

Step RoleSeeker::refuse_taken(const char* role, const Holder& holder, Pulse pulse) const {
  const std::string state = pulse == Pulse::kStill ? ", which is stale" : "";
  return refused(fail(ESHM_ERROR_ROLE_MISMATCH, about(settings_) + "the " + role +
                                                    "'s role is held by " + name_of(holder) +
                                                    state));
}

// /dev/shm is sticky: only the owner may give the name to another file.
Step RoleSeeker::refuse_foreign() const {
  return refused(fail(ESHM_ERROR_PERMISSION,
                      about(settings_) + "it belongs to another user, who alone can renew it"));
}

// Both are filled in under the succession lock. If that lock is free, the record was read
// in the middle of a change: try again.
Step RoleSeeker::wait_for_record(const SegmentFile& segment) {
  return segment.is_held(layout::kSuccessionByte) ? succession_is_busy(segment) : try_again();
}

// Its lock falls when the kernel has torn it down.
Step RoleSeeker::wait_for_exit(const char* role, const Holder& holder) const {
  return {Verdict::kWaitingForExit,
          fail(ESHM_ERROR_TIMEOUT, about(settings_) + "the " + role + ", " + name_of(holder) +
                                       ", is exiting; the kernel still holds its lock"),
          nullptr};
}

// The kernel frees a System V area when its last process unmaps it, which can be before
// that process's lock is released.
Step RoleSeeker::without_areas(const SegmentFile& segment, ESHMRole holders_role,
                               Failure failure) const {
  const bool is_master = holders_role == ESHM_ROLE_MASTER;
  const Holder holder = read_record(is_master ? segment.page().master : segment.page().slave);
  if (is_exiting(holder)) return wait_for_exit(is_master ? "master" : "slave", holder);
  // Check in this order: an exited process holds no lock.
  if (!segment.is_held(is_master ? layout::kMasterByte : layout::kSlaveByte)) return try_again();
  return refused(std::move(failure));
}

Step RoleSeeker::succession_is_busy(const SegmentFile& segment) {
  if (!segment.locks().is_still_ours()) {
    return refused(fail(ESHM_ERROR_SHM_ATTACH,
                        about(settings_) + "its descriptor was closed by this application"));
  }
  const Holder holder = read_record(segment.page().succession);
  const uint64_t now = os::monotonic_ns();
  const bool is_first_try = watched_succession_.since_ns == 0;
  if (is_first_try || holder.incarnation != watched_succession_.incarnation) {
    watched_succession_ = {holder.incarnation, 0, now, {}};
    succession_tries_ = 0;
    return try_again();
  }
  ++succession_tries_;
  const bool is_same = holder.incarnation != 0 || succession_tries_ >= kIncompleteTries;
  if (!is_same || now - watched_succession_.since_ns < kSuccessionPatienceNs) return try_again();
  // An incomplete record names its last holder.
  if (holder.incarnation != 0 && is_exiting(holder)) {
    return wait_for_exit("process that is changing its roles", holder);
  }
  const std::string who = holder.incarnation != 0 ? name_of(holder) : "a process";
  return refused(fail(ESHM_ERROR_SHM_ATTACH, about(settings_) + who +
                                                 " hangs while it changes the roles of this link"));
}

// Its master frees the seat when it finds that process dead. A seat that is kept for longer
// belongs to one that lives.
Step RoleSeeker::wait_for_seat(const SegmentFile& segment) {
  const layout::SeatLine& seat = segment.page().seat;
  const uint64_t reserved_for = seat.reserved_for.load(std::memory_order_acquire);
  const uint64_t now = os::monotonic_ns();
  if (watched_seat_.incarnation != reserved_for) {
    watched_seat_.incarnation = reserved_for;
    watched_seat_.since_ns = now;
  }
  const uint64_t threshold_ns =
      std::max(settings_.stale_threshold_ms * os::kNsPerMs,
               read_record(segment.page().master).stale_threshold_ns);
  if (now - watched_seat_.since_ns < std::min(threshold_ns, kSeatPatienceNs)) return {Verdict::kComparing, {}, nullptr};
  return refused(fail(ESHM_ERROR_ROLE_MISMATCH,
                      about(settings_) + "the slave's seat is kept for PID " +
                          std::to_string(seat.reserved_pid.load(memory_order_relaxed)) +
                          ", which has another segment of this link"));
}

}  // namespace eshm::endpoint
