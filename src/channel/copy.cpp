#include "channel/copy.h"

namespace eshm::channel {

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(ESHM_NO_STRING_COPY)
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define ESHM_NO_STRING_COPY  // a sanitizer does not see what the instruction touches
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ESHM_NO_STRING_COPY
#endif
#else
#define ESHM_NO_STRING_COPY
#endif

#ifndef ESHM_NO_STRING_COPY

namespace {

void move_bytes(void* target, const void* source, size_t bytes) {
  asm volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(bytes) : : "memory");
}

}  // namespace

void copy_to_shared_long(std::byte* shared, const void* source, size_t bytes) {
  move_bytes(shared, source, bytes);
}

void copy_from_shared_long(void* target, const std::byte* shared, size_t bytes) {
  move_bytes(target, shared, bytes);
}

#else

namespace {
constexpr size_t kPiece = kLongCopyBytes / 2;  // a multiple of eight
}

void copy_to_shared_long(std::byte* shared, const void* source, size_t bytes) {
  const auto* from = static_cast<const std::byte*>(source);
  for (; bytes > kPiece; bytes -= kPiece, shared += kPiece, from += kPiece) {
    copy_to_shared(shared, from, kPiece);
  }
  copy_to_shared(shared, from, bytes);
}

void copy_from_shared_long(void* target, const std::byte* shared, size_t bytes) {
  auto* to = static_cast<std::byte*>(target);
  for (; bytes > kPiece; bytes -= kPiece, shared += kPiece, to += kPiece) {
    copy_from_shared(to, shared, kPiece);
  }
  copy_from_shared(to, shared, bytes);
}

#endif

}  // namespace eshm::channel
