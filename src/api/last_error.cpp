#include "api/last_error.h"

#include <algorithm>
#include <cstring>

namespace eshm::api {
namespace {

constexpr size_t kTextBytes = 512;

struct LastError {
  int code;
  const char* text;
  char room[kTextBytes];
};

thread_local LastError last = {ESHM_SUCCESS, "", {}};

}  // namespace

int remember(const endpoint::Failure& failure) {
  const size_t length = std::min(failure.text.size(), kTextBytes - 1);
  std::memcpy(last.room, failure.text.data(), length);
  last.room[length] = 0;
  last.code = failure.code;
  last.text = last.room;
  return failure.code;
}

int remember_static(int code, const char* text) {
  last.code = code;
  last.text = text;
  return code;
}

const char* last_error(int* code) {
  if (code != nullptr) *code = last.code;
  return last.text;
}

}  // namespace eshm::api
