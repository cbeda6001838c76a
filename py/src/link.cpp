// Link: one handle of the library, and every call on it. eshm/__init__.py
// derives ESHM from it.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "native.h"

namespace eshm_py {

PyTypeObject* link_type = nullptr;

namespace {

// Messages up to this size are read into the stack and become bytes in one
// step; larger ones go straight into bytes of their own.
constexpr size_t kSmallMessage = 4096;

Link* first_link = nullptr;
uint64_t last_id = 0;
int giving_back = 0;  // threads inside eshm_destroy

using KeywordFunction = PyObject* (*)(Link*, PyObject* const*, Py_ssize_t, PyObject*);

// ---- opening and closing ------------------------------------------------------------

// ESHMConfig.interrupt: on a signal, and each 50 ms of a wait. Signal handlers
// run in the main thread alone; what they raise stays set and ends the call.
int interrupt(void* context) {
  auto* link = static_cast<Link*>(context);
  if (link->closing) return 1;
  if (gettid() != getpid()) return 0;
  const PyGILState_STATE state = PyGILState_Ensure();
  const bool raised = PyErr_CheckSignals() != 0 || link->closing;
  PyGILState_Release(state);
  return raised ? 1 : 0;
}

void enlist(Link* link) {
  link->previous = nullptr;
  link->next = first_link;
  if (first_link != nullptr) first_link->previous = link;
  first_link = link;
}

void strike_off(Link* link) {
  if (link->previous != nullptr) link->previous->next = link->next;
  if (link->next != nullptr) link->next->previous = link->previous;
  if (first_link == link) first_link = link->next;
  link->previous = link->next = nullptr;
}

int give_back(Link* link) {
  ESHMHandle* handle = link->handle;
  link->handle = nullptr;
  strike_off(link);
  ++giving_back;
  PyThreadState* thread = PyEval_SaveThread();
  const int code = eshm_destroy(handle);
  PyEval_RestoreThread(thread);
  --giving_back;
  return code;
}

void let_others_run() {
  PyThreadState* thread = PyEval_SaveThread();
  usleep(1000);
  PyEval_RestoreThread(thread);
}

// Who waits in close() does it himself, so that it is done when he returns.
bool can_give_back(const Link* link) {
  return link->closers == 0 && link->handle != nullptr && link->closing && link->calls == 0 &&
         link->views == 0;
}

// A wait of this thread. A signal handler that runs in it may close its link;
// then the wait itself gives the link back. Handlers may wait, too.
class Waiting {
 public:
  explicit Waiting(const Link* link) : link_(link), outer_(innermost) { innermost = this; }
  ~Waiting() { innermost = outer_; }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  static bool on(const Link* link) {
    for (const Waiting* wait = innermost; wait != nullptr; wait = wait->outer_) {
      if (wait->link_ == link) return true;
    }
    return false;
  }

 private:
  static thread_local const Waiting* innermost;

