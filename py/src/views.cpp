// SPDX-License-Identifier: MIT
// Loan and Borrow: messages in the segment, accessed through the buffer protocol.
//
// Each holds a Pin, which keeps the message in its place and the segment mapped.
// Every memoryview and array of the message refers to the pin, so an array is
// valid as long as it exists:
//   Borrow or Loan -> Pin <- memoryview <- numpy.frombuffer(memoryview)
//                     Pin <- numpy.ndarray(shape, dtype, memoryview)
// numpy.ndarray does not keep an export, only a reference to the exporting object.
// Therefore references are counted, not exports, and the pin is a separate object.
#include <cstddef>

#include "native.h"

namespace eshm_py {
namespace {

struct Pin {
  PyObject ob_base;
  Core* core;  // NULL: released, discarded or published
  void* data;
  size_t size;
  bool is_borrow;
  ESHMView view;  // of a borrow
};

struct View {
  PyObject ob_base;
  Pin* pin;          // NULL: this view has ended
  PyObject* memory;  // the memoryview that `with` returned
  size_t size;
  bool finished;  // no new export
  bool is_kept;   // an array may refer to this object alone
  // Of a borrow only.
  ESHMMessageInfo info;
  PyObject* age_ns;
};

PyTypeObject* pin_type = nullptr;
PyTypeObject* loan_type = nullptr;
PyTypeObject* borrow_type = nullptr;
char empty_payload[1];  // the address of an empty message

View* as_view(PyObject* object) { return reinterpret_cast<View*>(object); }
Pin* as_pin(PyObject* object) { return reinterpret_cast<Pin*>(object); }
bool is_borrow(const View* view) { return Py_TYPE(view) == borrow_type; }

// ---- pins --------------------------------------------------------------------------------

// Call it when the message was published, discarded or released. The link may be
// destroyed then.
void unbind(Pin* pin) {
  Core* core = pin->core;
  pin->core = nullptr;
  --core->views;
  destroy_if_due(core);
  release(core);
}

void bind(Pin* pin, Link* link) {
  pin->core = link->core;
  ++pin->core->references;
  ++pin->core->views;
}

int pin_getbuffer(PyObject* object, Py_buffer* buffer, int flags) {
  Pin* pin = as_pin(object);
  if (pin->core == nullptr) {
    PyErr_SetString(PyExc_BufferError, "the loan is over");
    return -1;
  }
  return PyBuffer_FillInfo(buffer, object, pin->size == 0 ? empty_payload : pin->data,
                           static_cast<Py_ssize_t>(pin->size), pin->is_borrow ? 1 : 0, flags);
}

// Does nothing: the export's reference is dropped anyway. But numpy keeps exports
// only of objects that have this hook.
void releasebuffer(PyObject*, Py_buffer*) {}

void pin_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  Pin* pin = as_pin(object);
  PyObject *error_type, *error, *trace;
  PyErr_Fetch(&error_type, &error, &trace);
  if (pin->core != nullptr) {
    if (pin->is_borrow) {
      eshm_release(pin->core->handle, &pin->view);
    } else {
      eshm_discard(pin->core->handle, pin->data);
    }
    unbind(pin);
  }
  PyErr_Restore(error_type, error, trace);
  type->tp_free(object);
  Py_DECREF(type);
}

Pin* new_pin(bool is_borrow) {
  Pin* pin = PyObject_New(Pin, pin_type);
  if (pin == nullptr) return nullptr;
  pin->core = nullptr;
  pin->data = empty_payload;
  pin->size = 0;
  pin->is_borrow = is_borrow;
  pin->view = {};
  pin->view.struct_size = sizeof pin->view;
  return pin;
}

// ---- what loans and borrows have in common -------------------------------------------------

// A consumer that asks for no format does not keep the export: it reads or writes
// at once, or keeps a reference to the object instead (numpy.ndarray). A memoryview
// asks for the format.
bool is_raw(int flags) { return (flags & PyBUF_FORMAT) == 0; }

int view_getbuffer(PyObject* object, Py_buffer* buffer, int flags) {
  View* view = as_view(object);
  if (view->finished) {
    PyErr_SetString(PyExc_BufferError,
                    is_borrow(view) ? "the borrowed message was released" : "the loan is over");
    return -1;
  }
  if (!is_borrow(view) && is_raw(flags)) {
    // The end of the loan could not detect that the consumer still writes into it.
    PyErr_SetString(PyExc_BufferError,
                    "a loan is written through its memoryview: `with loan as room`, or "
                    "memoryview(loan)");
    return -1;
  }
  // numpy.ndarray asks for writable bytes, accepts read-only ones, and keeps a
  // reference to this object.
  if (is_raw(flags) && (flags & PyBUF_WRITABLE) != 0) view->is_kept = true;
  return pin_getbuffer(reinterpret_cast<PyObject*>(view->pin), buffer, flags);
}

void view_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  View* view = as_view(object);
  Py_XDECREF(view->memory);
  Py_XDECREF(view->age_ns);
  Py_XDECREF(view->pin);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* view_enter(PyObject* object, PyObject*) {
  View* view = as_view(object);
  if (view->memory != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "it is entered already");
    return nullptr;
  }
  view->memory = PyMemoryView_FromObject(object);
  Py_XINCREF(view->memory);
  return view->memory;
}

