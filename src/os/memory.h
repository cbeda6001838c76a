// SPDX-License-Identifier: MIT
// What an application may ask of the memory that it maps.
#pragma once

#include <cstddef>
#include <string>

namespace eshm::os {

// Keeps the range in memory. Returns 0 or the errno: ENOMEM or EPERM beyond
// RLIMIT_MEMLOCK.
int lock_memory(void* at, size_t bytes);
// Bytes that this process may lock, of all its memory.
unsigned long long lock_limit();

// Maps that many bytes, and unmaps them. Returns 0 or the errno.
int try_to_map(size_t bytes);
// Why mmap or shmat failed, as the end of a sentence: "cannot be mapped: ...", or the
// limit of locked memory that the mapping exceeds after mlockall(MCL_FUTURE).
std::string why_not_mapped(int error_number);

// Enters every page of the range into the page table now. Returns 0 or the errno.
int prefault(void* at, size_t bytes, bool writable);

// Bytes of a huge page of shared memory, or 0 where there are none.
size_t huge_page_bytes();

// Makes the whole huge pages that lie in the range huge pages now (Linux 6.1). They
// are other pages than before: whoever has the range mapped enters them anew. Their
// addresses and their places in the file have to agree: Mapping::map with
// huge_page_bytes(). Returns 0 or the errno: EINVAL from older kernels, and where
// transparent_hugepage/shmem_enabled is "deny"; ENOMEM where no memory is in one piece.
int make_huge_pages(void* at, size_t bytes);

}  // namespace eshm::os
