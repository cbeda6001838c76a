// SPDX-License-Identifier: MIT
// System V shared memory: an area without a name, reached by its id.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace eshm::os {

// An attached System V segment that detaches itself.
class SysvBlock {
 public:
  SysvBlock() = default;
  ~SysvBlock() { reset(); }
  SysvBlock(SysvBlock&& other) noexcept : SysvBlock() { swap(other); }
  SysvBlock& operator=(SysvBlock&& other) noexcept {
    swap(other);
    return *this;
  }

  // Makes and attaches a segment and marks it for removal at once: the last
  // death then removes it, and on Linux others can still attach it by its id.
  // Its key is derived from `key_text`, so that what a process killed between
  // making and marking left behind is found and removed here, by the next one.
  // Returns 0 or the errno: ENOSPC/EINVAL at the limits of kernel.shm*, ENOMEM;
  // why_not_made() tells which.
  // With `huge_pages` also EPERM (hugetlb_shm_group), and ENOMEM where the
  // system has not set enough of them aside (vm.nr_hugepages).
  static int create(const std::string& key_text, size_t bytes, mode_t mode, bool huge_pages,
                    SysvBlock& out);

  // Attaches an existing segment that must have this size and owner.
  // Returns 0 or the errno; EINVAL for another size, EACCES for another owner.
  static int attach(int id, size_t bytes, uid_t owner, bool writable, SysvBlock& out);

  // Removes what processes killed between making and marking left behind under keys of
  // `key_text`: all zero, nobody attached, our own, the maker gone. Anything else may be a
  // stranger's. Returns how many there were.
  static int remove_leftovers(const std::string& key_text);

  std::byte* data() const { return data_; }
  int id() const { return id_; }
  void reset();

 private:
  void swap(SysvBlock& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(id_, other.id_);
  }
  std::byte* data_ = nullptr;
  int id_ = -1;
};

// Whether the kernel's limits (kernel.shmmax, shmall, shmmni) let two segments of these
// sizes be made: 0, or what shmget would answer.
int sysv_limits(size_t first_bytes, size_t second_bytes);
// kernel.shmall is not below the sum.
bool sysv_may_fit_later(size_t first_bytes, size_t second_bytes);
// The limit that shmget met, as the end of a sentence.
std::string why_not_made(int error_number);

}  // namespace eshm::os
