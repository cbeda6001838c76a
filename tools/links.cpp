// SPDX-License-Identifier: MIT
#include "links.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "run.h"

namespace tool {
namespace {

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

uint64_t own_pid_namespace() {
  struct stat meta;
  static const uint64_t inode = stat("/proc/self/ns/pid", &meta) == 0 ? meta.st_ino : 0;
  return inode;
}

uint64_t signs_of(const ESHMLinkPeer& peer) {
  return peer.beats + peer.calls_writing + peer.calls_reading;
}

const ESHMLinkChannel& channel_of(const ESHMLinkInfo& link, int direction) {
  return direction == ESHM_M2S ? link.m2s : link.s2m;
}

int keep(const ESHMLinkInfo* link, void* context) {
  static_cast<std::vector<ESHMLinkInfo>*>(context)->push_back(*link);
  return 0;
}

constexpr uint64_t kLongestJudgementNs = 1'000'000'000;
constexpr uint64_t kLookNs = 2'000'000;

}  // namespace

const char* name_of(PeerState state) {
  switch (state) {
    case PeerState::kNone:
      return "none";
    case PeerState::kAlive:
      return "alive";
    case PeerState::kQuiet:
      return "quiet";
    case PeerState::kStale:
      return "stale";
    case PeerState::kDead:
      return "dead";
    case PeerState::kLeft:
      break;
  }
  return "left";
}

std::string user_name(uint32_t uid) {
  const passwd* const entry = getpwuid(uid);
  return entry != nullptr ? entry->pw_name : std::to_string(uid);
}

bool is_of_our_namespace(const ESHMLinkPeer& peer) {
  return peer.pid > 0 && peer.pid_namespace == own_pid_namespace();
}

Process process_of(const ESHMLinkPeer& peer) {
  Process process;
  if (!is_of_our_namespace(peer)) return process;
  const std::string folder = "/proc/" + std::to_string(peer.pid);
  const std::string stat_line = file_text(folder + "/stat");
  // The program's name may hold spaces and brackets: the last one ends it.
  const size_t begin = stat_line.find('('), end = stat_line.rfind(')');
  if (begin == std::string::npos || end == std::string::npos || end < begin) return process;
  std::istringstream fields(stat_line.substr(end + 1));
  char run_state = 0;
  fields >> run_state;
  std::string field;
  for (int number = 4; number <= 22; ++number) fields >> field;
  // A number that was given to another process since then.
  if (peer.start_time != 0 && std::strtoull(field.c_str(), nullptr, 10) != peer.start_time) {
    return process;
  }
  process.run_state = run_state;
  process.program = stat_line.substr(begin + 1, end - begin - 1);
  process.command = file_text(folder + "/cmdline");
  while (!process.command.empty() && process.command.back() == '\0') process.command.pop_back();
  std::replace(process.command.begin(), process.command.end(), '\0', ' ');
  struct stat meta;
  if (stat(folder.c_str(), &meta) == 0) process.user = user_name(meta.st_uid);
  return process;
}

WatchedLink::WatchedLink(const ESHMLinkInfo& first) : info_(first), seen_ns_(now_ns()) {
  sign_ns_[0] = sign_ns_[1] = seen_ns_;
  judge(0, first.master, first.master, seen_ns_);
  judge(1, first.slave, first.slave, seen_ns_);
}

void WatchedLink::look(const ESHMLinkInfo& next, uint64_t now) {
  if (next.inode != info_.inode || next.state != info_.state) {
    *this = WatchedLink(next);
    return;
  }
  window_ns_ = now - seen_ns_;
  for (const int direction : {ESHM_M2S, ESHM_S2M}) {
    const uint64_t before = channel_of(info_, direction).written;
    const uint64_t after = channel_of(next, direction).written;
    window_messages_[direction] = after > before ? after - before : 0;
    rates_[direction] =
        window_ns_ == 0 ? 0 : double(window_messages_[direction]) * 1e9 / double(window_ns_);
  }
  judge(0, info_.master, next.master, now);
  judge(1, info_.slave, next.slave, now);
  info_ = next;
  seen_ns_ = now;
}

void WatchedLink::judge(int index, const ESHMLinkPeer& before, const ESHMLinkPeer& seen,
                        uint64_t now) {
  Peer& peer = peers_[index];
  if (!seen.holds_role) {
    peer.state = seen.pid == 0 ? PeerState::kNone
                 : seen.has_left ? PeerState::kLeft
                                 : PeerState::kDead;
    peer.silent_ns = 0;
    return;
  }
  const bool is_another = before.incarnation != seen.incarnation || !before.holds_role;
  if (is_another || signs_of(before) != signs_of(seen)) {
    sign_ns_[index] = now;
    peer.silent_ns = 0;
    peer.state = is_another ? PeerState::kQuiet : PeerState::kAlive;
    return;
  }
  peer.silent_ns = now - sign_ns_[index];
  const uint64_t threshold_ns = uint64_t(seen.stale_threshold_ms) * 1'000'000;
  const bool is_stale = peer.silent_ns >= std::min(threshold_ns, kLongestJudgementNs);
  if (is_stale && threshold_ns != 0) {
    peer.state = PeerState::kStale;
  } else if (peer.state != PeerState::kAlive) {
    peer.state = PeerState::kQuiet;
  }
}

void WatchedLink::take_peers(const WatchedLink& longer) {
  for (const int index : {0, 1}) {
    peers_[index] = longer.peers_[index];
    sign_ns_[index] = longer.sign_ns_[index];
  }
}

double WatchedLink::average(int direction, uint64_t real_now) const {
  if (info_.made_ns == 0 || real_now <= info_.made_ns) return 0;
  return double(channel_of(info_, direction).written) * 1e9 / double(real_now - info_.made_ns);
}

bool WatchedLink::is_undecided() const {
  return master().state == PeerState::kQuiet || slave().state == PeerState::kQuiet;
}

bool WatchedLink::is_segment() const {
  return info_.state == ESHM_LINK_FINE || info_.state == ESHM_LINK_SUPERSEDED;
}

bool WatchedLink::is_orphan() const {
  if (info_.state == ESHM_LINK_ABSENT) return info_.has_leftover;
  return is_segment() && !info_.master.holds_role && !info_.slave.holds_role;
}

bool WatchedLink::is_well() const { return verdict() == "healthy" || verdict() == "no slave"; }

std::string WatchedLink::verdict() const {
  switch (info_.state) {
    case ESHM_LINK_ABSENT:
      return info_.has_leftover ? "leftover" : "gone";
    case ESHM_LINK_UNREADABLE:
      return "unreadable";
    case ESHM_LINK_OTHER_VERSION:
      return "other version";
    case ESHM_LINK_CORRUPT:
      return "corrupt";
    case ESHM_LINK_FOREIGN:
      return "foreign";
    case ESHM_LINK_SUPERSEDED:
      return is_orphan() ? "orphan" : "superseded";
    case ESHM_LINK_FINE:
      break;
  }
  if (is_orphan()) return "orphan";
  if (master().state == PeerState::kStale) return "master stale";
  if (!info_.master.holds_role) return "no master";
  if (slave().state == PeerState::kStale) return "slave stale";
  return info_.slave.holds_role ? "healthy" : "no slave";
}

bool list_links(std::vector<ESHMLinkInfo>& links) {
  links.clear();
  if (eshm_list(keep, &links) < 0) return false;
  // What went while the listing ran is no link.
  links.erase(std::remove_if(links.begin(), links.end(),
                             [](const ESHMLinkInfo& link) {
                               return link.state == ESHM_LINK_ABSENT && !link.has_leftover;
                             }),
              links.end());
  std::sort(links.begin(), links.end(), [](const ESHMLinkInfo& a, const ESHMLinkInfo& b) {
    return std::strcmp(a.name, b.name) < 0;
  });
  return true;
}

ESHMLinkInfo inspect(const std::string& name) {
  ESHMLinkInfo link = {};
  link.struct_size = sizeof link;
  eshm_inspect(name.c_str(), &link);
  return link;
}

std::string type_text(const std::string& name, ESHMDirection direction) {
  std::string text(ESHM_MAX_TYPE_BYTES + 1, '\0');
  size_t bytes = 0;
  const int code = eshm_get_type_text(name.c_str(), direction, &text[0], text.size(), &bytes);
  text.resize(code == ESHM_SUCCESS ? bytes : 0);
  return text;
}

std::vector<WatchedLink> watch_links(const std::vector<ESHMLinkInfo>& links, uint64_t window_ns) {
  std::vector<WatchedLink> watched(links.begin(), links.end());
  const bool has_living =
      std::any_of(watched.begin(), watched.end(),
                  [](const WatchedLink& link) { return link.is_undecided(); });
  if (!has_living || window_ns == 0) return watched;
  pause_ns(window_ns);
  const auto look_again = [&](WatchedLink& link) {
    link.look(inspect(link.info().name), now_ns());
  };
  std::for_each(watched.begin(), watched.end(), look_again);
  const uint64_t until = now_ns() + kLongestJudgementNs;
  // Rates stay those of the first window: the loop looks through copies.
  std::vector<WatchedLink> judged = watched;
  for (;;) {
    bool is_decided = true;
    for (WatchedLink& link : judged) {
      if (!link.is_undecided()) continue;
      look_again(link);
      is_decided = is_decided && !link.is_undecided();
    }
    if (is_decided || must_stop() || now_ns() >= until) break;
    pause_ns(kLookNs);
  }
  for (size_t i = 0; i < watched.size(); ++i) {
    if (watched[i].is_undecided()) watched[i].take_peers(judged[i]);
  }
  return watched;
}

bool LinkSet::look() {
  std::vector<ESHMLinkInfo> seen;
  if (!list_links(seen)) return false;
  const uint64_t now = now_ns();
  std::vector<WatchedLink> next;
  auto known = links_.begin();
  for (const ESHMLinkInfo& link : seen) {  // both are in order
    while (known != links_.end() && std::strcmp(known->info().name, link.name) < 0) ++known;
    const bool is_known = known != links_.end() && std::strcmp(known->info().name, link.name) == 0;
    next.push_back(is_known ? *known : WatchedLink(link));
    if (is_known) next.back().look(link, now);
  }
  links_ = std::move(next);
  return true;
}

}  // namespace tool
