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
  // Returns 0 or the errno: ENOSPC/EINVAL at the limits of kernel.shm*, ENOMEM.
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

}  // namespace eshm::os
