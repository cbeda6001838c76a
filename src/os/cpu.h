// What a core can be told.
#pragma once

namespace eshm::os {

// Between two looks of a polling loop: lets the other thread of the core run.
inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace eshm::os
