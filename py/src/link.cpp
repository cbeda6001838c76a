// SPDX-License-Identifier: MIT
// The type Link: one handle of the library, with its methods. eshm/_link.py derives
// ESHM from it.
#include "link.h"

#include <cstddef>

namespace eshm_py {

PyTypeObject* link_type = nullptr;

namespace {

using KeywordFunction = PyObject* (*)(Link*, PyObject* const*, Py_ssize_t, PyObject*);

template <KeywordFunction function>
constexpr PyCFunction keyword_method() {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kKeywords = METH_FASTCALL | METH_KEYWORDS;

#define TEXT_OF_TOKEN(token) #token
#define TEXT_OF(macro) TEXT_OF_TOKEN(macro)
#define DEFAULT_READ_MS TEXT_OF(ESHM_DEFAULT_READ_MS)

PyMethodDef link_methods[] = {
    {"write", keyword_method<link_write>(), kKeywords,
     "write(data, timeout_ms=0)\n--\n\nPublishes one message.\n\n"
     "data: any C-contiguous buffer of plain bytes; not of pointers or Python objects.\n"
     "timeout_ms: how long to wait for room in a queue, in milliseconds; -1 without limit.\n"
     "Raises QueueFull (0 ms), Timeout, MessageTooLarge, TypeError, ValueError; then nothing was "
     "written."},
    {"_write_record", keyword_method<link_write_record>(), kKeywords, nullptr},
    {"read", keyword_method<link_read>(), kKeywords,
     "read(buffer_size=None, timeout_ms=None)\n--\n\n"
     "The newest message not yet read (of a queue: the next), as bytes.\n\n"
     "buffer_size: largest size to take, in bytes; None takes any.\n"
     "timeout_ms: milliseconds; None waits " DEFAULT_READ_MS " ms, -1 without limit.\n"
     "Raises Timeout; MessageTooLarge, and the message stays unread."},
    {"try_read", keyword_method<link_try_read>(), kKeywords,
     "try_read(buffer_size=None)\n--\n\n"
     "As read, without waiting; None if there is no unread message."},
    {"read_msg", keyword_method<link_read_msg>(), kKeywords,
     "read_msg(timeout_ms=None)\n--\n\nAs read, of any size: a Message with number, time and age.\n\n"
     "timeout_ms: milliseconds; None waits " DEFAULT_READ_MS " ms, -1 without limit."},
    {"read_into", keyword_method<link_read_into>(), kKeywords,
     "read_into(buffer, timeout_ms=None)\n--\n\nAs read, into a writable buffer; returns the "
     "message's size in bytes."},
    {"loan", keyword_method<link_loan>(), kKeywords,
     "loan(size=None)\n--\n\nRoom for a message in the segment, as a context manager: its end "
     "publishes the message, or discards it on an exception."},
    {"borrow", keyword_method<link_borrow>(), kKeywords,
     "borrow(timeout_ms=None)\n--\n\nAs read, without a copy: a context manager."},
    {"try_borrow", link_try_borrow, METH_NOARGS,
     "try_borrow()\n--\n\nAs borrow, without waiting; None if there is no unread message."},
    {"fileno", link_fileno, METH_NOARGS,
     "fileno()\n--\n\nA descriptor that polls readable while there is something to read."},
    {"update_heartbeat", link_update_heartbeat, METH_NOARGS,
     "update_heartbeat()\n--\n\nWrites a heartbeat now; for links with use_threads=False."},
    {"hold_heartbeat", link_hold_heartbeat, METH_O,
     "hold_heartbeat(hold, /)\n--\n\nTrue hides from the peer that this process lives, until\n"
     "False; update_heartbeat() is seen all the same. For programs that relay\nanother process's life, and for tests."},
    {"is_remote_alive", link_is_remote_alive, METH_NOARGS,
     "is_remote_alive()\n--\n\nWhether the peer is connected and its heartbeat is fresh."},
    {"get_remote_state", link_get_remote_state, METH_NOARGS,
     "get_remote_state()\n--\n\nThe peer's state, a number of PeerState."},
    {"get_role", link_get_role, METH_NOARGS, "get_role()\n--\n\nThe role; never AUTO."},
    {"get_stats", link_get_stats, METH_NOARGS, "get_stats()\n--\n\nESHMStats as a dict."},
    {"get_stats_ex", link_get_stats_ex, METH_NOARGS,
     "get_stats_ex()\n--\n\nESHMStatsEx as a dict."},
    {"_get_channel", link_get_channel, METH_O, nullptr},
    {"_listen", link_listen, METH_O, nullptr},
    {"close", link_close, METH_NOARGS,
     "close()\n--\n\nLeaves the link. Waits of other threads end with eshm.Closed. Arrays of "
     "borrowed messages keep the memory, and the role, until the last one is deleted."},
    {"__enter__", link_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(link_exit)),
     METH_FASTCALL, nullptr},
    {"__reduce__", link_reduce, METH_NOARGS, nullptr},
    {"__copy__", link_reduce, METH_NOARGS, nullptr},
    {"__deepcopy__", link_reduce, METH_O, nullptr},
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
                            {Py_tp_new, reinterpret_cast<void*>(link_new)},
                            {Py_tp_init, reinterpret_cast<void*>(link_init)},
                            {Py_tp_dealloc, reinterpret_cast<void*>(link_dealloc)},
                            {Py_tp_methods, link_methods},
                            {Py_tp_getset, link_properties},
                            {Py_tp_members, link_members},
                            {0, nullptr}};

PyType_Spec link_spec = {"eshm._native.Link", sizeof(Link), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, link_slots};

}  // namespace

Link* as_link(PyObject* object) {
  if (PyObject_TypeCheck(object, link_type)) return reinterpret_cast<Link*>(object);
  PyErr_Format(PyExc_TypeError, "an ESHM is wanted, not %s", Py_TYPE(object)->tp_name);
  return nullptr;
}

int add_link_type(PyObject* module) {
  PyObject* type = PyType_FromSpec(&link_spec);
  if (type == nullptr) return -1;
  link_type = reinterpret_cast<PyTypeObject*>(type);
  Py_INCREF(type);
  return PyModule_AddObject(module, "Link", type);
}

}  // namespace eshm_py