  const Link* const link_;
  const Waiting* const outer_;
};

thread_local const Waiting* Waiting::innermost = nullptr;

// Code of eshm_destroy; SUCCESS where views or a wait of this thread keep the handle.
int close_link(Link* link) {
  if (link->handle == nullptr) return ESHM_SUCCESS;
  link->closing = true;
  if (link->owner != getpid()) {
    // The parent's: a child's copy gives nothing back.
    link->handle = nullptr;
    strike_off(link);
    return ESHM_SUCCESS;
  }
  ++link->closers;
  // Their interrupt hook sees `closing` within 50 ms.
  while (link->calls > 0 && !Waiting::on(link)) let_others_run();
  --link->closers;
  return can_give_back(link) ? give_back(link) : static_cast<int>(ESHM_SUCCESS);
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

int link_init(PyObject* object, PyObject* args, PyObject* keywords) {
  auto* link = reinterpret_cast<Link*>(object);
  if (link->id != 0) {
    PyErr_SetString(PyExc_RuntimeError, "a link is opened once");
    return -1;
  }
  ESHMConfig config = eshm_default_config(nullptr);
  int role = config.role;
  int behavior = config.disconnect_behavior;
  int cleanup = 1;
  int threads = 1;
  int backend = config.backend;
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
                                nullptr};
  if (!PyArg_ParseTupleAndKeywords(
          args, keywords, "siiO&O&O&O&ppiO!O!O&O&O&", const_cast<char**>(names), &config.shm_name,
          &role, &behavior, convert_uint32, &config.stale_threshold_ms, convert_uint32,
          &config.reconnect_wait_ms, convert_uint32, &config.reconnect_retry_interval_ms,
          convert_uint32, &config.max_reconnect_attempts, &cleanup, &threads, &backend,
          &PyTuple_Type, &m2s, &PyTuple_Type, &s2m, convert_uint32, &config.spin_us, convert_uint32,
          &config.permissions, convert_uint32, &config.flags) ||
      !take_channel(m2s, &config.m2s) || !take_channel(s2m, &config.s2m)) {
    return -1;
  }
  config.role = static_cast<ESHMRole>(role);
  config.disconnect_behavior = static_cast<ESHMDisconnectBehavior>(behavior);
  config.auto_cleanup = cleanup != 0;
  config.use_threads = threads != 0;
  config.backend = static_cast<ESHMBackend>(backend);
  config.interrupt = interrupt;
  config.interrupt_context = link;
  link->id = ++last_id;
  link->owner = getpid();
  {
    PyThreadState* thread = PyEval_SaveThread();
    link->handle = eshm_init(&config);
    PyEval_RestoreThread(thread);
  }
  if (link->handle == nullptr) {
    int code = ESHM_ERROR_INVALID_PARAM;
    eshm_last_error(&code);
    raise_code(code);
    return -1;
  }
  enlist(link);
  ESHMStatsEx stats = {};
  eshm_get_stats_ex(link->handle, &stats);
  link->max_write_size = stats.max_write_size;
  return 0;
}

void link_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  auto* link = reinterpret_cast<Link*>(object);
  if (link->handle != nullptr) {
    PyObject *error_type, *error, *trace;
    PyErr_Fetch(&error_type, &error, &trace);
    close_link(link);
    PyErr_Restore(error_type, error, trace);
  }
  if (link->weak_references != nullptr) PyObject_ClearWeakRefs(object);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* link_close(PyObject* object, PyObject*) {
  const int code = close_link(reinterpret_cast<Link*>(object));
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
               "%s cannot be pickled: a link belongs to the process that opened it. Hand its "
               "name over, and open a link of its own in the other process",
               Py_TYPE(object)->tp_name);
  return nullptr;
}

// ---- waits -----------------------------------------------------------------------------

PyObject* raise_of_wait(const Link* link, int code) {
  if (code == ESHM_ERROR_INTERRUPTED && link->closing && PyErr_Occurred() == nullptr) {
    return raise_text(ESHM_ERROR_NOT_INITIALIZED, "the link was closed during the wait");
  }
  return raise_code(code);
}

// A call that waits: code of the call; an exception is set where it was cut short by
// a signal handler, or by a close in another thread.
template <class Call>
int wait(Link* link, Call call) {
  const Waiting waiting(link);
  Released released(link);
  const int code = call(link->handle);
  released.reacquire();
  if (code == ESHM_SUCCESS || code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_BUFFER_TOO_SMALL) {
    return code;
  }
  raise_of_wait(link, code);
  return code;
}

// ---- writing ---------------------------------------------------------------------------

int write_bytes(Link* link, const void* data, size_t size, uint32_t timeout_ms) {
  int code = ESHM_ERROR_BUFFER_FULL;
  if (size < kLargeCopy) code = eshm_write_ex(link->handle, data, size, 0);
  const bool shall_wait = code == ESHM_ERROR_BUFFER_FULL && timeout_ms != 0;
  if (size < kLargeCopy && !shall_wait) {
    if (code != ESHM_SUCCESS) raise_code(code);
    return code;
  }
  code =
      wait(link, [&](ESHMHandle* handle) { return eshm_write_ex(handle, data, size, timeout_ms); });
  if (code == ESHM_ERROR_BUFFER_TOO_SMALL) raise_code(code);
  return code;
}

PyObject* link_write(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"data", "timeout_ms"};
  PyObject* slots[2];
  uint32_t timeout_ms = 0;
  if (given == 1 && keywords == nullptr) {
    slots[0] = args[0];
  } else if (!take_arguments("write", args, given, keywords, names, 2, 1, slots) ||
             !to_timeout(slots[1], 0, &timeout_ms)) {
    return nullptr;
  }
  if (usable_handle(link) == nullptr) return nullptr;
  int code;
  if (PyBytes_CheckExact(slots[0])) {
    code = write_bytes(link, PyBytes_AS_STRING(slots[0]),
                       static_cast<size_t>(PyBytes_GET_SIZE(slots[0])), timeout_ms);
  } else {
    Py_buffer buffer;
    if (PyObject_GetBuffer(slots[0], &buffer, PyBUF_SIMPLE) != 0) return nullptr;
    code = write_bytes(link, buffer.buf, static_cast<size_t>(buffer.len), timeout_ms);
    PyBuffer_Release(&buffer);
  }
  if (code != ESHM_SUCCESS) return nullptr;
  Py_RETURN_NONE;
}

