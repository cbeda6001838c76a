// SPDX-License-Identifier: MIT
// Whether shared memory fits, asked before any of it is taken: the kernel kills processes
// where an allocation meets the limit of the machine's memory or of a control group.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eshm::os {

// What one limit still gives.
struct Room {
  uint64_t left = UINT64_MAX;
  uint64_t limit = UINT64_MAX;  // UINT64_MAX: there is none, or it cannot be read

  bool is_known() const { return limit != UINT64_MAX; }
};

// The room in /dev/shm. A file system without a size has no limit.
Room space_of_names();

// Shared memory that one process is about to take.
class MemoryNeed {
 public:
  // `in_files`: bytes of files in /dev/shm. `outside`: bytes of other shared memory.
  MemoryNeed(uint64_t in_files, uint64_t outside) : in_files_(in_files), outside_(outside) {}

  // Compares what is still to be taken, all but `taken` bytes of the files, with the
  // room that is left. Returns 0, ENOSPC (/dev/shm) or ENOMEM (the machine's memory, or
  // a control group). Looks at the memory only for needs above 1 MiB, and not again
  // before `taken` has grown by a part of the margin that is kept free.
  int check(uint64_t taken);

  // No limit is below the need: it fits once others have given memory back.
  bool may_fit_later() const;

  // "no room for 8192 bytes: /dev/shm has 4096 of 65536 bytes left, ...", with all
  // limits that can be read, as they are now.
  std::string describe_shortage();

 private:
  // A control group of this process that limits its memory.
  struct Group {
    std::string directory;  // with a slash at its end
    bool is_unified;        // version 2
    Room room;
  };

  uint64_t memory_bytes() const { return in_files_ + outside_; }
  uint64_t margin(const Room& room) const;
  bool is_short(const Room& room, uint64_t need) const;
  void look_at_memory();
  void find_groups();

  uint64_t in_files_;
  uint64_t outside_;
  Room memory_;             // of the machine, swap included
  uint64_t swap_left_ = 0;
  uint64_t swap_limit_ = 0;
  std::vector<Group> groups_;
  bool has_looked_ = false;
  uint64_t next_look_ = 0;  // value of `taken`
};

}  // namespace eshm::os
