// SPDX-License-Identifier: MIT
// eshm metrics: every counter, in Prometheus' text format.
#include <sys/statvfs.h>

#include "commands.h"
#include "describe.h"
#include "http.h"
#include "links.h"
#include "run.h"
#include "text.h"

namespace tool {
namespace {

std::string label_value(const std::string& bytes) {
  std::string text;
  for (const char c : printable(bytes)) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

class Page {
 public:
  void metric(const std::string& name, const char* type, const char* help) {
    name_ = name;
    text_ += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
  }
  void sample(const std::string& labels, const std::string& value) {
    text_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
  }
  void sample(const std::string& labels, uint64_t value) { sample(labels, std::to_string(value)); }
  const std::string& text() const { return text_; }

 private:
  std::string name_, text_;
};

std::string link_label(const ESHMLinkInfo& link) { return "link=\"" + label_value(link.name) + "\""; }

// `value` of each role's record and of each direction.
template <class Value>
void of_roles(Page& page, const std::vector<WatchedLink>& links, Value value) {
  for (const WatchedLink& link : links) {
    if (!link.is_segment()) continue;
    const std::string label = link_label(link.info());
    page.sample(label + ",role=\"master\"", value(link.info().master));
    page.sample(label + ",role=\"slave\"", value(link.info().slave));
  }
}

template <class Value>
void of_directions(Page& page, const std::vector<WatchedLink>& links, bool queues_only,
                   Value value) {
  for (const WatchedLink& link : links) {
    if (!link.is_segment()) continue;
    for (const ESHMDirection direction : {ESHM_M2S, ESHM_S2M}) {
      const ESHMLinkChannel& channel = direction == ESHM_M2S ? link.info().m2s : link.info().s2m;
      if (queues_only && channel.delivery != ESHM_DELIVERY_QUEUE) continue;
      const char* const name = direction == ESHM_M2S ? "m2s" : "s2m";
      page.sample(link_label(link.info()) + ",direction=\"" + name + "\"", value(channel));
    }
  }
}

std::string make_page() {
  std::vector<ESHMLinkInfo> found;
  const bool is_listed = list_links(found);
  const std::vector<WatchedLink> links(found.begin(), found.end());
  Page page;
  page.metric("eshm_up", "gauge", "1 if the links of this host could be listed.");
  page.sample("", is_listed ? 1 : 0);
  page.metric("eshm_links", "gauge", "Links of this host, whatever their state.");
  page.sample("", links.size());
  page.metric("eshm_link_info", "gauge", "A link: where its memory is, its owner and its state.");
  for (const WatchedLink& link : links) {
    page.sample(link_label(link.info()) + ",backend=\"" +
                    (link.is_segment() ? backend_text(link.info()) : "") + "\",owner=\"" +
                    label_value(user_name(link.info().uid)) + "\",state=\"" + link.verdict() + "\"",
                1);
  }
  page.metric("eshm_link_orphan", "gauge", "1 if no process has a role of the link.");
  for (const WatchedLink& link : links) {
    page.sample(link_label(link.info()), link.is_orphan() ? 1 : 0);
  }
  page.metric("eshm_link_bytes", "gauge", "Memory of the link.");
  for (const WatchedLink& link : links) {
    page.sample(link_label(link.info()), link.info().segment_bytes);
  }
  page.metric("eshm_link_created_timestamp_seconds", "gauge", "When its segment was made.");
  for (const WatchedLink& link : links) {
    page.sample(link_label(link.info()), decimal(double(link.info().made_ns) / 1e9, 3));
  }
  page.metric("eshm_role_held", "gauge", "1 if a process has the role.");
  of_roles(page, links, [](const ESHMLinkPeer& peer) { return uint64_t(peer.holds_role); });
  page.metric("eshm_role_pid", "gauge", "Process ID of the last holder; 0 if there was none.");
  of_roles(page, links, [](const ESHMLinkPeer& peer) { return uint64_t(peer.pid); });
  page.metric("eshm_role_beats_total", "counter", "Heartbeats in this segment.");
  of_roles(page, links, [](const ESHMLinkPeer& peer) { return peer.beats; });
  page.metric("eshm_role_calls_total", "counter", "Calls that showed life in this segment.");
  of_roles(page, links,
           [](const ESHMLinkPeer& peer) { return peer.calls_writing + peer.calls_reading; });
  page.metric("eshm_role_holders_total", "counter",
              "Processes that have had the role in this segment.");
  of_roles(page, links, [](const ESHMLinkPeer& peer) { return uint64_t(peer.generation); });
  page.metric("eshm_messages_written_total", "counter", "Messages written in this segment.");
  of_directions(page, links, false, [](const ESHMLinkChannel& channel) { return channel.written; });
  page.metric("eshm_messages_read_total", "counter", "Messages read in this segment.");
  of_directions(page, links, false, [](const ESHMLinkChannel& channel) { return channel.read; });
  page.metric("eshm_queue_used_bytes", "gauge", "Bytes of a queue that wait to be read.");
  of_directions(page, links, true,
                [](const ESHMLinkChannel& channel) { return channel.queued_bytes; });
  page.metric("eshm_queue_capacity_bytes", "gauge", "Bytes that a queue has room for.");
  of_directions(page, links, true,
                [](const ESHMLinkChannel& channel) { return channel.queue_capacity; });
  struct statvfs memory;
  if (statvfs("/dev/shm", &memory) == 0) {
    page.metric("eshm_shm_free_bytes", "gauge", "Free memory in /dev/shm.");
    page.sample("", uint64_t(memory.f_bavail) * memory.f_frsize);
    page.metric("eshm_shm_size_bytes", "gauge", "Size of /dev/shm.");
    page.sample("", uint64_t(memory.f_blocks) * memory.f_frsize);
  }
  return page.text();
}

}  // namespace

int run_metrics(const MetricsOptions& options) {
  if (!options.listen.empty()) return serve_page(options.listen, make_page);
  put(make_page());
  return kFine;
}

}  // namespace tool
