// SPDX-License-Identifier: MIT
// Sets of CPUs, by number.
#pragma once

#include <sched.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace eshm::os {

class CpuSet {
 public:
  // Numbers and ranges, separated by commas: "2,4-7". Nothing if the text is anything
  // else. A number above kHighest becomes kHighest.
  static std::optional<CpuSet> parse(const std::string& list);
  static constexpr size_t kHighest = 65535;

  // CPUs that the calling thread may run on; empty if the kernel does not say.
  static CpuSet of_calling_thread();
  // Number of CPUs that the kernel's own sets have room for, a multiple of 64. A kernel
  // ignores larger numbers.
  static size_t kernel_capacity();

  bool is_empty() const { return words_.empty(); }
  size_t highest() const;  // of a set that is not empty
  std::string text() const;  // as parse() takes it

  // As the kernel takes it.
  const cpu_set_t* data() const { return reinterpret_cast<const cpu_set_t*>(words_.data()); }
  size_t bytes() const { return words_.size() * sizeof(Word); }

  friend bool operator==(const CpuSet& one, const CpuSet& other) {
    return one.words_ == other.words_;
  }
  friend bool operator!=(const CpuSet& one, const CpuSet& other) { return !(one == other); }

 private:
  using Word = unsigned long;  // the kernel's
  static constexpr size_t kWordBits = 8 * sizeof(Word);

  void add(size_t cpu);
  bool has(size_t cpu) const;

  std::vector<Word> words_;  // the last one is not 0
};

}  // namespace eshm::os
