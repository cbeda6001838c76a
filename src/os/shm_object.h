// Named shared memory: files of the tmpfs at /dev/shm.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "os/fd.h"

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

// "/dev/shm/eshm_<name>".
std::string object_path(const std::string& name);
// Where the successor of that object waits for its name: outside the eshm_
// name space, one a name, made and removed under the succession lock alone.
std::string successor_path(const std::string& name);

// A file in /dev/shm that has no name yet: of `bytes` bytes, all of them
// allocated (a full file system shows here, as ENOSPC, not as SIGBUS later)
// and zero, with exactly `mode`. Returns 0 or the errno: ENOSPC; EFBIG beyond
// RLIMIT_FSIZE; EOPNOTSUPP where /dev/shm is not a tmpfs.
int create_unnamed(size_t bytes, mode_t mode, Fd& out);

// Gives an unnamed file its name. EEXIST when there is one: nothing is replaced.
int link_unnamed(const Fd& file, const std::string& path);

// Opens what is at the name, without following a link and without waiting for
// the other end of a FIFO. Returns 0 or the errno: ENOENT, ELOOP (a link)...
int open_named(const std::string& path, bool writable, Fd& out);

// Something has that name (a link does, whatever it points to).
bool exists(const std::string& path);

// The name means this file now.
bool names_file(const std::string& path, const struct stat& file);

int rename_over(const std::string& from, const std::string& to);
int unlink_name(const std::string& path);
// Gives the pages of a range back to the system; readers see zeros.
int punch_hole(const Fd& file, uint64_t offset, uint64_t bytes);

// Bytes free in /dev/shm.
uint64_t space_left();

}  // namespace eshm::os
