// SPDX-License-Identifier: MIT
#include "endpoint/segment_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "os/memory.h"
#include "os/memory_room.h"
#include "os/sysv_block.h"

namespace eshm::endpoint {

using layout::Finding;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

std::string octal(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", unsigned(mode & 07777));
  return text;
}

const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// Type, owner and mode: who could write into it, or have put it there.
Failure judge_file(const Settings& settings, const struct stat& meta) {
  const auto refuse = [&](int code, const std::string& why) {
    return fail(code, about(settings) + why);
  };
  if (!S_ISREG(meta.st_mode)) {
    return refuse(ESHM_ERROR_SHM_ATTACH,
                  std::string("it is ") + kind_of(meta.st_mode) + ", not a segment");
  }
  const bool shares_with_others = (settings.permissions & 077) != 0;
  if (meta.st_uid != geteuid() && !shares_with_others) {
    return refuse(ESHM_ERROR_PERMISSION, "it belongs to " + os::user_name(meta.st_uid) +
                                             ", this process runs as " +
                                             os::user_name(geteuid()));
  }
  if ((meta.st_mode & 0600) != 0600) {
    return refuse(ESHM_ERROR_PERMISSION, "its mode is " + octal(meta.st_mode) +
                                             ", its owner may not read and write it");
  }
  if ((meta.st_mode & 0777 & ~settings.permissions) != 0) {
    return refuse(ESHM_ERROR_PERMISSION, "its mode is " + octal(meta.st_mode) +
                                             ", wider than the permissions asked for, " +
                                             octal(settings.permissions));
  }
  return success();
}

Failure explain_open(const Settings& settings, int error_number) {
  struct stat meta;
  if (lstat(os::object_path(settings.name).c_str(), &meta) == 0) {
    if (Failure failure = judge_file(settings, meta)) return failure;
  }
  return fail(error_number == EACCES ? ESHM_ERROR_PERMISSION : ESHM_ERROR_SHM_ATTACH,
              about(settings) + "cannot be opened: " + std::strerror(error_number), error_number);
}

Failure refuse_beyond_sysv_limits(const Settings& settings, const layout::Plan& plan) {
  if (settings.backend != ESHM_BACKEND_SYSV) return success();
  const uint64_t first = plan.geometry[0].data_bytes;
  const uint64_t second = plan.geometry[1].data_bytes;
  const int error_number = os::sysv_limits(first, second);
  if (error_number == 0) return success();
  Failure failure = fail(ESHM_ERROR_SHM_CREATE,
                         about(settings) + "no System V segments of " + std::to_string(first) +
                             " and " + std::to_string(second) +
                             " bytes: " + os::why_not_made(error_number),
                         error_number);
  failure.may_pass = error_number == ENOSPC && os::sysv_may_fit_later(first, second);
  return failure;
}

// Memory of both areas outside of /dev/shm. Huge pages are the system's that are set
// aside for them, and are all reserved when the area is made.
uint64_t sysv_bytes(const Settings& settings, const layout::Plan& plan) {
  if (settings.backend != ESHM_BACKEND_SYSV || (settings.flags & ESHM_FLAG_HUGE_PAGES) != 0) {
    return 0;
  }
  return plan.geometry[0].data_bytes + plan.geometry[1].data_bytes;
}

}  // namespace

Silence silence_of(const Settings& settings, bool is_rare) {
  return Silence(longest_gap_ns(check_interval_ns(settings),
                                settings.stale_threshold_ms * os::kNsPerMs),
                 is_rare);
}

Sighting sight_holder(const SegmentFile& segment, ESHMRole role, const PeerWatch& watch,
                 uint64_t now_ns, bool must_probe) {
  const bool is_master = role == ESHM_ROLE_MASTER;
  const layout::ControlPage& page = segment.page();
  const layout::RoleRecord& record = segment.record(role);
  Sighting sighting;
  sighting.now_ns = now_ns;
  // Before the probe: if the lock is free then, the process of this number is gone
  // for good. Loaded after the probe, it could be the number of a living newcomer.
  sighting.incarnation = record.incarnation.load(memory_order_acquire);
  sighting.left = record.left.load(memory_order_relaxed);
  sighting.signs = segment.signs_of_life(role);
  sighting.roles_change = page.succession.incarnation.load(memory_order_relaxed) != 0;
  sighting.holds_lock = must_probe || watch.needs_lock_probe(sighting)
                            ? segment.is_held(is_master ? layout::kMasterByte : layout::kSlaveByte)
                            : watch.is_there();
  // After the probe: a leaving process stores `left` before it drops its lock.
  if (!sighting.holds_lock) sighting.left = record.left.load(memory_order_acquire);
  return sighting;
}

