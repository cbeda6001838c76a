// SPDX-License-Identifier: MIT
// Writing, reading, loaning and borrowing messages.
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "link.h"
#include "waiting.h"

namespace eshm_py {

// ---- writing ---------------------------------------------------------------------------

namespace {

int write_bytes(Link* link, const void* data, size_t size, uint32_t timeout_ms) {
  int code = ESHM_ERROR_BUFFER_FULL;
  if (size < kLargeCopy) code = eshm_write_ex(link->core->handle, data, size, 0);
  const bool must_wait = code == ESHM_ERROR_BUFFER_FULL && timeout_ms != 0;
  if (size < kLargeCopy && !must_wait) {
    if (code != ESHM_SUCCESS) raise_code(code);
  } else {
    code = wait(link,
                [&](ESHMHandle* handle) { return eshm_write_ex(handle, data, size, timeout_ms); });
    if (code == ESHM_ERROR_BUFFER_TOO_SMALL) raise_code(code);
  }
  return code;
}

// ---- buffers whose bytes mean the same in another process

// Whether a format of the buffer protocol has neither pointers nor objects.
bool is_plain(const char* format) {
  for (const char* at = format; *at != '\0'; ++at) {
    if (*at == ':') {  // a field's name, up to the next one
      do ++at;
      while (*at != '\0' && *at != ':');
      if (*at == '\0') break;
    } else if (*at == 'Z' && (at[1] == 'f' || at[1] == 'd' || at[1] == 'g')) {
      ++at;  // a complex number; alone, a pointer to wide characters
    } else if (*at == 'O' || *at == 'P' || *at == '&' || *at == 'X' || *at == 'z' || *at == 'Z') {
      return false;
    }
  }
  return true;
}

bool has_objects(PyObject* object) {
  PyObject* dtype = PyObject_GetAttrString(object, "dtype");
  PyObject* answer = dtype == nullptr ? nullptr : PyObject_GetAttrString(dtype, "hasobject");
  const bool has = answer == nullptr ? PyErr_Occurred() == nullptr : answer == Py_True;
  PyErr_Clear();
  Py_XDECREF(dtype);
  Py_XDECREF(answer);
  return has;
}

bool refuse_buffer(PyObject* object, Py_buffer* buffer, PyObject* error, const char* why) {
  if (buffer != nullptr) PyBuffer_Release(buffer);
  PyErr_Format(error, "write() takes a C-contiguous buffer of plain bytes, not %s: %s",
               Py_TYPE(object)->tp_name, why);
  return false;
}

bool get_plain_buffer(PyObject* object, Py_buffer* buffer) {
  constexpr char kPointers[] = "it holds pointers or objects, which mean nothing elsewhere";
  constexpr char kOrder[] = "numpy.ascontiguousarray() makes a copy in C order";
  if (PyObject_CheckBuffer(object) == 0) {
    return refuse_buffer(object, nullptr, PyExc_TypeError, "it is no buffer");
  }
  if (PyObject_GetBuffer(object, buffer, PyBUF_RECORDS_RO) != 0) {
    // numpy has no format for some of its dtypes (datetime64).
    PyErr_Clear();
    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) != 0) {
      if (PyErr_ExceptionMatches(PyExc_ValueError) == 0) return false;
      PyErr_Clear();
      return refuse_buffer(object, nullptr, PyExc_ValueError, kOrder);
    }
    if (has_objects(object)) return refuse_buffer(object, buffer, PyExc_TypeError, kPointers);
  }
  if (buffer->format != nullptr && !is_plain(buffer->format)) {
    return refuse_buffer(object, buffer, PyExc_TypeError, kPointers);
  }
  if (PyBuffer_IsContiguous(buffer, 'C') == 0) {
    return refuse_buffer(object, buffer, PyExc_ValueError, kOrder);
  }
  if (std::strcmp(Py_TYPE(object)->tp_name, "MaskedArray") == 0) {
    return refuse_buffer(object, buffer, PyExc_TypeError, "its mask would be lost; send .filled()");
  }
  return true;
}

// `is_record`: of a RecordType, which has judged it.
PyObject* write_object(Link* link, PyObject* data, bool is_record, uint32_t timeout_ms) {
  if (usable_handle(link) == nullptr) return nullptr;
  int code;
  if (PyBytes_CheckExact(data)) {
    code = write_bytes(link, PyBytes_AS_STRING(data), static_cast<size_t>(PyBytes_GET_SIZE(data)),
                       timeout_ms);
  } else {
    Py_buffer buffer;
    if (is_record ? PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) != 0
                  : !get_plain_buffer(data, &buffer)) {
      return nullptr;
    }
    code = write_bytes(link, buffer.buf, static_cast<size_t>(buffer.len), timeout_ms);
    PyBuffer_Release(&buffer);
  }
  if (code == ESHM_SUCCESS) Py_RETURN_NONE;
  if (code == ESHM_ERROR_BUFFER_FULL) add_advice(code, "timeout_ms= waits for room");
  return nullptr;
}

}  // namespace

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
  return write_object(link, slots[0], false, timeout_ms);
}