// ---- reading ---------------------------------------------------------------------------

// The rest of a time-out, over several calls.
class Patience {
 public:
  explicit Patience(uint32_t timeout_ms) : timeout_ms_(timeout_ms) {}

  bool any() const { return timeout_ms_ != 0; }

  uint32_t rest_ms() {
    if (timeout_ms_ == ESHM_WAIT_FOREVER) return timeout_ms_;
    if (deadline_ns_ == 0) {
      deadline_ns_ = monotonic_ns() + uint64_t{timeout_ms_} * 1000000;
      return timeout_ms_;
    }
    const uint64_t now = monotonic_ns();
    if (now >= deadline_ns_) return 0;
    return static_cast<uint32_t>((deadline_ns_ - now + 999999) / 1000000);
  }

 private:
  const uint32_t timeout_ms_;
  uint64_t deadline_ns_ = 0;
};

// One attempt without a wait, then the wait.
int read_into(Link* link, void* buffer, size_t size, ESHMMessageInfo* info, Patience* patience) {
  int code = ESHM_ERROR_NO_DATA;
  if (size < kLargeCopy) {
    code = eshm_read_msg(link->handle, buffer, size, info, 0);
    const bool shall_wait = code == ESHM_ERROR_NO_DATA && patience->any();
    if (!shall_wait) {
      if (code != ESHM_SUCCESS && code != ESHM_ERROR_NO_DATA &&
          code != ESHM_ERROR_BUFFER_TOO_SMALL) {
        raise_code(code);
      }
      return code;
    }
  }
  const uint32_t rest_ms = patience->any() ? patience->rest_ms() : 0;
  return wait(
      link, [&](ESHMHandle* handle) { return eshm_read_msg(handle, buffer, size, info, rest_ms); });
}

int read_large(Link* link, size_t size, ESHMMessageInfo* info, Patience* patience,
               PyObject** bytes) {
  PyObject* large = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
  if (large == nullptr) return ESHM_SUCCESS;
  const int code = read_into(link, PyBytes_AS_STRING(large), size, info, patience);
  if (code != ESHM_SUCCESS) {
    Py_DECREF(large);
    return code;
  }
  if (info->size != size) _PyBytes_Resize(&large, static_cast<Py_ssize_t>(info->size));
  *bytes = large;
  return code;
}

