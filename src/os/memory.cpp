#include "os/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "os/shm_object.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace eshm::os {
namespace {

// The word in brackets is what holds: "always within_size advise [never] deny force".
bool shmem_gives_huge_pages() {
  const int fd = ::open("/sys/kernel/mm/transparent_hugepage/shmem_enabled", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[128];
  const ssize_t length = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (length <= 0) return false;
  text[length] = 0;
  return std::strstr(text, "[never]") == nullptr && std::strstr(text, "[deny]") == nullptr;
}

}  // namespace

int lock_memory(void* at, size_t bytes) { return mlock(at, bytes) == 0 ? 0 : errno; }

unsigned long long lock_limit() {
  rlimit limit;
  return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 ? limit.rlim_cur : 0;
}

int prefault(void* at, size_t bytes, bool writable) {
  if (madvise(at, bytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0) return 0;
  if (errno != EINVAL) return errno;
  // Before Linux 5.14: a look at each page enters it, and the first store to one
  // that is there costs no more than a protection change.
  for (size_t page = 0; page < bytes; page += page_bytes()) {
    (void)reinterpret_cast<const std::atomic<uint8_t>*>(static_cast<std::byte*>(at) + page)
        ->load(std::memory_order_relaxed);
  }
  return 0;
}

int advise_huge_pages(void* at, size_t bytes) {
  if (!shmem_gives_huge_pages()) return EOPNOTSUPP;
  return madvise(at, bytes, MADV_HUGEPAGE) == 0 ? 0 : errno;
}

}  // namespace eshm::os