// _write_record(data, timeout_ms): as write, of a record's bytes.
PyObject* link_write_record(Link* link, PyObject* const* args, Py_ssize_t given, PyObject*) {
  uint32_t timeout_ms;
  if (given != 2) return PyErr_Format(PyExc_TypeError, "data and timeout_ms are wanted");
  if (!to_timeout(args[1], 0, &timeout_ms)) return nullptr;
  return write_object(link, args[0], true, timeout_ms);
}

// ---- reading ---------------------------------------------------------------------------

namespace {

// Messages up to this size are read into a buffer on the stack and then copied
// into a bytes object; larger ones are read into a bytes object directly.
constexpr size_t kSmallMessage = 4096;

// What remains of a time-out over several calls. The time begins at the first one.
class TimeLeft {
 public:
  explicit TimeLeft(uint32_t timeout_ms) : timeout_ms_(timeout_ms) {}

  bool may_wait() const { return timeout_ms_ != 0; }

  uint32_t remaining_ms() {
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

// Tries without waiting first, except for large buffers, and then waits.
int read_into(Link* link, void* buffer, size_t size, ESHMMessageInfo* info, TimeLeft* time_left) {
  int code = ESHM_ERROR_NO_DATA;
  if (size < kLargeCopy) {
    code = eshm_read_msg(link->core->handle, buffer, size, info, 0);
    const bool must_wait = code == ESHM_ERROR_NO_DATA && time_left->may_wait();
    if (!must_wait) {
      if (code != ESHM_SUCCESS && code != ESHM_ERROR_NO_DATA &&
          code != ESHM_ERROR_BUFFER_TOO_SMALL) {
        raise_code(code);
      }
      return code;
    }
  }
  const uint32_t remaining_ms = time_left->may_wait() ? time_left->remaining_ms() : 0;
  return wait(link, [&](ESHMHandle* handle) {
    return eshm_read_msg(handle, buffer, size, info, remaining_ms);
  });
}

int read_large(Link* link, size_t size, ESHMMessageInfo* info, TimeLeft* time_left,
               PyObject** bytes) {
  PyObject* large = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
  if (large == nullptr) return ESHM_SUCCESS;
  const int code = read_into(link, PyBytes_AS_STRING(large), size, info, time_left);
  if (code != ESHM_SUCCESS) {
    Py_DECREF(large);
    return code;
  }
  if (info->size != size) _PyBytes_Resize(&large, static_cast<Py_ssize_t>(info->size));
  *bytes = large;
  return code;
}

int read_small(Link* link, size_t size, ESHMMessageInfo* info, TimeLeft* time_left,
               PyObject** bytes) {
  char small[kSmallMessage];
  const int code = read_into(link, small, size, info, time_left);
  if (code == ESHM_SUCCESS) {
    *bytes = PyBytes_FromStringAndSize(small, static_cast<Py_ssize_t>(info->size));
  }
  return code;
}

// Returns the code of the read. On SUCCESS *bytes is the message, or NULL with an
// exception set. On NO_DATA *bytes is NULL and no exception is set. On any other
// code *bytes is NULL and an exception is set.
int read_message(Link* link, size_t limit, uint32_t timeout_ms, ESHMMessageInfo* info,
                 PyObject** bytes) {
  *bytes = nullptr;
  TimeLeft time_left(timeout_ms);
  size_t room = std::min(limit, std::max(link->last_read_size, kSmallMessage));
  while (true) {
    *info = {};
    info->struct_size = sizeof *info;
    const int code = room <= kSmallMessage ? read_small(link, room, info, &time_left, bytes)
                                           : read_large(link, room, info, &time_left, bytes);
    if (code != ESHM_ERROR_BUFFER_TOO_SMALL || PyErr_Occurred() != nullptr) {
      if (code == ESHM_SUCCESS) link->last_read_size = info->size;
      return code;
    }
    if (info->size > limit) {
      raise_code(code);
      return code;
    }
    // The message was kept. If another thread takes it, this read waits for the next.
    room = info->size;
    if (usable_handle(link) == nullptr) return code;
  }
}

PyObject* raise_no_data() { return raise_code(ESHM_ERROR_NO_DATA); }

// The limit that an argument buffer_size sets; None: any size.
bool to_limit(PyObject* object, size_t* limit) {
  *limit = INT32_MAX;
  return object == nullptr || object == Py_None || to_size(object, "buffer_size", limit);
}

// read(100) waits for a second: perhaps a time-out was meant.
void advise_reader(int code, bool has_limit, size_t limit, bool may_be_timeout) {
  if (code == ESHM_ERROR_BUFFER_TOO_SMALL && has_limit) {
    add_advice(code, "without buffer_size= read() and try_read() take any size");
  } else if (code == ESHM_ERROR_TIMEOUT && may_be_timeout) {
    char advice[80];
    std::snprintf(advice, sizeof advice, "%zu was taken for buffer_size; a time-out is timeout_ms=",
                  limit);
    add_advice(code, advice);
  }
}

}  // namespace

PyObject* link_read(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"buffer_size", "timeout_ms"};
  PyObject* slots[2];
  size_t limit;
  uint32_t timeout_ms;
  if (!take_arguments("read", args, given, keywords, names, 2, 0, slots) ||
      !to_limit(slots[0], &limit) ||
      !to_timeout(slots[1], ESHM_DEFAULT_READ_MS, &timeout_ms) || usable_handle(link) == nullptr) {
    return nullptr;
  }
  ESHMMessageInfo info;
  PyObject* bytes;
  const int code = read_message(link, limit, timeout_ms, &info, &bytes);
  if (bytes != nullptr) return bytes;
  if (code == ESHM_ERROR_NO_DATA) return raise_no_data();
  const bool has_limit = slots[0] != nullptr && slots[0] != Py_None;
  advise_reader(code, has_limit, limit, has_limit && given == 1 && slots[1] == nullptr);
  return nullptr;
}

PyObject* link_try_read(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"buffer_size"};
  PyObject* slots[1] = {nullptr};
  size_t limit = INT32_MAX;
  if ((given != 0 || keywords != nullptr) &&
      (!take_arguments("try_read", args, given, keywords, names, 1, 0, slots) ||
       !to_limit(slots[0], &limit))) {
    return nullptr;
  }
  if (usable_handle(link) == nullptr) return nullptr;
  ESHMMessageInfo info;
  PyObject* bytes;
  const int code = read_message(link, limit, 0, &info, &bytes);
  if (code == ESHM_ERROR_NO_DATA) Py_RETURN_NONE;
  if (bytes == nullptr) advise_reader(code, slots[0] != nullptr, limit, false);
  return bytes;
}

