// SPDX-License-Identifier: MIT
#include "api/settings_of.h"

#include <sched.h>

#include <cstddef>
#include <cstring>
#include <optional>
#include <string>

#include "api/type_text.h"
#include "eshm.h"

namespace eshm::api {

using endpoint::fail;
using endpoint::Failure;
using endpoint::kMaxPeriodMs;
using endpoint::success;

namespace {

Failure invalid(const std::string& text) { return fail(ESHM_ERROR_INVALID_PARAM, text); }

// An enum that the caller filled may hold anything; as an integer it may be looked at.
template <class Enum>
uint32_t raw(const Enum& value) {
  uint32_t number;
  static_assert(sizeof value == sizeof number, "enums of the ABI have four bytes");
  std::memcpy(&number, &value, sizeof number);
  return number;
}

Failure check_range(const char* field, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return success();
  return invalid(std::string(field) + " is " + std::to_string(value) + ", it can be " +
                 std::to_string(least) + " to " + std::to_string(most));
}

Failure shape_of(const std::string& field, const ESHMChannelConfig& channel, uint32_t flags,
                 layout::ChannelShape& out) {
  Failure failure;
  const auto check = [&](const char* name, uint64_t value, uint64_t least, uint64_t most) {
    if (!failure) failure = check_range((field + name).c_str(), value, least, most);
  };
  check(".delivery", raw(channel.delivery), 0, ESHM_DELIVERY_QUEUE);
  check(".max_borrows", channel.max_borrows, 0, ESHM_MAX_BORROWS);
  check(".max_loans", channel.max_loans, 0, ESHM_MAX_LOANS);
  check(".max_message_size", channel.max_message_size, 1, INT32_MAX);
  if (failure) return failure;
  out.delivery = channel.delivery;
  out.flags = flags & (ESHM_FLAG_TIMESTAMPS | ESHM_FLAG_ALIGN_PAYLOAD);
  out.max_borrows = channel.max_borrows;
  out.max_loans = channel.max_loans;
  out.max_message_bytes = channel.max_message_size;
  if (channel.delivery != ESHM_DELIVERY_QUEUE) return success();
  out.queue_bytes = channel.queue_capacity;
  const uint64_t least = channel.max_message_size;
  if (channel.queue_capacity >= least) {
    return check_range((field + ".queue_capacity").c_str(), channel.queue_capacity, 1,
                       layout::kMostQueueBytes);
  }
  return invalid(field + ".queue_capacity is " + std::to_string(channel.queue_capacity) +
                 ", one message may have " + std::to_string(least) +
                 " bytes (" + field + ".max_message_size)");
}

Failure type_of(const std::string& field, const ESHMType& type, layout::ChannelShape& shape,
                std::string& text) {
  if (type.text != nullptr) text.assign(type.text, strnlen(type.text, ESHM_MAX_TYPE_BYTES + 1));
  if (text.size() > ESHM_MAX_TYPE_BYTES) {
    return invalid(field + ".type.text is longer than " + std::to_string(ESHM_MAX_TYPE_BYTES) +
                   " bytes");
  }
  // A made-up number could let ends with unlike types meet.
  if (!text.empty() && type.fingerprint != fingerprint_of(text)) {
    return invalid(field + ".type.fingerprint is " + std::to_string(type.fingerprint) +
                   ", that of the text is " + std::to_string(fingerprint_of(text)) +
                   "; eshm_type_of computes it");
  }
  shape.type_fingerprint = type.fingerprint;
  shape.type_text_bytes = uint32_t(text.size());
  return success();
}

// The scheduling of the library's threads.
Failure scheduling_of(const ESHMConfig& config, endpoint::Settings& out) {
  const std::string list = config.thread_cpus == nullptr ? "" : config.thread_cpus;
  if (!list.empty()) {
    const std::string is = "thread_cpus is \"" + list + "\", ";
    const std::optional<os::CpuSet> cpus = os::CpuSet::parse(list);
    if (!cpus) return invalid(is + "it takes CPU numbers and ranges, as \"2,4-7\"");
    const size_t capacity = os::CpuSet::kernel_capacity();
    if (cpus->highest() >= capacity) {
      return invalid(is + "this kernel takes CPU numbers from 0 to " +
                     std::to_string(capacity - 1));
    }
    out.scheduling.cpus = *cpus;
  }
  const int policy = config.thread_policy, priority = config.thread_priority;
  if (policy != SCHED_OTHER && policy != SCHED_FIFO && policy != SCHED_RR) {
    return invalid("thread_policy is " + std::to_string(policy) +
                   ", it can be 0 (SCHED_OTHER), 1 (SCHED_FIFO) or 2 (SCHED_RR)");
  }
  const bool has_priority = policy != SCHED_OTHER;
  if (has_priority ? priority < 1 || priority > 99 : priority != 0) {
    return invalid("thread_priority is " + std::to_string(priority) + ", with " +
                   os::policy_name(policy) + " it can be " + (has_priority ? "1 to 99" : "0"));
  }
  out.scheduling.policy = policy;
  out.scheduling.priority = priority;
  out.callers_cpus = os::CpuSet::of_calling_thread();
  out.names_directory = os::names_directory();
  return success();
}

// The defaults, under the nine fields of a program that knows no others.
ESHMConfig with_defaults(const ESHMConfig& nine) {
  ESHMConfig config = eshm_default_config(nine.shm_name);
  std::memcpy(&config, &nine, offsetof(ESHMConfig, struct_size));
  return config;
}

// Fields that a program written for the original does not know.
Failure take_new_fields(const ESHMConfig& config, endpoint::Settings& out) {
  if (Failure failure = check_range("backend", raw(config.backend), 0, ESHM_BACKEND_SYSV)) {
    return failure;
  }
  const uint32_t known = ESHM_FLAG_TIMESTAMPS | ESHM_FLAG_ALIGN_PAYLOAD | ESHM_FLAG_LOCK_MEMORY |
                         ESHM_FLAG_PREFAULT | ESHM_FLAG_HUGE_PAGES |
                         ESHM_FLAG_NO_UPKEEP_IN_CALLS;
  for (const uint64_t word : config.reserved) {
    if (word != 0) return invalid("reserved is not all 0");
  }
  if (Failure failure = check_range("unread_policy", raw(config.unread_policy), 0,
                                    ESHM_UNREAD_DROP)) {
    return failure;
  }
  if (config.m2s.reserved != 0 || config.s2m.reserved != 0) {
    return invalid("a reserved word is not 0");
  }
  if ((config.flags & ~known) != 0) return invalid("flags has unknown bits");
  if ((config.permissions & ~0666u) != 0 || (config.permissions & 0600) != 0600) {
    return invalid("permissions must let the owner read and write, and nobody execute");
  }
  for (const layout::Direction direction : layout::kDirections) {
    const std::string field = endpoint::name_of(direction);
    const bool is_m2s = direction == layout::kMasterToSlave;
    const ESHMChannelConfig& channel = is_m2s ? config.m2s : config.s2m;
    layout::ChannelShape& shape = out.shape[direction];
    Failure failure = shape_of(field, channel, config.flags, shape);
    if (!failure) failure = type_of(field, channel.type, shape, out.type_text[direction]);
    if (failure) return failure;
  }
  if (Failure failure = scheduling_of(config, out)) return failure;
  out.backend = config.backend;
  out.spin_us = config.spin_us;
  out.permissions = config.permissions;
  out.flags = config.flags;
  out.unread_policy = config.unread_policy;
  out.interrupt = {config.interrupt, config.interrupt_context};
  return success();
}

}  // namespace

Failure check_name(const char* name, std::string& out) {
  if (name == nullptr) return invalid("shm_name is NULL");
  out = name[0] == '/' ? name + 1 : name;
  if (out.empty()) return invalid("shm_name is empty");
  if (out.size() > ESHM_MAX_NAME_BYTES) {
    return invalid("shm_name has " + std::to_string(out.size()) + " bytes, at most " +
                   std::to_string(ESHM_MAX_NAME_BYTES) + " are allowed");
  }
  for (const unsigned char byte : out) {
    if (byte == '/') return invalid("shm_name \"" + out + "\" has a '/' inside");
    if (byte < 0x20 || byte == 0x7f) return invalid("shm_name has a control character");
  }
  return success();
}

Failure settings_of(const ESHMConfig& config, endpoint::Settings& out) {
  if (Failure failure = check_name(config.shm_name, out.name)) return failure;
  Failure failure = check_range("role", raw(config.role), 0, ESHM_ROLE_OBSERVER);
  const auto check = [&](const char* name, uint64_t value, uint64_t least, uint64_t most) {
    if (!failure) failure = check_range(name, value, least, most);
  };
  check("disconnect_behavior", raw(config.disconnect_behavior), 0, ESHM_DISCONNECT_NEVER);
  check("stale_threshold_ms", config.stale_threshold_ms, 1, kMaxPeriodMs);
  check("reconnect_retry_interval_ms", config.reconnect_retry_interval_ms, 1, kMaxPeriodMs);
  if (failure) return failure;
  out.role = config.role;
  out.disconnect_behavior = config.disconnect_behavior;
  out.stale_threshold_ms = config.stale_threshold_ms;
  out.reconnect_wait_ms = config.reconnect_wait_ms;
  out.reconnect_retry_interval_ms = config.reconnect_retry_interval_ms;
  out.max_reconnect_attempts = config.max_reconnect_attempts;
  out.auto_cleanup = config.auto_cleanup;
  out.use_threads = config.use_threads;
  if (config.struct_size == 0) return take_new_fields(with_defaults(config), out);
  if (config.struct_size == sizeof(ESHMConfig)) return take_new_fields(config, out);
  return invalid("struct_size is " + std::to_string(config.struct_size) + ", it can be 0 or " +
                 std::to_string(sizeof(ESHMConfig)));
}

}  // namespace eshm::api
