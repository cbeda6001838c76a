// SPDX-License-Identifier: MIT
// A read-only observer of a link: the other thing that an ESHMHandle can be.
//
// It opens and maps everything read-only, takes no lock and waits on no futex, so
// the two ends never notice what becomes of it. It has no upkeep: its own calls check
// the two sides, and the name.
#pragma once

#include <atomic>
#include <memory>

#include "channel/latest.h"
#include "channel/queue_observer.h"
#include "endpoint/attachment.h"
#include "endpoint/handle.h"
#include "endpoint/peer_watch.h"
#include "os/word_lock.h"

namespace eshm::endpoint {

class Observer : public Handle {
 public:
  // Never waits, and needs no segment. Refuses only a file at the name that cannot be
  // observed.
  static Failure open(Settings settings, std::unique_ptr<Observer>& out);

  // The next message of either direction, in turn.
  int read(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info, uint32_t timeout_ms);
  Failure explain(int code, uint32_t timeout_ms) const;

  ESHMPeerState master_state();
  void get_stats(ESHMStats& stats);
  void get_stats_ex(ESHMStatsEx& stats);
  // False: there is no segment.
  bool get_shape(layout::Direction direction, layout::ChannelShape& shape);

 private:
  // The segment that is observed.
  struct View {
    std::shared_ptr<SegmentFile> segment;
    DataMapping data[2];
  };
  struct Channel {
    bool is_queue = false;
    channel::LatestObserver latest;
    channel::QueueObserver queue;
    uint32_t sender_generation = 0;  // of the last message; 0: none of this segment yet
    uint32_t sender_count = 0;

    channel::ReadResult read(void* buffer, size_t bytes, channel::Message& message,
                             uint64_t& missed, bool thorough);
  };

  explicit Observer(Settings settings);

  int take(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info);
  int take_either(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info);
  int take_from(layout::Direction direction, void* buffer, size_t buffer_bytes,
                ESHMMessageInfo& info);
  int wait(void* buffer, size_t buffer_bytes, ESHMMessageInfo& info, uint32_t timeout_ms);
  void note_message(layout::Direction direction, const channel::Message& message, uint64_t missed,
                    ESHMMessageInfo& info);

  bool check_link();
  bool is_over() const;
  void check_sides(uint64_t now_ns);
  void check_side(uint64_t now_ns, ESHMRole role);
  bool seek();
  bool attach(Found found, bool from_birth);
  void detach();
  void spoil();

  const Settings settings_;

  mutable os::WordLock lock_;  // guards what follows
  std::unique_ptr<View> view_;
  Channel channel_[2];        // by layout::Direction
  uint32_t next_direction_ = layout::kMasterToSlave;
  PeerWatch watch_[2];        // the master, the slave
  Failure refusal_;           // why the file at the name is not observed
  uint64_t spoiled_nonce_ = 0;  // of the segment that was found corrupt; 0: none
  uint64_t next_check_ns_ = 0;
  uint64_t next_seek_ns_ = 0;
  uint64_t seek_pause_ns_ = os::kNsPerMs;
  uint64_t last_beats_[2] = {0, 0};  // of the get_stats before
  uint64_t messages_read_ = 0;
  uint64_t messages_missed_ = 0;
  uint64_t stale_reports_ = 0;
  uint32_t reconnects_ = 0;
  std::atomic<uint64_t> pauses_{0};
};

}  // namespace eshm::endpoint
