#include "os/word_lock.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "os/cpu.h"

namespace eshm::os {
namespace {

constexpr int kSpins = 100;
// Without membarrier a wake may be lost; no sleep is longer then.
constexpr uint64_t kBlindSleepNs = kNsPerMs;

int membarrier(int command) { return int(syscall(SYS_membarrier, command, 0, 0)); }

// Every thread of this process has executed a full fence when this returns
// true. False on a kernel without it (before 4.14), or where it is forbidden.
bool fence_all_threads() {
  if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) return true;
  if (errno != EPERM) return false;  // EPERM: the process has not registered yet
  return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
         membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

}  // namespace

// The holder stores `free`, then looks for sleepers, without a fence between.
// After the barrier here either that store is visible, and the lock is taken,
// or the holder has not looked yet and will see this sleeper.
void WordLock::lock_contended() {
  for (int spin = 0; spin < kSpins; ++spin) {
    relax();
    if (word_.load(std::memory_order_relaxed) == kFree && try_lock()) return;
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  const bool is_fenced = fence_all_threads();
  while (!try_lock()) {
    futex_wait(word_, kHeld, is_fenced ? Deadline::never() : Deadline::after_ns(kBlindSleepNs),
               false);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace eshm::os
