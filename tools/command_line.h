// SPDX-License-Identifier: MIT
// What may be written behind `eshm`, and which command that means.
#pragma once

namespace tool {

// An exit code. Of a command that is not known here, `eshm-NAME` is run from the PATH.
int run_command_line(int count, char** arguments);

}  // namespace tool
