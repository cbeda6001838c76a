// Loan and Borrow: messages in the segment, seen through the buffer protocol.
// The message stays in place until its last export is gone, and the mapping
// with it: an array is valid for as long as anybody can see it.
#include <algorithm>
#include <cstddef>
#include <new>

#include "native.h"

namespace eshm_py {
namespace {

struct View {
  PyObject ob_base;
  Link* link;        // NULL: given back
  PyObject* memory;  // what `with` handed out
  void* data;
  size_t size;
  Py_ssize_t exports;
  bool finished;  // no new export; the last one that goes gives the message back
  bool is_borrow;
  ESHMView view;  // of a borrow
  PyObject* age_ns;
};

PyTypeObject* loan_type = nullptr;
PyTypeObject* borrow_type = nullptr;
char nothing[1];  // an empty message's address

View* as_view(PyObject* object) { return reinterpret_cast<View*>(object); }

// After the message went back: the link may go, too.
void let_go(View* view) {
  Link* link = view->link;
  view->link = nullptr;
  --link->views;
  settle(link);
  Py_DECREF(link);
}

// Gives an unpublished loan, or a borrow, back once nobody can see it.
void give_back_unseen(View* view) {
  if (view->link == nullptr || !view->finished || view->exports != 0) return;
  if (view->is_borrow) {
    eshm_release(view->link->handle, &view->view);
  } else {
    eshm_discard(view->link->handle, view->data);
  }
  let_go(view);
}

int view_getbuffer(PyObject* object, Py_buffer* buffer, int flags) {
  View* view = as_view(object);
  if (view->finished || view->link == nullptr) {
    PyErr_SetString(PyExc_BufferError,
                    view->is_borrow ? "the borrowed message was released" : "the loan is over");
    return -1;
  }
  const int failed =
      PyBuffer_FillInfo(buffer, object, view->size == 0 ? nothing : view->data,
                        static_cast<Py_ssize_t>(view->size), view->is_borrow ? 1 : 0, flags);
  if (failed == 0) ++view->exports;
  return failed;
}

void view_releasebuffer(PyObject* object, Py_buffer*) {
  View* view = as_view(object);
  --view->exports;
  give_back_unseen(view);
}

void view_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  View* view = as_view(object);
  PyObject *error_type, *error, *trace;
  PyErr_Fetch(&error_type, &error, &trace);
  view->finished = true;
  give_back_unseen(view);  // an export holds a reference, so there is none
  Py_XDECREF(view->age_ns);
  PyErr_Restore(error_type, error, trace);
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

// Ends what `with` handed out: false, without an exception, where arrays were
// made of it.
bool release_memory(View* view) {
  PyObject* memory = view->memory;
  view->memory = nullptr;
  if (memory == nullptr) return true;
  PyObject* done = PyObject_CallMethod(memory, "release", nullptr);
  Py_DECREF(memory);
  if (done == nullptr) {
    PyErr_Clear();
    return false;
  }
  Py_DECREF(done);
  return true;
}

PyObject* view_release(PyObject* object, PyObject*) {
  View* view = as_view(object);
  // Not in release_memory's midst: its release hook gives the message back.
  view->finished = true;
  release_memory(view);
  give_back_unseen(view);
  Py_RETURN_NONE;
}

PyObject* view_length(PyObject* object, void*) { return PyLong_FromSize_t(as_view(object)->size); }

PyObject* view_released(PyObject* object, void*) {
  return PyBool_FromLong(as_view(object)->finished);
}

// ---- loans -----------------------------------------------------------------------------

PyObject* loan_publish(PyObject* object, PyObject*) {
  View* view = as_view(object);
  if (view->finished || view->link == nullptr) {
    PyErr_SetString(PyExc_BufferError, "the loan is over");
    return nullptr;
  }
  if (!release_memory(view) || view->exports != 0) {
    // Whoever holds the array could go on writing into a published message.
    view->finished = true;
    PyErr_SetString(PyExc_BufferError,
                    "an array or memoryview of the loan still exists; nothing was published. "
                    "Delete it before the loan ends");
    return nullptr;
  }
  view->finished = true;
  ESHMHandle* handle = view->link->handle;
  const int code = eshm_publish(handle, view->data, view->size);
  if (code != ESHM_SUCCESS) {
    raise_code(code);
    // It was not published, so it is still ours to give back; where it was, this is refused.
    eshm_discard(handle, view->data);
  }
  PyObject *error_type, *error, *trace;
  PyErr_Fetch(&error_type, &error, &trace);
  let_go(view);
  PyErr_Restore(error_type, error, trace);
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

// ---- DLPack, version 1 -------------------------------------------------------------------

struct DLDevice {
  int32_t device_type;
  int32_t device_id;
};

struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};

struct DLManagedTensorVersioned {
  uint32_t version_major;
  uint32_t version_minor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};

constexpr int32_t kCpu = 1;
constexpr uint8_t kUnsignedInteger = 1;
constexpr uint64_t kReadOnly = 1;
constexpr char kCapsuleName[] = "dltensor_versioned";

// The tensor with what it points to.
struct Tensor {
  DLManagedTensorVersioned managed;
  Py_buffer buffer;
  int64_t shape;
  int64_t stride;
};

void delete_tensor(DLManagedTensorVersioned* managed) {
  const PyGILState_STATE state = PyGILState_Ensure();
  auto* tensor = static_cast<Tensor*>(managed->manager_ctx);
  PyBuffer_Release(&tensor->buffer);
  PyGILState_Release(state);
  delete tensor;
}

// A consumer renames the capsule that it has taken.
void drop_capsule(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, kCapsuleName) == 0) return;
  auto* managed =
      static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule, kCapsuleName));
  managed->deleter(managed);
}

