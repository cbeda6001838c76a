// SPDX-License-Identifier: MIT
// Declarations that the extension's source files share. Only one interpreter of
// a process can load the extension, so that interpreter's lock guards all globals.
#ifndef ESHM_PY_NATIVE_H
#define ESHM_PY_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <sys/types.h>

#include <cstdint>

#include "eshm.h"

namespace eshm_py {

// Copies of at least this many bytes release the interpreter's lock; such a copy
// takes 25 us. Releasing costs 70 ns if no other thread wants the lock, but up to
// its switch interval (5 ms) if one does.
constexpr size_t kLargeCopy = 1024 * 1024;

// ---- links: their type (link.cpp), opening and closing (lifecycle.cpp) ---------------

// The handle, shared by a link and the views of its messages. A view refers to this and
// not to the link: an array in a cycle with the link would keep it, since the collector
// does not look into numpy's arrays.
struct Core {
  ESHMHandle* handle = nullptr;  // NULL: never opened, or destroyed
  Py_ssize_t calls = 0;          // calls that run without the interpreter's lock
  Py_ssize_t views = 0;          // loans and borrows whose memory is still referenced
  Py_ssize_t references = 1;     // the link's, and one for each of these views
  int closers = 0;               // threads in close() that wait for calls to end
  bool closing = false;          // refuses new calls; the last call or view destroys the handle
  pid_t owner = 0;               // in a forked child, `calls` would never fall to 0
  Core* previous = nullptr;      // in the list of open handles, which the interpreter's exit closes
  Core* next = nullptr;
};

struct Link {
  PyObject ob_base;
  PyObject* weak_references;
  Core* core;
  uint64_t id;            // names the link in notices; never used again
  size_t last_read_size;  // the room that the next read tries first
  size_t max_write_size;
};

extern PyTypeObject* link_type;
int add_link_type(PyObject* module);

// The handle, or NULL with an exception set.
ESHMHandle* usable_handle(Link* link);
// Call it after --calls or --views. Destroys the handle if close() was called and
// this was the last call or view; a thread that waits in close() destroys it itself.
void destroy_if_due(Core* core);
// Frees it with its last reference.
void release(Core* core);
// The object as a Link; NULL with an exception set if it is none.
Link* as_link(PyObject* object);

// Releases the interpreter's lock for a call that may take long, and keeps the
// link's handle until the call is over.
class Released {
 public:
  explicit Released(Link* link) : core_(link->core), thread_(begin(core_)) {}
  // At exit, Python ends a daemon thread that takes the lock by unwinding its stack.
  ~Released() noexcept(false) {
    if (thread_ != nullptr) reacquire();
    --core_->calls;
    destroy_if_due(core_);
  }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

  void reacquire() {
    PyEval_RestoreThread(thread_);
    thread_ = nullptr;
  }

 private:
  static PyThreadState* begin(Core* core) {
    ++core->calls;
    return PyEval_SaveThread();
  }

  Core* const core_;
  PyThreadState* thread_;
};

PyObject* close_all(PyObject*, PyObject*);

// ---- waits (waiting.cpp, waiting.h) ---------------------------------------------------

PyObject* wait_any(PyObject*, PyObject* const* args, Py_ssize_t count);

// ---- zero copy (views.cpp) ---------------------------------------------------------

int add_view_types(PyObject* module);
PyObject* make_loan(Link* link, size_t size);
// Code of eshm_borrow; *borrow is set on SUCCESS, or NULL with an exception.
int make_borrow(Link* link, uint32_t timeout_ms, PyObject** borrow);

// ---- DLPack (dlpack.cpp): methods of Borrow ------------------------------------------

PyObject* borrow_dlpack(PyObject* borrow, PyObject* args, PyObject* keywords);
PyObject* borrow_dlpack_device(PyObject*, PyObject*);

// ---- messages (message.cpp) --------------------------------------------------------

int add_message_type(PyObject* module);
// Steals the reference to data.
PyObject* make_message(PyObject* data, const ESHMMessageInfo& info);
// Nanoseconds since publication as a Python int; None without time stamps.
PyObject* age_of(uint64_t timestamp_ns, uint64_t now_ns);
uint64_t monotonic_ns();

// ---- errors (errors.cpp) -----------------------------------------------------------

// Sets the exception for the code, with this thread's eshm_last_error as its text.
// Keeps an exception that a signal handler has raised. Always returns NULL.
PyObject* raise_code(int code);
PyObject* raise_text(int code, const char* text);
// Appends to the text of the exception that is set, if it is one for this code: what the
// caller can do, by the names of Python's arguments.
void add_advice(int code, const char* advice);
// set_error_factory(f): f(code, text) makes the exceptions.
PyObject* set_error_factory(PyObject*, PyObject* factory);

// ---- defaults (defaults.cpp) ---------------------------------------------------------

// default_config(): what eshm_default_config gives, as a dict.
PyObject* default_config(PyObject*, PyObject*);
int add_constants(PyObject* module);

// ---- links from outside (links.cpp) ----------------------------------------------------

// list_links(): a list of dicts. remove_link(name, force).
PyObject* list_links(PyObject*, PyObject*);
PyObject* remove_link(PyObject*, PyObject* arguments);

// ---- arguments (arguments.cpp) -----------------------------------------------------

// Puts the arguments of a METH_FASTCALL | METH_KEYWORDS call into slots[0 .. count);
// a missing one is NULL. The first `required` must be present.
bool take_arguments(const char* function, PyObject* const* args, Py_ssize_t given,
                    PyObject* keywords, const char* const* names, Py_ssize_t count,
                    Py_ssize_t required, PyObject** slots);
// timeout_ms. NULL or None gives when_none; -1 waits for ever.
bool to_timeout(PyObject* object, uint32_t when_none, uint32_t* timeout_ms);
// For "O&" of PyArg_Parse, whose "I" takes any number modulo 2^32 without an error.
int convert_uint32(PyObject* object, void* out);
bool to_size(PyObject* object, const char* what, size_t* size);

// ---- notices: events and log lines of the library's threads (notices.cpp) -----------

// next_notice(): waits for a notice and gives (kind, number, link id, text). None
// after stop_notices().
PyObject* next_notice(PyObject*, PyObject*);
PyObject* stop_notices(PyObject*, PyObject*);
PyObject* listen_to_log(PyObject*, PyObject* wanted);
void on_event(ESHMHandle* handle, enum ESHMEvent event, void* link_id);

}  // namespace eshm_py

#endif  // ESHM_PY_NATIVE_H
