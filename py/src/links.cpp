// SPDX-License-Identifier: MIT
// Links from outside: list_links() and remove_link().
#include <string>
#include <vector>

#include "native.h"

namespace eshm_py {
namespace {

int keep(const ESHMLinkInfo* link, void* context) {
  try {
    static_cast<std::vector<ESHMLinkInfo>*>(context)->push_back(*link);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

PyObject* truth(bool value) { return value ? Py_True : Py_False; }

PyObject* peer_dict(const ESHMLinkPeer& peer) {
  return Py_BuildValue(
      "{s:i,s:O,s:O,s:I,s:I,s:K,s:K,s:K}", "pid", int(peer.pid), "holds_role",
      truth(peer.holds_role), "has_left", truth(peer.has_left), "generation", peer.generation,
      "stale_threshold_ms", peer.stale_threshold_ms, "beats",
      static_cast<unsigned long long>(peer.beats), "calls_writing",
      static_cast<unsigned long long>(peer.calls_writing), "calls_reading",
      static_cast<unsigned long long>(peer.calls_reading));
}

PyObject* type_text_of(const char* link, ESHMDirection direction, uint32_t bytes) {
  std::string text(size_t(bytes) + 1, '\0');
  size_t length = 0;
  const int code = eshm_get_type_text(link, direction, &text[0], text.size(), &length);
  if (code != ESHM_SUCCESS) Py_RETURN_NONE;  // none, or the link has changed meanwhile
  return PyUnicode_DecodeUTF8(text.data(), Py_ssize_t(length), "replace");
}

PyObject* channel_dict(const char* link, const ESHMLinkChannel& channel, ESHMDirection direction) {
  return Py_BuildValue(
      "{s:I,s:K,s:K,s:O,s:K,s:K,s:K,s:N}", "delivery", unsigned(channel.delivery),
      "max_message_size", static_cast<unsigned long long>(channel.max_message_size),
      "queue_capacity", static_cast<unsigned long long>(channel.queue_capacity), "has_counts",
      truth(channel.has_counts), "written", static_cast<unsigned long long>(channel.written),
      "read", static_cast<unsigned long long>(channel.read), "queued_bytes",
      static_cast<unsigned long long>(channel.queued_bytes), "type",
      type_text_of(link, direction, channel.type_text_bytes));
}

PyObject* link_dict(const ESHMLinkInfo& link) {
  return Py_BuildValue(
      "{s:N,s:I,s:N,s:I,s:I,s:K,s:K,s:K,s:I,s:I,s:O,s:O,s:N,s:N,s:N,s:N}", "name",
      PyUnicode_DecodeFSDefault(link.name), "state", unsigned(link.state), "problem",
      PyUnicode_DecodeFSDefault(link.problem), "uid", link.uid, "mode", link.mode, "inode",
      static_cast<unsigned long long>(link.inode), "made_ns",
      static_cast<unsigned long long>(link.made_ns), "segment_bytes",
      static_cast<unsigned long long>(link.segment_bytes), "layout_version", link.layout_version,
      "backend", unsigned(link.backend), "auto_cleanup", truth(link.auto_cleanup), "has_leftover",
      truth(link.has_leftover), "master", peer_dict(link.master), "slave", peer_dict(link.slave),
      "m2s", channel_dict(link.name, link.m2s, ESHM_M2S), "s2m",
      channel_dict(link.name, link.s2m, ESHM_S2M));
}

}  // namespace

PyObject* list_links(PyObject*, PyObject*) {
  std::vector<ESHMLinkInfo> links;
  PyThreadState* const thread = PyEval_SaveThread();
  const int code = eshm_list(keep, &links);
  PyEval_RestoreThread(thread);
  if (code < 0) return raise_code(code);
  PyObject* const list = PyList_New(0);
  for (const ESHMLinkInfo& link : links) {
    PyObject* const dict = list == nullptr ? nullptr : link_dict(link);
    const bool is_kept = dict != nullptr && PyList_Append(list, dict) == 0;
    Py_XDECREF(dict);
    if (is_kept) continue;
    Py_XDECREF(list);
    return nullptr;
  }
  return list;
}

PyObject* remove_link(PyObject*, PyObject* arguments) {
  PyObject* name = nullptr;
  int force = 0;
  if (!PyArg_ParseTuple(arguments, "O&p:remove_link", PyUnicode_FSConverter, &name, &force)) {
    return nullptr;
  }
  PyThreadState* const thread = PyEval_SaveThread();
  const int code = eshm_remove(PyBytes_AS_STRING(name), force != 0 ? ESHM_REMOVE_FORCE : 0);
  PyEval_RestoreThread(thread);
  Py_DECREF(name);
  if (code != ESHM_SUCCESS) return raise_code(code);
  Py_RETURN_NONE;
}

}  // namespace eshm_py
