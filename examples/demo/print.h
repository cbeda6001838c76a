// SPDX-License-Identifier: MIT
// Lines for people, each flushed as it is written.
#ifndef ESHM_EXAMPLES_DEMO_PRINT_H
#define ESHM_EXAMPLES_DEMO_PRINT_H

namespace demo {

__attribute__((format(printf, 1, 2))) void print(const char* format, ...);

// Whatever reads the output is gone.
bool output_lost();

}  // namespace demo

#endif  // ESHM_EXAMPLES_DEMO_PRINT_H
