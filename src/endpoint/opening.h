// SPDX-License-Identifier: MIT
// How eshm_init waits for a role.
#pragma once

#include <memory>

#include "endpoint/attachment.h"
#include "endpoint/failure.h"
#include "endpoint/settings.h"

namespace eshm::endpoint {

// Seeks the role of the settings: a slave waits for its master by the retry
// limits, a master until a silent holder is judged. On success the role is held.
Failure wait_for_role(const Settings& settings, std::unique_ptr<Attachment>& out);

}  // namespace eshm::endpoint
