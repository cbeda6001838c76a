// SPDX-License-Identifier: MIT
// A link in words and in JSON, the same in every command.
#pragma once

#include <string>

#include "json.h"
#include "links.h"

namespace tool {

// "4711 camera alice"; "4711 dead"; "4711 camera alice, stale"; "-".
std::string peer_text(const ESHMLinkPeer& seen, const Peer& peer);
// "latest 4K Pose"
std::string channel_text(const std::string& link, const ESHMLinkChannel& channel,
                         ESHMDirection direction);
// The type's name in its text, or its fingerprint, or "".
std::string type_name(const std::string& link, const ESHMLinkChannel& channel,
                      ESHMDirection direction);
const char* backend_text(const ESHMLinkInfo& link);
std::string verdict_coloured(const WatchedLink& link);
// A sentence, and what to do.
std::string verdict_sentence(const WatchedLink& link, uint64_t real_now);

// The object that docs/TOOL.md describes as "a link".
void put_link(JsonWriter& out, const WatchedLink& link, uint64_t real_now);

}  // namespace tool
