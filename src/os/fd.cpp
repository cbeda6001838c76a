#include "os/fd.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <deque>
#include <new>

namespace eshm::os {

namespace {

// Every descriptor of the library in this process, by its number. Constructed on
// first use and never destroyed: a thread may still close one while the process
// exits.
struct Registry {
  struct Entry {
    // Of the Fd that has the number; 0: none has. Stored under the mutex, loaded
    // without it: an Fd that finds another's serial has lost its number.
    std::atomic<uint64_t> owner{0};
    OpenFile file;  // for whoever has the mutex
  };
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  std::deque<Entry> entries;  // they never move
  uint64_t last_serial = 0;
};

Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

void before_fork() { pthread_mutex_lock(&registry().mutex); }

void after_fork_in_parent() { pthread_mutex_unlock(&registry().mutex); }

void after_fork_in_child() {
  Registry& mine = registry();
  for (Registry::Entry& entry : mine.entries) {
    if (entry.owner.exchange(0, std::memory_order_relaxed) == 0) continue;
    if (entry.file.is_there()) ::close(entry.file.number);
  }
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

bool OpenFile::is_there() const {
  struct stat now;
  return fstat(number, &now) == 0 && now.st_dev == device && now.st_ino == inode;
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
      while (mine.entries.size() <= size_t(number)) mine.entries.emplace_back();
    } catch (const std::bad_alloc&) {
      ::close(number);
      throw;
    }
    Registry::Entry& entry = mine.entries[size_t(number)];
    entry.file = {number, ++mine.last_serial, meta.st_dev, meta.st_ino};
    // If an Fd had this number, the application closed it.
    entry.owner.store(entry.file.serial, std::memory_order_relaxed);
    fresh.file_ = entry.file;
    fresh.owner_ = &entry.owner;
  }
  out = std::move(fresh);
  return 0;
}

bool Fd::is_still_ours() const {
  return is_open() && owner_->load(std::memory_order_relaxed) == file_.serial && file_.is_there();
}

bool Fd::is_called(const char* kind) const {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", file_.number);
  char name[64];
  const ssize_t length = readlink(path, name, sizeof name - 1);
  if (length <= 0) return false;
  name[length] = 0;
  return std::strstr(name, kind) != nullptr;
}

void Fd::forget() {
  if (is_open()) {
    const RegistryLock lock;
    uint64_t own = file_.serial;
    owner_->compare_exchange_strong(own, 0, std::memory_order_relaxed);
  }
  file_.number = -1;
}

// Closed first: a child that is forked in between must not keep it, and with it the
// lock of a role.
void Fd::reset() {
  if (is_still_ours()) ::close(file_.number);
  forget();
}

}  // namespace eshm::os