int read_small(Link* link, size_t size, ESHMMessageInfo* info, Patience* patience,
               PyObject** bytes) {
  char small[kSmallMessage];
  const int code = read_into(link, small, size, info, patience);
  if (code == ESHM_SUCCESS) {
    *bytes = PyBytes_FromStringAndSize(small, static_cast<Py_ssize_t>(info->size));
  }
  return code;
}

// Code of the read. *bytes is NULL, and an exception is set, unless it is SUCCESS with
// bytes, or NO_DATA: that is the caller's to judge.
int read_message(Link* link, size_t limit, uint32_t timeout_ms, ESHMMessageInfo* info,
                 PyObject** bytes) {
  *bytes = nullptr;
  Patience patience(timeout_ms);
  size_t room = std::min(limit, std::max(link->expected_size, kSmallMessage));
  while (true) {
    *info = {};
    const int code = room <= kSmallMessage ? read_small(link, room, info, &patience, bytes)
                                           : read_large(link, room, info, &patience, bytes);
    if (code != ESHM_ERROR_BUFFER_TOO_SMALL || PyErr_Occurred() != nullptr) {
      if (code == ESHM_SUCCESS) link->expected_size = info->size;
      return code;
    }
    if (info->size > limit) {
      raise_code(code);
      return code;
    }
    // It was kept; if another thread takes it, the wait for the next goes on.
    room = info->size;
    if (usable_handle(link) == nullptr) return code;
  }
}

PyObject* nothing_came() { return raise_code(ESHM_ERROR_NO_DATA); }

PyObject* link_read(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"buffer_size", "timeout_ms"};
  PyObject* slots[2];
  size_t limit = ESHM_MAX_DATA_SIZE;
  uint32_t timeout_ms;
  if (!take_arguments("read", args, given, keywords, names, 2, 0, slots) ||
      (slots[0] != nullptr && !to_size(slots[0], "buffer_size", &limit)) ||
      !to_timeout(slots[1], kDefaultTimeoutMs, &timeout_ms) || usable_handle(link) == nullptr) {
    return nullptr;
  }
  ESHMMessageInfo info;
  PyObject* bytes;
  return read_message(link, limit, timeout_ms, &info, &bytes) == ESHM_ERROR_NO_DATA ? nothing_came()
                                                                                    : bytes;
}

PyObject* link_try_read(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"buffer_size"};
  PyObject* slots[1] = {nullptr};
  size_t limit = ESHM_MAX_DATA_SIZE;
  if ((given != 0 || keywords != nullptr) &&
      (!take_arguments("try_read", args, given, keywords, names, 1, 0, slots) ||
       (slots[0] != nullptr && !to_size(slots[0], "buffer_size", &limit)))) {
    return nullptr;
  }
  if (usable_handle(link) == nullptr) return nullptr;
  ESHMMessageInfo info;
  PyObject* bytes;
  if (read_message(link, limit, 0, &info, &bytes) == ESHM_ERROR_NO_DATA) Py_RETURN_NONE;
  return bytes;
}

PyObject* link_read_msg(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"timeout_ms"};
  PyObject* slots[1];
  uint32_t timeout_ms;
  if (!take_arguments("read_msg", args, given, keywords, names, 1, 0, slots) ||
      !to_timeout(slots[0], kDefaultTimeoutMs, &timeout_ms) || usable_handle(link) == nullptr) {
    return nullptr;
  }
  ESHMMessageInfo info;
  PyObject* bytes;
  if (read_message(link, INT32_MAX, timeout_ms, &info, &bytes) == ESHM_ERROR_NO_DATA) {
    return nothing_came();
  }
  return bytes == nullptr ? nullptr : make_message(bytes, info);
}

