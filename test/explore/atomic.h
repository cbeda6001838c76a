// SPDX-License-Identifier: MIT
// Atomics and fences whose operations are steps of the explorer, and know where
// in the sources they stand. Outside a run they are plain accesses.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "explore/explorer.h"

namespace explore {

template <class T>
class Atomic {
  static_assert(std::is_integral_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));

 public:
  static constexpr bool is_always_lock_free = true;

  Atomic() = default;
  constexpr Atomic(T value) : value_(value) {}

  T load(std::memory_order order, const char* file = __builtin_FILE(),
         int line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) const {
    if (!explorer().is_running()) return value_;
    return T(explorer().load(&value_, sizeof(T), order, {file, line, function}));
  }
  void store(T value, std::memory_order order, const char* file = __builtin_FILE(),
             int line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
    if (!explorer().is_running()) {
      value_ = value;
    } else {
      explorer().store(&value_, sizeof(T), uint64_t(value), order, {file, line, function});
    }
  }
  T fetch_add(T value, std::memory_order order, const char* file = __builtin_FILE(),
              int line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
    if (explorer().is_running()) {
      return T(explorer().add(&value_, sizeof(T), uint64_t(value), order, {file, line, function}));
    }
    const T before = value_;
    value_ = T(value_ + value);
    return before;
  }
  bool compare_exchange_strong(T& expected, T value, std::memory_order success,
                               std::memory_order failure, const char* file = __builtin_FILE(),
                               int line = __builtin_LINE(),
                               const char* function = __builtin_FUNCTION()) {
    if (explorer().is_running()) {
      uint64_t wide = uint64_t(expected);
      const bool is_done =
          explorer().compare_exchange(&value_, sizeof(T), wide, uint64_t(value), success, failure,
                                      {file, line, function});
      expected = T(wide);
      return is_done;
    }
    const bool is_equal = value_ == expected;
    (is_equal ? value_ : expected) = is_equal ? value : value_;
    return is_equal;
  }

 private:
  T value_;
};

inline void fence(std::memory_order order, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE(), const char* function = __builtin_FUNCTION()) {
  if (explorer().is_running()) explorer().fence(order, {file, line, function});
}

}  // namespace explore
