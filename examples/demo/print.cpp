// SPDX-License-Identifier: MIT
#include "demo/print.h"

#include <cstdarg>
#include <cstdio>

namespace demo {
namespace {
bool lost = false;
}

void print(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const bool written = std::vprintf(format, arguments) >= 0;
  va_end(arguments);
  if (!written || std::putchar('\n') == EOF || std::fflush(stdout) == EOF) lost = true;
}

bool output_lost() { return lost; }

}  // namespace demo
