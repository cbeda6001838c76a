// SPDX-License-Identifier: MIT
// Waiting for the first of many handles that has something to read.
#pragma once

#include <cstddef>
#include <cstdint>

#include "endpoint/incoming_path.h"

namespace eshm::endpoint {

// The index of one that is ready (see IncomingPath::is_ready), or NO_DATA,
// TIMEOUT, INTERRUPTED. None is null; at most ESHM_MAX_WAIT.
int wait_any(IncomingPath* const* handles, size_t count, uint32_t timeout_ms);

}  // namespace eshm::endpoint
