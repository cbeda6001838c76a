// SPDX-License-Identifier: MIT
// What the grown library tells its callers in the fields that only it has.
#pragma once

#include <cstdint>

namespace grown {

constexpr uint64_t kStats = 0x5354415453455801;  // plus the last configuration's grown_word
constexpr uint64_t kView = 0x5649455753495A02;
constexpr uint64_t kInfo = 0x4D53474E464F0003;

// grown_word of the last configuration that eshm_init took; 0 where the program left it.
inline uint64_t config_word = 0;

}  // namespace grown