PyObject* link_read_msg(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"timeout_ms"};
  PyObject* slots[1];
  uint32_t timeout_ms;
  if (!take_arguments("read_msg", args, given, keywords, names, 1, 0, slots) ||
      !to_timeout(slots[0], ESHM_DEFAULT_READ_MS, &timeout_ms) || usable_handle(link) == nullptr) {
    return nullptr;
  }
  ESHMMessageInfo info;
  PyObject* bytes;
  if (read_message(link, INT32_MAX, timeout_ms, &info, &bytes) == ESHM_ERROR_NO_DATA) {
    return raise_no_data();
  }
  return bytes == nullptr ? nullptr : make_message(bytes, info);
}

PyObject* link_read_into(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"buffer", "timeout_ms"};
  PyObject* slots[2];
  uint32_t timeout_ms;
  if (!take_arguments("read_into", args, given, keywords, names, 2, 1, slots) ||
      !to_timeout(slots[1], ESHM_DEFAULT_READ_MS, &timeout_ms) || usable_handle(link) == nullptr) {
    return nullptr;
  }
  Py_buffer buffer;
  if (PyObject_GetBuffer(slots[0], &buffer, PyBUF_WRITABLE) != 0) return nullptr;
  TimeLeft time_left(timeout_ms);
  ESHMMessageInfo info = {};
  info.struct_size = sizeof info;
  const int code = read_into(link, buffer.buf, static_cast<size_t>(buffer.len), &info, &time_left);
  PyBuffer_Release(&buffer);
  if (code == ESHM_SUCCESS) return PyLong_FromUnsignedLongLong(info.size);
  raise_code(code);
  if (code == ESHM_ERROR_BUFFER_TOO_SMALL) add_advice(code, "read_msg() takes any size");
  return nullptr;
}

// ---- zero copy -------------------------------------------------------------------------

namespace {

PyObject* borrow(Link* link, uint32_t timeout_ms, bool none_if_no_data) {
  if (usable_handle(link) == nullptr) return nullptr;
  PyObject* borrowed = nullptr;
  int code = make_borrow(link, 0, &borrowed);
  if (code == ESHM_ERROR_NO_DATA && timeout_ms != 0) {
    const Waiting waiting(&link, 1);
    code = make_borrow(link, timeout_ms, &borrowed);
  }
  if (code == ESHM_SUCCESS) return borrowed;
  if (code == ESHM_ERROR_NO_DATA && none_if_no_data) Py_RETURN_NONE;
  raise_wait_error(link, code);
  if (code == ESHM_ERROR_BUFFER_FULL) {
    add_advice(code, "a borrow ends with the last array of it, or with release()");
  }
  return nullptr;
}

}  // namespace

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

PyObject* link_borrow(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords) {
  static const char* const names[] = {"timeout_ms"};
  PyObject* slots[1];
  uint32_t timeout_ms;
  if (!take_arguments("borrow", args, given, keywords, names, 1, 0, slots) ||
      !to_timeout(slots[0], ESHM_DEFAULT_READ_MS, &timeout_ms)) {
    return nullptr;
  }
  return borrow(link, timeout_ms, false);
}

PyObject* link_try_borrow(PyObject* object, PyObject*) {
  return borrow(reinterpret_cast<Link*>(object), 0, true);
}

}  // namespace eshm_py
