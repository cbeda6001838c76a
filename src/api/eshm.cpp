// SPDX-License-Identifier: MIT
// The C ABI: arguments in, codes and texts out; nothing else happens here.
#include "eshm.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>

#include "api/last_error.h"
#include "api/settings_of.h"
#include "api/type_text.h"
#include "endpoint/endpoint.h"
#include "endpoint/log.h"
#include "endpoint/notices.h"
#include "endpoint/observer.h"
#include "endpoint/wait_any.h"

// eshm_data.h says how the structs may grow.
static_assert(sizeof(ESHMConfig) == 256, "grows into reserved words only");
static_assert(offsetof(ESHMConfig, struct_size) == 36, "the original nine fields come first");
static_assert(sizeof(ESHMChannelConfig) == 48, "grows into its reserved word only");
static_assert(sizeof(ESHMMessageInfo) == 64, "grows into reserved words only");

#define ESHM_EXPORT __attribute__((visibility("default")))

namespace {

using eshm::api::remember;
using eshm::api::remember_full_queue;
using eshm::api::remember_static;
using eshm::endpoint::DataPath;
using eshm::endpoint::Endpoint;
using eshm::endpoint::fail;
using eshm::endpoint::Failure;
using eshm::endpoint::Handle;
using eshm::endpoint::Observer;
using eshm::endpoint::Taken;

#define ESHM_TEXT_OF_TOKEN(token) #token
#define ESHM_TEXT_OF(macro) ESHM_TEXT_OF_TOKEN(macro)
constexpr const char* kVersion = ESHM_TEXT_OF(ESHM_VERSION_MAJOR) "." ESHM_TEXT_OF(
    ESHM_VERSION_MINOR) "." ESHM_TEXT_OF(ESHM_VERSION_PATCH);

constexpr const char* kNothingUnread = "there is nothing unread";
constexpr const char* kNotOnLoan = "that buffer is not out on loan from this handle";

Handle* base_of(ESHMHandle* handle) { return reinterpret_cast<Handle*>(handle); }
Endpoint* endpoint_of(ESHMHandle* handle) { return static_cast<Endpoint*>(base_of(handle)); }
DataPath& data_of(ESHMHandle* handle) { return endpoint_of(handle)->data(); }
Observer* observer_of(ESHMHandle* handle) { return static_cast<Observer*>(base_of(handle)); }
bool is_observer(ESHMHandle* handle) { return base_of(handle)->is_observer(); }
ESHMHandle* handle_of(Handle* base) { return reinterpret_cast<ESHMHandle*>(base); }

int invalid(const char* text) { return remember_static(ESHM_ERROR_INVALID_PARAM, text); }

int unsupported(const char* text) { return remember_static(ESHM_ERROR_UNSUPPORTED, text); }

// What keeps a call from its handle, out of the way of those that succeed.
[[gnu::cold, gnu::noinline]] int refuse_handle(ESHMHandle* handle) {
  if (handle == nullptr) return invalid("the handle is NULL");
  return remember_static(ESHM_ERROR_NOT_INITIALIZED,
                         "the handle was inherited by fork: it belongs to the parent process; "
                         "open one of your own");
}

[[gnu::cold, gnu::noinline]] int refuse_observer() {
  return remember_static(ESHM_ERROR_ROLE_MISMATCH,
                         "the handle is an observer's: it can only be read; it does not write, "
                         "borrow or beat");
}

// Every call's first question.
inline int check(ESHMHandle* handle) {
  const bool is_usable = handle != nullptr && base_of(handle)->is_of_this_process();
  return is_usable ? ESHM_SUCCESS : refuse_handle(handle);
}

// The same of a call that takes a master or a slave.
inline int check_end(ESHMHandle* handle) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS || !is_observer(handle)) return unusable;
  return refuse_observer();
}

// The same of a call that an observer has no thread, and no place to wait, for.
int check_waiter(ESHMHandle* handle) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS || !is_observer(handle)) return unusable;
  return unsupported("the handle is an observer's: it is notified of nothing, it can only be read");
}

// Out of the way of the calls that succeed, whose frames stay small.
[[gnu::noinline]] int failed(ESHMHandle* handle, int code, size_t size, uint32_t timeout_ms) {
  try {
    return remember(is_observer(handle) ? observer_of(handle)->explain(code, timeout_ms)
                                        : endpoint_of(handle)->explain(code, size, timeout_ms));
  } catch (const std::bad_alloc&) {  // no memory for the sentence
    return remember_static(code, eshm_error_string(code));
  }
}

