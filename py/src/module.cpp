// SPDX-License-Identifier: MIT
#include "native.h"

namespace eshm_py {
namespace {

PyObject* version(PyObject*, PyObject*) { return PyUnicode_FromString(eshm_version()); }

PyObject* error_string(PyObject*, PyObject* code) {
  const long number = PyLong_AsLong(code);
  if (number == -1 && PyErr_Occurred() != nullptr) return nullptr;
  return PyUnicode_FromString(eshm_error_string(static_cast<int>(number)));
}

PyMethodDef functions[] = {
    {"version", version, METH_NOARGS, "version()\n--\n\nVersion of the library linked in."},
    {"error_string", error_string, METH_O, "error_string(code)\n--\n\nA short text for a code."},
    {"wait_any", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(wait_any)),
     METH_FASTCALL, nullptr},
    {"default_config", default_config, METH_NOARGS,
     "default_config()\n--\n\nThe library's defaults of ESHMConfig, as a dict."},
    {"list_links", list_links, METH_NOARGS, nullptr},
    {"remove_link", remove_link, METH_VARARGS, nullptr},
    {"close_all", close_all, METH_NOARGS, nullptr},
    {"set_error_factory", set_error_factory, METH_O, nullptr},
    {"next_notice", next_notice, METH_NOARGS, nullptr},
    {"stop_notices", stop_notices, METH_NOARGS, nullptr},
    {"listen_to_log", listen_to_log, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr}};

int exec_module(PyObject* module) {
  if (link_type != nullptr) {
    PyErr_SetString(PyExc_ImportError, "eshm can be loaded by one interpreter of a process");
    return -1;
  }
  if (add_link_type(module) != 0 || add_message_type(module) != 0 || add_view_types(module) != 0) {
    return -1;
  }
  return add_constants(module);
}

PyModuleDef_Slot slots[] = {
    {Py_mod_exec, reinterpret_cast<void*>(exec_module)},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, nullptr}};

PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                          "eshm._native",
                          "ESHM's library, linked in.",
                          0,
                          functions,
                          slots,
                          nullptr,
                          nullptr,
                          nullptr};

}  // namespace
}  // namespace eshm_py

PyMODINIT_FUNC PyInit__native() { return PyModuleDef_Init(&eshm_py::definition); }
