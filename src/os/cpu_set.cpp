// SPDX-License-Identifier: MIT
#include "os/cpu_set.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace eshm::os {
namespace {

// The kernel's CPU set of the calling thread. Returns its size in bytes; 0: unknown.
// Not sched_getaffinity(), which hides the size.
template <size_t kWords>
size_t kernel_set(unsigned long (&words)[kWords]) {
  const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof words, words);
  return bytes > 0 ? size_t(bytes) : 0;
}

constexpr size_t kMostWords = (CpuSet::kHighest + 1) / 8 / sizeof(unsigned long);

// A decimal number at `at`, which moves past it. False: there is no digit.
bool take_number(const char*& at, size_t& number) {
  const char* const begin = at;
  number = 0;
  for (; *at >= '0' && *at <= '9'; ++at) {
    number = std::min(number * 10 + size_t(*at - '0'), CpuSet::kHighest);
  }
  return at != begin;
}

}  // namespace

std::optional<CpuSet> CpuSet::parse(const std::string& list) {
  CpuSet set;
  const char* at = list.c_str();
  for (;;) {
    size_t first = 0;
    if (!take_number(at, first)) return std::nullopt;
    size_t last = first;
    if (*at == '-' && (!take_number(++at, last) || last < first)) return std::nullopt;
    for (size_t cpu = first; cpu <= last; ++cpu) set.add(cpu);
    if (*at == 0) return set;
    if (*at++ != ',') return std::nullopt;
  }
}

CpuSet CpuSet::of_calling_thread() {
  Word words[kMostWords] = {};
  const size_t bytes = kernel_set(words);
  CpuSet set;
  for (size_t cpu = 0; cpu < bytes * 8; ++cpu) {
    if ((words[cpu / kWordBits] >> cpu % kWordBits & 1) != 0) set.add(cpu);
  }
  return set;
}

size_t CpuSet::kernel_capacity() {
  Word words[kMostWords];
  const size_t bytes = kernel_set(words);
  return bytes == 0 ? CPU_SETSIZE : bytes * 8;
}

size_t CpuSet::highest() const {
  size_t cpu = words_.size() * kWordBits - 1;
  while (!has(cpu)) --cpu;
  return cpu;
}

std::string CpuSet::text() const {
  std::string text;
  const size_t end = words_.size() * kWordBits;
  for (size_t cpu = 0; cpu < end; ++cpu) {
    if (!has(cpu)) continue;
    size_t last = cpu;
    while (last + 1 < end && has(last + 1)) ++last;
    text += (text.empty() ? "" : ",") + std::to_string(cpu);
    if (last > cpu) text += (last == cpu + 1 ? "," : "-") + std::to_string(last);
    cpu = last;
  }
  return text;
}

void CpuSet::add(size_t cpu) {
  words_.resize(std::max(words_.size(), cpu / kWordBits + 1));
  words_[cpu / kWordBits] |= Word(1) << cpu % kWordBits;
}

bool CpuSet::has(size_t cpu) const {
  return (words_[cpu / kWordBits] >> cpu % kWordBits & 1) != 0;
}

}  // namespace eshm::os