PyObject* link_read_into(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"buffer", "timeout_ms"};
  PyObject* slots[2];
  uint32_t timeout_ms;
  if (!take_arguments("read_into", args, given, keywords, names, 2, 1, slots) ||
      !to_timeout(slots[1], kDefaultTimeoutMs, &timeout_ms) || usable_handle(link) == nullptr) {
    return nullptr;
  }
  Py_buffer buffer;
  if (PyObject_GetBuffer(slots[0], &buffer, PyBUF_WRITABLE) != 0) return nullptr;
  Patience patience(timeout_ms);
  ESHMMessageInfo info = {};
  const int code = read_into(link, buffer.buf, static_cast<size_t>(buffer.len), &info, &patience);
  PyBuffer_Release(&buffer);
  if (code == ESHM_SUCCESS) return PyLong_FromUnsignedLongLong(info.size);
  return raise_code(code);
}

// ---- zero copy -------------------------------------------------------------------------

PyObject* link_loan(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"size"};
  PyObject* slots[1];
  size_t size = link->max_write_size;
  if (!take_arguments("loan", args, given, keywords, names, 1, 0, slots) ||
      (slots[0] != nullptr && slots[0] != Py_None && !to_size(slots[0], "size", &size)) ||
      usable_handle(link) == nullptr) {
    return nullptr;
  }
  return make_loan(link, size);
}

PyObject* borrow(Link* link, uint32_t timeout_ms, bool none_where_nothing) {
  if (usable_handle(link) == nullptr) return nullptr;
  PyObject* borrowed = nullptr;
  int code = make_borrow(link, 0, &borrowed);
  if (code == ESHM_ERROR_NO_DATA && timeout_ms != 0) {
    const Waiting waiting(link);
    code = make_borrow(link, timeout_ms, &borrowed);
  }
  if (code == ESHM_SUCCESS) return borrowed;
  if (code == ESHM_ERROR_NO_DATA && none_where_nothing) Py_RETURN_NONE;
  return raise_of_wait(link, code);
}

PyObject* link_borrow(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"timeout_ms"};
  PyObject* slots[1];
  uint32_t timeout_ms;
  if (!take_arguments("borrow", args, given, keywords, names, 1, 0, slots) ||
      !to_timeout(slots[0], kDefaultTimeoutMs, &timeout_ms)) {
    return nullptr;
  }
  return borrow(link, timeout_ms, false);
}

PyObject* link_try_borrow(PyObject* object, PyObject*) {
  return borrow(reinterpret_cast<Link*>(object), 0, true);
}

// ---- watching --------------------------------------------------------------------------

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

PyObject* link_closed(PyObject* object, void*) {
  auto* link = reinterpret_cast<Link*>(object);
  return PyBool_FromLong(link->handle == nullptr || link->closing);
}

