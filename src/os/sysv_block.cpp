// SPDX-License-Identifier: MIT
#include "os/sysv_block.h"

#include <signal.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "os/shm_object.h"

namespace eshm::os {
namespace {

// How many other keys are tried when a stranger has the first.
constexpr uint32_t kKeyAttempts = 8;

key_t key_of(const std::string& text, uint32_t attempt) {
  uint32_t hash = 2166136261u ^ (attempt * 0x9e3779b9u);  // FNV-1a
  for (const unsigned char byte : text) hash = (hash ^ byte) * 16777619u;
  return key_t(hash == 0 ? 1 : hash);  // 0 is IPC_PRIVATE
}

bool is_abandoned(const shmid_ds& state) {
  const bool maker_is_gone = kill(state.shm_cpid, 0) != 0 && errno == ESRCH;
  return state.shm_nattch == 0 && state.shm_perm.uid == geteuid() && maker_is_gone;
}

// Its maker did not live to write the first line.
bool is_unused(int id, size_t bytes) {
  void* const at = shmat(id, nullptr, SHM_RDONLY);
  if (at == reinterpret_cast<void*>(-1)) return false;
  const char* const first = static_cast<const char*>(at);
  const bool is_zero =
      std::all_of(first, first + std::min<size_t>(bytes, 64), [](char c) { return c == 0; });
  shmdt(at);
  return is_zero;
}

// A segment of this key that its maker did not live to attach: nobody is
// attached, it is ours, its maker is gone and it has the size of what is being
// made. Anything else may be a stranger's and stays.
void remove_leftover(key_t key, size_t bytes) {
  const int id = shmget(key, 0, 0);
  shmid_ds state;
  if (id < 0 || shmctl(id, IPC_STAT, &state) != 0) return;
  if (state.shm_segsz == bytes && is_abandoned(state)) shmctl(id, IPC_RMID, nullptr);
}

int make(const std::string& key_text, size_t bytes, int flags) {
  for (uint32_t attempt = 0; attempt < kKeyAttempts; ++attempt) {
    const key_t key = key_of(key_text, attempt);
    for (int tries = 0; tries < 2; ++tries) {
      const int id = shmget(key, bytes, flags | IPC_CREAT | IPC_EXCL);
      if (id >= 0 || errno != EEXIST) return id;
      remove_leftover(key, bytes);
    }
  }
  return shmget(IPC_PRIVATE, bytes, flags);
}

struct Limits {
  shminfo most = {};
  shm_info used = {};
  bool are_known = false;
};

// Those of this IPC namespace.
Limits limits() {
  Limits limits;
  limits.are_known = shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&limits.most)) >= 0 &&
                     shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&limits.used)) >= 0;
  return limits;
}

uint64_t pages_of(size_t bytes) { return (uint64_t(bytes) + page_bytes() - 1) / page_bytes(); }

}  // namespace

int sysv_limits(size_t first_bytes, size_t second_bytes) {
  const Limits now = limits();
  if (!now.are_known) return 0;
  if (first_bytes > now.most.shmmax || second_bytes > now.most.shmmax) return EINVAL;
  const uint64_t pages_left =
      now.most.shmall > now.used.shm_tot ? now.most.shmall - now.used.shm_tot : 0;
  const bool is_short = pages_of(first_bytes) + pages_of(second_bytes) > pages_left;
  return is_short || uint64_t(now.used.used_ids) + 2 > now.most.shmmni ? ENOSPC : 0;
}

bool sysv_may_fit_later(size_t first_bytes, size_t second_bytes) {
  const Limits now = limits();
  return !now.are_known || pages_of(first_bytes) + pages_of(second_bytes) <= now.most.shmall;
}

std::string why_not_made(int error_number) {
  const Limits now = limits();
  if (now.are_known && error_number == EINVAL) {
    return "kernel.shmmax is " + std::to_string(now.most.shmmax) + " bytes";
  }
  if (now.are_known && error_number == ENOSPC) {
    return "kernel.shmall is " + std::to_string(now.most.shmall) + " pages of " +
           std::to_string(page_bytes()) + " bytes, " + std::to_string(now.used.shm_tot) +
           " are taken; kernel.shmmni is " + std::to_string(now.most.shmmni) + " segments, " +
           std::to_string(now.used.used_ids) + " are there";
  }
  return std::strerror(error_number);
}

int SysvBlock::create(const std::string& key_text, size_t bytes, mode_t mode, bool huge_pages,
                      SysvBlock& out) {
  const int id = make(key_text, bytes, int(mode & 0777) | (huge_pages ? SHM_HUGETLB : 0));
  if (id < 0) return errno;
  SysvBlock block;
  block.id_ = id;
  void* const at = shmat(id, nullptr, 0);
  const int failure = at == reinterpret_cast<void*>(-1) ? errno : 0;
  shmctl(id, IPC_RMID, nullptr);
  if (failure != 0) return failure;
  block.data_ = static_cast<std::byte*>(at);
  out = std::move(block);
  return 0;
}

int SysvBlock::attach(int id, size_t bytes, uid_t owner, bool writable, SysvBlock& out) {
  void* const at = shmat(id, nullptr, writable ? 0 : SHM_RDONLY);
  if (at == reinterpret_cast<void*>(-1)) return errno;
  SysvBlock block;
  block.id_ = id;
  block.data_ = static_cast<std::byte*>(at);
  // Attached first: from now on the id cannot come to mean another segment.
  shmid_ds state;
  if (shmctl(id, IPC_STAT, &state) != 0) return errno;
  if (state.shm_segsz != bytes) return EINVAL;
  if (state.shm_perm.uid != owner) return EACCES;
  out = std::move(block);
  return 0;
}

int SysvBlock::remove_leftovers(const std::string& key_text) {
  int removed = 0;
  for (uint32_t attempt = 0; attempt < kKeyAttempts; ++attempt) {
    const int id = shmget(key_of(key_text, attempt), 0, 0);
    shmid_ds state;
    if (id < 0 || shmctl(id, IPC_STAT, &state) != 0) continue;
    if (!is_abandoned(state) || !is_unused(id, state.shm_segsz)) continue;
    removed += shmctl(id, IPC_RMID, nullptr) == 0;
  }
  return removed;
}

void SysvBlock::reset() {
  if (data_ != nullptr) shmdt(data_);
  data_ = nullptr;
  id_ = -1;
}

}  // namespace eshm::os
