// Events and log lines come on the library's service thread, which must not
// wait for the interpreter: it beats the heart of all links. They are put into
// a queue, and a Python thread (eshm/_notices.py) takes them out.
#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "native.h"

namespace eshm_py {
namespace {

enum Kind { kStop, kEvent, kLog };

struct Notice {
  Kind kind;
  int number;  // event or log level
  uint64_t link_id;
  std::string text;
};

struct Notices {
  std::mutex mutex;
  std::condition_variable arrival;
  std::deque<Notice> waiting;
};

// Far more than a reader that lives leaves; one that hangs shall not eat the memory.
constexpr size_t kMostNotices = 10000;

Notices* notices() {
  // Left behind in a forked child, whose copy may be locked by a thread that it
  // does not have; and at exit, since the service thread may outlive main.
  static Notices* current = new Notices;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { current = new Notices; });
  static_cast<void>(registered);
  return current;
}

void put(Notice&& notice) noexcept {
  try {
    Notices* queue = notices();
    const std::lock_guard<std::mutex> lock(queue->mutex);
    if (queue->waiting.size() >= kMostNotices) return;
    queue->waiting.push_back(std::move(notice));
    queue->arrival.notify_one();
  } catch (...) {
    // Without memory there is nobody to tell.
  }
}

void on_log(enum ESHMLogLevel level, const char* text, void*) {
  put({kLog, static_cast<int>(level), 0, text});
}

Notice take() {
  Notices* queue = notices();
  std::unique_lock<std::mutex> lock(queue->mutex);
  queue->arrival.wait(lock, [&] { return !queue->waiting.empty(); });
  Notice notice = std::move(queue->waiting.front());
  queue->waiting.pop_front();
  return notice;
}

}  // namespace

void on_event(ESHMHandle*, enum ESHMEvent event, void* link_id) {
  put({kEvent, static_cast<int>(event), reinterpret_cast<uintptr_t>(link_id), std::string()});
}

PyObject* next_notice(PyObject*, PyObject*) {
  PyThreadState* thread = PyEval_SaveThread();
  const Notice notice = take();
  PyEval_RestoreThread(thread);
  if (notice.kind == kStop) Py_RETURN_NONE;
  PyObject* text = PyUnicode_DecodeUTF8(notice.text.data(),
                                        static_cast<Py_ssize_t>(notice.text.size()), "replace");
  if (text == nullptr) return nullptr;
  return Py_BuildValue("(siKN)", notice.kind == kLog ? "log" : "event", notice.number,
                       static_cast<unsigned long long>(notice.link_id), text);
}

PyObject* stop_notices(PyObject*, PyObject*) {
  put({kStop, 0, 0, std::string()});
  Py_RETURN_NONE;
}

PyObject* listen_to_log(PyObject*, PyObject* wanted) {
  const int on = PyObject_IsTrue(wanted);
  if (on < 0) return nullptr;
  eshm_set_log_callback(on != 0 ? on_log : nullptr, nullptr);
  Py_RETURN_NONE;
}

}  // namespace eshm_py
