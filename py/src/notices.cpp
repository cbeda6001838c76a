// SPDX-License-Identifier: MIT
// Delivery of events and log lines. The library reports them on its service thread,
// which writes the heartbeats of all links and must not wait for the interpreter's
// lock. So they go into a queue, and a Python thread (eshm/_notices.py) takes them out.
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

// Bounds the memory if the Python thread hangs; a running one leaves far fewer.
constexpr size_t kMaxNotices = 10000;

Notices* notices() {
  // Never freed. A forked child gets a new queue, since the mutex of its copy may be
  // locked by a thread that it does not have. At exit the service thread may still
  // use the queue after main.
  static Notices* current = new Notices;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { current = new Notices; });
  static_cast<void>(registered);
  return current;
}

void put(Notice&& notice) noexcept {
  try {
    Notices* queue = notices();
    const std::lock_guard<std::mutex> lock(queue->mutex);
    if (queue->waiting.size() >= kMaxNotices) return;
    queue->waiting.push_back(std::move(notice));
    queue->arrival.notify_one();
  } catch (...) {
    // Out of memory: the notice is lost.
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
