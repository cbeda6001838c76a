#include "channel/copy.h"

namespace eshm::channel {

#ifndef ESHM_COPY_BY_WORDS

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

#endif

}  // namespace eshm::channel
