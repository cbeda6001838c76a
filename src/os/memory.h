// What an application may ask of the memory that it maps.
#pragma once

#include <cstddef>

namespace eshm::os {

// Keeps the range in memory. Returns 0 or the errno: ENOMEM or EPERM beyond
// RLIMIT_MEMLOCK.
int lock_memory(void* at, size_t bytes);
// Bytes that this process may lock, of all its memory.
unsigned long long lock_limit();

// Enters every page of the range into the page table now. Returns 0 or the errno.
int prefault(void* at, size_t bytes, bool writable);

// Asks for huge pages in a mapping of /dev/shm. EOPNOTSUPP where the system
// gives none (transparent_hugepage/shmem_enabled), else 0 or the errno.
int advise_huge_pages(void* at, size_t bytes);

}  // namespace eshm::os
