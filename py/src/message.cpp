// SPDX-License-Identifier: MIT
// The type Message, which read_msg returns.
#include <time.h>

#include <cstddef>

#include "native.h"

namespace eshm_py {
namespace {

struct Message {
  PyObject ob_base;
  PyObject* data;
  PyObject* age_ns;
  const char* direction;
  unsigned long long sequence;
  unsigned long long missed;
  unsigned long long timestamp_ns;
  unsigned int generation;
};

PyTypeObject* message_type = nullptr;

void message_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  auto* message = reinterpret_cast<Message*>(object);
  Py_XDECREF(message->data);
  Py_XDECREF(message->age_ns);
  type->tp_free(object);
  Py_DECREF(type);
}

PyObject* message_repr(PyObject* object) {
  auto* message = reinterpret_cast<Message*>(object);
  return PyUnicode_FromFormat(
      "Message(data=%R, sequence=%llu, missed=%llu, generation=%u, age_ns=%R)", message->data,
      message->sequence, message->missed, message->generation, message->age_ns);
}

PyMemberDef message_members[] = {
    {"data", T_OBJECT, offsetof(Message, data), READONLY, "The message's bytes."},
    {"age_ns", T_OBJECT, offsetof(Message, age_ns), READONLY,
     "Nanoseconds from publication to the end of the read; None without time stamps."},
    {"direction", T_STRING, offsetof(Message, direction), READONLY,
     "\"m2s\" or \"s2m\": which way the message went; an observer reads both."},
    {"sequence", T_ULONGLONG, offsetof(Message, sequence), READONLY,
     "Number of the message in its segment, from 1, without gaps."},
    {"missed", T_ULONGLONG, offsetof(Message, missed), READONLY,
     "Messages that were overwritten between the last read one and this one."},
    {"timestamp_ns", T_ULONGLONG, offsetof(Message, timestamp_ns), READONLY,
     "The writer's CLOCK_MONOTONIC at publication; 0 without time stamps."},
    {"generation", T_UINT, offsetof(Message, generation), READONLY,
     "Rises when the sender was restarted or replaced; begins at 1."},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot message_slots[] = {
    {Py_tp_doc, const_cast<char*>("A message's bytes with its number, time and age.")},
    {Py_tp_dealloc, reinterpret_cast<void*>(message_dealloc)},
    {Py_tp_repr, reinterpret_cast<void*>(message_repr)},
    {Py_tp_members, message_members},
    {0, nullptr}};

PyType_Spec message_spec = {"eshm.Message", sizeof(Message), 0, Py_TPFLAGS_DEFAULT, message_slots};

}  // namespace

uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

PyObject* age_of(uint64_t timestamp_ns, uint64_t now_ns) {
  if (timestamp_ns == 0) Py_RETURN_NONE;
  return PyLong_FromLongLong(static_cast<long long>(now_ns - timestamp_ns));
}

PyObject* make_message(PyObject* data, const ESHMMessageInfo& info) {
  auto* message = PyObject_New(Message, message_type);
  if (message == nullptr) {
    Py_DECREF(data);
    return nullptr;
  }
  message->data = data;
  message->sequence = info.sequence;
  message->missed = info.missed;
  message->timestamp_ns = info.timestamp_ns;
  message->generation = info.generation;
  message->direction = info.direction == ESHM_M2S ? "m2s" : "s2m";
  message->age_ns = age_of(info.timestamp_ns, info.timestamp_ns == 0 ? 0 : monotonic_ns());
  if (message->age_ns == nullptr) Py_CLEAR(message);
  return reinterpret_cast<PyObject*>(message);
}

int add_message_type(PyObject* module) {
  PyObject* type = PyType_FromSpec(&message_spec);
  if (type == nullptr) return -1;
  message_type = reinterpret_cast<PyTypeObject*>(type);
  message_type->tp_new = nullptr;  // only a read creates instances
  Py_INCREF(type);
  return PyModule_AddObject(module, "Message", type);
}

}  // namespace eshm_py
