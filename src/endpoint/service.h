// SPDX-License-Identifier: MIT
// The one thread of a process that does the upkeep of all its links: it beats each
// millisecond, watches for the exit of peers and for new names, and runs what is due.
#pragma once

#include <poll.h>

#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "endpoint/failure.h"
#include "endpoint/settings.h"
#include "os/fd.h"
#include "os/mutex.h"
#include "os/process.h"
#include "os/thread.h"

namespace eshm::endpoint {

// Started by the first link that wants it, ended by the last; in a forked
// child there is none until the child opens a link of its own.
class Service {
 public:
  // What a link needs of the service.
  struct Needs {
    uint64_t due_ns = 0;
    std::atomic<uint64_t>* heartbeat = nullptr;
    os::ProcessIdentity exit_watch;  // the process whose exit is to be seen at once; PID 0: none
    bool wants_name_watch = false;
    bool has_notices = false;
  };

  // A link that is served. The thread calls all of these, one at a time.
  class Client {
   public:
    // The heartbeat of the former answer is not touched any more.
    virtual Needs needs() = 0;
    // Does what is due. `name_changed`: as the function below says. False: a call of the
    // link does it just now, and `needs` is unchanged.
    virtual bool run_upkeep(uint64_t now_ns, bool name_changed, Needs& needs) = 0;
    // Whether the link's name means another file than at the last look; one system call.
    virtual bool name_has_changed() = 0;
    // The process of the exit watch has ended, as far as its pidfd knows.
    virtual void peer_has_exited() = 0;
    // Whether the application has left the link's descriptor open; one system call.
    // If not, the next run_upkeep() fences the link.
    virtual bool find_lock_file() = 0;
    // Calls the application; the thread holds no mutex.
    virtual void deliver_notices() = 0;

   protected:
    ~Client() = default;
  };

  // Fails with INVALID_PARAM if the thread runs and these settings request another
  // scheduling than it has. Default scheduling is accepted always.
  static Failure check_scheduling(const Settings& settings);
  // Serves `client` from now on. The first client starts the thread, with the scheduling
  // of its settings; the settings of a later one get that of the thread. Fails as
  // check_scheduling(), or with the reason why the thread cannot be started:
  // INVALID_PARAM (CPUs), PERMISSION (policy and priority), SHM_CREATE (other limits).
  static Failure add(Client* client, Settings& settings);
  // From now on beats there, until the client's next upkeep, which is due at once.
  static void redirect(Client* client, std::atomic<uint64_t>& heartbeat);
  // After this returns the client is not touched any more.
  static void remove(Client* client);

 private:
  // Sees a peer process end: a pidfd, shared by all links to it. It is spent when it
  // has fired once, or could not be opened: the lock is probed from then on.
  struct ExitWatch {
    os::Fd pidfd;
    bool is_spent = false;
  };
  using ExitWatchKey = std::pair<int32_t, uint64_t>;  // PID and start time

  // One client, and its needs as of its last upkeep.
  struct Served {
    Client* client;
    std::atomic<uint64_t>* heartbeat;
    uint64_t due_ns;
    ExitWatchKey exit_watch;
    bool wants_name_watch = false;
    bool has_notices = false;
    bool name_changed = false;
  };

  Failure check(const os::Scheduling& requested) const;
  Failure start(const Settings& settings);
  void run();
  bool wait_until(uint64_t tick_ns);
  struct Beating;  // run_due, for what takes long in it
  void beat_when_due(uint64_t now, uint64_t& next_tick_ns);
  void take_signs();
  void look_at_names(uint64_t now);
  void run_due(uint64_t& next_tick_ns);
  void note_needs(Served& one, const Needs& needs);
  void check_lock_files(uint64_t now);
  void update_watches();
  void update_exit_watches();
  void list_descriptors();
  bool deliver(std::unique_lock<os::Mutex>& lock);

  os::Mutex lifecycle_mutex_;  // starting and joining the thread
  os::Thread thread_;
  os::Scheduling scheduling_;  // of the thread

  os::Mutex mutex_;  // guards what follows
  os::Condition delivered_;
  std::vector<Served> served_;  // flat: each tick looks through a thousand
  Client* delivering_ = nullptr;
  bool stopping_ = false;
  bool must_update_exit_watches_ = false;
  bool notices_pending_ = false;

  // The thread's own.
  std::map<ExitWatchKey, ExitWatch> exit_watches_;
  uint64_t next_look_ns_ = 0;
  size_t next_looked_ = 0;
  uint64_t next_check_ns_ = 0;
  size_t next_checked_ = 0;
  std::vector<pollfd> descriptors_;  // the unspent exit watches in their order
};

}  // namespace eshm::endpoint
