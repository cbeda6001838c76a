// SPDX-License-Identifier: MIT
// eshm bench: what links achieve on this host.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <vector>

#include "commands.h"
#include "observer.h"
#include "run.h"
#include "samples.h"
#include "text.h"

namespace tool {
namespace {

constexpr size_t kMessageBytes = 64;

ESHMConfig config_of(const std::string& name, ESHMRole role, bool queue) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = role;
  config.stale_threshold_ms = 10'000;  // a busy host is no reason to report anything
  config.interrupt = interrupt_when_stopping;
  config.m2s.delivery = config.s2m.delivery = queue ? ESHM_DELIVERY_QUEUE : ESHM_DELIVERY_LATEST;
  return config;
}

// Another process as the slave: it sends each message back, or only reads.
class OtherEnd {
 public:
  OtherEnd(const std::string& name, bool queue, bool sends_back) : pid_(fork()) {
    if (pid_ == 0) _exit(live(name, queue, sends_back));
  }
  ~OtherEnd() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  OtherEnd(const OtherEnd&) = delete;
  OtherEnd& operator=(const OtherEnd&) = delete;
  bool is_there() const { return pid_ > 0; }

 private:
  static int live(const std::string& name, bool queue, bool sends_back) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const ESHMConfig config = config_of(name, ESHM_ROLE_SLAVE, queue);
    const Handle link(eshm_init(&config));
    char message[kMessageBytes];
    while (link != nullptr && !must_stop()) {
      size_t size = 0;
      const int code = eshm_read_ex(link.get(), message, sizeof message, &size, 100);
      if (code == ESHM_SUCCESS && sends_back) eshm_write(link.get(), message, size);
      if (code == ESHM_ERROR_MASTER_STALE) return 0;
    }
    return 0;
  }

  pid_t pid_;
};

bool wait_for_slave(ESHMHandle* link) {
  bool is_alive = false;
  const uint64_t until = now_ns() + 5'000'000'000;
  while (!is_alive && !must_stop() && now_ns() < until) {
    eshm_check_remote_alive(link, &is_alive);
    pause_ns(1'000'000);
  }
  return is_alive;
}

// Round trips, as many as fit. False: complained, or it is to end.
bool measure_trips(const std::string& name, double seconds, Samples& trips) {
  const ESHMConfig config = config_of(name, ESHM_ROLE_MASTER, false);
  const Handle link(eshm_init(&config));
  if (link == nullptr) return complain_last_error() == kFine;
  const OtherEnd other(name, false, true);
  if (!other.is_there() || !wait_for_slave(link.get())) return false;
  char message[kMessageBytes] = {};
  const uint64_t until = now_ns() + uint64_t(seconds * 1e9);
  for (uint64_t number = 1; !must_stop() && now_ns() < until; ++number) {
    std::memcpy(message, &number, sizeof number);
    const uint64_t began = now_ns();
    if (eshm_write(link.get(), message, sizeof message) != ESHM_SUCCESS) continue;
    uint64_t back = 0;
    size_t size = 0;
    while (back != number && !must_stop() &&
           eshm_read_ex(link.get(), message, sizeof message, &size, 100) == ESHM_SUCCESS) {
      std::memcpy(&back, message, sizeof back);
    }
    if (back == number) trips.add(double(now_ns() - began));
  }
  return true;
}

// Messages a second one way, with a reader.
bool measure_flow(const std::string& name, double seconds, bool queue, double& written,
                  double& read) {
  const ESHMConfig config = config_of(name, ESHM_ROLE_MASTER, queue);
  const Handle link(eshm_init(&config));
  if (link == nullptr) return complain_last_error() == kFine;
  const OtherEnd other(name, queue, false);
  if (!other.is_there() || !wait_for_slave(link.get())) return false;
  const char message[kMessageBytes] = {};
  const uint64_t began = now_ns(), until = began + uint64_t(seconds * 1e9);
  uint64_t count = 0;
  while (!must_stop() && now_ns() < until) {
    for (int i = 0; i < 100; ++i) {
      count += eshm_write_ex(link.get(), message, sizeof message, 10) == ESHM_SUCCESS;
    }
  }
  const double lasted = double(now_ns() - began) / 1e9;
  ESHMStats stats = {};
  eshm_get_stats(link.get(), &stats);
  written = double(count) / lasted;
  read = double(stats.m2s_read_count) / lasted;
  return true;
}

}  // namespace

int run_bench(const BenchOptions& options) {
  const std::string name = "eshm-bench-" + std::to_string(getpid());
  const double share = options.for_s / 3;
  Samples trips;
  double latest = 0, latest_read = 0, queued = 0, queued_read = 0;
  const bool is_done = measure_trips(name, share, trips) &&
                       measure_flow(name, share, false, latest, latest_read) &&
                       measure_flow(name, share, true, queued, queued_read);
  if (must_stop()) return kFine;
  if (!is_done) return kFinding;
  const long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (options.json) {
    JsonWriter out;
    out.begin_object().member("schema", "eshm.bench/1").member("cores", int64_t(cores));
    out.member("message_bytes", uint64_t(kMessageBytes));
    trips.put_json(out.key("round_trip"));
    out.member("latest_written_per_s", latest).member("latest_read_per_s", latest_read);
    out.member("queue_written_per_s", queued).member("queue_read_per_s", queued_read);
    put(out.end_object().text() + "\n");
    return kFine;
  }
  put("two processes, messages of " + std::to_string(kMessageBytes) + " bytes, " +
      std::to_string(cores) + " cores\n\n");
  put("round trip   " + trips.summary() + "\n" + trips.histogram(50) + "\n");
  put("newest value " + rate_text(latest) + " written/s, " + rate_text(latest_read) + " read/s\n");
  put("queue        " + rate_text(queued) + " written/s, " + rate_text(queued_read) + " read/s\n");
  return kFine;
}

}  // namespace tool
