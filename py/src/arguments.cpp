// SPDX-License-Identifier: MIT
#include "native.h"

namespace eshm_py {
namespace {

Py_ssize_t index_of(PyObject* keyword, const char* const* names, Py_ssize_t count) {
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (PyUnicode_CompareWithASCIIString(keyword, names[i]) == 0) return i;
  }
  return -1;
}

// Whole numbers only: before Python 3.10 PyLong_AsLongLong alone cuts fractions off.
bool to_integer(PyObject* object, const char* name, const char* takes, long long* value) {
  PyObject* whole = PyNumber_Index(object);
  if (whole == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) return false;
    PyErr_Format(PyExc_TypeError, "%s takes %s, not %s %R", name, takes, Py_TYPE(object)->tp_name,
                 object);
    return false;
  }
  *value = PyLong_AsLongLong(whole);
  Py_DECREF(whole);
  return *value != -1 || PyErr_Occurred() == nullptr;
}

}  // namespace

int convert_uint32(PyObject* object, void* out) {
  long long value;
  if (!to_integer(object, "the argument", "a whole number", &value)) return 0;
  if (value < 0 || value > UINT32_MAX) {
    PyErr_Format(PyExc_ValueError, "%lld is not between 0 and %lu", value,
                 static_cast<unsigned long>(UINT32_MAX));
    return 0;
  }
  *static_cast<uint32_t*>(out) = static_cast<uint32_t>(value);
  return 1;
}

bool take_arguments(const char* function, PyObject* const* args, Py_ssize_t given,
                    PyObject* keywords, const char* const* names, Py_ssize_t count,
                    Py_ssize_t required, PyObject** slots) {
  if (given > count) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", function, count,
                 given);
    return false;
  }
  for (Py_ssize_t i = 0; i < count; ++i) slots[i] = i < given ? args[i] : nullptr;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, i);
    const Py_ssize_t at = index_of(keyword, names, count);
    if (at < 0 || slots[at] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected or repeated argument %R", function,
                   keyword);
      return false;
    }
    slots[at] = args[given + i];
  }
  for (Py_ssize_t i = 0; i < required; ++i) {
    if (slots[i] != nullptr) continue;
    PyErr_Format(PyExc_TypeError, "%s() misses its argument '%s'", function, names[i]);
    return false;
  }
  return true;
}

bool to_timeout(PyObject* object, uint32_t when_none, uint32_t* timeout_ms) {
  *timeout_ms = when_none;
  if (object == nullptr || object == Py_None) return true;
  constexpr char kTakes[] = "whole milliseconds: 0 never waits, -1 waits without limit";
  long long value;
  if (!to_integer(object, "timeout_ms", kTakes, &value)) return false;
  if (value < -1 || value >= ESHM_WAIT_FOREVER) {
    PyErr_Format(PyExc_ValueError, "timeout_ms takes %s and %lld is the most; not %lld", kTakes,
                 static_cast<long long>(ESHM_WAIT_FOREVER) - 1, value);
    return false;
  }
  *timeout_ms = value < 0 ? ESHM_WAIT_FOREVER : static_cast<uint32_t>(value);
  return true;
}

bool to_size(PyObject* object, const char* what, size_t* size) {
  long long value;
  if (!to_integer(object, what, "a number of bytes", &value)) return false;
  if (value < 0) {
    PyErr_Format(PyExc_ValueError, "%s takes a number of bytes, not %lld", what, value);
    return false;
  }
  *size = static_cast<size_t>(value);
  return true;
}

}  // namespace eshm_py
