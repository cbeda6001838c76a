// SPDX-License-Identifier: MIT
#include "os/fd.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <new>

#include "os/thread_id.h"

namespace eshm::os {

namespace {

// A signal number by which an open file description is known as ours. No signal is sent
// without O_ASYNC, which is never set. Of any other description F_GETSIG returns 0, or
// what its owner chose for I/O signals.
constexpr int kSignature = 61;

}  // namespace

// A descriptor as it was opened. Lives as long as its Fd.
//
// A regular file is recognized by its inode. All eventfds, inotify instances and,
// before Linux 6.9, pidfds have one inode in common, so these are signed.
struct Fd::Record {
  const int number;
  bool is_signed = false;
  dev_t device = 0;
  ino_t inode = 0;
  // The number was registered again: the application had closed it. Stored under
  // the registry's mutex, loaded without it.
  std::atomic<bool> is_lost{false};

  // Returns 0 or the errno.
  int identify() {
    struct stat meta;
    if (fstat(number, &meta) != 0) return errno;
    device = meta.st_dev;
    inode = meta.st_ino;
    is_signed = (meta.st_mode & S_IFMT) == 0;  // no type: it has no inode of its own
    return is_signed && fcntl(number, F_SETSIG, kSignature) != 0 ? errno : 0;
  }

  // Whether the number still means that file. One system call.
  bool is_there() const {
    if (is_signed) return fcntl(number, F_GETSIG) == kSignature;
    struct stat now;
    return fstat(number, &now) == 0 && now.st_dev == device && now.st_ino == inode;
  }
};

// The library's descriptors in this process, by number. Constructed on first use
// and never destroyed: a thread may still close one while the process exits.
struct Fd::Registry {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  std::map<int, Record*> records;

  static Registry& instance() {
    static Registry* const registry = new Registry;
    return *registry;
  }

  class Lock {
   public:
    Lock() { pthread_mutex_lock(&instance().mutex); }
    ~Lock() { pthread_mutex_unlock(&instance().mutex); }
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
  };

  static void before_fork() { pthread_mutex_lock(&instance().mutex); }
  static void after_fork_in_parent() { pthread_mutex_unlock(&instance().mutex); }

  // Allocates and frees nothing, as a forked child of a threaded process must. So a
  // record stays here until its Fd ends or the number is registered again.
  static void after_fork_in_child() {
    Registry& mine = instance();
    for (const auto& [number, record] : mine.records) {
      const bool was_lost = record->is_lost.exchange(true, std::memory_order_relaxed);
      if (!was_lost && record->is_there()) ::close(number);
    }
    // The child has this thread only, and it holds the mutex.
    pthread_mutex_unlock(&mine.mutex);
    fork_counter.fetch_add(1, std::memory_order_relaxed);
    forget_thread_id();
  }
};

std::atomic<uint32_t> fork_counter{1};

void count_forks() {
  static const int once = [] {
    Fd::Registry::instance();
    return pthread_atfork(Fd::Registry::before_fork, Fd::Registry::after_fork_in_parent,
                          Fd::Registry::after_fork_in_child);
  }();
  (void)once;
}

Fd::Fd() = default;
Fd::~Fd() { reset(); }
Fd::Fd(Fd&& other) noexcept = default;
Fd& Fd::operator=(Fd&& other) noexcept {
  record_.swap(other.record_);
  return *this;
}

int Fd::open(const std::function<int()>& opener, Fd& out) {
  count_forks();
  Fd fresh;
  {
    const Registry::Lock lock;
    const int number = opener();
    if (number < 0) return errno;
    try {
      auto record = std::unique_ptr<Record>(new Record{number});
      if (const int failure = record->identify()) {
        ::close(number);
        return failure;
      }
      Record*& known = Registry::instance().records[number];
      if (known != nullptr) known->is_lost.store(true, std::memory_order_relaxed);
      known = record.get();
      fresh.record_ = std::move(record);
    } catch (const std::bad_alloc&) {
      ::close(number);
      throw;
    }
  }
  out = std::move(fresh);
  return 0;
}

int Fd::get() const { return is_open() ? record_->number : -1; }

bool Fd::is_still_ours() const {
  return is_open() && !record_->is_lost.load(std::memory_order_relaxed) && record_->is_there();
}

// Closed first: a child that is forked in between must not keep it, and with it the
// lock of a role.
void Fd::reset() {
  if (!is_open()) return;
  if (is_still_ours()) ::close(record_->number);
  {
    const Registry::Lock lock;
    auto& records = Registry::instance().records;
    const auto found = records.find(record_->number);
    if (found != records.end() && found->second == record_.get()) records.erase(found);
  }
  record_.reset();
}

}  // namespace eshm::os
