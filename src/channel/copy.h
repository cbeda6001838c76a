// SPDX-License-Identifier: MIT
// Copying bytes that another process may be changing, or reading, meanwhile.
//
// A plain memcpy of such bytes is a data race: the compiler may split a load,
// repeat it or move it across a fence. These copies go by instructions that the
// compiler does not look into, or by relaxed atomic words (the caller's fences
// order both). Shared areas are aligned to eight bytes and rounded up to them:
// the words touch all of the last one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "os/cpu.h"

namespace eshm::channel {

using SharedWord = uint64_t __attribute__((may_alias));

// A sanitizer sees no accesses of inline assembly: it gets words.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ESHM_COPY_BY_WORDS
#endif
#endif
#if !defined(__x86_64__) || defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ESHM_COPY_BY_WORDS
#endif

// From here on the string instruction beats the loops; a load from shared memory
// needs a fence besides (copy.cpp).
constexpr size_t kLongStoreBytes = 1024;
constexpr size_t kLongLoadBytes = 2048;

void copy_to_shared_long(std::byte* shared, const void* source, size_t bytes);
void copy_from_shared_long(void* target, const std::byte* shared, size_t bytes);

#ifdef ESHM_COPY_BY_WORDS

inline void copy_to_shared(std::byte* shared, const void* source, size_t bytes) {
  const auto* from = static_cast<const unsigned char*>(source);
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

#else

// By one register, or by four: a cache line's worth. So many bytes, for the
// compiler:
template <size_t kBytes>
using Bytes = unsigned char[kBytes];
inline void copy_line(void* target, const void* source) {
  asm volatile(
      "movdqu   (%[from]), %%xmm0\n\t"
      "movdqu 16(%[from]), %%xmm1\n\t"
      "movdqu 32(%[from]), %%xmm2\n\t"
      "movdqu 48(%[from]), %%xmm3\n\t"
      "movdqu %%xmm3, 48(%[to])\n\t"
      "movdqu %%xmm2, 32(%[to])\n\t"
      "movdqu %%xmm1, 16(%[to])\n\t"
      "movdqu %%xmm0,   (%[to])"
      : "=m"(*static_cast<Bytes<64>*>(target))
      : [to] "r"(target), [from] "r"(source), "m"(*static_cast<const Bytes<64>*>(source))
      : "xmm0", "xmm1", "xmm2", "xmm3");
}
inline void copy_16(void* target, const void* source) {
  asm volatile("movdqu %[from], %%xmm0\n\tmovdqu %%xmm0, %[to]"
               : [to] "=m"(*static_cast<Bytes<16>*>(target))
               : [from] "m"(*static_cast<const Bytes<16>*>(source))
               : "xmm0");
}
template <class Word>
void copy_word(void* target, const void* source) {
  Word word;
  asm volatile("mov %[from], %[word]\n\tmov %[word], %[to]"
               : [to] "=m"(*static_cast<Bytes<sizeof(Word)>*>(target)), [word] "=&r"(word)
               : [from] "m"(*static_cast<const Bytes<sizeof(Word)>*>(source)));
}

// By pieces of one size, the first of which may overlap the second: a few
// branches, whatever the length. From the end to the beginning: the first line
// is the one that a reader polls, and takes away until it is written again.
template <size_t kPiece, class CopyPiece>
ESHM_ALWAYS_INLINE void copy_in_pieces(unsigned char* to, const unsigned char* from, size_t bytes,
                                       const CopyPiece& copy_piece) {
  while (bytes > kPiece) {
    bytes -= kPiece;
    copy_piece(to + bytes, from + bytes);
  }
  copy_piece(to, from);
}

ESHM_ALWAYS_INLINE void copy_short(void* target, const void* source, size_t bytes) {
  auto* const to = static_cast<unsigned char*>(target);
  const auto* const from = static_cast<const unsigned char*>(source);
  if (bytes >= 64) return copy_in_pieces<64>(to, from, bytes, copy_line);
  if (bytes >= 16) return copy_in_pieces<16>(to, from, bytes, copy_16);
  if (bytes >= 8) return copy_in_pieces<8>(to, from, bytes, copy_word<uint64_t>);
  if (bytes >= 4) return copy_in_pieces<4>(to, from, bytes, copy_word<uint32_t>);
  for (size_t i = 0; i < bytes; ++i) copy_word<uint8_t>(to + i, from + i);
}

ESHM_ALWAYS_INLINE void copy_to_shared(std::byte* shared, const void* source, size_t bytes) {
  if (bytes >= kLongStoreBytes) return copy_to_shared_long(shared, source, bytes);
  copy_short(shared, source, bytes);
}

ESHM_ALWAYS_INLINE void copy_from_shared(void* target, const std::byte* shared, size_t bytes) {
  if (bytes >= kLongLoadBytes) return copy_from_shared_long(target, shared, bytes);
  copy_short(target, shared, bytes);
}

#endif

}  // namespace eshm::channel
