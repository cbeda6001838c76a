#include "waiting.h"

#include <vector>

namespace eshm_py {

thread_local const Waiting* Waiting::innermost = nullptr;

bool Waiting::on(const Link* link) {
  for (const Waiting* wait = innermost; wait != nullptr; wait = wait->outer_) {
    if (wait->link_ == link) return true;
  }
  return false;
}

PyObject* raise_of_wait(const Link* link, int code) {
  if (code == ESHM_ERROR_INTERRUPTED && link->closing && PyErr_Occurred() == nullptr) {
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
  if (!to_timeout(args[1], kDefaultTimeoutMs, &timeout_ms)) return nullptr;
  PyObject* sequence = PySequence_Tuple(args[0]);
  if (sequence == nullptr) return nullptr;
  std::vector<Link*> links;
  std::vector<ESHMHandle*> handles;
  PyObject* answer = nullptr;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sequence); ++i) {
    Link* link = as_link(PyTuple_GET_ITEM(sequence, i));
    ESHMHandle* handle = link == nullptr ? nullptr : usable_handle(link);
    if (handle == nullptr) break;
    links.push_back(link);
    handles.push_back(handle);
  }
  if (PyErr_Occurred() == nullptr) {
    for (Link* link : links) ++link->calls;
    PyThreadState* thread = PyEval_SaveThread();
    const int index = eshm_wait_any(handles.data(), handles.size(), timeout_ms);
    PyEval_RestoreThread(thread);
    answer = index < 0 ? raise_code(index) : PyLong_FromLong(index);
    for (Link* link : links) {
      --link->calls;
      settle(link);
    }
  }
  Py_DECREF(sequence);
  return answer;
}

}  // namespace eshm_py
