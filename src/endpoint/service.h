// The one thread that tends all links of a process: beats each millisecond,
// watches peers, retries.
#pragma once

#include <poll.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "endpoint/endpoint.h"

namespace eshm::endpoint {

// Started by the first link that wants it, ended by the last; in a forked
// child there is none until the child opens a link of its own.
class Service {
 public:
  // Tends `endpoint` from now on. Returns 0 or the errno of starting a thread.
  static int add(Endpoint* endpoint);
  // After this returns the endpoint is not touched any more.
  static void remove(Endpoint* endpoint);

 private:
  // The bell of a peer process: a pidfd, shared by all links to it. When it
  // rang once it is spent: the lock has been asked, and is from then on.
  struct Bell {
    os::Fd pidfd;
    bool is_spent = false;
  };
  using BellKey = std::pair<int32_t, uint64_t>;  // PID and start time

  struct Tended {
    Endpoint* endpoint;
    std::atomic<uint64_t>* heart;
    uint64_t due_ns;
    BellKey bell;
    bool wants_name_watch = false;
    bool has_events = false;
  };

  static Service& instance();
  void run();
  bool wait_until(uint64_t tick_ns);
  void beat_when_due(uint64_t now, uint64_t& next_tick_ns);
  bool take_signs();
  void tend_due(bool name_changed, uint64_t& next_tick_ns);
  void check_lock_files(uint64_t now);
  void hang_bells();
  void sort_bells();
  void update_name_watch();
  void list_descriptors();
  bool deliver(std::unique_lock<std::mutex>& lock);

  std::mutex lifecycle_mutex_;  // starting and joining the thread
  std::thread thread_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable delivered_;
  std::vector<Tended> tended_;  // flat: a thousand are looked through each tick
  Endpoint* delivering_ = nullptr;
  bool stopping_ = false;
  bool must_sort_bells_ = false;
  bool name_watch_wanted_ = false;
  bool events_pending_ = false;

  // The thread's own.
  std::map<BellKey, Bell> bells_;
  os::NameWatch name_watch_;
  uint64_t name_watch_retry_ns_ = 0;
  bool was_blind_to_names_ = false;
  uint64_t next_check_ns_ = 0;
  size_t next_checked_ = 0;
  std::vector<pollfd> descriptors_;  // the unspent bells in their order, then the name watch
};

}  // namespace eshm::endpoint
