// SPDX-License-Identifier: MIT
#include "torture/ledger.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "support/pattern.h"

namespace torture {

namespace {

uint64_t key_of(const Stamp& stamp) {
  return stamp.number ^ test::mix(stamp.author) ^ (stamp.heard << 20);
}

}  // namespace

size_t size_of(uint64_t number) {
  return sizeof(Stamp) + test::pattern_size(number, kLargest - sizeof(Stamp));
}

void fill(void* message, const Stamp& stamp) {
  auto* const bytes = static_cast<unsigned char*>(message);
  std::memcpy(bytes, &stamp, sizeof stamp);
  test::fill_pattern(bytes + sizeof stamp, stamp.size - sizeof stamp, key_of(stamp));
}

bool is_whole(const void* message, size_t size, Stamp& stamp) {
  stamp = {};
  if (size < sizeof stamp) return false;
  const auto* const bytes = static_cast<const unsigned char*>(message);
  std::memcpy(&stamp, bytes, sizeof stamp);
  return stamp.size == size && size == size_of(stamp.number) &&
         test::is_pattern(bytes + sizeof stamp, size - sizeof stamp, key_of(stamp));
}

void Ledger::raise(std::atomic<uint64_t>& value, uint64_t to) {
  uint64_t now = value.load();
  while (now < to && !value.compare_exchange_weak(now, to)) {
  }
}

uint64_t Ledger::take(uint64_t author) {
  const uint64_t number = taken_.fetch_add(1) + 1;
  authors_[number % kEntries] = author;
  entry(number) = number * kMarks;
  return number;
}

// It may have been forgotten, while its writer was stopped.
void Ledger::take_again(uint64_t number) {
  uint64_t refused = number * kMarks + kRefused;
  entry(number).compare_exchange_strong(refused, number * kMarks);
}

uint64_t Ledger::mark(uint64_t number, Mark mark) {
  uint64_t now = entry(number).load();
  while (now / kMarks == number && !entry(number).compare_exchange_weak(now, now | mark)) {
  }
  return now / kMarks == number ? now % kMarks : 0;
}

uint64_t Ledger::first_lost(uint64_t last, uint64_t number) const {
  for (uint64_t between = std::max(last, excused_.load()) + 1; between < number; ++between) {
    const uint64_t found = entries_[between % kEntries].load();
    if (found / kMarks == between && (found & (kTold | kSeen)) == kTold) return between;
  }
  return 0;
}

void Record::complain(const char* format, ...) {
  // Ready before it is announced: who complains may be stopped or killed at any moment.
  char text[sizeof what];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  int none = 0;
  if (!broken.compare_exchange_strong(none, 1)) return;
  std::memcpy(what, text, sizeof what);
  broken = 2;
}

}  // namespace torture