bool is_device(PyObject* device) {
  if (device == nullptr || device == Py_None) return true;
  int type;
  int id;
  if (!PyArg_ParseTuple(device, "ii", &type, &id)) return false;
  if (type == kCpu && id == 0) return true;
  PyErr_SetString(PyExc_BufferError, "a borrowed message lies in the memory of the CPU");
  return false;
}

bool knows_read_only(PyObject* max_version) {
  if (max_version != nullptr && max_version != Py_None) {
    int major;
    int minor;
    if (!PyArg_ParseTuple(max_version, "ii", &major, &minor)) return false;
    if (major >= 1) return true;
  }
  // It would write into a read-only mapping one day, and that kills the process.
  PyErr_SetString(PyExc_BufferError,
                  "a borrowed message is read-only, and DLPack before version 1 cannot say so; "
                  "use the buffer protocol (numpy.frombuffer)");
  return false;
}

PyObject* borrow_dlpack(PyObject* object, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
  PyObject* stream = nullptr;
  PyObject* max_version = nullptr;
  PyObject* device = nullptr;
  PyObject* copy = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$OOOO", const_cast<char**>(names), &stream,
                                   &max_version, &device, &copy) ||
      !is_device(device) || !knows_read_only(max_version)) {
    return nullptr;
  }
  if (stream != nullptr && stream != Py_None) {
    PyErr_SetString(PyExc_BufferError, "the CPU has no streams");
    return nullptr;
  }
  if (copy == Py_True) {
    PyErr_SetString(PyExc_BufferError, "a borrowed message is handed out without a copy only");
    return nullptr;
  }
  auto* tensor = new (std::nothrow) Tensor;
  if (tensor == nullptr) return PyErr_NoMemory();
  if (PyObject_GetBuffer(object, &tensor->buffer, PyBUF_SIMPLE) != 0) {
    delete tensor;
    return nullptr;
  }
  tensor->shape = tensor->buffer.len;
  tensor->stride = 1;
  tensor->managed = {1,
                     0,
                     tensor,
                     delete_tensor,
                     kReadOnly,
                     {tensor->buffer.buf,
                      {kCpu, 0},
                      1,
                      {kUnsignedInteger, 8, 1},
                      &tensor->shape,
                      &tensor->stride,
                      0}};
  PyObject* capsule = PyCapsule_New(&tensor->managed, kCapsuleName, drop_capsule);
  if (capsule == nullptr) delete_tensor(&tensor->managed);
  return capsule;
}

PyObject* borrow_dlpack_device(PyObject*, PyObject*) { return Py_BuildValue("(ii)", kCpu, 0); }

// ---- borrows ---------------------------------------------------------------------------

PyObject* borrow_exit(PyObject* object, PyObject* const*, Py_ssize_t) {
  return view_release(object, nullptr);
}

template <uint64_t ESHMMessageInfo::*field>
PyObject* info_number(PyObject* object, void*) {
  return PyLong_FromUnsignedLongLong(as_view(object)->view.info.*field);
}

