// Copying bytes that another process may be changing, or reading, meanwhile.
//
// A plain memcpy of such bytes is a data race: the compiler may split a load,
// repeat it or move it across a fence. These copies go by relaxed atomic words,
// or by instructions that the compiler does not look into (the caller's fences
// order both). Shared areas are aligned to eight bytes and rounded up to them,
// so whole words may be touched there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace eshm::channel {

using SharedWord = uint64_t __attribute__((may_alias));

// A sanitizer sees neither of the two instructions' accesses: it gets words.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ESHM_COPY_BY_WORDS
#endif
#endif
#if !defined(__x86_64__) || defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ESHM_COPY_BY_WORDS
#endif

// From here on the string instruction beats the loops.
constexpr size_t kLongCopyBytes = 1024;

void copy_to_shared_long(std::byte* shared, const void* source, size_t bytes);
void copy_from_shared_long(void* target, const std::byte* shared, size_t bytes);

constexpr size_t kBlockBytes = 64;

#ifndef ESHM_COPY_BY_WORDS
// One cache line's worth by four vector registers.
inline void copy_block(void* target, const void* source) {
  struct Block {
    unsigned char bytes[kBlockBytes];
  };
  asm volatile(
      "movdqu   (%[from]), %%xmm0\n\t"
      "movdqu 16(%[from]), %%xmm1\n\t"
      "movdqu 32(%[from]), %%xmm2\n\t"
      "movdqu 48(%[from]), %%xmm3\n\t"
      "movdqu %%xmm0,   (%[to])\n\t"
      "movdqu %%xmm1, 16(%[to])\n\t"
      "movdqu %%xmm2, 32(%[to])\n\t"
      "movdqu %%xmm3, 48(%[to])"
      : "=m"(*static_cast<Block*>(target))
      : [to] "r"(target), [from] "r"(source), "m"(*static_cast<const Block*>(source))
      : "xmm0", "xmm1", "xmm2", "xmm3");
}
#endif

inline void copy_to_shared(std::byte* shared, const void* source, size_t bytes) {
  const auto* from = static_cast<const unsigned char*>(source);
#ifndef ESHM_COPY_BY_WORDS
  if (bytes >= kLongCopyBytes) return copy_to_shared_long(shared, source, bytes);
  for (; bytes >= kBlockBytes; bytes -= kBlockBytes, from += kBlockBytes, shared += kBlockBytes) {
    copy_block(shared, from);
  }
#endif
  auto* to = reinterpret_cast<SharedWord*>(shared);
  for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), from += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    __atomic_store_n(to++, word, __ATOMIC_RELAXED);
  }
  if (bytes > 0) {
    uint64_t word = 0;
    std::memcpy(&word, from, bytes);
    __atomic_store_n(to, word, __ATOMIC_RELAXED);
  }
}

inline void copy_from_shared(void* target, const std::byte* shared, size_t bytes) {
  auto* to = static_cast<unsigned char*>(target);
#ifndef ESHM_COPY_BY_WORDS
  if (bytes >= kLongCopyBytes) return copy_from_shared_long(target, shared, bytes);
  for (; bytes >= kBlockBytes; bytes -= kBlockBytes, to += kBlockBytes, shared += kBlockBytes) {
    copy_block(to, shared);
  }
#endif
  const auto* from = reinterpret_cast<const SharedWord*>(shared);
  for (; bytes >= sizeof(uint64_t); bytes -= sizeof(uint64_t), to += sizeof(uint64_t)) {
    const uint64_t word = __atomic_load_n(from++, __ATOMIC_RELAXED);
    std::memcpy(to, &word, sizeof word);
  }
  if (bytes > 0) {
    const uint64_t word = __atomic_load_n(from, __ATOMIC_RELAXED);
    std::memcpy(to, &word, bytes);
  }
}

}  // namespace eshm::channel
