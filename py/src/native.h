// What the extension's source files share. One interpreter a process may load
// it: whatever is global here is guarded by that interpreter's lock.
#ifndef ESHM_PY_NATIVE_H
#define ESHM_PY_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <sys/types.h>

#include <cstdint>

#include "eshm.h"

namespace eshm_py {

// Copies of this many bytes are made without the interpreter's lock. Giving it
// away costs 70 ns where nobody wants it, but up to its switch interval (5 ms)
// where somebody does; such a copy takes 25 us.
constexpr size_t kLargeCopy = 1024 * 1024;

// ---- links: their type (link.cpp), opening and closing (lifecycle.cpp) ---------------

struct Link {
  PyObject ob_base;
  PyObject* weak_references;
  ESHMHandle* handle;    // NULL: never opened, or given back
  Py_ssize_t calls;      // that run without the interpreter's lock
  Py_ssize_t views;      // loans and borrows that somebody may still look at
  int closers;           // threads in close() that wait for calls to end
  bool closing;          // no new call; the last one out gives the handle back
  pid_t owner;           // a forked child's copy of `calls` would never fall
  uint64_t id;           // names the link in notices; never used again
  size_t expected_size;  // of the next message: the last one's
  size_t max_write_size;
  Link* previous;  // all open links, for the interpreter's exit
  Link* next;
};

extern PyTypeObject* link_type;
int add_link_type(PyObject* module);

// The handle, or NULL with an exception set.
ESHMHandle* usable_handle(Link* link);
// After --calls or --views: gives the handle back if a close waits for that.
void settle(Link* link);
// A Link (or subclass) with an exception set otherwise.
Link* as_link(PyObject* object);

// A call that may take long: others run meanwhile, and the handle stays.
class Released {
 public:
  explicit Released(Link* link) : link_(link), thread_(begin(link)) {}
  // Python ends a daemon thread that wants the lock at exit by unwinding it.
  ~Released() noexcept(false) {
    if (thread_ != nullptr) reacquire();
    --link_->calls;
    settle(link_);
  }
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

  void reacquire() {
    PyEval_RestoreThread(thread_);
    thread_ = nullptr;
  }

 private:
  static PyThreadState* begin(Link* link) {
    ++link->calls;
    return PyEval_SaveThread();
  }

  Link* const link_;
  PyThreadState* thread_;
};

PyObject* close_all(PyObject*, PyObject*);

// ---- waits (waiting.cpp; waiting.h for whoever waits) --------------------------------

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
// Takes over the reference to data.
PyObject* make_message(PyObject* data, const ESHMMessageInfo& info);
// Nanoseconds since publication as a Python int; None without time stamps.
PyObject* age_of(uint64_t timestamp_ns, uint64_t now_ns);
uint64_t monotonic_ns();

// ---- errors (errors.cpp) -----------------------------------------------------------

// Sets the exception for the code, with this thread's eshm_last_error; keeps
// one that a signal handler has raised. Always NULL.
PyObject* raise_code(int code);
PyObject* raise_text(int code, const char* text);
// set_error_factory(f): f(code, text) makes the exceptions.
PyObject* set_error_factory(PyObject*, PyObject* factory);

// ---- defaults (defaults.cpp) ---------------------------------------------------------

// default_config(): what eshm_default_config gives, as a dict.
PyObject* default_config(PyObject*, PyObject*);
int add_constants(PyObject* module);

// ---- arguments (arguments.cpp) -----------------------------------------------------

constexpr uint32_t kDefaultTimeoutMs = 1000;

// Spreads a fast call's arguments over slots[0 .. count), by position or by
// name; what was not given is NULL. The first `required` must be given.
bool take_arguments(const char* function, PyObject* const* args, Py_ssize_t given,
                    PyObject* keywords, const char* const* names, Py_ssize_t count,
                    Py_ssize_t required, PyObject** slots);
// NULL or None: the default; negative: for ever.
bool to_timeout(PyObject* object, uint32_t when_none, uint32_t* timeout_ms);
// For "O&" of PyArg_Parse: its own "I" takes any number modulo 2^32.
int convert_uint32(PyObject* object, void* out);
bool to_size(PyObject* object, const char* what, size_t* size);

// ---- notices: what the library tells on threads of its own (notices.cpp) ------------

// next_notice(): waits for one; (kind, number, link id, text), or None to end.
PyObject* next_notice(PyObject*, PyObject*);
PyObject* stop_notices(PyObject*, PyObject*);
PyObject* listen_to_log(PyObject*, PyObject* wanted);
void on_event(ESHMHandle* handle, enum ESHMEvent event, void* link_id);

}  // namespace eshm_py

#endif  // ESHM_PY_NATIVE_H
