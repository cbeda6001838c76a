// SPDX-License-Identifier: MIT
// State of both ends: roles, liveness, statistics, events.
#include "link.h"

namespace eshm_py {

PyObject* link_fileno(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  const int fd = eshm_get_fd(handle);
  return fd < 0 ? raise_code(fd) : PyLong_FromLong(fd);
}

PyObject* link_update_heartbeat(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  const int code = eshm_update_heartbeat(handle);
  if (code != ESHM_SUCCESS) return raise_code(code);
  Py_RETURN_NONE;
}

PyObject* link_hold_heartbeat(PyObject* object, PyObject* hold) {
  auto* link = reinterpret_cast<Link*>(object);
  ESHMHandle* handle = usable_handle(link);
  const int is_held = handle == nullptr ? -1 : PyObject_IsTrue(hold);
  if (is_held < 0) return nullptr;
  int code;
  {
    Released released(link);
    code = eshm_hold_heartbeat(handle, is_held != 0);
  }
  if (code != ESHM_SUCCESS) return raise_code(code);
  Py_RETURN_NONE;
}

PyObject* link_is_remote_alive(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  bool is_alive = false;
  const int code = eshm_check_remote_alive(handle, &is_alive);
  return code != ESHM_SUCCESS ? raise_code(code) : PyBool_FromLong(is_alive);
}

PyObject* link_get_remote_state(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  ESHMPeerState state = ESHM_PEER_NEVER_SEEN;
  const int code = eshm_get_remote_state(handle, &state);
  return code != ESHM_SUCCESS ? raise_code(code) : PyLong_FromLong(state);
}

PyObject* link_get_role(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  ESHMRole role = ESHM_ROLE_AUTO;
  const int code = eshm_get_role(handle, &role);
  return code != ESHM_SUCCESS ? raise_code(code) : PyLong_FromLong(role);
}

PyObject* link_get_stats(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  ESHMStats stats = {};
  const int code = eshm_get_stats(handle, &stats);
  if (code != ESHM_SUCCESS) return raise_code(code);
  using Wide = unsigned long long;
  return Py_BuildValue(
      "{sKsKsisisNsNsIsKsKsKsKsKsK}", "master_heartbeat", Wide{stats.master_heartbeat},
      "slave_heartbeat", Wide{stats.slave_heartbeat}, "master_pid", stats.master_pid, "slave_pid",
      stats.slave_pid, "master_alive", PyBool_FromLong(stats.master_alive), "slave_alive",
      PyBool_FromLong(stats.slave_alive), "stale_threshold", stats.stale_threshold,
      "master_heartbeat_delta", Wide{stats.master_heartbeat_delta}, "slave_heartbeat_delta",
      Wide{stats.slave_heartbeat_delta}, "m2s_write_count", Wide{stats.m2s_write_count},
      "m2s_read_count", Wide{stats.m2s_read_count}, "s2m_write_count", Wide{stats.s2m_write_count},
      "s2m_read_count", Wide{stats.s2m_read_count});
}

PyObject* link_get_stats_ex(PyObject* object, PyObject*) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  ESHMStatsEx stats = {};
  stats.struct_size = sizeof stats;
  const int code = eshm_get_stats_ex(handle, &stats);
  if (code != ESHM_SUCCESS) return raise_code(code);
  using Wide = unsigned long long;
  return Py_BuildValue(
      "{sisIsIsKsKsKsKsKsKsKsKsK}", "peer_state", stats.peer_state, "peer_generation",
      stats.peer_generation, "reconnects", stats.reconnects, "messages_written",
      Wide{stats.messages_written}, "messages_read", Wide{stats.messages_read}, "messages_missed",
      Wide{stats.messages_missed}, "parks", Wide{stats.parks}, "wakes", Wide{stats.wakes},
      "stale_reports", Wide{stats.stale_reports}, "segment_bytes", Wide{stats.segment_bytes},
      "max_write_size", Wide{stats.max_write_size}, "max_read_size", Wide{stats.max_read_size});
}

// _get_channel(direction): (delivery, max_message_size, queue_capacity, max_borrows, max_loans,
// fingerprint) as the segment has them; None while an observer has none.
PyObject* link_get_channel(PyObject* object, PyObject* direction) {
  ESHMHandle* handle = usable_handle(reinterpret_cast<Link*>(object));
  if (handle == nullptr) return nullptr;
  const long number = PyLong_AsLong(direction);
  if (number == -1 && PyErr_Occurred() != nullptr) return nullptr;
  ESHMChannelConfig channel = {};
  const int code = eshm_get_channel(handle, static_cast<ESHMDirection>(number), &channel);
  if (code == ESHM_ERROR_NO_DATA) Py_RETURN_NONE;
  if (code != ESHM_SUCCESS) return raise_code(code);
  using Wide = unsigned long long;
  return Py_BuildValue("(iKKIIK)", static_cast<int>(channel.delivery),
                       Wide{channel.max_message_size}, Wide{channel.queue_capacity},
                       channel.max_borrows, channel.max_loans, Wide{channel.type.fingerprint});
}

PyObject* link_listen(PyObject* object, PyObject* wanted) {
  auto* link = reinterpret_cast<Link*>(object);
  ESHMHandle* handle = usable_handle(link);
  if (handle == nullptr) return nullptr;
  const int on = PyObject_IsTrue(wanted);
  if (on < 0) return nullptr;
  const int code = eshm_set_event_callback(handle, on != 0 ? on_event : nullptr,
                                           reinterpret_cast<void*>(uintptr_t{link->id}));
  if (code != ESHM_SUCCESS) return raise_code(code);
  Py_RETURN_NONE;
}

}  // namespace eshm_py
