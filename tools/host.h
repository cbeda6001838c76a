// SPDX-License-Identifier: MIT
// What this host and its kernel offer.
#pragma once

#include <string>
#include <vector>

namespace tool {

struct Feature {
  const char* name;
  bool is_there;
  const char* use;      // what the library does with it
  const char* without;  // and what it does if it is missing
};
std::vector<Feature> kernel_features();

// First line of a file, without its end; "" where it cannot be read.
std::string first_line(const std::string& path);

}  // namespace tool