std::string about(const Settings& settings) { return os::object_path(settings.name) + ": "; }

Found inspect_name(const Settings& settings, bool writable) {
  Found found;
  found.is_writable = writable;
  const int failure = os::open_named(os::object_path(settings.name), writable, found.file);
  if (failure == ENOENT) return found;
  found.finding = Finding::kForeign;
  if (failure != 0) {
    found.refusal = explain_open(settings, failure);
    return found;
  }
  if (fstat(found.file.get(), &found.meta) != 0) {
    found.refusal = explain_open(settings, errno);
    return found;
  }
  found.refusal = judge_file(settings, found.meta);
  if (found.refusal) return found;

  unsigned char head[layout::kJudgedBytes];
  const ssize_t count = pread(found.file.get(), head, sizeof head, 0);
  layout::Judgement judgement =
      layout::judge(head, size_t(std::max<ssize_t>(count, 0)), uint64_t(found.meta.st_size),
                    os::page_bytes());
  found.finding = judgement.finding;
  found.plan = judgement.plan;
  if (found.finding != Finding::kFine && found.finding != Finding::kSuperseded) {
    found.refusal =
        fail(found.finding == Finding::kCorrupt ? ESHM_ERROR_CORRUPT : ESHM_ERROR_SHM_ATTACH,
             about(settings) + judgement.reason);
    return found;
  }
  return found;
}

Holder read_record(const layout::RoleRecord& record) {
  Holder holder;
  const uint64_t before = record.incarnation.load(memory_order_acquire);
  holder.process.pid = record.pid.load(memory_order_relaxed);
  holder.process.start_time = record.start_time.load(memory_order_relaxed);
  holder.process.pid_namespace = record.pid_namespace.load(memory_order_relaxed);
  holder.process.time_namespace = record.time_namespace.load(memory_order_relaxed);
  // A record may claim anything.
  holder.stale_threshold_ns =
      os::kNsPerMs * std::min(record.stale_threshold_ms.load(memory_order_relaxed), kMaxPeriodMs);
  holder.left = record.left.load(memory_order_relaxed);
  holder.generation = record.generation.load(memory_order_relaxed);
  std::atomic_thread_fence(memory_order_acquire);
  // If it is unchanged, all fields come from one writer.
  if (record.incarnation.load(memory_order_relaxed) == before) holder.incarnation = before;
  return holder;
}

void claim_record(layout::RoleRecord& record) {
  record.incarnation.store(0, memory_order_relaxed);
  std::atomic_thread_fence(memory_order_release);  // before any field changes
}

void complete_record(layout::RoleRecord& record, uint64_t incarnation,
                     uint32_t stale_threshold_ms) {
  const os::ProcessIdentity process = os::self();
  record.pid.store(process.pid, memory_order_relaxed);
  record.start_time.store(process.start_time, memory_order_relaxed);
  record.pid_namespace.store(process.pid_namespace, memory_order_relaxed);
  record.time_namespace.store(process.time_namespace, memory_order_relaxed);
  record.stale_threshold_ms.store(stale_threshold_ms, memory_order_relaxed);
  record.generation.store(record.generation.load(memory_order_relaxed) + 1, memory_order_relaxed);
  // RR1 -> read_record: whoever sees this incarnation sees the fields above.
  record.incarnation.store(incarnation, memory_order_release);
}

std::string name_of(const Holder& holder) {
  const bool is_ours = holder.process.pid_namespace == os::self().pid_namespace;
  return "PID " + std::to_string(holder.process.pid) +
         (is_ours ? "" : " of another PID namespace");
}

