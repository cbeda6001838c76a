// SPDX-License-Identifier: MIT
// Named shared memory: files of the tmpfs at /dev/shm.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "os/fd.h"
#include "os/memory_room.h"

namespace eshm::os {

// A mapping that unmaps itself. Moves, does not copy.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping() { reset(); }
  Mapping(Mapping&& other) noexcept : Mapping() { swap(other); }
  Mapping& operator=(Mapping&& other) noexcept {
    swap(other);
    return *this;
  }

  // `offset` is a multiple of the page size. Multiples of `alignment` (a power of
  // two) in the file come to lie at multiples of it in memory. Returns 0 or the errno.
  static int map(const Fd& file, uint64_t offset, size_t bytes, bool writable, Mapping& out,
                 size_t alignment = 1);

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  void reset();

 private:
  static int reserve(uint64_t offset, size_t bytes, size_t alignment, Mapping& out);
  void swap(Mapping& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

size_t page_bytes();

// Where the names are.
constexpr const char* kDirectory = "/dev/shm";

// While this stands, the calling thread calls `act` between two steps of what takes long
// for large memory: create_unnamed(), prefault(), lock_memory(), make_huge_pages(). If
// `act` answers false, that function ends with ECANCELED. An inner one hides an outer one.
class Meanwhile {
 public:
  // `after_signal`: a signal was served between these steps.
  using Act = bool (*)(void* with, bool after_signal);

  Meanwhile(Act act, void* with);
  ~Meanwhile();
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  static bool act(bool after_signal);

 private:
  const Act outer_;
  void* const outer_with_;
};
// Of what those do in one step.
constexpr uint64_t kLongStep = 16u << 20;

// "/dev/shm/eshm_<name>".
std::string object_path(const std::string& name);
// Where the successor of that object waits for its name: outside the eshm_
// name space, one a name, made and removed under the succession lock alone.
std::string successor_path(const std::string& name);

// A file in /dev/shm that has no name yet: of `bytes` bytes, all of them
// allocated (a full file system shows here, as ENOSPC, not as SIGBUS later)
// and zero, with exactly `mode`. Signals are served between two steps. `need` is
// checked before anything is taken, and between two steps.
// Returns 0 or the errno: ENOSPC and ENOMEM as MemoryNeed::check; ECANCELED as
// Meanwhile; EFBIG beyond RLIMIT_FSIZE; EOPNOTSUPP where /dev/shm is not a tmpfs.
int create_unnamed(size_t bytes, mode_t mode, MemoryNeed& need, Fd& out);

// Gives a file a name: an unnamed one, or one that has another name (not one that has
// lost its last name). EEXIST when there is one: nothing is replaced.
int link_file(const Fd& file, const std::string& path);
// How many names the file has.
nlink_t names_of(const Fd& file);

// Opens what is at the name, without following a link and without waiting for
// the other end of a FIFO. Returns 0 or the errno: ENOENT, ELOOP (a link)...
int open_named(const std::string& path, bool writable, Fd& out);

// Something has that name (a link does, whatever it points to).
bool exists(const std::string& path);

inline bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// The name means this file now.
bool names_file(const std::string& path, const struct stat& file);

int rename_over(const std::string& from, const std::string& to);
// EEXIST where `to` is something.
int rename_if_free(const std::string& from, const std::string& to);
// Each of two files gets the other's name. EINVAL where the file system cannot.
int exchange_names(const std::string& a, const std::string& b);
int unlink_name(const std::string& path);
// Gives the pages of a range back to the system; readers see zeros.
int punch_hole(const Fd& file, uint64_t offset, uint64_t bytes);

// Adds the names of everything in /dev/shm. Returns 0 or the errno.
int list_names(std::vector<std::string>& out);
// The link whose object has that file name, or "".
std::string link_of_object(const std::string& file_name);
// The link whose successor has that file name, or "".
std::string link_of_successor(const std::string& file_name);

// Which file it is, whatever its name.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
};
inline bool operator==(const FileId& a, const FileId& b) {
  return a.device == b.device && a.inode == b.inode;
}
// Which directory /dev/shm is for this process: another one after a chroot or a mount.
FileId names_directory();

}  // namespace eshm::os
