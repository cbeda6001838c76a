// SPDX-License-Identifier: MIT
// Whose turn it is to run the upkeep of a link: the service thread's when it is due, a
// call's where there is no such thread, or where it is late. One at a time.
#pragma once

#include <atomic>
#include <mutex>

#include "endpoint/settings.h"
#include "os/mutex.h"

namespace eshm::endpoint {

class Turn {
 public:
  using Lock = std::unique_lock<os::Mutex>;

  explicit Turn(const Settings& settings);

  // From now on a service thread takes turns; calls only if it is late and they may.
  void set_served(bool may_run_in_calls);
  bool is_served() const { return is_served_; }

  // For a call: whether it is its turn, as far as one clock tells. No system call.
  bool is_calls_turn() const;
  // Owns the lock, or another thread has its turn just now.
  Lock take_in_call();
  Lock take_in_service() { return Lock(mutex_, std::try_to_lock); }
  Lock wait() { return Lock(mutex_); }

  // Under the lock.
  void begin(uint64_t now_ns) { began_ns_.store(now_ns, std::memory_order_relaxed); }
  void end() { began_ns_.store(0, std::memory_order_relaxed); }
  void end_in_service(uint64_t now_ns) { served_ns_.store(now_ns, std::memory_order_relaxed); }

 private:
  bool is_late(uint64_t since_ns) const;

  const uint64_t late_ns_;
  bool is_served_ = false;
  bool may_run_in_calls_ = true;
  std::atomic<uint64_t> served_ns_{0};  // the service thread's last turn
  std::atomic<uint64_t> began_ns_{0};   // of the turn that lasts; 0: none does
  os::Mutex mutex_;
};

}  // namespace eshm::endpoint
