// SPDX-License-Identifier: MIT
#include "os/shm_object.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "os/process.h"

namespace eshm::os {
namespace {

constexpr const char* kObjectPrefix = "eshm_";
constexpr const char* kSuccessorPrefix = ".eshm-next_";
constexpr uint64_t kAllocationStep = 1u << 20;
// RENAME_NOREPLACE and RENAME_EXCHANGE of <linux/fs.h>.
constexpr unsigned kNoReplace = 1 << 0;
constexpr unsigned kExchange = 1 << 1;

// musl before 1.2.6 has no renameat2.
int rename_with(const std::string& from, const std::string& to, unsigned flags) {
  return syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0 ? 0
                                                                                         : errno;
}

thread_local Meanwhile::Act meanwhile = nullptr;
thread_local void* meanwhile_with = nullptr;

// Beyond the limit the kernel would send SIGXFSZ, which kills.
bool exceeds_file_limit(uint64_t bytes) {
  rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
         bytes > limit.rlim_cur;
}

// Older kernels begin again at each signal, so signals are blocked in a step.
int allocate_step(int fd, uint64_t at, uint64_t bytes, bool& signal_waits) {
  const ScopedSignalBlock no_signals;
  int failure;
  do {
    failure = posix_fallocate(fd, off_t(at), off_t(bytes));
  } while (failure == EINTR);
  signal_waits = no_signals.holds_one_back();
  return failure;
}

int allocate(int fd, uint64_t bytes, MemoryNeed& need) {
  for (uint64_t at = 0; at < bytes; at += kAllocationStep) {
    const uint64_t step = std::min(kAllocationStep, bytes - at);
    bool after_signal = false;
    int failure = allocate_step(fd, at, step, after_signal);
    if (failure != 0) return failure;
    if (!Meanwhile::act(after_signal)) return ECANCELED;
    const uint64_t taken = at + step;
    if (taken < bytes) failure = need.check(taken);
    if (failure != 0) return failure;
  }
  return 0;
}

}  // namespace

Meanwhile::Meanwhile(Act act, void* with) : outer_(meanwhile), outer_with_(meanwhile_with) {
  meanwhile = act;
  meanwhile_with = with;
}

Meanwhile::~Meanwhile() {
  meanwhile = outer_;
  meanwhile_with = outer_with_;
}

bool Meanwhile::act(bool after_signal) {
  return meanwhile == nullptr || meanwhile(meanwhile_with, after_signal);
}

int Mapping::map(const Fd& file, uint64_t offset, size_t bytes, bool writable, Mapping& out,
                 size_t alignment) {
  Mapping mapping;
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  int flags = MAP_SHARED;
  if (alignment > page_bytes()) {
    if (const int failure = reserve(offset, bytes, alignment, mapping)) return failure;
    flags |= MAP_FIXED;  // over the room that is reserved
  }
  void* const at = mmap(mapping.data_, bytes, protection, flags, file.get(), off_t(offset));
  if (at == MAP_FAILED) return errno;
  mapping.data_ = static_cast<std::byte*>(at);
  mapping.size_ = bytes;
  out = std::move(mapping);
  return 0;
}

// Room in the address space that begins as far behind a multiple of `alignment`
// as `offset` does.
int Mapping::reserve(uint64_t offset, size_t bytes, size_t alignment, Mapping& out) {
  const size_t all = bytes + alignment;
  void* const begin = mmap(nullptr, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (begin == MAP_FAILED) return errno;
  const size_t before = size_t(offset - reinterpret_cast<uintptr_t>(begin)) & (alignment - 1);
  const size_t kept = (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
  out.reset();
  out.data_ = static_cast<std::byte*>(begin) + before;
  out.size_ = bytes;
  if (before > 0) munmap(begin, before);
  munmap(out.data_ + kept, all - before - kept);
  return 0;
}

void Mapping::reset() {
  if (data_ != nullptr) munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

size_t page_bytes() {
  static const size_t bytes = size_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

std::string object_path(const std::string& name) {
  return std::string(kDirectory) + "/" + kObjectPrefix + name;
}

std::string successor_path(const std::string& name) {
  return std::string(kDirectory) + "/" + kSuccessorPrefix + name;
}

int create_unnamed(size_t bytes, mode_t mode, MemoryNeed& need, Fd& out) {
  if (exceeds_file_limit(bytes)) return EFBIG;
  int failure = need.check(0);
  if (failure != 0) return failure;
  Fd file;
  failure = Fd::open(
      [&] { return ::open(kDirectory, O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 0777); }, file);
  if (failure != 0) return failure;
  if (fchmod(file.get(), mode & 0777) != 0) return errno;  // the umask has no say
  failure = allocate(file.get(), bytes, need);
  if (failure != 0) return failure;
  out = std::move(file);
  return 0;
}

int link_file(const Fd& file, const std::string& path) {
  char source[32];
  snprintf(source, sizeof source, "/proc/self/fd/%d", file.get());
  return linkat(AT_FDCWD, source, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
}

nlink_t names_of(const Fd& file) {
  struct stat meta;
  return fstat(file.get(), &meta) == 0 ? meta.st_nlink : 0;
}

int open_named(const std::string& path, bool writable, Fd& out) {
  const int flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  return Fd::open([&] { return ::open(path.c_str(), flags); }, out);
}

bool exists(const std::string& path) {
  struct stat named;
  return lstat(path.c_str(), &named) == 0;
}

bool names_file(const std::string& path, const struct stat& file) {
  struct stat named;
  return lstat(path.c_str(), &named) == 0 && is_same_file(named, file);
}

int rename_over(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

int rename_if_free(const std::string& from, const std::string& to) {
  return rename_with(from, to, kNoReplace);
}

int exchange_names(const std::string& a, const std::string& b) {
  return rename_with(a, b, kExchange);
}

int unlink_name(const std::string& path) { return ::unlink(path.c_str()) == 0 ? 0 : errno; }

int punch_hole(const Fd& file, uint64_t offset, uint64_t bytes) {
  return fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t(offset),
                   off_t(bytes)) == 0
             ? 0
             : errno;
}

namespace {

std::string without_prefix(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0 ? text.substr(prefix.size()) : "";
}

}  // namespace

int list_names(std::vector<std::string>& out) {
  Fd directory;
  const int failure =
      Fd::open([] { return ::open(kDirectory, O_RDONLY | O_DIRECTORY | O_CLOEXEC); }, directory);
  if (failure != 0) return failure;
  alignas(8) char entries[32768];
  for (;;) {
    const long bytes = syscall(SYS_getdents64, directory.get(), entries, sizeof entries);
    if (bytes < 0) return errno;
    if (bytes == 0) return 0;
    for (long at = 0; at < bytes;) {
      // On 64-bit Linux the C library's struct has the kernel's layout.
      const auto* const entry = reinterpret_cast<const dirent*>(entries + at);
      out.push_back(entry->d_name);
      at += entry->d_reclen;
    }
  }
}

std::string link_of_object(const std::string& file_name) {
  return without_prefix(file_name, kObjectPrefix);
}

std::string link_of_successor(const std::string& file_name) {
  return without_prefix(file_name, kSuccessorPrefix);
}

FileId names_directory() {
  struct stat meta;
  if (stat(kDirectory, &meta) != 0) return {};
  return {meta.st_dev, meta.st_ino};
}

}  // namespace eshm::os
