// Namespaces of a test's own: whether the kernel, and who started us, allow them.
#pragma once

#include <sched.h>

#include "support/child.h"

namespace test {

inline bool may_unshare(int kind) {
  Child child([kind](Wire&) { return unshare(kind) == 0 ? 0 : 1; });
  return child.join() == 0;
}

}  // namespace test
