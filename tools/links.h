// SPDX-License-Identifier: MIT
// Links as the commands see them: two looks at each, and what follows from them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eshm.h"

namespace tool {

// A role, judged. Only the kernel says that a process is dead.
enum class PeerState {
  kNone,   // no process has had the role yet
  kAlive,
  kQuiet,  // holds the role, too short a look to say more
  kStale,  // holds the role, and shows no sign of life
  kDead,
  kLeft,
};
const char* name_of(PeerState state);

// The process behind a record; empty where this process cannot see it for certain.
struct Process {
  std::string program;
  std::string command;  // its whole command line
  std::string user;
  char run_state = 0;   // of /proc/PID/stat: 'T' stopped, 'Z' zombie, ...
  bool is_visible() const { return !program.empty(); }
};
Process process_of(const ESHMLinkPeer& peer);
bool is_of_our_namespace(const ESHMLinkPeer& peer);
std::string user_name(uint32_t uid);

struct Peer {
  PeerState state = PeerState::kNone;
  uint64_t silent_ns = 0;  // how long it was seen without a sign of life
};

// A link, looked at again and again. Counters of the same segment make rates.
class WatchedLink {
 public:
  explicit WatchedLink(const ESHMLinkInfo& first);
  void look(const ESHMLinkInfo& next, uint64_t now);

  // What a longer look at the same link found out of its peers.
  void take_peers(const WatchedLink& longer);

  const ESHMLinkInfo& info() const { return info_; }
  const Peer& master() const { return peers_[0]; }
  const Peer& slave() const { return peers_[1]; }
  // Messages a second between the last two looks; of a direction.
  double rate(int direction) const { return rates_[direction]; }
  uint64_t window_messages(int direction) const { return window_messages_[direction]; }
  uint64_t window_ns() const { return window_ns_; }
  double average(int direction, uint64_t real_now) const;  // since the segment was made
  // Whether another look could still change what the peers are.
  bool is_undecided() const;

  bool is_segment() const;
  bool is_orphan() const;    // a segment, or what is left of one, that no process uses
  std::string verdict() const;  // one or two words: "healthy", "orphan", ...
  bool is_well() const;

 private:
  void judge(int index, const ESHMLinkPeer& before, const ESHMLinkPeer& now_seen, uint64_t now);

  ESHMLinkInfo info_;
  Peer peers_[2];
  uint64_t sign_ns_[2];  // when the last sign of life was seen
  uint64_t seen_ns_;
  uint64_t window_ns_ = 0;
  uint64_t window_messages_[2] = {0, 0};
  double rates_[2] = {0, 0};
};

// All links, by name. Complains and answers false where they cannot be listed.
bool list_links(std::vector<ESHMLinkInfo>& links);
ESHMLinkInfo inspect(const std::string& name);
std::string type_text(const std::string& name, ESHMDirection direction);

// Looks at them for `window_ns`, and at those whose peers are quiet for up to their stale
// threshold, a second at most.
std::vector<WatchedLink> watch_links(const std::vector<ESHMLinkInfo>& links, uint64_t window_ns);

// Of the links that a command looks at: a WatchedLink for each name, renewed at each look.
class LinkSet {
 public:
  bool look();  // false: they cannot be listed
  const std::vector<WatchedLink>& links() const { return links_; }

 private:
  std::vector<WatchedLink> links_;
};

}  // namespace tool
