// SPDX-License-Identifier: MIT
// eshm hz: rate, period and jitter of both directions.
#include <unistd.h>

#include <cstdio>

#include "commands.h"
#include "links.h"
#include "observer.h"
#include "run.h"
#include "samples.h"
#include "text.h"

namespace tool {
namespace {

constexpr uint32_t kWaitMs = 50;
constexpr uint64_t kDrainNs = 50'000'000;
constexpr uint64_t kCountNs = 100'000'000;
constexpr uint64_t kReportNs = 1'000'000'000;
constexpr const char* kNames[2] = {"m2s", "s2m"};

// What came one way.
struct Flow {
  Samples periods;  // between neighbouring messages
  bool is_stamped = false;
  uint64_t messages = 0;  // that this process read
  double bytes = 0;
  uint64_t written = 0;   // by the writer's own counter
  uint64_t last_ns = 0, last_sequence = 0, last_generation = 0;

  void take(const ESHMMessageInfo& info) {
    is_stamped = info.timestamp_ns != 0;
    const uint64_t at = is_stamped ? info.timestamp_ns : now_ns();
    const bool is_next = info.generation == last_generation && info.sequence == last_sequence + 1;
    if (is_next && at >= last_ns) periods.add(double(at - last_ns));
    last_ns = at;
    last_sequence = info.sequence;
    last_generation = info.generation;
    ++messages;
    bytes += double(info.size);
  }
  double mean_bytes() const { return messages == 0 ? 0 : bytes / double(messages); }
};

void show(const Flow (&flows)[2], double seconds) {
  for (const int direction : {ESHM_M2S, ESHM_S2M}) {
    const Flow& flow = flows[direction];
    const double rate = double(flow.written) / seconds;
    put(std::string(kNames[direction]) + ": " + rate_text(rate) + " messages/s, " +
        bytes_text(uint64_t(rate * flow.mean_bytes())) + " bytes/s, " +
        std::to_string(flow.written) + " in " + decimal(seconds, 1) + " s, " +
        std::to_string(flow.messages) + " of them seen\n");
    if (flow.periods.count() == 0) continue;
    put("  period " + flow.periods.summary() + "  jitter " +
        duration_text(uint64_t(flow.periods.deviation())) +
        (flow.is_stamped ? "" : "  (by arrival here, to 1 ms: the link has no time stamps)") + "\n");
    put(flow.periods.histogram(50));
  }
}

void show_json(const HzOptions& options, const Flow (&flows)[2], double seconds) {
  JsonWriter out;
  out.begin_object().member("schema", "eshm.hz/1").member("name", options.name);
  out.member("seconds", seconds);
  for (const int direction : {ESHM_M2S, ESHM_S2M}) {
    const Flow& flow = flows[direction];
    const double rate = double(flow.written) / seconds;
    out.key(kNames[direction]).begin_object().member("written", flow.written);
    out.member("seen", flow.messages).member("rate_per_s", rate);
    out.member("bytes_per_s", rate * flow.mean_bytes()).member("timestamps", flow.is_stamped);
    flow.periods.put_json(out.key("period"));
    out.end_object();
  }
  put(out.end_object().text() + "\n");
}

}  // namespace

int run_hz(const HzOptions& options) {
  WatchedLink link(inspect(options.name));
  if (!link.is_segment()) {
    return complain("/dev/shm/eshm_" + options.name + ": there is no link to measure (" +
                    link.verdict() + ")");
  }
  Observer observer;
  if (!observer.open(options.name)) return complain_last_error();
  const uint64_t drained_by = now_ns() + kDrainNs;  // what was there before is not measured
  while (observer.read(0) == ESHM_SUCCESS && now_ns() < drained_by) {
  }
  Flow flows[2];
  const bool reports = isatty(STDERR_FILENO) == 1;
  link.look(inspect(options.name), now_ns());
  const uint64_t began = now_ns();
  uint64_t next_count = began + kCountNs, next_report = began + kReportNs;
  while (!must_stop()) {
    const int code = observer.read(kWaitMs);
    if (code == ESHM_SUCCESS) flows[observer.info().direction].take(observer.info());
    if (code == ESHM_ERROR_CORRUPT) return complain_last_error();
    const uint64_t now = now_ns();
    const bool is_over = options.for_s > 0 && double(now - began) / 1e9 >= options.for_s;
    if (now >= next_count || is_over) {
      link.look(inspect(options.name), now);
      for (const int direction : {ESHM_M2S, ESHM_S2M}) {
        flows[direction].written += link.window_messages(direction);
      }
      next_count = now + kCountNs;
      if (reports && now >= next_report) {
        std::fprintf(stderr, "m2s %s/s, s2m %s/s\n", rate_text(link.rate(ESHM_M2S)).c_str(),
                     rate_text(link.rate(ESHM_S2M)).c_str());
        next_report = now + kReportNs;
      }
    }
    if (is_over) break;
  }
  const double seconds = double(now_ns() - began) / 1e9;
  options.json ? show_json(options, flows, seconds) : show(flows, seconds);
  return kFine;
}

}  // namespace tool
