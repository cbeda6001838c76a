// SPDX-License-Identifier: MIT
// From the caller's ESHMConfig to checked Settings.
#pragma once

#include "endpoint/failure.h"
#include "endpoint/settings.h"

namespace eshm::api {

endpoint::Failure settings_of(const ESHMConfig& config, endpoint::Settings& out);

}  // namespace eshm::api
