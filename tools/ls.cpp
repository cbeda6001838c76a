// SPDX-License-Identifier: MIT
// eshm ls: every link of the host, a line each.
#include "commands.h"
#include "describe.h"
#include "run.h"
#include "text.h"

namespace tool {
namespace {

// Few messages in a short window say little of a rate: then it is the average.
constexpr uint64_t kEnoughMessages = 10;

std::string rate_of(const WatchedLink& link, ESHMDirection direction, uint64_t real_now) {
  const ESHMLinkChannel& channel = direction == ESHM_M2S ? link.info().m2s : link.info().s2m;
  if (!channel.has_counts) return "?";
  const bool is_measured =
      link.window_messages(direction) >= kEnoughMessages || link.window_ns() >= 500'000'000;
  if (is_measured) return rate_text(link.rate(direction));
  const bool may_flow = link.info().master.holds_role || link.info().slave.holds_role;
  if (!may_flow || channel.written == 0) return "0";
  return "~" + rate_text(link.average(direction, real_now));
}

std::vector<std::string> row_of(const WatchedLink& link, uint64_t real_now) {
  const ESHMLinkInfo& info = link.info();
  const std::string age =
      info.made_ns == 0 || real_now < info.made_ns ? "" : duration_text(real_now - info.made_ns);
  const std::string name = printable(info.name), owner = printable(user_name(info.uid));
  if (!link.is_segment()) {
    return {name, verdict_coloured(link), owner, "", "", "", "", "", "", "", age,
            bytes_text(info.segment_bytes)};
  }
  return {name,
          verdict_coloured(link),
          owner,
          backend_text(info),
          peer_text(info.master, link.master()),
          peer_text(info.slave, link.slave()),
          channel_text(info.name, info.m2s, ESHM_M2S),
          channel_text(info.name, info.s2m, ESHM_S2M),
          rate_of(link, ESHM_M2S, real_now),
          rate_of(link, ESHM_S2M, real_now),
          age,
          bytes_text(info.segment_bytes)};
}

void show(const std::vector<WatchedLink>& links, bool json) {
  const uint64_t real_now = real_now_ns();
  if (json) {
    JsonWriter out;
    out.begin_object().member("schema", "eshm.links/1").key("links").begin_array();
    for (const WatchedLink& link : links) put_link(out, link, real_now);
    out.end_array().end_object();
    put(out.text() + "\n");
    return;
  }
  Table table({"NAME", "STATE", "OWNER", "WHERE", "MASTER", "SLAVE", "M2S", "S2M", ">M2S/s",
               ">S2M/s", ">AGE", ">SIZE"});
  for (const WatchedLink& link : links) table.add(row_of(link, real_now));
  if (!links.empty()) put(table.text());
}

}  // namespace

int run_ls(const LsOptions& options) {
  if (!options.watch) {
    std::vector<ESHMLinkInfo> links;
    if (!list_links(links)) return complain_last_error();
    if (options.names) {
      for (const ESHMLinkInfo& link : links) put(std::string(link.name) + "\n");
      return kFine;
    }
    show(watch_links(links, uint64_t(options.sample_ms) * 1'000'000), options.json);
    if (links.empty() && !options.json && is_terminal()) put("there are no links\n");
    return kFine;
  }
  LinkSet set;
  const uint64_t interval_ns = uint64_t(options.interval_s * 1e9);
  if (!set.look()) return complain_last_error();
  pause_ns(interval_ns < 100'000'000 ? interval_ns : 100'000'000);
  while (!must_stop()) {
    if (!set.look()) return complain_last_error();
    // A terminal shows the newest alone; in a pipe each look follows the former.
    if (is_terminal() && !options.json) put("\033[H\033[J");
    show(set.links(), options.json);
    if (!is_terminal() && !options.json) put("\n");
    flush();
    pause_ns(interval_ns);
  }
  return kFine;
}

}  // namespace tool
