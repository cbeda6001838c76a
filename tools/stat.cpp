// SPDX-License-Identifier: MIT
// eshm stat: everything that is known of one link, and a verdict.
#include <cstdio>
#include <ctime>

#include "commands.h"
#include "describe.h"
#include "run.h"
#include "text.h"
#include "type.h"

namespace tool {
namespace {

void line(const std::string& name, const std::string& text) {
  put(fitted(name, 14) + " " + text + "\n");
}

std::string moment(uint64_t real_ns) {
  const time_t seconds = time_t(real_ns / 1'000'000'000);
  tm local;
  char text[40];
  if (localtime_r(&seconds, &local) == nullptr) return "?";
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

std::string count(uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

void show_peer(const char* role, const ESHMLinkPeer& seen, const Peer& peer) {
  if (peer.state == PeerState::kNone) {
    line(role, "none yet");
    return;
  }
  const Process process = process_of(seen);
  std::string text = std::string(name_of(peer.state)) + ", PID " + std::to_string(seen.pid);
  if (!is_of_our_namespace(seen)) text += " of another PID namespace";
  if (process.is_visible()) {
    text += ", " + printable(process.program) + ", user " + printable(process.user);
  }
  line(role, text);
  if (process.is_visible() && !process.command.empty()) {
    line("", "command: " + printable(process.command));
  }
  line("", count(seen.beats, "beat, ", "beats, ") +
               count(seen.calls_writing, "call that wrote, ", "calls that wrote, ") +
               count(seen.calls_reading, "call that read", "calls that read"));
  if (seen.holds_role) {
    line("", "last sign of life " +
                 (peer.silent_ns == 0 ? std::string("during this look")
                                      : "more than " + duration_text(peer.silent_ns) + " ago") +
                 "; stale after " + std::to_string(seen.stale_threshold_ms) + " ms");
  }
  if (seen.generation > 1) line("", std::to_string(seen.generation) + " processes had this role");
  if (seen.holds_role && seen.waits_for_message) line("", "sleeps until a message comes");
  if (seen.holds_role && seen.waits_for_room) line("", "sleeps until there is room");
}

void show_channel(const WatchedLink& link, ESHMDirection direction) {
  const ESHMLinkInfo& info = link.info();
  const ESHMLinkChannel& channel = direction == ESHM_M2S ? info.m2s : info.s2m;
  const bool is_queue = channel.delivery == ESHM_DELIVERY_QUEUE;
  line(direction == ESHM_M2S ? "master->slave" : "slave->master",
       channel_text(info.name, channel, direction) + ", " + bytes_text(channel.data_bytes) +
           " of memory, " +
           (is_queue ? "room for " + bytes_text(channel.queue_capacity) + " bytes"
                     : count(channel.slot_count, "slot", "slots")) +
           ", " + count(channel.max_borrows, "borrow, ", "borrows, ") +
           count(channel.max_loans, "loan", "loans") +
           ((channel.flags & ESHM_FLAG_TIMESTAMPS) != 0 ? ", time stamps" : ""));
  if (!channel.has_counts) {
    line("", "its data is gone: System V memory ends with the last process");
  } else {
    const uint64_t behind = channel.written > channel.read ? channel.written - channel.read : 0;
    line("", count(channel.written, "message written (", "messages written (") +
                 rate_text(link.rate(direction)) + "/s now), " + std::to_string(channel.read) +
                 " read, " + std::to_string(behind) +
                 (is_queue ? " waiting" : " missed or not read yet"));
    if (is_queue) {
      const double share = 100.0 * double(channel.queued_bytes) / double(channel.queue_capacity);
      line("", "filled by " + bytes_text(channel.queued_bytes) + " bytes (" + decimal(share, 0) +
                   " %)");
    }
    const uint64_t now = now_ns();
    if (channel.newest_ns != 0 && channel.newest_ns <= now) {
      line("", "newest message " + duration_text(now - channel.newest_ns) + " ago");
    }
  }
  const std::string text = type_text(info.name, direction);
  Type type;
  std::string why;
  if (text.empty() || !parse_type(text, type, why)) {
    if (!text.empty()) line("", "type: " + printable(text) + " (" + why + ")");
    return;
  }
  line("", "type " + printable(type.name) + ", " + count(type.bytes, "byte", "bytes"));
  Table table({"  ", ">OFFSET", ">BYTES", "KIND", "FIELD"});
  for (const Leaf& leaf : leaves_of(type)) {
    table.add({"  ", std::to_string(leaf.offset), std::to_string(leaf.bytes), leaf.kind_text(),
               printable(leaf.path)});
  }
  put(table.text());
}

}  // namespace

int run_stat(const StatOptions& options) {
  std::vector<ESHMLinkInfo> one = {inspect(options.name)};
  const WatchedLink link = watch_links(one, uint64_t(options.look_s * 1e9))[0];
  const ESHMLinkInfo& info = link.info();
  const uint64_t real_now = real_now_ns();
  if (options.json) {
    JsonWriter out;
    out.begin_object().member("schema", "eshm.link/1");
    out.member("verdict", verdict_sentence(link, real_now)).key("link");
    put_link(out, link, real_now);
    out.end_object();
    put(out.text() + "\n");
    return link.is_well() ? kFine : kFinding;
  }
  if (info.state == ESHM_LINK_ABSENT && !info.has_leftover) {
    return complain("/dev/shm/eshm_" + options.name +
                    ": nothing has this name; `eshm ls` shows the links that there are");
  }
  line("link", printable(info.name));
  line("verdict", verdict_sentence(link, real_now));
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", info.mode & 07777);
  line("file", "/dev/shm/eshm_" + printable(info.name) + ", inode " + std::to_string(info.inode) +
                   ", owner " + printable(user_name(info.uid)) + ", mode " + mode);
  line("made", moment(info.made_ns) + ", " +
                   duration_text(real_now > info.made_ns ? real_now - info.made_ns : 0) + " ago");
  if (!link.is_segment()) return kFinding;
  line("segment", std::string(backend_text(info)) + ", " + bytes_text(info.segment_bytes) +
                      " bytes, layout version " + std::to_string(info.layout_version) +
                      (info.auto_cleanup ? ", removed by its master's eshm_destroy"
                                         : ", stays after its master's eshm_destroy"));
  if (info.roles_change) line("", "a process is changing its roles or its name");
  if (info.seat_for != 0) line("", "the slave's seat is kept for a slave that comes over");
  show_peer("master", info.master, link.master());
  show_peer("slave", info.slave, link.slave());
  show_channel(link, ESHM_M2S);
  show_channel(link, ESHM_S2M);
  return link.is_well() ? kFine : kFinding;
}

}  // namespace tool
