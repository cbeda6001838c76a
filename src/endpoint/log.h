// SPDX-License-Identifier: MIT
// Passes log lines to the application's callback, if there is one.
#pragma once

#include <string>

#include "eshm_data.h"

namespace eshm::endpoint {

void set_log_callback(ESHMLogCallback callback, void* context);
bool is_heard();
// Calls the application: no lock of the library's may be held.
void log(ESHMLogLevel level, const std::string& text);

}  // namespace eshm::endpoint
