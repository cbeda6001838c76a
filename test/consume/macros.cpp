// SPDX-License-Identifier: MIT
// Compiled with MACROS, the name of a header: included before eshm.hpp with BEFORE, else
// after it. Some of these macros break the standard library's headers, too, which are
// therefore included first.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

#ifdef BEFORE
#include MACROS
#endif
#include "eshm.hpp"
#ifndef BEFORE
#include MACROS
#endif
#include "eshm.h"

#ifndef Status
#error "Status is no macro any more"
#endif

struct Pose {
  double x, y;
};
ESHM_DESCRIBE(Pose, x, y);
static_assert(eshm::type_text<Pose> == "Pose{x:f64@0,y:f64@8}16");

// The functions themselves, though macros have their names.
bool use(eshm::Link& link);
bool use(eshm::Link& link) {
  eshm::Outcome sent = (link.write)(eshm::Bytes("x", 1), eshm::kNoWait);
  Status number = static_cast<int>(sent.code());
  eshm::Sender<Pose> sender;
  return sent.ok() && number == 0 && sender.link();
}
