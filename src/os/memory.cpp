// SPDX-License-Identifier: MIT
#include "os/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "os/shm_object.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace eshm::os {
namespace {

// `act` as a system call on each part of the memory. 0 or the errno.
template <class Act>
int in_steps(void* at, size_t bytes, const Act& act, size_t step = kLongStep) {
  for (size_t done = 0; done < bytes; done += step) {
    const size_t size = std::min(step, bytes - done);
    if (act(static_cast<std::byte*>(at) + done, size) != 0) return errno;
    if (!Meanwhile::act(false)) return ECANCELED;
  }
  return 0;
}

}  // namespace

int lock_memory(void* at, size_t bytes) {
  return in_steps(at, bytes, [](void* part, size_t size) { return mlock(part, size); });
}

unsigned long long lock_limit() {
  rlimit limit;
  return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? limit.rlim_cur : 0;
}

int try_to_map(size_t bytes) {
  void* const at = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return errno;
  munmap(at, bytes);
  return 0;
}

// EAGAIN has this one cause (mmap(2)).
std::string why_not_mapped(int error_number) {
  if (error_number != EAGAIN) {
    return std::string("cannot be mapped: ") + std::strerror(error_number);
  }
  return "must be locked, since the process called mlockall(MCL_FUTURE); RLIMIT_MEMLOCK is " +
         std::to_string(lock_limit()) + " bytes for all that is locked; CAP_IPC_LOCK lifts it";
}

int prefault(void* at, size_t bytes, bool writable) {
  const int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  const int failure = in_steps(
      at, bytes, [advice](void* part, size_t size) { return madvise(part, size, advice); });
  if (failure != EINVAL) return failure;
  // Before Linux 5.14: a look at each page enters it, and the first store to one
  // that is there costs no more than a protection change.
  for (size_t page = 0; page < bytes; page += page_bytes()) {
    (void)reinterpret_cast<const std::atomic<uint8_t>*>(static_cast<std::byte*>(at) + page)
        ->load(std::memory_order_relaxed);
  }
  return 0;
}

size_t huge_page_bytes() {
  static const size_t bytes = [] {
    const int fd = ::open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return size_t(0);
    char text[32] = {};
    const ssize_t length = ::read(fd, text, sizeof text - 1);
    ::close(fd);
    return length > 0 ? size_t(std::strtoull(text, nullptr, 10)) : size_t(0);
  }();
  return bytes;
}

int make_huge_pages(void* at, size_t bytes) {
  const size_t huge = huge_page_bytes();
  if (huge == 0) return EOPNOTSUPP;
  const auto begin = (reinterpret_cast<uintptr_t>(at) + huge - 1) / huge * huge;
  const auto end = (reinterpret_cast<uintptr_t>(at) + bytes) / huge * huge;
  if (begin >= end) return 0;
  // EAGAIN: a page was busy for a moment; the kernel wants to be asked again.
  constexpr int kAttempts = 10;
  const auto collapse = [](void* part, size_t size) {
    int answer = -1;
    for (int attempt = 0; attempt < kAttempts && answer != 0; ++attempt) {
      answer = madvise(part, size, MADV_COLLAPSE);
      if (answer != 0 && errno != EAGAIN) break;
    }
    return answer;
  };
  return in_steps(reinterpret_cast<void*>(begin), end - begin, collapse,
                  std::max<size_t>(kLongStep, huge));
}

}  // namespace eshm::os
