// SPDX-License-Identifier: MIT
// Removing a link from outside.
#pragma once

#include <string>

#include "endpoint/failure.h"

namespace eshm::endpoint {

// Removes the name of a link that no process has a role in, with `force` of any; and what
// killed processes left. `name` is one that a link can have.
Failure remove_link(const std::string& name, bool force);

}  // namespace eshm::endpoint
