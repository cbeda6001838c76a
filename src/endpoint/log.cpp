// SPDX-License-Identifier: MIT
#include "endpoint/log.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "os/mutex.h"

namespace eshm::endpoint {
namespace {

struct Listener {
  ESHMLogCallback callback;
  void* context;
};

// Read without a lock: one could be held for ever in a forked child. Former listeners are
// kept, since another thread may still be in one.
std::atomic<const Listener*> current{nullptr};

}  // namespace

void set_log_callback(ESHMLogCallback callback, void* context) {
  current.store(nullptr, std::memory_order_release);  // and so it stays where there is no memory
  if (callback == nullptr) return;
  try {
    static os::Mutex* const mutex = new os::Mutex;  // the service thread may outlive main
    static auto* const all = new std::vector<std::unique_ptr<const Listener>>;
    const std::lock_guard<os::Mutex> lock(*mutex);
    all->push_back(std::make_unique<const Listener>(Listener{callback, context}));
    current.store(all->back().get(), std::memory_order_release);
  } catch (const std::bad_alloc&) {
  }
}

bool is_heard() { return current.load(std::memory_order_acquire) != nullptr; }

void log(ESHMLogLevel level, const std::string& text) {
  const Listener* const listener = current.load(std::memory_order_acquire);
  if (listener != nullptr) listener->callback(level, text.c_str(), listener->context);
}

}  // namespace eshm::endpoint
