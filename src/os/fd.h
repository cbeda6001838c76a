// Descriptors that survive an unkind host: a fork, and an application that
// closes what it did not open.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <utility>

namespace eshm::os {

// Counts the forks between this process and the one that loaded the library.
// Something made under another epoch belongs to a parent. One relaxed load.
extern std::atomic<uint32_t> fork_counter;
inline uint32_t fork_epoch() { return fork_counter.load(std::memory_order_relaxed); }

// From the first call on; before, there is nothing that a fork could spoil.
void count_forks();

// What was opened, and where.
struct OpenFile {
  int number = -1;
  uint64_t serial = 0;  // never given twice
  dev_t device = 0;
  ino_t inode = 0;

  // Whether the number still means that file. One system call.
  bool is_there() const;
};

// An owned descriptor.
//
// A forked child closes it before fork() returns there: a descriptor that the
// child kept would keep the parent's locks. An application may close it
// behind our back (close_range) and its number may then mean a file of the
// application's, or of another Fd: so it is compared with what was opened before
// it is closed.
class Fd {
 public:
  Fd() = default;
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept { swap(other); }
  Fd& operator=(Fd&& other) noexcept {
    swap(other);
    return *this;
  }

  // Calls `opener`, which answers a descriptor or -1 and errno, in one step
  // with its registration: no fork comes between. Returns 0 or the errno.
  static int open(const std::function<int()>& opener, Fd& out);

  int get() const { return file_.number; }
  bool is_open() const { return file_.number >= 0; }
  // False once the application closed it. One system call, no lock.
  bool is_still_ours() const;
  // Whether /proc calls it by a name with `kind` in it. Needs no descriptor.
  bool is_called(const char* kind) const;
  void reset();
  // Lets go of the number without closing it: it turned out to be a stranger's.
  void forget();

 private:
  void swap(Fd& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(owner_, other.owner_);
  }

  OpenFile file_;
  // The serial of the Fd that has this number now; lives as long as the process.
  std::atomic<uint64_t>* owner_ = nullptr;
};

}  // namespace eshm::os
