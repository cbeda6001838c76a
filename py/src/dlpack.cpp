// SPDX-License-Identifier: MIT
// DLPack, version 1: a borrowed message as a read-only tensor of bytes. The tensor
// is an export like any other: the message stays in place until it is deleted.
#include <new>

#include "native.h"

namespace eshm_py {
namespace {

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

// A consumer renames a capsule whose tensor it has taken; then there is nothing to do.
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
  // Such a consumer may write, and a write into a read-only mapping kills the process.
  PyErr_SetString(PyExc_BufferError,
                  "a borrowed message is read-only, and DLPack before version 1 cannot say so; "
                  "use the buffer protocol (numpy.frombuffer)");
  return false;
}

}  // namespace

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

}  // namespace eshm_py
