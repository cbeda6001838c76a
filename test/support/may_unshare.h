// SPDX-License-Identifier: MIT
// Namespaces of a test's own: whether the kernel, and who started us, allow them.
#pragma once

#include <sched.h>
#include <sys/mount.h>

#include "support/child.h"

namespace test {

inline bool may_unshare(int kind) {
  Child child([kind](Wire&) { return unshare(kind) == 0 ? 0 : 1; });
  return child.join() == 0;
}

// Into a mount namespace of this process's own, where it may mount something at /dev/shm
// that no other process sees. In a chroot "/" is often no mount point; then it is enough
// that the mount which holds /dev/shm is private.
inline bool enter_own_mounts() {
  if (unshare(CLONE_NEWNS) != 0) return false;
  for (const char* mounted : {"/", "/dev/shm", "/dev"}) {
    if (mount("none", mounted, nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) return true;
  }
  return false;
}

inline bool may_have_own_mounts() {
  Child child([](Wire&) { return enter_own_mounts() ? 0 : 1; });
  return child.join() == 0;
}

}  // namespace test
