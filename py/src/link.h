// SPDX-License-Identifier: MIT
// The methods of Link, by the files that hold them; link.cpp has their table.
#ifndef ESHM_PY_LINK_H
#define ESHM_PY_LINK_H

#include "native.h"

namespace eshm_py {

// ---- opening and closing (lifecycle.cpp)

PyObject* link_new(PyTypeObject* type, PyObject*, PyObject*);
int link_init(PyObject* object, PyObject* args, PyObject* keywords);
void link_dealloc(PyObject* object);
PyObject* link_close(PyObject* object, PyObject*);
PyObject* link_enter(PyObject* object, PyObject*);
PyObject* link_exit(PyObject* object, PyObject* const* args, Py_ssize_t given);
PyObject* link_reduce(PyObject* object, PyObject*);
PyObject* link_closed(PyObject* object, void*);

// ---- messages (data_path.cpp)

PyObject* link_write(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_write_record(Link* link, PyObject* const* args, Py_ssize_t given, PyObject*);
PyObject* link_read(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_try_read(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_read_msg(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_read_into(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_loan(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_borrow(Link* link, PyObject* const* args, Py_ssize_t given, PyObject* keywords);
PyObject* link_try_borrow(PyObject* object, PyObject*);

// ---- state of both ends (watching.cpp)

PyObject* link_fileno(PyObject* object, PyObject*);
PyObject* link_update_heartbeat(PyObject* object, PyObject*);
PyObject* link_hold_heartbeat(PyObject* object, PyObject* hold);
PyObject* link_is_remote_alive(PyObject* object, PyObject*);
PyObject* link_get_remote_state(PyObject* object, PyObject*);
PyObject* link_get_role(PyObject* object, PyObject*);
PyObject* link_get_stats(PyObject* object, PyObject*);
PyObject* link_get_stats_ex(PyObject* object, PyObject*);
PyObject* link_get_channel(PyObject* object, PyObject* direction);
PyObject* link_listen(PyObject* object, PyObject* wanted);

}  // namespace eshm_py

#endif  // ESHM_PY_LINK_H
