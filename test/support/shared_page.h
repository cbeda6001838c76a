// SPDX-License-Identifier: MIT
// Counters that a test and its children share.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <new>

namespace test {

// Zero at first. Children forked later share it.
template <class Counters>
class SharedPage {
 public:
  SharedPage() {
    void* const bytes = mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) throw std::bad_alloc();
    counters_ = new (bytes) Counters();
  }
  ~SharedPage() { munmap(counters_, sizeof(Counters)); }
  SharedPage(const SharedPage&) = delete;
  SharedPage& operator=(const SharedPage&) = delete;

  // Back to zero. No child uses it now.
  void reset() const { new (counters_) Counters(); }

  Counters* operator->() const { return counters_; }
  Counters& operator*() const { return *counters_; }

 private:
  Counters* counters_;
};

}  // namespace test