// No room for another borrow, or for another loan.
[[gnu::cold, gnu::noinline]] int all_out(ESHMHandle* handle, bool is_borrow) {
  constexpr int kCode = ESHM_ERROR_BUFFER_FULL;
  try {
    return remember(endpoint_of(handle)->explain_all_out(is_borrow));
  } catch (const std::bad_alloc&) {
    return remember_static(kCode, eshm_error_string(kCode));
  }
}

[[gnu::noinline]] int message_too_large(size_t buffer_size, uint64_t message_size) {
  constexpr int kCode = ESHM_ERROR_BUFFER_TOO_SMALL;
  try {
    return remember(fail(kCode, "the buffer has " + std::to_string(buffer_size) +
                                    " bytes, the message " + std::to_string(message_size)));
  } catch (const std::bad_alloc&) {
    return remember_static(kCode, eshm_error_string(kCode));
  }
}

// Bytes that a struct had in release 0.1. They never change: programs that leave
// struct_size at 0 rely on it.
template <class Struct>
constexpr size_t kFirstBytes = 0;
template <>
constexpr size_t kFirstBytes<ESHMMessageInfo> = 64;
template <>
constexpr size_t kFirstBytes<ESHMView> = 120;
template <>
constexpr size_t kFirstBytes<ESHMStatsEx> = 152;

// No release has a struct that is larger; what lies above is a struct_size that the
// caller did not set, and zeroing so much would destroy the caller's memory.
constexpr size_t kMostBytes = 4096;

template <class Struct>
size_t bytes_of(const Struct& callers) {
  return callers.struct_size == 0 ? kFirstBytes<Struct> : callers.struct_size;
}

template <class Struct>
int check_size(const Struct& callers) {
  static_assert(sizeof(Struct) >= kFirstBytes<Struct> && sizeof(Struct) <= kMostBytes,
                "a struct never becomes shorter");
  if (bytes_of(callers) <= kMostBytes) return ESHM_SUCCESS;
  return invalid("struct_size is above 4096: it was probably not set before the call");
}

// The caller's header may be older than the library, or newer: only struct_size bytes
// are the caller's struct, and what the library does not know of them becomes 0.
template <class Struct>
[[gnu::noinline]] void hand_out_other_size(const Struct& from, Struct* to, size_t room) {
  const size_t filled = std::min(room, sizeof(Struct));
  std::memcpy(to, &from, filled);
  std::memset(reinterpret_cast<char*>(to) + filled, 0, room - filled);
}

template <class Struct>
ESHM_ALWAYS_INLINE void hand_out(const Struct& from, Struct* to) {
  const uint32_t struct_size = to->struct_size;
  const size_t room = bytes_of(*to);
  if (eshm::os::rarely(room != sizeof(Struct))) {
    hand_out_other_size(from, to, room);
  } else {
    *to = from;
  }
  to->struct_size = struct_size;
}

[[gnu::noinline]] int write_failed(ESHMHandle* handle, int code, size_t size,
                                   uint32_t timeout_ms) {
  if (code == ESHM_ERROR_BUFFER_FULL) {
    return remember_full_queue(code, endpoint_of(handle)->full_queue());
  }
  if (code == ESHM_ERROR_TIMEOUT) return remember(endpoint_of(handle)->explain_no_room(timeout_ms));
  return failed(handle, code, size, timeout_ms);
}

[[gnu::noinline]] int read_failed(ESHMHandle* handle, int code, size_t buffer_size,
                                  uint64_t message_size, uint32_t timeout_ms) {
  if (code == ESHM_ERROR_BUFFER_TOO_SMALL) return message_too_large(buffer_size, message_size);
  return failed(handle, code, 0, timeout_ms);
}

inline int write(ESHMHandle* handle, const void* data, size_t size, uint32_t timeout_ms) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (data == nullptr && size != 0) return invalid("the data is NULL");
  const int code = data_of(handle).outgoing().write(data, size, timeout_ms);
  return code == ESHM_SUCCESS ? code : write_failed(handle, code, size, timeout_ms);
}

ESHM_ALWAYS_INLINE int read(ESHMHandle* handle, void* buffer, size_t buffer_size, Taken& taken,
                uint32_t timeout_ms) {
  const int code = data_of(handle).incoming().read(buffer, buffer_size, taken, timeout_ms);
  if (code == ESHM_SUCCESS) return code;
  if (code == ESHM_ERROR_NO_DATA) return remember_static(code, kNothingUnread);
  return read_failed(handle, code, buffer_size, taken.message.size, timeout_ms);
}

