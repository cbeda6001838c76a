// SPDX-License-Identifier: MIT
#include <string>

#include "native.h"

namespace eshm_py {
namespace {
PyObject* error_factory = nullptr;
}

PyObject* set_error_factory(PyObject*, PyObject* factory) {
  Py_INCREF(factory);
  Py_XSETREF(error_factory, factory);
  Py_RETURN_NONE;
}

PyObject* raise_text(int code, const char* text) {
  if (error_factory == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, text);
    return nullptr;
  }
  PyObject* error = PyObject_CallFunction(error_factory, "is", code, text);
  if (error == nullptr) return nullptr;
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error)), error);
  Py_DECREF(error);
  return nullptr;
}

PyObject* raise_code(int code) {
  if (PyErr_Occurred() != nullptr) return nullptr;
  int remembered = ESHM_SUCCESS;
  const std::string text = eshm_last_error(&remembered);
  return raise_text(code, remembered == code ? text.c_str() : eshm_error_string(code));
}

void add_advice(int code, const char* advice) {
  PyObject *type, *error, *trace;
  PyErr_Fetch(&type, &error, &trace);
  PyErr_NormalizeException(&type, &error, &trace);
  PyObject* number = error == nullptr ? nullptr : PyObject_GetAttrString(error, "code");
  const bool fits = number != nullptr && PyLong_Check(number) && PyLong_AsLong(number) == code;
  Py_XDECREF(number);
  PyErr_Clear();
  PyObject* text = fits ? PyUnicode_FromFormat("%S; %s", error, advice) : nullptr;
  const char* utf8 = text == nullptr ? nullptr : PyUnicode_AsUTF8(text);
  if (utf8 == nullptr) {
    PyErr_Restore(type, error, trace);
  } else {
    raise_text(code, utf8);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
  }
  Py_XDECREF(text);
}

}  // namespace eshm_py
