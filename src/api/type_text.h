// SPDX-License-Identifier: MIT
// The canonical text of a message type (eshm_data.h, ESHMType).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace eshm::api {

// FNV-1a, 64 bits.
uint64_t fingerprint_of(std::string_view text);

// Why the text is not canonical, with the place in bytes; "" if it is.
std::string why_not_canonical(std::string_view text);

}  // namespace eshm::api
