// SPDX-License-Identifier: MIT
// eshm: see, try and clean the links of this host.
#include "command_line.h"
#include "run.h"

int main(int count, char** arguments) {
  tool::handle_signals();
  return tool::finish(tool::run_command_line(count, arguments));
}
