// SPDX-License-Identifier: MIT
// Descriptors that survive an unkind host: a fork, and an application that
// closes what it did not open.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace eshm::os {

// Counts the forks between this process and the one that loaded the library.
// Something made under another epoch belongs to a parent. One relaxed load.
extern std::atomic<uint32_t> fork_counter;
inline uint32_t fork_epoch() { return fork_counter.load(std::memory_order_relaxed); }

// From the first call on; before, there is nothing that a fork could spoil.
void count_forks();

// An owned descriptor.
//
// A forked child closes it before fork() returns there: a descriptor that the
// child kept would keep the parent's locks.
//
// An application may close what it did not open (close_range), and the number may
// then mean a file of the application's or another Fd's. So nothing is closed that
// is not what was opened. Two cases cannot be told apart: the application opened
// the same regular file at that number, or a second copy of this library in the
// process opened an eventfd, inotify or pidfd there.
class Fd {
 public:
  Fd();
  ~Fd();
  Fd(Fd&& other) noexcept;
  Fd& operator=(Fd&& other) noexcept;

  // Calls `opener`, which answers a descriptor or -1 and errno, in one step
  // with its registration: no fork comes between. Returns 0 or the errno.
  static int open(const std::function<int()>& opener, Fd& out);

  int get() const;
  bool is_open() const { return record_ != nullptr; }
  // False once the application closed it. One system call, no lock.
  bool is_still_ours() const;
  // Closes it if it is still ours.
  void reset();

 private:
  struct Record;
  struct Registry;
  friend void count_forks();  // the handlers are the registry's

  std::unique_ptr<Record> record_;
};

}  // namespace eshm::os