[[gnu::noinline]] int observe(ESHMHandle* handle, void* buffer, size_t buffer_size,
                              ESHMMessageInfo& info, uint32_t timeout_ms) {
  const int code = observer_of(handle)->read(buffer, buffer_size, info, timeout_ms);
  if (code == ESHM_SUCCESS) return code;
  if (code == ESHM_ERROR_NO_DATA) return remember_static(code, kNothingUnread);
  return read_failed(handle, code, buffer_size, info.size, timeout_ms);
}

// What keeps a read from its buffer.
inline int check_read(ESHMHandle* handle, const void* buffer, size_t buffer_size) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  return buffer == nullptr && buffer_size != 0 ? invalid("the buffer is NULL") : ESHM_SUCCESS;
}

// `bytes`: of the message that was read, or that is too large; otherwise 0.
ESHM_ALWAYS_INLINE int read_bytes(ESHMHandle* handle, void* buffer, size_t buffer_size,
                                  size_t& bytes, uint32_t timeout_ms) {
  bytes = 0;
  const int unusable = check_read(handle, buffer, buffer_size);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (eshm::os::rarely(is_observer(handle))) {
    ESHMMessageInfo info = {};
    const int code = observe(handle, buffer, buffer_size, info, timeout_ms);
    bytes = info.size;
    return code;
  }
  Taken taken;
  const int code = read(handle, buffer, buffer_size, taken, timeout_ms);
  const bool has_size = code == ESHM_SUCCESS || code == ESHM_ERROR_BUFFER_TOO_SMALL;
  bytes = has_size ? taken.message.size : 0;
  return code;
}

ESHMPeerState remote_state(ESHMHandle* handle) {
  return is_observer(handle) ? observer_of(handle)->master_state()
                             : endpoint_of(handle)->peer_state();
}

}  // namespace

extern "C" {

ESHM_EXPORT ESHMConfig eshm_default_config(const char* name) {
  ESHMConfig config = {};
  config.shm_name = name;
  config.role = ESHM_ROLE_AUTO;
  config.disconnect_behavior = ESHM_DISCONNECT_ON_TIMEOUT;
  config.stale_threshold_ms = 100;
  config.reconnect_wait_ms = 5000;
  config.reconnect_retry_interval_ms = 100;
  config.max_reconnect_attempts = 50;
  config.auto_cleanup = true;
  config.use_threads = true;
  config.struct_size = sizeof config;
  config.backend = ESHM_BACKEND_POSIX;
  for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
    channel->delivery = ESHM_DELIVERY_LATEST;
    channel->max_borrows = 2;  // a reader takes the next one before it lets the last one go
    channel->max_loans = 1;
    channel->max_message_size = ESHM_MAX_DATA_SIZE;
    channel->queue_capacity = 1 << 20;
  }
  config.spin_us = ESHM_SPIN_ADAPTIVE;
  config.permissions = 0600;
  return config;
}

ESHM_EXPORT uint64_t eshm_segment_size(const ESHMConfig* config) {
  if (config == nullptr) {
    invalid("the configuration is NULL");
    return 0;
  }
  try {
    eshm::endpoint::Settings settings = {};
    if (Failure failure = eshm::api::settings_of(*config, settings)) {
      remember(failure);
      return 0;
    }
    return eshm::layout::memory_bytes(eshm::layout::plan_segment(
        settings.backend, settings.shape[ESHM_M2S], settings.shape[ESHM_S2M],
        settings.auto_cleanup, eshm::os::page_bytes()));
  } catch (const std::bad_alloc&) {
    remember_static(ESHM_ERROR_SHM_CREATE, "out of memory");
    return 0;
  }
}

ESHM_EXPORT ESHMHandle* eshm_init(const ESHMConfig* config) {
  if (config == nullptr) {
    invalid("the configuration is NULL");
    return nullptr;
  }
  if (eshm::endpoint::is_in_callback()) {
    invalid("eshm_init inside a callback would stop the heartbeat of all links");
    return nullptr;
  }
  try {
    eshm::endpoint::Settings settings = {};
    if (Failure failure = eshm::api::settings_of(*config, settings)) {
      remember(failure);
      return nullptr;
    }
    if (settings.role == ESHM_ROLE_OBSERVER) {
      std::unique_ptr<Observer> observer;
      if (Failure failure = Observer::open(std::move(settings), observer)) {
        remember(failure);
        return nullptr;
      }
      return handle_of(observer.release());
    }
    std::unique_ptr<Endpoint> endpoint;
    if (Failure failure = Endpoint::open(std::move(settings), endpoint)) {
      remember(failure);
      return nullptr;
    }
    return handle_of(endpoint.release());
  } catch (const std::bad_alloc&) {
    remember_static(ESHM_ERROR_SHM_CREATE, "out of memory");
    return nullptr;
  }
}