template <KeywordFunction function>
constexpr PyCFunction keyword_method() {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kKeywords = METH_FASTCALL | METH_KEYWORDS;

PyMethodDef link_methods[] = {
    {"write", keyword_method<link_write>(), kKeywords,
     "write(data, timeout_ms=0)\n--\n\nPublishes one message: any C-contiguous buffer. "
     "timeout_ms: how long to wait for room in a queue."},
    {"read", keyword_method<link_read>(), kKeywords,
     "read(buffer_size=4096, timeout_ms=None)\n--\n\nThe newest message not yet read (of a queue: "
     "the next). None waits 1000 ms, -1 without limit."},
    {"try_read", keyword_method<link_try_read>(), kKeywords,
     "try_read(buffer_size=4096)\n--\n\nAs read, at once; None where there is nothing."},
    {"read_msg", keyword_method<link_read_msg>(), kKeywords,
     "read_msg(timeout_ms=None)\n--\n\nAs read, of any size, with all that is known of it."},
    {"read_into", keyword_method<link_read_into>(), kKeywords,
     "read_into(buffer, timeout_ms=None)\n--\n\nReads into a writable buffer; its size in bytes."},
    {"loan", keyword_method<link_loan>(), kKeywords,
     "loan(size=None)\n--\n\nRoom for a message in the segment, a context manager: published at "
     "its end, discarded on an exception."},
    {"borrow", keyword_method<link_borrow>(), kKeywords,
     "borrow(timeout_ms=None)\n--\n\nA message in place, a context manager."},
    {"try_borrow", link_try_borrow, METH_NOARGS,
     "try_borrow()\n--\n\nAs borrow, at once; None where there is nothing."},
    {"fileno", link_fileno, METH_NOARGS,
     "fileno()\n--\n\nA descriptor that polls readable while there is something to read."},
    {"update_heartbeat", link_update_heartbeat, METH_NOARGS,
     "update_heartbeat()\n--\n\nBeats now; for links with use_threads=False."},
    {"is_remote_alive", link_is_remote_alive, METH_NOARGS,
     "is_remote_alive()\n--\n\nWhether the peer is there and beats."},
    {"get_remote_state", link_get_remote_state, METH_NOARGS,
     "get_remote_state()\n--\n\nThe whole truth about the peer."},
    {"get_role", link_get_role, METH_NOARGS, "get_role()\n--\n\nThe role; never AUTO."},
    {"get_stats", link_get_stats, METH_NOARGS, "get_stats()\n--\n\nESHMStats as a dict."},
    {"get_stats_ex", link_get_stats_ex, METH_NOARGS,
     "get_stats_ex()\n--\n\nESHMStatsEx as a dict."},
    {"_listen", link_listen, METH_O, nullptr},
    {"close", link_close, METH_NOARGS,
     "close()\n--\n\nLeaves the link. Waits of other threads end with eshm.Closed; arrays that "
     "are still looked at keep the memory, and the role, until they are gone."},
    {"__enter__", link_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(link_exit)),
     METH_FASTCALL, nullptr},
    {"__reduce__", link_reduce, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef link_properties[] = {
    {"closed", link_closed, nullptr, "Whether close() was called.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMemberDef link_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Link, weak_references), READONLY, nullptr},
    {"_id", T_ULONGLONG, offsetof(Link, id), READONLY, nullptr},
    {"_max_write_size", T_ULONGLONG, offsetof(Link, max_write_size), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot link_slots[] = {{Py_tp_doc, const_cast<char*>("One end of a link.")},
                            {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                            {Py_tp_init, reinterpret_cast<void*>(link_init)},
                            {Py_tp_dealloc, reinterpret_cast<void*>(link_dealloc)},
                            {Py_tp_methods, link_methods},
                            {Py_tp_getset, link_properties},
                            {Py_tp_members, link_members},
                            {0, nullptr}};

PyType_Spec link_spec = {"eshm._native.Link", sizeof(Link), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, link_slots};

}  // namespace

ESHMHandle* usable_handle(Link* link) {
  if (link->handle != nullptr && !link->closing) return link->handle;
  raise_text(ESHM_ERROR_NOT_INITIALIZED, "the link is closed");
  return nullptr;
}

void settle(Link* link) {
  if (can_give_back(link)) give_back(link);
}

Link* as_link(PyObject* object) {
  if (PyObject_TypeCheck(object, link_type)) return reinterpret_cast<Link*>(object);
  PyErr_Format(PyExc_TypeError, "an ESHM is wanted, not %s", Py_TYPE(object)->tp_name);
  return nullptr;
}

PyObject* close_all(PyObject*, PyObject*) {
  while (first_link != nullptr) {
    Link* link = first_link;
    Py_INCREF(link);
    close_link(link);
    // Views may keep it open: they give it back when they go.
    if (link->handle != nullptr) strike_off(link);
    Py_DECREF(link);
  }
  while (giving_back > 0) let_others_run();
  Py_RETURN_NONE;
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

int add_link_type(PyObject* module) {
  PyObject* type = PyType_FromSpec(&link_spec);
  if (type == nullptr) return -1;
  link_type = reinterpret_cast<PyTypeObject*>(type);
  Py_INCREF(type);
  return PyModule_AddObject(module, "Link", type);
}

}  // namespace eshm_py