PyObject* borrow_generation(PyObject* object, void*) {
  return PyLong_FromUnsignedLong(as_view(object)->view.info.generation);
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

PyType_Slot loan_slots[] = {{Py_tp_doc, const_cast<char*>("Room for one message in the segment.")},
                            {Py_tp_dealloc, reinterpret_cast<void*>(view_dealloc)},
                            {Py_tp_methods, loan_methods},
                            {Py_tp_getset, loan_properties},
                            {Py_bf_getbuffer, reinterpret_cast<void*>(view_getbuffer)},
                            {Py_bf_releasebuffer, reinterpret_cast<void*>(view_releasebuffer)},
                            {0, nullptr}};

PyType_Slot borrow_slots[] = {{Py_tp_doc, const_cast<char*>("A message in place, read-only.")},
                              {Py_tp_dealloc, reinterpret_cast<void*>(view_dealloc)},
                              {Py_tp_methods, borrow_methods},
                              {Py_tp_getset, borrow_properties},
                              {Py_bf_getbuffer, reinterpret_cast<void*>(view_getbuffer)},
                              {Py_bf_releasebuffer, reinterpret_cast<void*>(view_releasebuffer)},
                              {0, nullptr}};

PyType_Spec loan_spec = {"eshm.Loan", sizeof(View), 0, Py_TPFLAGS_DEFAULT, loan_slots};
PyType_Spec borrow_spec = {"eshm.Borrow", sizeof(View), 0, Py_TPFLAGS_DEFAULT, borrow_slots};

int add_type(PyObject* module, const char* name, PyType_Spec* spec, PyTypeObject** out) {
  PyObject* type = PyType_FromSpec(spec);
  if (type == nullptr) return -1;
  *out = reinterpret_cast<PyTypeObject*>(type);
  (*out)->tp_new = nullptr;  // only links make them
  Py_INCREF(type);
  return PyModule_AddObject(module, name, type);
}

View* new_view(PyTypeObject* type) {
  View* view = PyObject_New(View, type);
  if (view == nullptr) return nullptr;
  view->link = nullptr;
  view->memory = nullptr;
  view->data = nothing;
  view->size = 0;
  view->exports = 0;
  view->finished = false;
  view->is_borrow = type == borrow_type;
  view->view = {};
  view->age_ns = nullptr;
  return view;
}

void belong_to(View* view, Link* link) {
  Py_INCREF(link);
  view->link = link;
  ++link->views;
}

}  // namespace

PyObject* make_loan(Link* link, size_t size) {
  View* view = new_view(loan_type);
  if (view == nullptr) return nullptr;
  const int code = eshm_loan(link->handle, size, &view->data);
  if (code != ESHM_SUCCESS) {
    raise_code(code);
    Py_DECREF(view);
    return nullptr;
  }
  view->size = size;
  belong_to(view, link);
  return reinterpret_cast<PyObject*>(view);
}

int make_borrow(Link* link, uint32_t timeout_ms, PyObject** borrow) {
  View* view = new_view(borrow_type);
  if (view == nullptr) return ESHM_SUCCESS;
  int code;
  if (timeout_ms == 0) {
    code = eshm_borrow(link->handle, &view->view, 0);
    if (code == ESHM_SUCCESS) belong_to(view, link);
  } else {
    Released released(link);
    code = eshm_borrow(link->handle, &view->view, timeout_ms);
    released.reacquire();
    if (code == ESHM_SUCCESS) {
      belong_to(view, link);  // before a close that waits goes on
    } else if (code != ESHM_ERROR_NO_DATA && code != ESHM_ERROR_INTERRUPTED) {
      raise_code(code);
    }
  }
  if (code != ESHM_SUCCESS) {
    Py_DECREF(view);
    return code;
  }
  view->data = const_cast<void*>(view->view.data);
  view->size = view->view.size;
  const uint64_t stamp = view->view.info.timestamp_ns;
  view->age_ns = age_of(stamp, stamp == 0 ? 0 : monotonic_ns());
  if (view->age_ns == nullptr) Py_CLEAR(view);
  *borrow = reinterpret_cast<PyObject*>(view);
  return code;
}

int add_view_types(PyObject* module) {
  const int failed = add_type(module, "Loan", &loan_spec, &loan_type);
  return failed != 0 ? failed : add_type(module, "Borrow", &borrow_spec, &borrow_type);
}

}  // namespace eshm_py