ESHM_EXPORT int eshm_destroy(ESHMHandle* handle) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (eshm::endpoint::is_in_callback()) {
    return invalid("eshm_destroy inside a callback would wait for itself");
  }
  if (is_observer(handle)) {
    delete observer_of(handle);
    return ESHM_SUCCESS;
  }
  const std::unique_ptr<Endpoint> endpoint(endpoint_of(handle));
  const Failure failure = endpoint->close();
  return failure ? remember(failure) : ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_write(ESHMHandle* handle, const void* data, size_t size) {
  return write(handle, data, size, 0);
}

ESHM_EXPORT int eshm_write_ex(ESHMHandle* handle, const void* data, size_t size,
                              uint32_t timeout_ms) {
  return write(handle, data, size, timeout_ms);
}

ESHM_EXPORT int eshm_read(ESHMHandle* handle, void* buffer, size_t buffer_size) {
  size_t bytes;
  const int code = read_bytes(handle, buffer, buffer_size, bytes, ESHM_DEFAULT_READ_MS);
  return code == ESHM_SUCCESS ? int(bytes) : code;
}

ESHM_EXPORT int eshm_read_ex(ESHMHandle* handle, void* buffer, size_t buffer_size,
                             size_t* bytes_read, uint32_t timeout_ms) {
  size_t bytes;
  const int code = read_bytes(handle, buffer, buffer_size, bytes, timeout_ms);
  if (bytes_read != nullptr) *bytes_read = bytes;
  return code;
}

ESHM_EXPORT int eshm_read_msg(ESHMHandle* handle, void* buffer, size_t buffer_size,
                              ESHMMessageInfo* info, uint32_t timeout_ms) {
  const int unusable = check_read(handle, buffer, buffer_size);
  if (unusable != ESHM_SUCCESS) return unusable;
  const int bad_size = info == nullptr ? ESHM_SUCCESS : check_size(*info);
  if (bad_size != ESHM_SUCCESS) return bad_size;
  ESHMMessageInfo whole = {};
  int code;
  if (is_observer(handle)) {
    code = observe(handle, buffer, buffer_size, whole, timeout_ms);
  } else {
    Taken taken;
    code = read(handle, buffer, buffer_size, taken, timeout_ms);
    data_of(handle).incoming().fill_info(taken, whole);
  }
  if (info != nullptr && (code == ESHM_SUCCESS || code == ESHM_ERROR_BUFFER_TOO_SMALL)) {
    hand_out(whole, info);
  }
  return code;
}

ESHM_EXPORT int eshm_loan(ESHMHandle* handle, size_t size, void** data) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (data == nullptr) return invalid("data is NULL");
  void* room = nullptr;
  const int code = data_of(handle).outgoing().loan(size, room);
  if (code == ESHM_ERROR_BUFFER_FULL) return all_out(handle, false);
  if (code != ESHM_SUCCESS) return failed(handle, code, size, 0);
  *data = room;
  return code;
}

ESHM_EXPORT int eshm_publish(ESHMHandle* handle, void* data, size_t size) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  const int code = data_of(handle).publish(data, size);
  if (code == ESHM_SUCCESS) return code;
  if (code == ESHM_ERROR_INVALID_PARAM) return invalid(kNotOnLoan);
  return failed(handle, code, size, 0);
}

ESHM_EXPORT int eshm_discard(ESHMHandle* handle, void* data) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  const int code = data_of(handle).discard(data);
  return code == ESHM_SUCCESS ? code : invalid(kNotOnLoan);
}

ESHM_EXPORT int eshm_borrow(ESHMHandle* handle, ESHMView* view, uint32_t timeout_ms) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (view == nullptr) return invalid("view is NULL");
  if (bytes_of(*view) < kFirstBytes<ESHMView>) {
    return invalid("struct_size of the view is too small to give it back later");
  }
  const int bad_size = check_size(*view);
  if (bad_size != ESHM_SUCCESS) return bad_size;
  ESHMView whole = {};
  const int code = data_of(handle).incoming().borrow(whole, timeout_ms);
  if (code == ESHM_ERROR_NO_DATA) return remember_static(code, kNothingUnread);
  if (code == ESHM_ERROR_BUFFER_FULL) return all_out(handle, true);
  if (code != ESHM_SUCCESS) return failed(handle, code, 0, timeout_ms);
  hand_out(whole, view);
  return code;
}

