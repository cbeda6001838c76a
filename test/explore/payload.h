// SPDX-License-Identifier: MIT
// Messages that prove themselves: number and writer give each word.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "channel/message.h"
#include "explore/explorer.h"

namespace explore {

constexpr size_t kMostWords = 2;

inline uint64_t word_of(uint64_t number, uint32_t writer, size_t index) {
  return number << 16 | uint64_t(writer) << 8 | (index + 1);
}

struct Payload {
  uint64_t words[kMostWords];

  static Payload of(uint64_t number, uint32_t writer) {
    return {{word_of(number, writer, 0), word_of(number, writer, 1)}};
  }
};

inline void require_whole(const eshm::channel::Message& message, const Payload& got,
                          size_t size) {
  explorer().require(message.size == size, "the size is the message's");
  for (size_t i = 0; i < message.size / 8; ++i) {
    explorer().require(got.words[i] == word_of(message.number, message.generation, i),
                       "every word is the message's");
  }
}

// Memory that was borrowed or lent, as its user touches it.
inline Payload read_in_place(const void* at, uint64_t bytes) {
  Payload payload = {};
  for (size_t i = 0; i < bytes / 8; ++i) {
    payload.words[i] = explorer().plain_load(static_cast<const uint64_t*>(at) + i, 8);
  }
  return payload;
}

}  // namespace explore
