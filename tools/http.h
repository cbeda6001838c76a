// SPDX-License-Identifier: MIT
// As much of HTTP as a page that Prometheus fetches needs.
#pragma once

#include <functional>
#include <string>

namespace tool {

// Serves GET and HEAD of /metrics, one request at a time, until the command is to end.
// `where`: "PORT", "ADDRESS:PORT" or "[ADDRESS]:PORT", in numbers; without an address
// loopback. `page` makes what is sent. An exit code.
int serve_page(const std::string& where, const std::function<std::string()>& page);

}  // namespace tool
