#include "os/fd.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

namespace eshm::os {
namespace {

struct OpenFile {
  uint64_t serial = 0;  // of its Fd; 0: this number is not the library's
  dev_t device = 0;
  ino_t inode = 0;
};

// Every descriptor of the library in this process, by its number. Constructed on
// first use and never destroyed: a thread may still close one while the process
// exits.
struct Registry {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  std::vector<OpenFile> files;
  uint64_t last_serial = 0;

  bool is_of(int number, uint64_t serial) const {
    return size_t(number) < files.size() && files[size_t(number)].serial == serial;
  }
  // Whether the number still means what was opened there.
  bool is_unchanged(int number) const {
    const OpenFile& file = files[size_t(number)];
    struct stat now;
    return fstat(number, &now) == 0 && now.st_dev == file.device && now.st_ino == file.inode;
  }
};

Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

void before_fork() { pthread_mutex_lock(&registry().mutex); }

void after_fork_in_parent() { pthread_mutex_unlock(&registry().mutex); }

void after_fork_in_child() {
  Registry& mine = registry();
  for (size_t number = 0; number < mine.files.size(); ++number) {
    const bool is_ours = mine.files[number].serial != 0 && mine.is_unchanged(int(number));
    if (is_ours) ::close(int(number));
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
    Registry& mine = registry();
    const int number = opener();
    if (number < 0) return errno;
    struct stat meta;
    if (fstat(number, &meta) != 0) {
      const int failure = errno;
      ::close(number);
      return failure;
    }
    try {
      if (mine.files.size() <= size_t(number)) mine.files.resize(size_t(number) + 1);
    } catch (const std::bad_alloc&) {
      ::close(number);
      throw;
    }
    fresh.number_ = number;
    fresh.serial_ = ++mine.last_serial;
    // If an Fd had this number, the application closed it.
    mine.files[size_t(number)] = {fresh.serial_, meta.st_dev, meta.st_ino};
  }
  out = std::move(fresh);
  return 0;
}

bool Fd::is_still_ours() const {
  if (!is_open()) return false;
  const RegistryLock lock;
  const Registry& mine = registry();
  return mine.is_of(number_, serial_) && mine.is_unchanged(number_);
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
  if (is_open()) {
    const RegistryLock lock;
    Registry& mine = registry();
    if (mine.is_of(number_, serial_)) mine.files[size_t(number_)] = {};
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
