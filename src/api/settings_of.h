// SPDX-License-Identifier: MIT
// From the caller's ESHMConfig to checked Settings.
#pragma once

#include <string>

#include "endpoint/failure.h"
#include "endpoint/settings.h"

namespace eshm::api {

// `out`: the name without a leading '/'.
endpoint::Failure check_name(const char* name, std::string& out);

endpoint::Failure settings_of(const ESHMConfig& config, endpoint::Settings& out);

}  // namespace eshm::api
