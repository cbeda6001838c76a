// SPDX-License-Identifier: MIT
// What lies at a link's name, and the control page of it: enough to judge a
// segment and to change who plays which role in it.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>

#include "endpoint/failure.h"
#include "endpoint/peer_watch.h"
#include "endpoint/settings.h"
#include "layout/validate.h"
#include "os/clock.h"
#include "os/file_lock.h"
#include "os/process.h"
#include "os/shm_object.h"

namespace eshm::endpoint {

// What the name means, judged from private memory.
struct Found {
  layout::Finding finding = layout::Finding::kAbsent;
  Failure refusal;  // for every finding but absent, superseded and fine
  layout::Plan plan = {};
  bool is_writable = false;  // opened so
  os::Fd file;
  struct stat meta = {};
};

// Opens and judges what is at the name: type, owner, mode, size and header.
// Changes nothing and waits for nothing. An observer opens it read-only.
Found inspect_name(const Settings& settings, bool writable = true);

// A copy of a RoleRecord, consistent within itself.
struct Holder {
  uint64_t incarnation = 0;  // 0: no holder yet, or the record is incomplete
  os::ProcessIdentity process;
  uint64_t stale_threshold_ns = 0;
  uint64_t left = 0;
  uint32_t generation = 0;
};

Holder read_record(const layout::RoleRecord& record);
// For the holder of the record's lock: `claim` makes it incomplete, `complete`
// fills it in for this process.
void claim_record(layout::RoleRecord& record);
void complete_record(layout::RoleRecord& record, uint64_t incarnation, uint32_t stale_threshold_ms);

// An open segment: its locks and its control page. The file's descriptor is
// closed once all is mapped; the lock's own stays.
class SegmentFile {
 public:
  // `found` must be fine or superseded. Where it is read-only, so is all that
  // is opened or mapped here: page() may be looked at, and locks probed.
  static Failure open(const Settings& settings, Found found, std::shared_ptr<SegmentFile>& out);
  // A new file without a name, the master's lock taken, no header yet: plan()
  // may still be completed, with System V ids.
  static Failure create(const Settings& settings, const layout::Plan& plan,
                        std::shared_ptr<SegmentFile>& out);
  // Then the header is written, and the segment valid.
  void write_header();

  layout::ControlPage& page() const {
    return *reinterpret_cast<layout::ControlPage*>(control_.data());
  }
  layout::RoleRecord& record(ESHMRole role) const {
    return role == ESHM_ROLE_MASTER ? page().master : page().slave;
  }
  const layout::Plan& plan() const { return plan_; }
  layout::Plan& plan() { return plan_; }
  const struct stat& meta() const { return meta_; }
  const os::Fd& file() const { return file_; }
  os::LockFile& locks() { return locks_; }
  const os::LockFile& locks() const { return locks_; }
  void close_file() { file_.reset(); }

  bool is_superseded() const;
  // Changes while the role's holder beats, or calls. L1 -> L2: relaxed, since only the
  // change counts, and nothing else is read because of it.
  uint64_t signs_of_life(ESHMRole role) const;
  bool is_named(const Settings& settings) const;
  // Probes the lock. True also if the kernel gives no answer: then the holder counts
  // as alive.
  bool is_held(layout::LockByte byte) const;

 private:
  int open_locks_and_control(bool writable);

  layout::Plan plan_ = {};
  struct stat meta_ = {};
  os::Fd file_;
  os::LockFile locks_;
  os::Mapping control_;
};

// What counts as the peer's silence for the watchers of this link. `is_rare`: the watcher
// checks when its caller comes, not by a timer.
Silence silence_of(const Settings& settings, bool is_rare);

// Checks a role's holder for `watch`. `must_probe`: its exit watch fired.
Sighting sight_holder(const SegmentFile& segment, ESHMRole role, const PeerWatch& watch,
                 uint64_t now_ns, bool must_probe);

// "/dev/shm/eshm_cam0: " before whatever is to be said of a link.
std::string about(const Settings& settings);
// "PID 4711", or "PID 4711 of another PID namespace".
std::string name_of(const Holder& holder);

// Holds the succession lock of a segment: every change of its roles and of
// its name is made under it.
class Succession {
 public:
  explicit Succession(std::shared_ptr<SegmentFile> segment) : segment_(std::move(segment)) {}
  ~Succession();
  Succession(const Succession&) = delete;
  Succession& operator=(const Succession&) = delete;
  // Never waits. False: another process holds it (see its record).
  bool try_take();

 private:
  std::shared_ptr<SegmentFile> segment_;
  bool is_taken_ = false;
};

}  // namespace eshm::endpoint
