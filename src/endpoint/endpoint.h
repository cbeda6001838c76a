// SPDX-License-Identifier: MIT
// One end of a link: what an ESHMHandle of a master or a slave is. It holds the parts
// and opens and closes them; each part is in a file of its own:
//
//   data_path   what calling threads use
//   upkeep      what the service thread does (or calls, without threads)
//   notices     what the application is told
//   former_segments (in the data path)   what a move left behind
#pragma once

#include <memory>
#include <mutex>

#include "endpoint/data_path.h"
#include "endpoint/failure.h"
#include "endpoint/full_queue.h"
#include "endpoint/handle.h"
#include "endpoint/notices.h"
#include "endpoint/upkeep.h"
#include "os/mutex.h"

namespace eshm::endpoint {

// Any thread may call any function at any time; close() is the last.
class Endpoint : public Handle {
 public:
  // Waits as eshm_init says. On success `out` is served from then on.
  static Failure open(Settings settings, std::unique_ptr<Endpoint>& out);
  // Says good-bye, and removes the name where that is this end's duty.
  Failure close();

  // Its calls answer codes; explain() has the sentence for each.
  DataPath& data() { return data_; }
  Failure explain(int code, size_t size, uint32_t timeout_ms) const;
  Failure explain_no_room(uint32_t timeout_ms) const;  // the TIMEOUT of a write
  Failure explain_all_out(bool is_borrow) const;       // the BUFFER_FULL of a borrow or a loan
  // For the BUFFER_FULL of a write. No system call, no allocation.
  FullQueue full_queue() const;
  // A descriptor that polls readable while incoming().is_ready().
  Failure get_event_fd(int& descriptor);

  ESHMRole role() const { return settings_.role; }
  ESHMPeerState peer_state();
  void beat();
  void hold_heartbeat(bool is_held);
  void get_stats(ESHMStats& stats);
  void get_stats_ex(ESHMStatsEx& stats);
  layout::ChannelShape shape(layout::Direction direction) const;
  Notices& notices() { return notices_; }

 private:
  Endpoint(const Settings& settings, std::unique_ptr<Attachment> attachment);
  static Failure begin(const Settings& settings, std::unique_ptr<Attachment> attachment,
                       std::unique_ptr<Endpoint>& out);
  std::string name_of_peer(const Attachment& link) const;
  std::string explain_superseded(const Attachment& link) const;

  Settings settings_;  // constant after begin(), which sets the scheduling
  DataPath data_;
  Notices notices_;
  Upkeep upkeep_;
  os::Mutex stats_mutex_;
  uint64_t last_beats_[2] = {0, 0};  // of the get_stats before
};

}  // namespace eshm::endpoint
