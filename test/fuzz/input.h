// SPDX-License-Identifier: MIT
// The fuzzer's bytes, taken from the front; zeros once they are used up.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace fuzz {

class Input {
 public:
  Input(const uint8_t* bytes, size_t count) : at_(bytes), left_(count) {}

  size_t left() const { return left_; }

  template <class Number>
  Number take() {
    Number number = 0;
    take_into(&number, sizeof number);
    return number;
  }
  uint64_t up_to(uint64_t largest) { return take<uint16_t>() % (largest + 1); }
  bool flip() { return (take<uint8_t>() & 1) != 0; }

  void take_into(void* target, size_t bytes) {
    const size_t count = std::min(bytes, left_);
    if (count != 0) std::memcpy(target, at_, count);
    at_ += count;
    left_ -= count;
  }
  // The next `bytes` as an input of their own.
  Input part(size_t bytes) {
    const size_t count = std::min(bytes, left_);
    const Input piece(at_, count);
    at_ += count;
    left_ -= count;
    return piece;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

// A promise that holds whatever the bytes are.
inline void require(bool is_kept) {
  if (!is_kept) std::abort();
}

// Somebody else's stores into shared words, between the calls of a script.
class Vandal {
 public:
  Vandal(std::byte* bytes, size_t count)
      : words_(reinterpret_cast<std::atomic<uint64_t>*>(bytes)),
        count_(count / sizeof(uint64_t)),
        kept_(count_) {
    keep();
  }

  void act(Input& input) {
    std::atomic<uint64_t>& word = words_[input.up_to(count_ - 1)];
    const uint64_t before = word.load(std::memory_order_relaxed);
    switch (input.up_to(5)) {
      case 0:
        return word.store(input.take<uint64_t>(), std::memory_order_relaxed);
      case 1:
        return word.store(before ^ uint64_t(1) << input.up_to(63), std::memory_order_relaxed);
      case 2:
        return word.store(before + uint64_t(int64_t(input.take<int8_t>())),
                          std::memory_order_relaxed);
      case 3:
        return keep();
      case 4:
        return replay(size_t(&word - words_), 1);
      default:
        return replay(0, count_);
    }
  }

 private:
  void keep() {
    for (size_t i = 0; i < count_; ++i) kept_[i] = words_[i].load(std::memory_order_relaxed);
  }
  void replay(size_t first, size_t count) {
    for (size_t i = first; i < first + count; ++i) {
      words_[i].store(kept_[i], std::memory_order_relaxed);
    }
  }

  std::atomic<uint64_t>* words_;
  size_t count_;
  std::vector<uint64_t> kept_;
};

// Shared bytes of exactly that size, so that a sanitizer sees the first one too many.
class SharedBytes {
 public:
  explicit SharedBytes(size_t count)
      : count_(count), bytes_(static_cast<std::byte*>(std::aligned_alloc(64, count))) {
    require(bytes_ != nullptr && count % 64 == 0);
    std::memset(bytes_, 0, count_);
  }
  ~SharedBytes() { std::free(bytes_); }
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;

  std::byte* data() const { return bytes_; }
  size_t size() const { return count_; }
  void fill(Input& input) { input.take_into(bytes_, count_); }
  bool holds(const void* at, size_t bytes) const {
    const auto* const first = static_cast<const std::byte*>(at);
    return first >= bytes_ && bytes <= count_ && size_t(first - bytes_) <= count_ - bytes;
  }

 private:
  const size_t count_;
  std::byte* const bytes_;
};

// Touches every byte: a sanitizer judges each.
inline uint32_t sum_of(const void* data, size_t bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; ++i) sum += static_cast<const volatile unsigned char*>(data)[i];
  return sum;
}

}  // namespace fuzz