ESHM_EXPORT int eshm_release(ESHMHandle* handle, ESHMView* view) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (view == nullptr) return invalid("view is NULL");
  const int code = data_of(handle).release(*view);
  return code == ESHM_SUCCESS ? code : invalid("that view is not borrowed from this handle");
}

ESHM_EXPORT int eshm_get_channel(ESHMHandle* handle, enum ESHMDirection direction,
                                 ESHMChannelConfig* channel) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (channel == nullptr) return invalid("channel is NULL");
  if (direction != ESHM_M2S && direction != ESHM_S2M) return invalid("there is no such direction");
  const auto side =
      direction == ESHM_M2S ? eshm::layout::kMasterToSlave : eshm::layout::kSlaveToMaster;
  eshm::layout::ChannelShape shape;
  if (!is_observer(handle)) {
    shape = endpoint_of(handle)->shape(side);
  } else if (!observer_of(handle)->get_shape(side, shape)) {
    return remember_static(ESHM_ERROR_NO_DATA, "there is no segment to look at");
  }
  *channel = {};
  channel->delivery = static_cast<ESHMDelivery>(shape.delivery);
  channel->max_borrows = shape.max_borrows;
  channel->max_loans = shape.max_loans;
  channel->max_message_size = shape.max_message_bytes;
  channel->queue_capacity = shape.queue_bytes;
  channel->type.fingerprint = shape.type_fingerprint;
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_type_of(const char* text, ESHMType* type) {
  if (text == nullptr) return invalid("the text is NULL");
  if (type == nullptr) return invalid("type is NULL");
  try {
    const size_t bytes = strnlen(text, ESHM_MAX_TYPE_BYTES + 1);
    const std::string why = bytes > ESHM_MAX_TYPE_BYTES
                                ? "the type's text is longer than ESHM_MAX_TYPE_BYTES"
                                : eshm::api::why_not_canonical({text, bytes});
    if (!why.empty()) return remember(fail(ESHM_ERROR_INVALID_PARAM, why));
    *type = {text, eshm::api::fingerprint_of({text, bytes})};
    return ESHM_SUCCESS;
  } catch (const std::bad_alloc&) {
    return invalid("the type's text is not canonical");
  }
}

