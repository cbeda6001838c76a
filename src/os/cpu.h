// SPDX-License-Identifier: MIT
// What a core can be told.
#pragma once

// Of what every message passes through: a call is to be one function, whatever
// the compiler thinks of its size.
#define ESHM_ALWAYS_INLINE [[gnu::always_inline]] inline

namespace eshm::os {

// Tells the compiler which way to keep short.
ESHM_ALWAYS_INLINE bool rarely(bool condition) { return __builtin_expect(condition, false); }

// Between two looks of a polling loop: lets the other thread of the core run.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace eshm::os
