// SPDX-License-Identifier: MIT
// How a process comes to its role: birth, adoption, starting afresh, replacing
// a hung master, and a slave's seat. docs/PROTOCOL.md, section "Roles".
//
// Each step inspects the name again and never waits; the caller decides how long it
// continues. Every change of a role or of the name is made under the segment's
// succession lock, after judging again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "endpoint/attachment.h"
#include "endpoint/naming.h"

namespace eshm::endpoint {

class RoleSeeker {
 public:
  enum class Verdict {
    kTaken,           // `attachment` is ours
    kRefused,         // for good; `failure` says why
    kTryAgain,        // another process is changing the roles, for microseconds
    kNoRoom,          // too little is left; another newcomer's segment may soon be given back
    kWaitingForExit,  // the kernel is still tearing the holder down; `failure` names it
    kComparing,       // a holder's signs of life are being compared, for a stale threshold at most
    kNoMaster,        // slave: there is no master to attach to
    kHasMaster,       // internal to AUTO: there is a master
  };
  struct Step {
    Verdict verdict;
    Failure failure;
    std::unique_ptr<Attachment> attachment;
  };

  // How long to pause after kComparing.
  static constexpr uint64_t kCompareIntervalNs = os::kNsPerMs;

  // `predecessor`: incarnation of this slave in the segment that it leaves, or 0.
  // `must_be_reserved`: it leaves that for a seat that is kept for it, and for no other.
  explicit RoleSeeker(const Settings& settings, uint64_t predecessor = 0,
                      bool must_be_reserved = false)
      : settings_(settings), predecessor_(predecessor), must_be_reserved_(must_be_reserved) {}

  // One attempt at the role of the settings.
  Step step();

 private:
  // A holder whose signs of life are being compared.
  struct Watched {
    uint64_t incarnation = 0;
    uint64_t signs = 0;
    uint64_t since_ns = 0;  // 0: none yet
    Silence silence;
  };
  enum class Pulse { kLives, kUndecided, kStill };

  using SegmentPtr = std::shared_ptr<SegmentFile>;

  Step seek_master(bool may_replace);
  Step seek_slave();
  Step seek_either();

  Step give_birth();
  Step succeed(const SegmentPtr& segment);
  Step challenge(const SegmentPtr& segment);
  Step take_seat(const SegmentPtr& segment);
  // Under the succession lock:
  Step adopt(const SegmentPtr& segment);
  Step inherit(const SegmentPtr& segment);
  Step start_afresh(const SegmentPtr& segment);
  Step supersede(const SegmentPtr& segment);

  static Step try_again(Failure meanwhile = {});
  static Step refused(Failure failure);
  // As far as this process can see it.
  static bool is_exiting(const Holder& holder);
  // Compares a role's holder's signs of life, over a stale threshold.
  Pulse compare_signs(const Holder& holder, uint64_t signs);
  Step refuse_taken(const char* role, const Holder& holder, Pulse pulse) const;
  // The slave's seat is kept for another process, which may have died just now.
  Step wait_for_seat(const SegmentFile& segment);
  Step refuse_foreign() const;
  // A role's lock is held, its record not complete.
  Step wait_for_record(const SegmentFile& segment);
  Step wait_for_exit(const char* role, const Holder& holder) const;
  // Mapping failed although a process holds `holders_role`.
  Step without_areas(const SegmentFile& segment, ESHMRole holders_role, Failure failure) const;
  Step succession_is_busy(const SegmentFile& segment);
  bool same_shape(const layout::Plan& plan) const;
  bool is_as_configured(const SegmentFile& segment) const;
  bool is_reserved_for_us(const SegmentFile& segment) const;
  Step installed(const Naming& naming, std::unique_ptr<Attachment> fresh) const;

  const Settings& settings_;
  uint64_t predecessor_;
  bool must_be_reserved_;
  Watched watched_;
  uint32_t holders_watched_ = 0;
  Watched watched_seat_;
  Watched watched_succession_;
  uint32_t succession_tries_ = 0;
};

}  // namespace eshm::endpoint