ESHM_EXPORT int eshm_update_heartbeat(ESHMHandle* handle) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  endpoint_of(handle)->beat();
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_hold_heartbeat(ESHMHandle* handle, bool hold) {
  const int unusable = check_end(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  endpoint_of(handle)->hold_heartbeat(hold);
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_check_remote_alive(ESHMHandle* handle, bool* is_alive) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (is_alive == nullptr) return invalid("is_alive is NULL");
  *is_alive = remote_state(handle) == ESHM_PEER_ALIVE;
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_get_remote_state(ESHMHandle* handle, enum ESHMPeerState* state) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (state == nullptr) return invalid("state is NULL");
  *state = remote_state(handle);
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_get_stats(ESHMHandle* handle, ESHMStats* stats) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (stats == nullptr) return invalid("stats is NULL");
  if (is_observer(handle)) {
    observer_of(handle)->get_stats(*stats);
  } else {
    endpoint_of(handle)->get_stats(*stats);
  }
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_get_stats_ex(ESHMHandle* handle, ESHMStatsEx* stats) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (stats == nullptr) return invalid("stats is NULL");
  const int bad_size = check_size(*stats);
  if (bad_size != ESHM_SUCCESS) return bad_size;
  ESHMStatsEx whole = {};
  if (is_observer(handle)) {
    observer_of(handle)->get_stats_ex(whole);
  } else {
    endpoint_of(handle)->get_stats_ex(whole);
  }
  hand_out(whole, stats);
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_get_role(ESHMHandle* handle, enum ESHMRole* role) {
  const int unusable = check(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  if (role == nullptr) return invalid("role is NULL");
  *role = is_observer(handle) ? ESHM_ROLE_OBSERVER : endpoint_of(handle)->role();
  return ESHM_SUCCESS;
}

ESHM_EXPORT int eshm_set_event_callback(ESHMHandle* handle, ESHMEventCallback callback,
                                        void* context) {
  const int unusable = check_waiter(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  endpoint_of(handle)->notices().set_callback(handle, callback, context);
  return ESHM_SUCCESS;
}

// ---- event loops ------------------------------------------------------------------

ESHM_EXPORT int eshm_wait_any(ESHMHandle* const* handles, size_t count, uint32_t timeout_ms) {
  if (handles == nullptr || count == 0) return invalid("there is no handle");
  if (count > ESHM_MAX_WAIT) {
    return invalid("more handles than ESHM_MAX_WAIT, which is " ESHM_TEXT_OF(ESHM_MAX_WAIT));
  }
  eshm::endpoint::IncomingPath* paths[ESHM_MAX_WAIT];
  uint16_t index_of[ESHM_MAX_WAIT];
  size_t used = 0;
  for (size_t i = 0; i < count; ++i) {
    if (handles[i] == nullptr) continue;
    const int unusable = check_waiter(handles[i]);
    if (unusable != ESHM_SUCCESS) return unusable;
    paths[used] = &data_of(handles[i]).incoming();
    index_of[used++] = uint16_t(i);
  }
  if (used == 0) return invalid("all handles are NULL");
  const int found = eshm::endpoint::wait_any(paths, used, timeout_ms);
  if (found >= 0) return index_of[found];
  if (found == ESHM_ERROR_NO_DATA) return remember_static(found, kNothingUnread);
  return remember(fail(found, found == ESHM_ERROR_INTERRUPTED
                                  ? "the wait was interrupted"
                                  : "nothing came on any of " + std::to_string(used) +
                                        " handles within " + std::to_string(timeout_ms) + " ms"));
}

ESHM_EXPORT int eshm_get_fd(ESHMHandle* handle) {
  const int unusable = check_waiter(handle);
  if (unusable != ESHM_SUCCESS) return unusable;
  int descriptor = -1;
  const Failure failure = endpoint_of(handle)->get_event_fd(descriptor);
  return failure ? remember(failure) : descriptor;
}

// ---- the library itself -----------------------------------------------------------

ESHM_EXPORT const char* eshm_error_string(int code) {
  switch (code) {
    case ESHM_SUCCESS:
      return "Success";
    case ESHM_ERROR_INVALID_PARAM:
      return "Invalid parameter";
    case ESHM_ERROR_SHM_CREATE:
      return "The segment could not be created";
    case ESHM_ERROR_SHM_ATTACH:
      return "The segment could not be attached";
    case ESHM_ERROR_SHM_DETACH:
      return "The segment could not be detached";
    case ESHM_ERROR_SHM_DELETE:
      return "The segment's name could not be removed";
    case ESHM_ERROR_MUTEX_INIT:
    case ESHM_ERROR_MUTEX_LOCK:
    case ESHM_ERROR_MUTEX_UNLOCK:
      return "Reserved";
    case ESHM_ERROR_NO_DATA:
      return "Nothing unread";
    case ESHM_ERROR_TIMEOUT:
      return "The wait is over, or the master is away";
    case ESHM_ERROR_MASTER_STALE:
      return "The master is gone or hangs";
    case ESHM_ERROR_BUFFER_FULL:
      return "No room: the queue is full, or all loans or borrows are out";
    case ESHM_ERROR_BUFFER_TOO_SMALL:
      return "The message is larger than the buffer or the channel";
    case ESHM_ERROR_NOT_INITIALIZED:
      return "The handle is not usable in this process";
    case ESHM_ERROR_ROLE_MISMATCH:
      return "The role is taken";
    case ESHM_ERROR_CORRUPT:
      return "The segment is corrupt";
    case ESHM_ERROR_SUPERSEDED:
      return "Another process has taken this one's place";
    case ESHM_ERROR_INTERRUPTED:
      return "Interrupted";
    case ESHM_ERROR_TYPE_MISMATCH:
      return "The ends use different message types";
    case ESHM_ERROR_PERMISSION:
      return "Not permitted";
    case ESHM_ERROR_UNSUPPORTED:
      return "Not supported";
    default:
      return "Unknown error code";
  }
}

ESHM_EXPORT const char* eshm_last_error(int* code) { return eshm::api::last_error(code); }

ESHM_EXPORT void eshm_set_log_callback(ESHMLogCallback callback, void* context) {
  eshm::endpoint::set_log_callback(callback, context);
}

ESHM_EXPORT const char* eshm_version(void) { return kVersion; }

}  // extern "C"
