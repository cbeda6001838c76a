// SPDX-License-Identifier: MIT
// The library's defaults, for the signatures of the Python package.
#include "native.h"

namespace eshm_py {
namespace {

using Wide = unsigned long long;

PyObject* channel_defaults(const ESHMChannelConfig& channel) {
  return Py_BuildValue("{sisKsKsIsI}", "delivery", static_cast<int>(channel.delivery),
                       "max_message_size", Wide{channel.max_message_size}, "queue_capacity",
                       Wide{channel.queue_capacity}, "max_borrows", channel.max_borrows,
                       "max_loans", channel.max_loans);
}

}  // namespace

PyObject* default_config(PyObject*, PyObject*) {
  const ESHMConfig config = eshm_default_config("");
  return Py_BuildValue(
      "{sisisIsIsIsIsNsNsisNsNsIsIsIsiszsisi}", "role", static_cast<int>(config.role),
      "disconnect_behavior", static_cast<int>(config.disconnect_behavior), "stale_threshold_ms",
      config.stale_threshold_ms, "reconnect_wait_ms", config.reconnect_wait_ms,
      "reconnect_retry_interval_ms", config.reconnect_retry_interval_ms, "max_reconnect_attempts",
      config.max_reconnect_attempts, "auto_cleanup", PyBool_FromLong(config.auto_cleanup),
      "use_threads", PyBool_FromLong(config.use_threads), "backend",
      static_cast<int>(config.backend), "m2s", channel_defaults(config.m2s), "s2m",
      channel_defaults(config.s2m), "spin_us", config.spin_us, "permissions", config.permissions,
      "flags", config.flags, "unread_policy", static_cast<int>(config.unread_policy), "thread_cpus", config.thread_cpus, "thread_policy",
      config.thread_policy, "thread_priority", config.thread_priority);
}

int add_constants(PyObject* module) {
  if (PyModule_AddIntConstant(module, "WAIT_FOREVER", -1) != 0 ||
      PyModule_AddIntConstant(module, "MAX_DATA_SIZE", ESHM_MAX_DATA_SIZE) != 0) {
    return -1;
  }
  PyObject* adaptive = PyLong_FromUnsignedLong(ESHM_SPIN_ADAPTIVE);
  if (adaptive == nullptr) return -1;
  return PyModule_AddObject(module, "SPIN_ADAPTIVE", adaptive);
}

}  // namespace eshm_py
