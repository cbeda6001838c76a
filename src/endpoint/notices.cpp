// SPDX-License-Identifier: MIT
#include "endpoint/notices.h"

#include <new>
#include <utility>

#include "endpoint/log.h"
#include "endpoint/segment_file.h"

namespace eshm::endpoint {

using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

thread_local bool in_callback = false;

const char* text_of(ESHMEvent event) {
  switch (event) {
    case ESHM_EVENT_CONNECTED:
      return "the peer is there";
    case ESHM_EVENT_STALE:
      return "the peer's heartbeat stands still";
    case ESHM_EVENT_ALIVE:
      return "the peer beats again";
    case ESHM_EVENT_DEAD:
      return "the peer's process has ended";
    case ESHM_EVENT_LEFT:
      return "the peer has left";
    case ESHM_EVENT_RECONNECTED:
      return "a new peer is there";
    case ESHM_EVENT_SUPERSEDED:
      return "another process has taken this one's place";
    case ESHM_EVENT_RENEWED:
      return "its name was gone: it has it again";
    case ESHM_EVENT_GAVE_UP:
      return "no new master came: given up";
  }
  return "";
}

ESHMLogLevel level_of(ESHMEvent event) {
  const bool is_good = event == ESHM_EVENT_CONNECTED || event == ESHM_EVENT_ALIVE ||
                       event == ESHM_EVENT_RECONNECTED || event == ESHM_EVENT_LEFT;
  return is_good ? ESHM_LOG_INFO : ESHM_LOG_WARNING;
}

}  // namespace

bool is_in_callback() { return in_callback; }

void Notices::raise(ESHMEvent event) {
  Notice notice;
  notice.event = event;
  notice.level = level_of(event);
  const std::lock_guard<os::Mutex> lock(mutex_);
  try {
    if (!had_callback_) remember_unheard(event);
    if (is_heard()) notice.line = about(settings_) + text_of(event);
  } catch (const std::bad_alloc&) {  // the event is delivered without its line
  }
  if (callback_ != nullptr || !notice.line.empty()) queue(std::move(notice));
}

void Notices::say(ESHMLogLevel level, const std::string& text) {
  if (!is_heard()) return;
  Notice notice;
  notice.level = level;
  try {
    notice.line = text;
  } catch (const std::bad_alloc&) {
    return;
  }
  const std::lock_guard<os::Mutex> lock(mutex_);
  queue(std::move(notice));
}

void Notices::queue(Notice notice) {
  try {
    queue_.push_back(std::move(notice));
    are_pending_.store(true, memory_order_release);
  } catch (const std::bad_alloc&) {
  }
}

// A slave has met its master, and may have lost it, before a callback can be set.
void Notices::remember_unheard(ESHMEvent event) {
  const bool is_good = event == ESHM_EVENT_CONNECTED || event == ESHM_EVENT_ALIVE ||
                       event == ESHM_EVENT_RECONNECTED;
  if (is_good) unheard_.assign(1, ESHM_EVENT_CONNECTED);
  if (event == ESHM_EVENT_STALE && unheard_.size() > 1) unheard_.resize(1);
  if (!is_good) unheard_.push_back(event);
}

// False: the queue is empty.
bool Notices::take_next(Notice& notice, ESHMEventCallback& callback, void*& context) {
  const std::lock_guard<os::Mutex> lock(mutex_);
  if (queue_.empty()) {
    are_pending_.store(false, memory_order_release);
    return false;
  }
  notice = std::move(queue_.front());
  queue_.erase(queue_.begin());
  callback = callback_;
  context = callback_context_;
  return true;
}

// The callbacks may call into the library: they run without any lock that a
// call takes.
void Notices::deliver() {
  const std::lock_guard<os::Mutex> delivering(delivery_mutex_);
  delivering_thread_.store(std::this_thread::get_id(), memory_order_relaxed);
  Notice notice;
  ESHMEventCallback callback;
  void* context;
  while (take_next(notice, callback, context)) {
    in_callback = true;
    if (!notice.line.empty()) log(notice.level, notice.line);
    if (notice.event && callback != nullptr) callback(handle_, *notice.event, context);
    in_callback = false;
  }
  delivering_thread_.store(std::thread::id(), memory_order_relaxed);
}

void Notices::set_callback(ESHMHandle* handle, ESHMEventCallback callback, void* context) {
  // Inside a callback of this handle this thread holds the mutex already.
  std::unique_lock<os::Mutex> delivering(delivery_mutex_, std::defer_lock);
  if (delivering_thread_.load(memory_order_relaxed) != std::this_thread::get_id()) {
    delivering.lock();
  }
  const std::lock_guard<os::Mutex> lock(mutex_);
  handle_ = handle;
  callback_ = callback;
  callback_context_ = context;
  if (callback_ == nullptr || had_callback_) return;
  had_callback_ = true;
  // Notices queued so far become log lines alone: their events are in unheard_.
  for (Notice& notice : queue_) notice.event.reset();
  for (const ESHMEvent event : unheard_) queue({event, ESHM_LOG_INFO, {}});
  unheard_.clear();
}

}  // namespace eshm::endpoint
