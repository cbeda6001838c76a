// SPDX-License-Identifier: MIT
#include "api/last_error.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace eshm::api {
namespace {

constexpr size_t kTextBytes = 512;

// A polling caller passes here at every call that finds nothing: of the fast
// kind of thread-local memory, of which a library that is loaded late gets little.
__attribute__((tls_model("initial-exec"))) thread_local int last_code = ESHM_SUCCESS;
__attribute__((tls_model("initial-exec"))) thread_local const char* last_text = "";
thread_local char room[kTextBytes];
thread_local endpoint::FullQueue full_queue;  // where last_text is kFullQueue
constexpr char kFullQueue[] = "the queue is full";

// Without memory for more the short sentence is the whole.
void tell_of_full_queue() {
  try {
    remember({last_code, 0, std::string(kFullQueue) + ": " + endpoint::describe(full_queue)});
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

int remember(const endpoint::Failure& failure) {
  const size_t length = std::min(failure.text.size(), kTextBytes - 1);
  std::memcpy(room, failure.text.data(), length);
  room[length] = 0;
  return remember_static(failure.code, room);
}

int remember_static(int code, const char* text) {
  last_code = code;
  last_text = text;
  return code;
}

int remember_full_queue(int code, const endpoint::FullQueue& queue) {
  full_queue = queue;
  return remember_static(code, kFullQueue);
}

const char* last_error(int* code) {
  if (last_text == kFullQueue) tell_of_full_queue();
  if (code != nullptr) *code = last_code;
  return last_text;
}

}  // namespace eshm::api
