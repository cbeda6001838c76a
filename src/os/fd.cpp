#include "os/fd.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace eshm::os {
namespace {

struct OpenFile {
  int number;
  dev_t device;
  ino_t inode;
};

bool refers_to(int number, dev_t device, ino_t inode) {
  struct stat now;
  return fstat(number, &now) == 0 && now.st_dev == device && now.st_ino == inode;
}

// Every descriptor of the library in this process. Constructed on first use
// and never destroyed: a thread may still close one while the process exits.
struct Registry {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  std::vector<OpenFile> files;
};

Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

void before_fork() { pthread_mutex_lock(&registry().mutex); }

void after_fork_in_parent() { pthread_mutex_unlock(&registry().mutex); }

void after_fork_in_child() {
  Registry& mine = registry();
  for (const OpenFile& file : mine.files) {
    if (refers_to(file.number, file.device, file.inode)) ::close(file.number);
  }
  mine.files.clear();
  // Only this thread came along, and it holds the mutex.
  pthread_mutex_unlock(&mine.mutex);
  fork_counter.fetch_add(1, std::memory_order_relaxed);
}

class RegistryLock {
 public:
  RegistryLock() { pthread_mutex_lock(&registry().mutex); }
  ~RegistryLock() { pthread_mutex_unlock(&registry().mutex); }
};

}  // namespace

std::atomic<uint32_t> fork_counter{1};

void count_forks() {
  static const int once = [] {
    registry();
    return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  }();
  (void)once;
}

int Fd::open(const std::function<int()>& opener, Fd& out) {
  count_forks();
  Fd fresh;
  {
    const RegistryLock lock;
    auto& files = registry().files;
    files.reserve(files.size() + 1);  // without memory nothing is opened
    const int number = opener();
    if (number < 0) return errno;
    struct stat meta;
    if (fstat(number, &meta) != 0) {
      const int failure = errno;
      ::close(number);
      return failure;
    }
    fresh.number_ = number;
    fresh.device_ = meta.st_dev;
    fresh.inode_ = meta.st_ino;
    fresh.epoch_ = fork_epoch();
    files.push_back({number, meta.st_dev, meta.st_ino});
  }
  out = std::move(fresh);
  return 0;
}

bool Fd::is_still_ours() const {
  return is_open() && epoch_ == fork_epoch() && refers_to(number_, device_, inode_);
}

bool Fd::is_called(const char* kind) const {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", number_);
  char name[64];
  const ssize_t length = readlink(path, name, sizeof name - 1);
  if (length <= 0) return false;
  name[length] = 0;
  return std::strstr(name, kind) != nullptr;
}

void Fd::forget() {
  if (is_open() && epoch_ == fork_epoch()) {  // else the at-fork handler has closed it
    const RegistryLock lock;
    auto& files = registry().files;
    for (auto file = files.begin(); file != files.end(); ++file) {
      if (file->number != number_ || file->inode != inode_) continue;
      *file = files.back();
      files.pop_back();
      break;
    }
  }
  number_ = -1;
}

void Fd::reset() {
  const int number = number_;
  const bool must_close = is_still_ours();
  forget();
  if (must_close) ::close(number);
}

}  // namespace eshm::os
