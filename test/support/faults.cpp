// SPDX-License-Identifier: MIT
#include "support/faults.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

namespace test::faults {
namespace {

struct Plan {
  uint64_t countdown = 0;  // 0: nothing fails
  bool all_behind_it = false;
  int error_number = 0;
};

thread_local Plan allocations;
thread_local Plan calls;
thread_local bool has_struck = false;
thread_local bool is_test = false;  // it has planned something: not "elsewhere"
thread_local bool is_acting = false;  // of what a test had planned
thread_local uint32_t dice = 1;

std::atomic<uint32_t> allocations_elsewhere{0};
std::atomic<uint32_t> calls_elsewhere{0};
std::atomic<int> error_elsewhere{0};
std::atomic<uint64_t> struck_elsewhere{0};

std::atomic<std::function<void()>*> acts[kMoments];

bool strikes(Plan& plan) {
  if (plan.countdown == 0) return false;
  if (plan.countdown > 1) return --plan.countdown, false;
  if (!plan.all_behind_it) plan.countdown = 0;
  return has_struck = true;
}

bool strikes_elsewhere(const std::atomic<uint32_t>& one_in) {
  const uint32_t rate = one_in.load(std::memory_order_relaxed);
  if (rate == 0 || is_test) return false;
  dice = dice * 1664525 + 1013904223;
  if ((dice >> 16) % rate != 0) return false;
  struck_elsewhere.fetch_add(1, std::memory_order_relaxed);
  return true;
}

// 0, or the errno with which this call fails.
int error_now() {
  if (strikes(calls)) return calls.error_number;
  return strikes_elsewhere(calls_elsewhere) ? error_elsewhere.load() : 0;
}

void* allocate(std::size_t size, std::size_t alignment) {
  if (strikes(allocations) || strikes_elsewhere(allocations_elsewhere)) throw std::bad_alloc();
  const std::size_t bytes = (size + alignment) / alignment * alignment;
  void* const memory =
      alignment <= alignof(std::max_align_t) ? std::malloc(bytes) : std::aligned_alloc(alignment, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void fail_allocation(uint64_t n, bool all_behind_it) {
  is_test = true;
  allocations = {n, all_behind_it, 0};
}

void fail_call(uint64_t n, int error_number) {
  is_test = true;
  calls = {n, false, error_number};
}

bool stop() {
  allocations = {};
  calls = {};
  const bool struck = has_struck;
  has_struck = false;
  return struck;
}

void fail_allocations_elsewhere(uint32_t one_in) {
  is_test = true;
  allocations_elsewhere = one_in;
}

void fail_calls_elsewhere(uint32_t one_in, int error_number) {
  is_test = true;
  error_elsewhere = error_number;
  calls_elsewhere = one_in;
}

uint64_t failed_elsewhere() { return struck_elsewhere.load(); }

void at_next(Moment moment, std::function<void()> act) {
  if (!is_acting) is_test = true;
  delete acts[moment].exchange(new std::function<void()>(std::move(act)));
}

void act_at(Moment moment) {
  if (is_test) return;
  const std::unique_ptr<std::function<void()>> act(acts[moment].exchange(nullptr));
  if (act == nullptr) return;
  is_acting = true;
  (*act)();
  is_acting = false;
}

}  // namespace test::faults

void* operator new(std::size_t size) { return test::faults::allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return test::faults::allocate(size, std::size_t(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

// The linker's --wrap leads calls of NAME to __wrap_NAME. Not among them: fstat and
// close, which do not fail on a descriptor of ours.
#define ESHM_FAILING(result, name, parameters, arguments) \
  extern "C" result __real_##name parameters;             \
  extern "C" result __wrap_##name parameters {            \
    const int error = test::faults::error_now();          \
    if (error == 0) return __real_##name arguments;       \
    errno = error;                                        \
    return (result)-1;                                    \
  }

ESHM_FAILING(int, open, (const char* path, int flags, mode_t mode), (path, flags, mode))
ESHM_FAILING(int, lstat, (const char* path, struct stat* meta), (path, meta))
ESHM_FAILING(int, stat, (const char* path, struct stat* meta), (path, meta))
ESHM_FAILING(int, fchmod, (int fd, mode_t mode), (fd, mode))
ESHM_FAILING(void*, mmap, (void* at, size_t size, int protection, int flags, int fd, off_t offset),
             (at, size, protection, flags, fd, offset))
ESHM_FAILING(ssize_t, pread, (int fd, void* data, size_t size, off_t at), (fd, data, size, at))
ESHM_FAILING(ssize_t, pwrite, (int fd, const void* data, size_t size, off_t at), (fd, data, size, at))
ESHM_FAILING(int, madvise, (void* at, size_t size, int advice), (at, size, advice))
ESHM_FAILING(ssize_t, read, (int fd, void* data, size_t size), (fd, data, size))
ESHM_FAILING(int, linkat, (int from, const char* old_path, int to, const char* path, int flags),
             (from, old_path, to, path, flags))
ESHM_FAILING(int, rename, (const char* from, const char* to), (from, to))
ESHM_FAILING(int, unlink, (const char* path), (path))
ESHM_FAILING(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
ESHM_FAILING(int, statvfs, (const char* path, struct statvfs* space), (path, space))
ESHM_FAILING(int, shmget, (key_t key, size_t size, int flags), (key, size, flags))
ESHM_FAILING(void*, shmat, (int id, const void* at, int flags), (id, at, flags))
ESHM_FAILING(ssize_t, getrandom, (void* data, size_t size, unsigned flags), (data, size, flags))

// Of locks, which are taken and asked for, and of marks (F_SETSIG); giving a lock
// back does not fail.
extern "C" int __real_fcntl(int fd, int command, struct flock* range);
extern "C" int __wrap_fcntl(int fd, int command, struct flock* range) {
  const bool may_fail = command == F_OFD_GETLK || command == F_SETSIG ||
                        (command == F_OFD_SETLK && range->l_type == F_WRLCK);
  const int error = may_fail ? test::faults::error_now() : 0;
  if (command == F_OFD_GETLK) test::faults::act_at(test::faults::kBeforeALockProbe);
  if (error == 0) {
    const int answer = __real_fcntl(fd, command, range);
    if (command == F_OFD_GETLK) test::faults::act_at(test::faults::kAfterALockProbe);
    return answer;
  }
  errno = error;
  return -1;
}

// Answers its error, and does not set errno.
extern "C" int __real_posix_fallocate(int fd, off_t at, off_t size);
extern "C" int __wrap_posix_fallocate(int fd, off_t at, off_t size) {
  const int error = test::faults::error_now();
  return error != 0 ? error : __real_posix_fallocate(fd, at, size);
}