Failure SegmentFile::open(const Settings& settings, Found found,
                          std::shared_ptr<SegmentFile>& out) {
  auto segment = std::make_shared<SegmentFile>();
  segment->plan_ = found.plan;
  segment->meta_ = found.meta;
  segment->file_ = std::move(found.file);
  const int failure = segment->open_locks_and_control(found.is_writable);
  if (failure != 0) {
    return fail(ESHM_ERROR_SHM_ATTACH,
                about(settings) + os::why_not_mapped(failure), failure);
  }
  out = std::move(segment);
  return success();
}

Failure SegmentFile::create(const Settings& settings, const layout::Plan& plan,
                            std::shared_ptr<SegmentFile>& out) {
  auto segment = std::make_shared<SegmentFile>();
  const uint64_t bytes = plan.identity.segment_bytes;
  const auto cannot = [&](const std::string& why, int error_number) {
    return fail(ESHM_ERROR_SHM_CREATE, about(settings) + why, error_number);
  };
  if (Failure failure = refuse_beyond_sysv_limits(settings, plan)) return failure;
  os::MemoryNeed need(bytes, sysv_bytes(settings, plan));
  int failure = os::create_unnamed(bytes, settings.permissions, need, segment->file_);
  if (failure == ENOSPC || failure == ENOMEM) {
    Failure no_room = cannot(need.describe_shortage(), failure);
    no_room.may_pass = need.may_fit_later();
    return no_room;
  }
  if (failure != 0) {
    return cannot("cannot make a segment of " + std::to_string(bytes) +
                      " bytes: " + std::strerror(failure),
                  failure);
  }
  failure = segment->open_locks_and_control(true);
  if (failure == EAGAIN) return cannot(os::why_not_mapped(failure), failure);
  if (failure == 0) failure = segment->locks_.try_lock(layout::kMasterByte);
  if (failure == 0 && fstat(segment->file_.get(), &segment->meta_) != 0) failure = errno;
  if (failure != 0) {
    return cannot(std::string("cannot be set up: ") + std::strerror(failure), failure);
  }
  segment->plan_ = plan;
  segment->plan_.identity.nonce = os::random_nonzero();
  for (layout::ChannelGeometry& geometry : segment->plan_.geometry) {
    geometry.data_nonce = os::random_nonzero();
  }
  out = std::move(segment);
  return success();
}

int SegmentFile::open_locks_and_control(bool writable) {
  const int failure = os::LockFile::reopen(file_, writable, locks_);
  if (failure != 0) return failure;
  return os::Mapping::map(file_, 0, layout::kControlBytes, writable, control_);
}

void SegmentFile::write_header() {
  plan_.identity.fingerprint = layout::fingerprint_of(plan_);
  std::memcpy(&page().identity, &plan_.identity, sizeof plan_.identity);
  std::memcpy(&page().geometry, &plan_.geometry, sizeof plan_.geometry);
}

bool SegmentFile::is_superseded() const {
  return page().mark.superseded.load(memory_order_acquire) != 0;
}

uint64_t SegmentFile::signs_of_life(ESHMRole role) const {
  const int index = role == ESHM_ROLE_MASTER ? 0 : 1;
  uint64_t signs = page().beat[index].line.beats.load(memory_order_relaxed);
  for (const auto& calls : page().calls[index]) {
    signs += calls.line.calls.load(memory_order_relaxed);
  }
  return signs;
}

bool SegmentFile::is_named(const Settings& settings) const {
  return os::names_file(os::object_path(settings.name), meta_);
}

bool SegmentFile::is_held(layout::LockByte byte) const {
  bool held = true;
  return locks_.is_held_elsewhere(byte, held) != 0 || held;
}

Succession::~Succession() {
  if (!is_taken_) return;
  claim_record(segment_->page().succession);
  segment_->locks().unlock(layout::kSuccessionByte);
}

bool Succession::try_take() {
  if (segment_->locks().try_lock(layout::kSuccessionByte) != 0) return false;
  is_taken_ = true;
  claim_record(segment_->page().succession);
  complete_record(segment_->page().succession, os::random_nonzero(), 0);
  return true;
}

}  // namespace eshm::endpoint
