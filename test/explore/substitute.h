// SPDX-License-Identifier: MIT
// Included before everything else in the library's sources that are explored:
// their atomics, fences and word copies become the explorer's.
#pragma once

// All that those sources include of the standard library comes first.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "explore/atomic.h"

namespace explore {

inline uint64_t load_word(const void* at, const char* file = __builtin_FILE(),
                          int line = __builtin_LINE(),
                          const char* function = __builtin_FUNCTION()) {
  if (explorer().is_running()) {
    return explorer().load(at, 8, std::memory_order_relaxed, {file, line, function});
  }
  uint64_t word;
  std::memcpy(&word, at, 8);
  return word;
}

inline void store_word(void* at, uint64_t word, const char* file = __builtin_FILE(),
                       int line = __builtin_LINE(),
                       const char* function = __builtin_FUNCTION()) {
  if (explorer().is_running()) {
    explorer().store(at, 8, word, std::memory_order_relaxed, {file, line, function});
  } else {
    std::memcpy(at, &word, 8);
  }
}

}  // namespace explore

// They write std::atomic and std::atomic_thread_fence.
namespace std {
template <class T>
using explored_atomic = explore::Atomic<T>;
using explore::fence;
}  // namespace std
#define atomic explored_atomic
#define atomic_thread_fence fence

#define ESHM_COPY_BY_WORDS
#define __atomic_load_n(at, order) explore::load_word(at)
#define __atomic_store_n(at, word, order) explore::store_word(at, word)
