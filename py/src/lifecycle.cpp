// SPDX-License-Identifier: MIT
// Opening and closing: a handle is destroyed after the last call and the last view.
#include <unistd.h>

#include <new>

#include "link.h"
#include "waiting.h"

namespace eshm_py {
namespace {

Core* first_open = nullptr;
uint64_t last_id = 0;
int destroying_count = 0;  // threads inside eshm_destroy

// ESHMConfig.interrupt: the library calls it on a signal and each 50 ms of a wait.
// Signal handlers run only in the main thread; the exception that one raises stays
// set and ends the call.
int interrupt(void* context) {
  auto* core = static_cast<Core*>(context);
  if (core->closing) return 1;
  if (gettid() != getpid()) return 0;
  const PyGILState_STATE state = PyGILState_Ensure();
  // A wait for several links calls this once for each. With an exception already
  // set, no further signal handler may run.
  const bool raised = PyErr_Occurred() != nullptr || PyErr_CheckSignals() != 0 || core->closing;
  PyGILState_Release(state);
  return raised ? 1 : 0;
}

void add_to_open(Core* core) {
  core->previous = nullptr;
  core->next = first_open;
  if (first_open != nullptr) first_open->previous = core;
  first_open = core;
}

void remove_from_open(Core* core) {
  if (core->previous != nullptr) core->previous->next = core->next;
  if (core->next != nullptr) core->next->previous = core->previous;
  if (first_open == core) first_open = core->next;
  core->previous = core->next = nullptr;
}

int destroy_handle(Core* core) {
  ESHMHandle* handle = core->handle;
  core->handle = nullptr;
  remove_from_open(core);
  ++destroying_count;
  PyThreadState* thread = PyEval_SaveThread();
  const int code = eshm_destroy(handle);
  PyEval_RestoreThread(thread);
  --destroying_count;
  return code;
}

void sleep_unlocked() {
  PyThreadState* thread = PyEval_SaveThread();
  usleep(1000);
  PyEval_RestoreThread(thread);
}

// False while a thread waits in close(): that thread destroys the handle itself, so
// that the link is gone when close() returns.
bool is_destroy_due(const Core* core) {
  return core->closers == 0 && core->handle != nullptr && core->closing && core->calls == 0 &&
         core->views == 0;
}

// Returns the code of eshm_destroy, or SUCCESS if views, or a wait that this thread
// is in, keep the handle for now.
int close_core(Core* core) {
  core->closing = true;  // ends an opening, too
  if (core->handle == nullptr) return ESHM_SUCCESS;
  if (core->owner != getpid()) {
    // The handle is the parent's. A forked child must not destroy its copy.
    core->handle = nullptr;
    remove_from_open(core);
    return ESHM_SUCCESS;
  }
  ++core->closers;
  // Each of these calls ends within 50 ms: its interrupt hook reads `closing`.
  while (core->calls > 0 && !Waiting::on(core)) sleep_unlocked();
  --core->closers;
  return is_destroy_due(core) ? destroy_handle(core) : static_cast<int>(ESHM_SUCCESS);
}

bool take_type(PyObject* type, ESHMType* out) {
  if (type == Py_None) return true;
  unsigned long long fingerprint = 0;
  if (!PyArg_ParseTuple(type, "sK", &out->text, &fingerprint)) return false;
  out->fingerprint = fingerprint;
  return true;
}

// (delivery, max_message_size, queue_capacity, max_borrows, max_loans, type)
bool take_channel(PyObject* tuple, ESHMChannelConfig* channel) {
  int delivery = 0;
  unsigned long long size = 0;
  unsigned long long capacity = 0;
  PyObject* type = nullptr;
  if (!PyArg_ParseTuple(tuple, "iKKO&O&O", &delivery, &size, &capacity, convert_uint32,
                        &channel->max_borrows, convert_uint32, &channel->max_loans, &type)) {
    return false;
  }
  channel->delivery = static_cast<ESHMDelivery>(delivery);
  channel->max_message_size = size;
  channel->queue_capacity = capacity;
  return take_type(type, &channel->type);
}

}  // namespace

PyObject* link_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* object = type->tp_alloc(type, 0);
  if (object == nullptr) return nullptr;
  auto* link = reinterpret_cast<Link*>(object);
  link->core = new (std::nothrow) Core;
  if (link->core != nullptr) return object;
  Py_DECREF(object);
  return PyErr_NoMemory();
}