// Releases the memoryview that `with` returned; it fails if an array uses it.
void release_memory(View* view) {
  PyObject* memory = view->memory;
  view->memory = nullptr;
  if (memory == nullptr) return;
  PyObject* done = PyObject_CallMethod(memory, "release", nullptr);
  if (done == nullptr) PyErr_Clear();
  Py_XDECREF(done);
  Py_DECREF(memory);
}

PyObject* view_release(PyObject* object, PyObject*) {
  View* view = as_view(object);
  view->finished = true;
  release_memory(view);
  if (!view->is_kept) Py_CLEAR(view->pin);
  Py_RETURN_NONE;
}

PyObject* view_length(PyObject* object, void*) { return PyLong_FromSize_t(as_view(object)->size); }

PyObject* view_released(PyObject* object, void*) {
  return PyBool_FromLong(as_view(object)->finished);
}

// Steals the reference to the pin.
View* new_view(PyTypeObject* type, Pin* pin) {
  View* view = PyObject_New(View, type);
  if (view == nullptr) {
    Py_DECREF(pin);
    return nullptr;
  }
  view->pin = pin;
  view->memory = nullptr;
  view->size = pin->size;
  view->finished = false;
  view->is_kept = false;
  view->info = pin->view.info;
  view->age_ns = nullptr;
  return view;
}

// ---- loans -----------------------------------------------------------------------------

PyObject* loan_publish(PyObject* object, PyObject*) {
  View* view = as_view(object);
  if (view->finished) {
    PyErr_SetString(PyExc_BufferError, "the loan is over");
    return nullptr;
  }
  view->finished = true;
  release_memory(view);
  Pin* pin = view->pin;
  view->pin = nullptr;
  if (Py_REFCNT(pin) != 1) {
    // An array still exists, through which a published message could be changed.
    Py_DECREF(pin);
    PyErr_SetString(PyExc_BufferError,
                    "an array or memoryview of the loan still exists; nothing was published. "
                    "Delete it before the loan ends");
    return nullptr;
  }
  const int code = eshm_publish(pin->core->handle, pin->data, view->size);
  if (code == ESHM_SUCCESS) {
    unbind(pin);
  } else {
    raise_code(code);  // the pin's end discards the loan, or is refused if it was published
  }
  Py_DECREF(pin);
  if (code != ESHM_SUCCESS) return nullptr;
  Py_RETURN_NONE;
}

PyObject* loan_exit(PyObject* object, PyObject* const* args, Py_ssize_t count) {
  View* view = as_view(object);
  const bool failed = count > 0 && args[0] != Py_None;
  if (!failed && !view->finished) return loan_publish(object, nullptr);
  return view_release(object, nullptr);
}

int loan_set_size(PyObject* object, PyObject* value, void*) {
  View* view = as_view(object);
  size_t size;
  if (value == nullptr) {
    PyErr_SetString(PyExc_AttributeError, "size cannot be deleted");
    return -1;
  }
  if (!to_size(value, "size", &size)) return -1;
  if (size > view->size) {
    PyErr_SetString(PyExc_ValueError, "a loan cannot grow");
    return -1;
  }
  view->size = size;
  return 0;
}

