// Copying bytes that another process may be changing, or reading, meanwhile.
//
// A plain memcpy of such bytes is a data race: the compiler may split a load,
// repeat it or move it across a fence. Short copies go by relaxed atomic words
// (the caller's fences order them); long ones by an instruction the compiler
// does not look into. Shared areas are aligned to eight bytes and rounded up
// to them, so whole words may be touched there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace eshm::channel {

using SharedWord = uint64_t __attribute__((may_alias));

// From here on the string instruction beats the loop of words.
constexpr size_t kLongCopyBytes = 512;

void copy_to_shared_long(std::byte* shared, const void* source, size_t bytes);
void copy_from_shared_long(void* target, const std::byte* shared, size_t bytes);

inline void copy_to_shared(std::byte* shared, const void* source, size_t bytes) {
  if (bytes >= kLongCopyBytes) return copy_to_shared_long(shared, source, bytes);
  auto* to = reinterpret_cast<SharedWord*>(shared);
  const auto* from = static_cast<const unsigned char*>(source);
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
  if (bytes >= kLongCopyBytes) return copy_from_shared_long(target, shared, bytes);
  const auto* from = reinterpret_cast<const SharedWord*>(shared);
  auto* to = static_cast<unsigned char*>(target);
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