int link_init(PyObject* object, PyObject* args, PyObject* keywords) {
  auto* link = reinterpret_cast<Link*>(object);
  if (link->id != 0) {
    PyErr_SetString(PyExc_RuntimeError, "a link is opened once");
    return -1;
  }
  ESHMConfig config = eshm_default_config(nullptr);
  int role = config.role;
  int behavior = config.disconnect_behavior;
  int cleanup = config.auto_cleanup;
  int threads = config.use_threads;
  int backend = config.backend;
  int unread_policy = config.unread_policy;
  PyObject* m2s = nullptr;
  PyObject* s2m = nullptr;
  static const char* names[] = {"shm_name",
                                "role",
                                "disconnect_behavior",
                                "stale_threshold_ms",
                                "reconnect_wait_ms",
                                "reconnect_retry_interval_ms",
                                "max_reconnect_attempts",
                                "auto_cleanup",
                                "use_threads",
                                "backend",
                                "m2s",
                                "s2m",
                                "spin_us",
                                "permissions",
                                "flags",
                                "unread_policy",
                                "thread_cpus",
                                "thread_policy",
                                "thread_priority",
                                nullptr};
  if (!PyArg_ParseTupleAndKeywords(
          args, keywords, "siiO&O&O&O&ppiO!O!O&O&O&izii", const_cast<char**>(names), &config.shm_name,
          &role, &behavior, convert_uint32, &config.stale_threshold_ms, convert_uint32,
          &config.reconnect_wait_ms, convert_uint32, &config.reconnect_retry_interval_ms,
          convert_uint32, &config.max_reconnect_attempts, &cleanup, &threads, &backend,
          &PyTuple_Type, &m2s, &PyTuple_Type, &s2m, convert_uint32, &config.spin_us, convert_uint32,
          &config.permissions, convert_uint32, &config.flags, &unread_policy,
          &config.thread_cpus, &config.thread_policy, &config.thread_priority) ||
      !take_channel(m2s, &config.m2s) || !take_channel(s2m, &config.s2m)) {
    return -1;
  }
  config.role = static_cast<ESHMRole>(role);
  config.disconnect_behavior = static_cast<ESHMDisconnectBehavior>(behavior);
  config.auto_cleanup = cleanup != 0;
  config.use_threads = threads != 0;
  config.backend = static_cast<ESHMBackend>(backend);
  config.unread_policy = static_cast<ESHMUnread>(unread_policy);
  config.interrupt = interrupt;
  Core* core = link->core;
  config.interrupt_context = core;
  link->id = ++last_id;
  core->owner = getpid();
  {
    PyThreadState* thread = PyEval_SaveThread();
    core->handle = eshm_init(&config);
    PyEval_RestoreThread(thread);
  }
  if (core->handle == nullptr) {
    int code = ESHM_ERROR_INVALID_PARAM;
    eshm_last_error(&code);
    raise_code(code);
    return -1;
  }
  add_to_open(core);
  if (core->closing) {  // closed by another thread before it was open
    destroy_handle(core);
    raise_text(ESHM_ERROR_NOT_INITIALIZED, "the link was closed while it was opened");
    return -1;
  }
  ESHMStatsEx stats = {};
  stats.struct_size = sizeof stats;
  eshm_get_stats_ex(core->handle, &stats);
  link->max_write_size = stats.max_write_size;
  return 0;
}

void link_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  auto* link = reinterpret_cast<Link*>(object);
  if (link->core != nullptr) {
    PyObject *error_type, *error, *trace;
    PyErr_Fetch(&error_type, &error, &trace);
    close_core(link->core);
    PyErr_Restore(error_type, error, trace);
    release(link->core);
  }
  if (link->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* link_close(PyObject* object, PyObject*) {
  const int code = close_core(reinterpret_cast<Link*>(object)->core);
  if (code != ESHM_SUCCESS) return raise_code(code);
  Py_RETURN_NONE;
}

PyObject* link_enter(PyObject* object, PyObject*) {
  if (usable_handle(reinterpret_cast<Link*>(object)) == nullptr) return nullptr;
  Py_INCREF(object);
  return object;
}

PyObject* link_exit(PyObject* object, PyObject* const*, Py_ssize_t) {
  return link_close(object, nullptr);
}

PyObject* link_reduce(PyObject* object, PyObject*) {
  PyErr_Format(PyExc_TypeError,
               "%s cannot be pickled or copied: a link belongs to the process that opened it. "
               "Hand its name over, and open a link of its own in the other process",
               Py_TYPE(object)->tp_name);
  return nullptr;
}

PyObject* link_closed(PyObject* object, void*) {
  auto* link = reinterpret_cast<Link*>(object);
  return PyBool_FromLong(link->core->handle == nullptr || link->core->closing);
}

ESHMHandle* usable_handle(Link* link) {
  const Core* core = link->core;
  if (core->handle != nullptr && !core->closing) return core->handle;
  raise_text(ESHM_ERROR_NOT_INITIALIZED, "the link is closed");
  return nullptr;
}

void destroy_if_due(Core* core) {
  if (is_destroy_due(core)) destroy_handle(core);
}

void release(Core* core) {
  if (--core->references == 0) delete core;
}

PyObject* close_all(PyObject*, PyObject*) {
  while (first_open != nullptr) {
    Core* core = first_open;
    ++core->references;
    close_core(core);
    // Views may keep the handle; the last one destroys it.
    if (core->handle != nullptr) remove_from_open(core);
    release(core);
  }
  while (destroying_count > 0) sleep_unlocked();
  Py_RETURN_NONE;
}

}  // namespace eshm_py
