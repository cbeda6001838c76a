// SPDX-License-Identifier: MIT
#include "waiting.h"

#include <algorithm>
#include <vector>

namespace eshm_py {
namespace {

bool is_closing(const Link* link) { return link->core->closing; }

// Counts one call of each link, so that close() keeps their handles meanwhile.
class Held {
 public:
  explicit Held(const std::vector<Link*>& links) : links_(links) {
    for (Link* link : links_) ++link->core->calls;
  }
  ~Held() {
    for (Link* link : links_) {
      --link->core->calls;
      destroy_if_due(link->core);
    }
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  const std::vector<Link*>& links_;
};

PyObject* wait_for(const std::vector<Link*>& links, const std::vector<ESHMHandle*>& handles,
                   uint32_t timeout_ms) {
  const Waiting waiting(links.data(), links.size());
  const Held held(links);
  PyThreadState* thread = PyEval_SaveThread();
  const int index = eshm_wait_any(handles.data(), handles.size(), timeout_ms);
  PyEval_RestoreThread(thread);
  if (index >= 0) return PyLong_FromLong(index);
  const auto closed = std::find_if(links.begin(), links.end(), is_closing);
  return closed == links.end() ? raise_code(index) : raise_wait_error(*closed, index);
}

}  // namespace

thread_local const Waiting* Waiting::innermost = nullptr;

bool Waiting::on(const Core* core) {
  const auto is_of_core = [core](const Link* link) { return link->core == core; };
  for (const Waiting* wait = innermost; wait != nullptr; wait = wait->outer_) {
    if (std::any_of(wait->links_, wait->links_ + wait->count_, is_of_core)) return true;
  }
  return false;
}

PyObject* raise_wait_error(const Link* link, int code) {
  if (code == ESHM_ERROR_INTERRUPTED && link->core->closing && PyErr_Occurred() == nullptr) {
    return raise_text(ESHM_ERROR_NOT_INITIALIZED, "the link was closed during the wait");
  }
  return raise_code(code);
}

PyObject* wait_any(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 2) {
    PyErr_SetString(PyExc_TypeError, "wait_any() takes a sequence of links and a time-out");
    return nullptr;
  }
  uint32_t timeout_ms;
  if (!to_timeout(args[1], ESHM_DEFAULT_READ_MS, &timeout_ms)) return nullptr;
  PyObject* sequence = PySequence_Tuple(args[0]);
  if (sequence == nullptr) return nullptr;
  std::vector<Link*> links;
  std::vector<ESHMHandle*> handles;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sequence); ++i) {
    Link* link = as_link(PyTuple_GET_ITEM(sequence, i));
    ESHMHandle* handle = link == nullptr ? nullptr : usable_handle(link);
    if (handle == nullptr) break;
    links.push_back(link);
    handles.push_back(handle);
  }
  PyObject* answer = PyErr_Occurred() ? nullptr : wait_for(links, handles, timeout_ms);
  Py_DECREF(sequence);
  return answer;
}

}  // namespace eshm_py
