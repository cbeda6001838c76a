// SPDX-License-Identifier: MIT
// A segment in which this process plays a role: everything mapped, the lock
// held, the record written, both channels taken over.
#pragma once

#include <atomic>
#include <memory>

#include "channel/wakeup.h"
#include "endpoint/ends.h"
#include "endpoint/segment_file.h"
#include "os/sysv_block.h"

namespace eshm::endpoint {

// Where the key of a direction's System V segment comes from.
std::string sysv_key_of(const std::string& link, layout::Direction direction);

// One direction's data area, in whichever backend. Mapped read-only on the
// side that reads.
class DataMapping {
 public:
  // To read a few words.
  static Failure map(const Settings& settings, const SegmentFile& segment,
                     layout::Direction direction, bool writable, DataMapping& out);
  // To work with: the memory is as ESHMConfig.flags ask, or the link is refused. A
  // real-time program needs the error, not slower memory.
  static Failure attach(const Settings& settings, const SegmentFile& segment,
                        layout::Direction direction, bool writable, DataMapping& out);
  // The same for the creator of the segment, whose plan it completes.
  static Failure create(const Settings& settings, SegmentFile& segment,
                        layout::Direction direction, bool writable, DataMapping& out);

  std::byte* data() const { return sysv_.data() != nullptr ? sysv_.data() : posix_.data(); }
  const layout::PublishLine& publish_line() const {
    return reinterpret_cast<const layout::DataArea*>(data())->publish;
  }
  // How many messages were written there.
  uint64_t messages(const layout::ChannelGeometry& geometry) const;

 private:
  Failure apply_memory_flags(const Settings& settings, layout::Direction direction, size_t bytes,
                             bool writable) const;

  os::Mapping posix_;
  os::SysvBlock sysv_;
};

class Attachment {
 public:
  Attachment(ESHMRole role, std::shared_ptr<SegmentFile> segment)
      : role_(role), segment_(std::move(segment)), ends_(std::make_unique<Ends>()) {}

  // A new segment without a name, in which this process is the master.
  static Failure create(const Settings& settings, std::unique_ptr<Attachment>& out);
  // Maps both data areas of an existing one. Takes no role yet.
  static Failure map(const Settings& settings, std::shared_ptr<SegmentFile> segment, ESHMRole role,
                     std::unique_ptr<Attachment>& out);

  // Becomes the role, whose lock is held. Takes over both channels from their former
  // users, then completes the record. `incarnation` is fresh.
  void assume_role(const Settings& settings, uint64_t incarnation);
  // The same for a master whose segment both ends had left: unread messages of its queues
  // stay, and no value of a LATEST channel is new. False: what is there is corrupt.
  bool inherit(const Settings& settings, uint64_t incarnation);
  // The channels' ends of that role, for their user. May be called once.
  Ends take_ends() { return std::move(*ends_); }

  ESHMRole role() const { return role_; }
  layout::Direction outgoing() const {
    return role_ == ESHM_ROLE_MASTER ? layout::kMasterToSlave : layout::kSlaveToMaster;
  }
  layout::Direction incoming() const {
    return role_ == ESHM_ROLE_MASTER ? layout::kSlaveToMaster : layout::kMasterToSlave;
  }
  SegmentFile& segment() const { return *segment_; }
  const std::shared_ptr<SegmentFile>& segment_ptr() const { return segment_; }
  layout::ControlPage& page() const { return segment_->page(); }
  const layout::ChannelGeometry& geometry(layout::Direction direction) const {
    return segment_->plan().geometry[direction];
  }
  uint64_t incarnation() const { return incarnation_; }

  layout::RoleRecord& own_record() const { return segment_->record(role_); }
  layout::RoleRecord& peer_record() const {
    return segment_->record(role_ == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER);
  }
  std::atomic<uint64_t>& own_beats() const {
    return page().beat[role_ == ESHM_ROLE_MASTER ? 0 : 1].line.beats;
  }
  std::atomic<uint64_t>& own_calls(layout::CallKind kind) const {
    return page().calls[role_ == ESHM_ROLE_MASTER ? 0 : 1][kind].line.calls;
  }
  layout::WakeLine& incoming_wake() const { return page().data_wake[incoming()].line; }
  layout::WakeLine& outgoing_wake() const { return page().data_wake[outgoing()].line; }
  // How many messages were written there.
  uint64_t messages_in(layout::Direction direction) const {
    return data_[direction].messages(geometry(direction));
  }
  // Position behind the last committed record of a queue.
  uint64_t end_of_queue(layout::Direction direction) const;

  // Master: the segment that this one replaced, as long as its slave may come over.
  std::shared_ptr<SegmentFile> replaced;
  // What the log is to tell of what this one holds from before; "": nothing.
  std::string report;
  bool is_report_bad = false;  // messages were dropped
  // Slave: this seat was kept for it. It ends the reservation when it has come over.
  bool has_reserved_seat = false;
  // Keeps the seat for the slave of another segment.
  void reserve_seat(const Holder& slave);
  // Sets the mark, with both areas mapped.
  void mark(uint32_t mark, int32_t successor_pid) const;
  // Frees the seat that is kept for that slave once it has come, or is dead.
  void free_reserved_seat(bool slave_came);

 private:
  channel::ChannelView view(layout::Direction direction) const;
  channel::QueueView queue_view(layout::Direction direction) const;
  void set_up(WriteEnd& out, const layout::RoleRecord& role, uint32_t generation) const;
  void set_up(ReadEnd& in, const layout::RoleRecord& role) const;

  ESHMRole role_;
  std::shared_ptr<SegmentFile> segment_;
  DataMapping data_[2];
  uint64_t incarnation_ = 0;
  std::unique_ptr<Ends> ends_;
};

// What the control page tells of both sides: beats, PIDs, messages read.
ESHMStats stats_in(const layout::ControlPage& page);

// Marks the segment as superseded. `successor_pid` goes into the error texts of the
// processes that find the mark.
void mark_superseded(const Settings& settings, SegmentFile& segment, int32_t successor_pid);
void wake_all_waiters(SegmentFile& segment);

}  // namespace eshm::endpoint
