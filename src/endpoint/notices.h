// SPDX-License-Identifier: MIT
// What a link reports to its application: events and log lines. They are queued
// where they happen and delivered later, while no lock of the library is held.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "eshm_data.h"
#include "endpoint/settings.h"
#include "os/mutex.h"

namespace eshm::endpoint {

// Any thread may call any function at any time.
class Notices {
 public:
  explicit Notices(const Settings& settings) : settings_(settings) {}

  // Queues an event with its log line, or a log line alone. Never fails: without
  // memory the notice is dropped, and the peer's state can still be asked for.
  void raise(ESHMEvent event);
  void say(ESHMLogLevel level, const std::string& text);

  bool are_pending() const { return are_pending_.load(std::memory_order_acquire); }
  // Calls the application. The caller holds no lock that a call of the API takes.
  void deliver();
  // The first callback also hears what happened before it was set. When this
  // returns, the former callback is not running, unless this is called inside it.
  void set_callback(ESHMHandle* handle, ESHMEventCallback callback, void* context);

 private:
  struct Notice {
    std::optional<ESHMEvent> event;
    ESHMLogLevel level = ESHM_LOG_INFO;
    std::string line;  // "": for the event callback alone
  };
  void queue(Notice notice);
  void remember_unheard(ESHMEvent event);
  bool take_next(Notice& notice, ESHMEventCallback& callback, void*& context);

  const Settings& settings_;

  os::Mutex mutex_;  // guards what follows
  std::vector<Notice> queue_;
  std::vector<ESHMEvent> unheard_;  // what the first callback has missed
  bool had_callback_ = false;
  ESHMHandle* handle_ = nullptr;
  ESHMEventCallback callback_ = nullptr;
  void* callback_context_ = nullptr;

  std::atomic<bool> are_pending_{false};  // stored under the mutex
  os::Mutex delivery_mutex_;              // held while a callback runs
  std::atomic<std::thread::id> delivering_thread_{};
};

// This thread is inside a callback of the application.
bool is_in_callback();

}  // namespace eshm::endpoint
