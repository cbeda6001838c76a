// SPDX-License-Identifier: MIT
#include "describe.h"

#include <algorithm>
#include <cstdio>

#include "run.h"
#include "text.h"

namespace tool {
namespace {

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

void put_peer(JsonWriter& out, const ESHMLinkPeer& seen, const Peer& peer) {
  if (peer.state == PeerState::kNone) {
    out.null();
    return;
  }
  const Process process = process_of(seen);
  out.begin_object();
  out.member("state", name_of(peer.state));
  out.member("pid", int64_t(seen.pid));
  out.member("same_pid_namespace", is_of_our_namespace(seen));
  out.key("program");
  process.is_visible() ? out.value(process.program) : out.null();
  out.key("user");
  process.is_visible() ? out.value(process.user) : out.null();
  out.key("command");
  process.is_visible() ? out.value(process.command) : out.null();
  out.member("silent_ms", peer.silent_ns / 1'000'000);
  out.member("stale_threshold_ms", seen.stale_threshold_ms);
  out.member("generation", seen.generation);
  out.member("incarnation", hex(seen.incarnation));
  out.member("beats", seen.beats);
  out.member("calls_writing", seen.calls_writing);
  out.member("calls_reading", seen.calls_reading);
  out.member("waits_for_message", seen.waits_for_message);
  out.member("waits_for_room", seen.waits_for_room);
  out.end_object();
}

void put_channel(JsonWriter& out, const WatchedLink& link, ESHMDirection direction,
                 uint64_t real_now) {
  const ESHMLinkInfo& info = link.info();
  const ESHMLinkChannel& channel = direction == ESHM_M2S ? info.m2s : info.s2m;
  const bool is_queue = channel.delivery == ESHM_DELIVERY_QUEUE;
  out.begin_object();
  out.member("delivery", is_queue ? "queue" : "latest");
  out.member("max_message_bytes", channel.max_message_size);
  out.member("data_bytes", channel.data_bytes);
  out.member("slots", channel.slot_count);
  out.member("queue_bytes", channel.queue_capacity);
  out.member("max_borrows", channel.max_borrows);
  out.member("max_loans", channel.max_loans);
  out.member("timestamps", (channel.flags & ESHM_FLAG_TIMESTAMPS) != 0);
  out.key("type");
  const std::string text = type_text(info.name, direction);
  text.empty() ? out.null() : out.value(text);
  out.key("type_fingerprint");
  channel.type_fingerprint == 0 ? out.null() : out.value(hex(channel.type_fingerprint));
  out.member("has_counts", channel.has_counts);
  out.member("written", channel.written);
  out.member("read", channel.read);
  out.member("not_read", channel.written > channel.read ? channel.written - channel.read : 0);
  out.member("queued_bytes", channel.queued_bytes);
  out.member("rate_per_s", link.rate(direction));
  out.member("average_per_s", link.average(direction, real_now));
  out.key("newest_age_ms");
  const uint64_t now = now_ns();
  if (channel.newest_ns == 0 || channel.newest_ns > now) {
    out.null();
  } else {
    out.value(double((now - channel.newest_ns) / 1000) / 1000);
  }
  out.end_object();
}

std::string silence(const Peer& peer) {
  return "no sign of life for " + duration_text(peer.silent_ns) + " at least";
}

std::string who(const ESHMLinkPeer& seen) {
  const Process process = process_of(seen);
  std::string text = "PID " + std::to_string(seen.pid);
  if (process.is_visible()) text += " (" + printable(process.program) + ")";
  if (!is_of_our_namespace(seen)) text += " of another PID namespace";
  if (process.run_state == 'T') text += ", which is stopped (SIGCONT continues it)";
  if (process.run_state == 't') text += ", which a debugger holds";
  if (process.run_state == 'Z') text += ", which is exiting";
  if (process.run_state == 'D') text += ", which waits in the kernel";
  return text;
}

std::string after(const ESHMLinkPeer& seen, const Peer& peer, const char* role) {
  const std::string name = std::string("its ") + role + ", PID " + std::to_string(seen.pid) + ", ";
  switch (peer.state) {
    case PeerState::kNone:
      return std::string("it has not had a ") + role;
    case PeerState::kLeft:
      return name + "has left";
    default:
      return name + "is dead";
  }
}

}  // namespace

std::string peer_text(const ESHMLinkPeer& seen, const Peer& peer) {
  if (peer.state == PeerState::kNone) return "-";
  std::string text = std::to_string(seen.pid);
  if (!seen.holds_role) return text + " " + name_of(peer.state);
  const Process process = process_of(seen);
  if (process.is_visible()) {
    text += " " + printable(process.program) + " " + printable(process.user);
  } else if (!is_of_our_namespace(seen)) {
    text += " in another PID namespace";
  }
  if (peer.state == PeerState::kStale) text += ", stale";
  return text;
}

std::string type_name(const std::string& link, const ESHMLinkChannel& channel,
                      ESHMDirection direction) {
  if (channel.type_fingerprint == 0) return "";
  const std::string text = type_text(link, direction);
  return text.empty() ? hex(channel.type_fingerprint) : printable(text.substr(0, text.find('{')));
}

std::string channel_text(const std::string& link, const ESHMLinkChannel& channel,
                         ESHMDirection direction) {
  const bool is_queue = channel.delivery == ESHM_DELIVERY_QUEUE;
  std::string text = (is_queue ? "queue " : "latest ") + bytes_text(channel.max_message_size);
  const std::string type = type_name(link, channel, direction);
  if (!type.empty()) text += " " + type;
  return text;
}

const char* backend_text(const ESHMLinkInfo& link) {
  return link.backend == ESHM_BACKEND_SYSV ? "sysv" : "posix";
}

std::string verdict_coloured(const WatchedLink& link) {
  const std::string verdict = link.verdict();
  if (verdict == "healthy") return coloured(kGreen, verdict);
  if (verdict == "no slave" || verdict == "no master") return verdict;
  if (verdict == "orphan" || verdict == "leftover" || verdict == "unreadable") {
    return coloured(kYellow, verdict);
  }
  return coloured(kRed, verdict);
}

std::string verdict_sentence(const WatchedLink& link, uint64_t real_now) {
  const ESHMLinkInfo& info = link.info();
  const std::string problem = info.problem[0] == 0 ? "" : ": " + printable(info.problem);
  const std::string remove = "`eshm rm " + printable(info.name) + "`";
  const std::string verdict = link.verdict();
  if (verdict == "gone") return "not there: nothing has this name";
  if (verdict == "leftover") {
    return "leftover: a process was killed while it gave the name away; " + remove + " removes it";
  }
  if (verdict == "unreadable") {
    return "unreadable" + problem + "; its owner, or root, can look at it";
  }
  if (verdict == "other version") {
    return "other version" + problem + "; use the eshm command of that version";
  }
  if (verdict == "corrupt" || verdict == "foreign") {
    const bool is_used = info.master.holds_role || info.slave.holds_role;
    return verdict + problem + "; no process can use the link. " +
           (is_used ? "A process holds a role of it: end that first. " : "") + "`eshm rm --force " +
           printable(info.name) + "` removes it";
  }
  if (verdict == "orphan") {
    const uint64_t age = real_now > info.made_ns ? real_now - info.made_ns : 0;
    return "orphan: " + after(info.master, link.master(), "master") + "; " +
           after(info.slave, link.slave(), "slave") + ". It was made " + duration_text(age) +
           " ago. A new master starts it afresh; " + remove + " removes it";
  }
  if (verdict == "superseded") {
    return "superseded: the process that was to replace its master died before it gave the name "
           "away. The next master repairs it";
  }
  if (verdict == "master stale") {
    return "master hung: " + who(info.master) + "; " + silence(link.master()) +
           ". Another master may take its role over";
  }
  if (verdict == "no master") {
    return "no master: " + after(info.master, link.master(), "master") + ". The slave, " +
           who(info.slave) + ", waits for another one";
  }
  if (verdict == "slave stale") {
    return "slave hung: " + who(info.slave) + "; " + silence(link.slave()) +
           ". Only its end frees the seat for another slave";
  }
  if (verdict == "no slave") {
    return "healthy, without a slave: " + after(info.slave, link.slave(), "slave");
  }
  return link.is_undecided() ? "in use; too short a look to tell whether both live" : "healthy";
}

void put_link(JsonWriter& out, const WatchedLink& link, uint64_t real_now) {
  const ESHMLinkInfo& info = link.info();
  out.begin_object();
  out.member("name", info.name);
  out.member("verdict", link.verdict());
  out.member("orphan", link.is_orphan());
  out.key("problem");
  info.problem[0] == 0 ? out.null() : out.value(info.problem);
  out.member("owner", user_name(info.uid));
  out.member("uid", info.uid);
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", info.mode & 07777);
  out.member("mode", mode);
  out.member("inode", info.inode);
  out.member("made_unix_s", double(info.made_ns / 1'000'000) / 1000);
  out.member("bytes", info.segment_bytes);
  out.member("layout_version", info.layout_version);
  if (!link.is_segment()) {
    out.member("master_held", info.master.holds_role);
    out.member("slave_held", info.slave.holds_role);
    out.end_object();
    return;
  }
  out.member("backend", backend_text(info));
  out.member("auto_cleanup", info.auto_cleanup);
  out.member("roles_change", info.roles_change);
  out.member("seat_reserved", info.seat_for != 0);
  out.member("window_ms", double(link.window_ns() / 1000) / 1000);
  out.key("master");
  put_peer(out, info.master, link.master());
  out.key("slave");
  put_peer(out, info.slave, link.slave());
  out.key("m2s");
  put_channel(out, link, ESHM_M2S, real_now);
  out.key("s2m");
  put_channel(out, link, ESHM_S2M, real_now);
  out.end_object();
}

}  // namespace tool
