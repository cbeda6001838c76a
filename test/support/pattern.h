// SPDX-License-Identifier: MIT
// Payloads that prove themselves: every word follows from the message's number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace test {

inline uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

// 0 .. largest, both ends included and not too rare.
inline size_t pattern_size(uint64_t number, size_t largest) {
  const uint64_t dice = mix(~number);
  if (dice % 64 == 0) return 0;
  if (dice % 64 == 1) return largest;
  return static_cast<size_t>((dice >> 8) % (largest + 1));
}

inline uint64_t pattern_word(uint64_t start, size_t index) {
  return start + index * 0x9e3779b97f4a7c15u;
}

inline void fill_pattern(void* data, size_t size, uint64_t number) {
  auto* bytes = static_cast<unsigned char*>(data);
  const uint64_t start = mix(number);
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    const uint64_t word = pattern_word(start, at / 8);
    std::memcpy(bytes + at, &word, 8);
  }
  const uint64_t last = pattern_word(start, at / 8);
  if (at < size) std::memcpy(bytes + at, &last, size - at);
}

inline bool is_pattern(const void* data, size_t size, uint64_t number) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  const uint64_t start = mix(number);
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    const uint64_t word = pattern_word(start, at / 8);
    if (std::memcmp(bytes + at, &word, 8) != 0) return false;
  }
  const uint64_t last = pattern_word(start, at / 8);
  return at == size || std::memcmp(bytes + at, &last, size - at) == 0;
}

}  // namespace test
