// SPDX-License-Identifier: MIT
// The C ABI of links that are looked at from outside.
#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "api/last_error.h"
#include "api/settings_of.h"
#include "endpoint/inspection.h"
#include "endpoint/removal.h"
#include "eshm.h"

static_assert(sizeof(ESHMLinkPeer) == 104 && sizeof(ESHMLinkChannel) == 128, "of the ABI");
static_assert(sizeof(ESHMLinkInfo) == 1056, "the first release's size, which 0 means");

#define ESHM_EXPORT __attribute__((visibility("default")))

namespace {

using eshm::api::remember;
using eshm::api::remember_static;
using eshm::endpoint::Failure;

constexpr size_t kMostStructBytes = 4096;
constexpr size_t kFirstLinkInfoBytes = 1056;

int refuse_argument(const char* text) { return remember_static(ESHM_ERROR_INVALID_PARAM, text); }

// Runs a call's body. Memory that cannot be had is an error like others.
template <class Body>
int guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return remember_static(ESHM_ERROR_SHM_ATTACH, "out of memory");
  }
}

bool is_link_name(const std::string& name) {
  std::string ignored;
  return name[0] != '/' && !eshm::api::check_name(name.c_str(), ignored);
}

}  // namespace

extern "C" {

ESHM_EXPORT int eshm_list(ESHMLinkCallback visit, void* context) {
  if (visit == nullptr) return refuse_argument("the callback is NULL");
  std::vector<std::string> names;
  const int listed = guarded([&] {
    const Failure failure = eshm::endpoint::list_links(names);
    return failure ? remember(failure) : ESHM_SUCCESS;
  });
  if (listed != ESHM_SUCCESS) return listed;
  int calls = 0;
  for (const std::string& name : names) {
    ESHMLinkInfo info;
    const int code = guarded([&] {
      if (!is_link_name(name)) return int(ESHM_ERROR_NO_DATA);
      eshm::endpoint::inspect_link(name, info);
      return int(ESHM_SUCCESS);
    });
    if (code == ESHM_ERROR_NO_DATA) continue;
    if (code != ESHM_SUCCESS) return code;
    ++calls;
    if (visit(&info, context) != 0) break;
  }
  return calls;
}

ESHM_EXPORT int eshm_inspect(const char* name, ESHMLinkInfo* info) {
  if (info == nullptr) return refuse_argument("info is NULL");
  const uint32_t struct_size = info->struct_size;
  if (struct_size > kMostStructBytes) {
    return refuse_argument("struct_size is above 4096: it was probably not set before the call");
  }
  return guarded([&] {
    std::string link;
    if (Failure failure = eshm::api::check_name(name, link)) return remember(failure);
    ESHMLinkInfo whole;
    eshm::endpoint::inspect_link(link, whole);
    const size_t room = struct_size == 0 ? kFirstLinkInfoBytes : struct_size;
    std::memset(static_cast<void*>(info), 0, room);
    std::memcpy(static_cast<void*>(info), &whole, std::min(room, sizeof whole));
    info->struct_size = struct_size;
    return int(ESHM_SUCCESS);
  });
}

ESHM_EXPORT int eshm_get_type_text(const char* name, enum ESHMDirection direction, char* buffer,
                                   size_t buffer_size, size_t* bytes) {
  if (bytes != nullptr) *bytes = 0;
  if (buffer == nullptr && buffer_size != 0) return refuse_argument("the buffer is NULL");
  if (direction != ESHM_M2S && direction != ESHM_S2M) return refuse_argument("there is no such direction");
  return guarded([&] {
    std::string link, text;
    if (Failure failure = eshm::api::check_name(name, link)) return remember(failure);
    if (!eshm::endpoint::read_type_text(link, direction, text)) {
      return remember_static(ESHM_ERROR_NO_DATA, "there is no segment of that name with a type text");
    }
    if (bytes != nullptr) *bytes = text.size();
    if (text.size() >= buffer_size) {
      return remember_static(ESHM_ERROR_BUFFER_TOO_SMALL, "the buffer is shorter than the type's text");
    }
    std::memcpy(buffer, text.c_str(), text.size() + 1);
    return int(ESHM_SUCCESS);
  });
}

ESHM_EXPORT int eshm_remove(const char* name, uint32_t flags) {
  if ((flags & ~ESHM_REMOVE_FORCE) != 0) return refuse_argument("flags has unknown bits");
  return guarded([&] {
    std::string link;
    if (Failure failure = eshm::api::check_name(name, link)) return remember(failure);
    const Failure failure =
        eshm::endpoint::remove_link(link, (flags & ESHM_REMOVE_FORCE) != 0);
    return failure ? remember(failure) : int(ESHM_SUCCESS);
  });
}

}  // extern "C"