PyMethodDef loan_methods[] = {
    {"publish", loan_publish, METH_NOARGS, "publish()\n--\n\nEnds the loan: the message is sent."},
    {"discard", view_release, METH_NOARGS, "discard()\n--\n\nEnds the loan unpublished."},
    {"__enter__", view_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(loan_exit)),
     METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef loan_properties[] = {
    {"size", view_length, loan_set_size,
     "Bytes that are published; may be set to fewer than were loaned.", nullptr},
    {"finished", view_released, nullptr, "Whether the loan is over.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

// ---- borrows ---------------------------------------------------------------------------

PyObject* borrow_exit(PyObject* object, PyObject* const*, Py_ssize_t) {
  return view_release(object, nullptr);
}

template <uint64_t ESHMMessageInfo::*field>
PyObject* info_number(PyObject* object, void*) {
  return PyLong_FromUnsignedLongLong(as_view(object)->info.*field);
}

PyObject* borrow_generation(PyObject* object, void*) {
  return PyLong_FromUnsignedLong(as_view(object)->info.generation);
}

PyObject* borrow_age(PyObject* object, void*) {
  Py_INCREF(as_view(object)->age_ns);
  return as_view(object)->age_ns;
}

PyMethodDef borrow_methods[] = {
    {"release", view_release, METH_NOARGS,
     "release()\n--\n\nEnds the borrow. Arrays made of it stay valid; the message goes back when "
     "the last one is gone."},
    {"__dlpack__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(borrow_dlpack)),
     METH_VARARGS | METH_KEYWORDS, nullptr},
    {"__dlpack_device__", borrow_dlpack_device, METH_NOARGS, nullptr},
    {"__enter__", view_enter, METH_NOARGS, nullptr},
    {"__exit__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(borrow_exit)),
     METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef borrow_properties[] = {
    {"size", view_length, nullptr, "Bytes of the message.", nullptr},
    {"released", view_released, nullptr, "Whether the borrow has ended.", nullptr},
    {"sequence", info_number<&ESHMMessageInfo::sequence>, nullptr,
     "Number of the message in its segment, from 1, without gaps.", nullptr},
    {"missed", info_number<&ESHMMessageInfo::missed>, nullptr,
     "Messages that were overwritten between the last read one and this one.", nullptr},
    {"timestamp_ns", info_number<&ESHMMessageInfo::timestamp_ns>, nullptr,
     "The writer's CLOCK_MONOTONIC at publication; 0 without time stamps.", nullptr},
    {"generation", borrow_generation, nullptr, "Rises when the sender was restarted or replaced.",
     nullptr},
    {"age_ns", borrow_age, nullptr,
     "Nanoseconds from publication to the borrow; None without time stamps.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

// ---- what print shows ---------------------------------------------------------------------

PyObject* loan_repr(PyObject* object) {
  const View* view = as_view(object);
  return PyUnicode_FromFormat("<eshm.Loan of %zu bytes%s>", view->size,
                              view->finished ? ", finished" : "");
}

PyObject* borrow_repr(PyObject* object) {
  const View* view = as_view(object);
  return PyUnicode_FromFormat("<eshm.Borrow of %zu bytes, sequence %llu%s>", view->size,
                              static_cast<unsigned long long>(view->info.sequence),
                              view->finished ? ", released" : "");
}

// ---- types -----------------------------------------------------------------------------

PyType_Slot pin_slots[] = {{Py_tp_doc, const_cast<char*>("A message that stays in its place.")},
                           {Py_tp_dealloc, reinterpret_cast<void*>(pin_dealloc)},
                           {Py_bf_getbuffer, reinterpret_cast<void*>(pin_getbuffer)},
                           {Py_bf_releasebuffer, reinterpret_cast<void*>(releasebuffer)},
                           {0, nullptr}};

PyType_Slot loan_slots[] = {{Py_tp_doc, const_cast<char*>("Room for one message in the segment.")},
                            {Py_tp_dealloc, reinterpret_cast<void*>(view_dealloc)},
                            {Py_tp_repr, reinterpret_cast<void*>(loan_repr)},
                            {Py_tp_methods, loan_methods},
                            {Py_tp_getset, loan_properties},
                            {Py_bf_getbuffer, reinterpret_cast<void*>(view_getbuffer)},
                            {Py_bf_releasebuffer, reinterpret_cast<void*>(releasebuffer)},
                            {0, nullptr}};

PyType_Slot borrow_slots[] = {{Py_tp_doc, const_cast<char*>("A message in place, read-only.")},
                              {Py_tp_dealloc, reinterpret_cast<void*>(view_dealloc)},
                              {Py_tp_repr, reinterpret_cast<void*>(borrow_repr)},
                              {Py_tp_methods, borrow_methods},
                              {Py_tp_getset, borrow_properties},
                              {Py_bf_getbuffer, reinterpret_cast<void*>(view_getbuffer)},
                              {Py_bf_releasebuffer, reinterpret_cast<void*>(releasebuffer)},
                              {0, nullptr}};

PyType_Spec pin_spec = {"eshm._native.Pin", sizeof(Pin), 0, Py_TPFLAGS_DEFAULT, pin_slots};
PyType_Spec loan_spec = {"eshm.Loan", sizeof(View), 0, Py_TPFLAGS_DEFAULT, loan_slots};
PyType_Spec borrow_spec = {"eshm.Borrow", sizeof(View), 0, Py_TPFLAGS_DEFAULT, borrow_slots};

int add_type(PyObject* module, const char* name, PyType_Spec* spec, PyTypeObject** out) {
  PyObject* type = PyType_FromSpec(spec);
  if (type == nullptr) return -1;
  *out = reinterpret_cast<PyTypeObject*>(type);
  (*out)->tp_new = nullptr;  // only a link creates instances
  Py_INCREF(type);
  return PyModule_AddObject(module, name, type);
}

}  // namespace

PyObject* make_loan(Link* link, size_t size) {
  Pin* pin = new_pin(false);
  if (pin == nullptr) return nullptr;
  const int code = eshm_loan(link->core->handle, size, &pin->data);
  if (code != ESHM_SUCCESS) {
    raise_code(code);
    Py_DECREF(pin);
    return nullptr;
  }
  pin->size = size;
  bind(pin, link);
  return reinterpret_cast<PyObject*>(new_view(loan_type, pin));
}

int make_borrow(Link* link, uint32_t timeout_ms, PyObject** borrow) {
  Pin* pin = new_pin(true);
  if (pin == nullptr) return ESHM_SUCCESS;
  int code;
  if (timeout_ms == 0) {
    code = eshm_borrow(link->core->handle, &pin->view, 0);
    if (code == ESHM_SUCCESS) bind(pin, link);
  } else {
    Released released(link);
    code = eshm_borrow(link->core->handle, &pin->view, timeout_ms);
    released.reacquire();
    if (code == ESHM_SUCCESS) {
      bind(pin, link);  // before `released` ends, which lets a waiting close() continue
    } else if (code != ESHM_ERROR_NO_DATA && code != ESHM_ERROR_INTERRUPTED) {
      raise_code(code);
    }
  }
  if (code != ESHM_SUCCESS) {
    Py_DECREF(pin);
    return code;
  }
  pin->data = const_cast<void*>(pin->view.data);
  pin->size = pin->view.size;
  View* view = new_view(borrow_type, pin);
  if (view == nullptr) return code;
  const uint64_t stamp = view->info.timestamp_ns;
  view->age_ns = age_of(stamp, stamp == 0 ? 0 : monotonic_ns());
  if (view->age_ns == nullptr) Py_CLEAR(view);
  *borrow = reinterpret_cast<PyObject*>(view);
  return code;
}

int add_view_types(PyObject* module) {
  if (add_type(module, "Pin", &pin_spec, &pin_type) != 0) return -1;
  if (add_type(module, "Loan", &loan_spec, &loan_type) != 0) return -1;
  return add_type(module, "Borrow", &borrow_spec, &borrow_type);
}

}  // namespace eshm_py
