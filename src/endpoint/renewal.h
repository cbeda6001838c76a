// SPDX-License-Identifier: MIT
// What a healthy master does whose segment has lost its name: it gives the name to a fresh
// segment, and moves there together with its slave. docs/PROTOCOL.md, section "A name that
// is lost". Part of upkeep, one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "endpoint/data_path.h"
#include "endpoint/naming.h"
#include "endpoint/notices.h"
#include "endpoint/peer_view.h"

namespace eshm::endpoint {

class Renewal {
 public:
  // What upkeep has to do about it.
  struct Outcome {
    bool is_renewed = false;             // the link has its name again
    bool is_superseded = false;          // another process is its master
    PeerView::Events events;             // of a slave that is in the fresh segment already
    std::shared_ptr<Attachment> former;  // where this end wrote until now
  };

  // The user is that of this moment.
  Renewal(const Settings& settings, DataPath& data, Notices& notices, PeerView& peer);

  // Looks at the name twice a second; renews it once a second at the most. Waits for locks.
  Outcome run(uint64_t now_ns);

  // There is a fresh segment, and the slave is not there yet: to be run each millisecond.
  bool is_under_way() const { return next_ != nullptr || awaits_slave(); }
  // Shows in the fresh segment that its master lives.
  void beat() const;
  // The slave is still in the segment that this end has left. Then check_slave() replaces
  // the check of the peer.
  bool awaits_slave() const { return former_ != nullptr; }
  PeerView::Events check_slave(uint64_t now_ns, Locking locking);

  // The segment of this end that has the name, or should have it.
  const SegmentFile* slave_comes_from() const;
  const std::shared_ptr<SegmentFile>& named_segment() const;
  // The role is over.
  void end();

 private:
  // What the name means.
  enum class Meaning { kThis, kNothing, kOrphan, kLivingMaster, kOther };

  void keep_name(Outcome& outcome);
  Meaning look(std::shared_ptr<SegmentFile>& found);
  Meaning judge(const SegmentFile& found);
  void link_again(Outcome& outcome);
  void renew(const std::shared_ptr<SegmentFile>& orphan, Outcome& outcome);
  void keep_seat(Attachment& fresh) const;
  Naming name(const std::shared_ptr<SegmentFile>& fresh,
              const std::shared_ptr<SegmentFile>& orphan) const;
  void give_way_to(int32_t pid, Outcome& outcome);
  Settings settings_of_link() const;

  void move_when_ready(Outcome& outcome);
  void move(bool has_slave, Outcome& outcome);
  void report(const std::string& why);

  const Settings& settings_;
  DataPath& data_;
  Notices& notices_;
  PeerView& peer_;
  const uid_t user_;
  uint64_t next_look_ns_ = 0;
  std::string reported_;  // last; not again until it changes

  // To the fresh segment, until this end writes there.
  std::unique_ptr<Move> next_;
  // From then on until its slave has come over: the segment that was left, and the move.
  std::shared_ptr<Attachment> former_;
  std::unique_ptr<Move> move_;
  channel::QueueWriter former_queue_;  // what the slave reads there
  uint64_t carried_from_ = 0;          // from this position on it was carried over
};

}  // namespace eshm::endpoint
