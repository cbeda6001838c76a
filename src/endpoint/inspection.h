// SPDX-License-Identifier: MIT
// A link seen from outside: by its name, whatever became of its processes.
//
// Everything is read with pread into private memory. No area of the file is mapped, so
// that not even an owner who truncates it meanwhile can harm the inspecting process; no
// lock is taken, and nothing is written.
#pragma once

#include <string>
#include <vector>

#include "endpoint/failure.h"

namespace eshm::endpoint {

// Whatever is at the name is described. `name` is one that a link can have.
void inspect_link(const std::string& name, ESHMLinkInfo& info);

// The names of all links, and of leftovers of links, in no order.
Failure list_links(std::vector<std::string>& names);

// The text of a direction's type; false if there is no such segment or text.
bool read_type_text(const std::string& name, ESHMDirection direction, std::string& text);

}  // namespace eshm::endpoint
