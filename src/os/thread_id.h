// SPDX-License-Identifier: MIT
// The kernel's id of this thread, for words that the kernel reads.
#pragma once

#include <cstdint>

#include "os/cpu.h"

namespace eshm::os {

// 0: not known yet. Initial-exec: one load from the thread's own block, also in the
// shared library; __thread: no call that would first look for a constructor.
extern __thread uint32_t known_thread_id [[gnu::tls_model("initial-exec")]];

// A thread's first call. Makes no system call where the C library is glibc.
[[gnu::noinline, gnu::cold]] uint32_t learn_thread_id();

// What gettid() returns; never 0.
ESHM_ALWAYS_INLINE uint32_t thread_id() {
  const uint32_t known = known_thread_id;
  return rarely(known == 0) ? learn_thread_id() : known;
}

// In a forked child, whose one thread has an id of its own.
inline void forget_thread_id() { known_thread_id = 0; }

}  // namespace eshm::os
