// SPDX-License-Identifier: MIT
#ifndef ESHM_EXAMPLES_DEMO_OPTIONS_H
#define ESHM_EXAMPLES_DEMO_OPTIONS_H

#include <cstdint>
#include <string>

#include "eshm.h"

namespace demo {

struct Options {
  ESHMRole role = ESHM_ROLE_AUTO;
  std::string name = "eshm_demo";
  ESHMBackend backend = ESHM_BACKEND_POSIX;
  ESHMDelivery delivery = ESHM_DELIVERY_LATEST;
  uint64_t messages = 0;  // master: to send, slave: to receive; 0: no limit
  uint64_t seconds = 0;   // 0: no limit
  uint64_t interval_ms = 100;
};

enum class Parsed { kRun, kHelp, kWrong };

// Says on stderr what is wrong.
Parsed parse_options(int argc, char** argv, Options* options);

extern const char kUsage[];

}  // namespace demo

#endif  // ESHM_EXAMPLES_DEMO_OPTIONS_H
