#include "endpoint/log.h"

#include <mutex>

namespace eshm::endpoint {
namespace {

struct Listener {
  std::mutex mutex;
  ESHMLogCallback callback = nullptr;
  void* context = nullptr;
};

Listener& listener() {
  static Listener* const instance = new Listener;  // the service thread may outlive main
  return *instance;
}

}  // namespace

void set_log_callback(ESHMLogCallback callback, void* context) {
  const std::lock_guard<std::mutex> lock(listener().mutex);
  listener().callback = callback;
  listener().context = context;
}

void log(ESHMLogLevel level, const std::string& text) {
  ESHMLogCallback callback;
  void* context;
  {
    const std::lock_guard<std::mutex> lock(listener().mutex);
    callback = listener().callback;
    context = listener().context;
  }
  if (callback != nullptr) callback(level, text.c_str(), context);
}

}  // namespace eshm::endpoint
