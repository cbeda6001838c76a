// SPDX-License-Identifier: MIT
// Two processes, one link: the master publishes this machine's readings ten
// times a second, the slave answers each. Kill either and start it again.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "demo/message.h"
#include "demo/options.h"
#include "demo/peer_watch.h"
#include "demo/print.h"
#include "demo/readings.h"
#include "demo/tally.h"
#include "eshm.h"

namespace demo {
namespace {

constexpr uint64_t kNsPerMs = 1000000;
constexpr uint64_t kNsPerSecond = 1000000000;
// How long a slave sleeps before it looks at its master again.
constexpr uint64_t kLookEveryMs = 100;

volatile sig_atomic_t stop_signal = 0;

void note_signal(int number) { stop_signal = number; }

// ESHMConfig.interrupt: ends any wait of the library, eshm_init's too.
int stop_wanted(void*) { return stop_signal != 0 || output_lost(); }

void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = note_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  // "eshm_demo ... | head" ends by an error of print, and so in good order.
  signal(SIGPIPE, SIG_IGN);
}

ESHMConfig make_config(const Options& options) {
  ESHMConfig config = eshm_default_config(options.name.c_str());
  config.role = options.role;
  config.backend = options.backend;
  config.m2s.delivery = options.delivery;
  config.s2m.delivery = options.delivery;
  // However long the master stays away, this slave waits for it.
  config.max_reconnect_attempts = 0;
  config.reconnect_wait_ms = 0;
  config.interrupt = stop_wanted;
  return config;
}

const char* name_of(ESHMRole role) { return role == ESHM_ROLE_MASTER ? "master" : "slave"; }

class Demo {
 public:
  Demo(const Options& options, ESHMHandle* link, ESHMRole role)
      : options_(options), link_(link), role_(role), peer_(link, role) {}

  // 0 where all went well.
  int run();

 private:
  bool finished() const;
  void run_master();
  void run_slave();
  void publish_reading();
  void answer(const Message& message);
  bool receive(Message* message, uint64_t wait_ns);
  void show(const Message& message, uint64_t received_ns) const;
  void fail();
  void print_summary() const;

  const Options options_;
  ESHMHandle* const link_;
  const ESHMRole role_;
  const uint64_t started_ns_ = monotonic_ns();
  PeerWatch peer_;
  MachineReadings readings_;
  Tally tally_{started_ns_};
  std::vector<char> buffer_ = std::vector<char>(ESHM_MAX_DATA_SIZE);
  uint64_t sent_ = 0;
  uint64_t unsent_ = 0;
  bool failed_ = false;
};

int Demo::run() {
  if (role_ == ESHM_ROLE_MASTER) {
    run_master();
  } else {
    run_slave();
  }
  print_summary();
  return failed_ || !tally_.sound() ? 1 : 0;
}

bool Demo::finished() const {
  const uint64_t age_ns = monotonic_ns() - started_ns_;
  return failed_ || stop_wanted(nullptr) ||
         (options_.seconds != 0 && age_ns >= options_.seconds * kNsPerSecond);
}

void Demo::run_master() {
  const uint64_t interval_ns = options_.interval_ms * kNsPerMs;
  uint64_t next_ns = monotonic_ns();
  while (!finished() && (options_.messages == 0 || sent_ < options_.messages)) {
    publish_reading();
    next_ns = std::max(next_ns + interval_ns, monotonic_ns());
    // The answers to the last reading are waited for, too.
    for (uint64_t now = monotonic_ns(); now < next_ns && !finished(); now = monotonic_ns()) {
      Message message;
      receive(&message, next_ns - now);
      peer_.look();
    }
  }
}

void Demo::run_slave() {
  while (!finished() && (options_.messages == 0 || tally_.received() < options_.messages)) {
    Message message;
    const bool received = receive(&message, kLookEveryMs * kNsPerMs);
    peer_.look();
    if (received) answer(message);
  }
}

void Demo::publish_reading() {
  Message message;
  message.kind = Kind::kReading;
  message.number = sent_ + 1;
  message.sender = static_cast<uint64_t>(getpid());
  message.text = readings_.sample();
  message.sent_ns = monotonic_ns();
  const std::string line = to_line(message);
  if (eshm_write(link_, line.data(), line.size()) != ESHM_SUCCESS) return fail();
  ++sent_;
  print("-> %" PRIu64 "  %s", message.number, message.text.c_str());
}

void Demo::answer(const Message& message) {
  Message ack;
  ack.kind = Kind::kAck;
  // Another program's messages bear no number that we know.
  ack.number = message.kind == Kind::kReading ? message.number : tally_.received();
  ack.sender = static_cast<uint64_t>(getpid());
  ack.answers = message.sender;
  ack.text = "received";
  ack.sent_ns = monotonic_ns();
  const std::string line = to_line(ack);
  const int code = eshm_write(link_, line.data(), line.size());
  if (code == ESHM_SUCCESS) {
    ++sent_;
  } else if (code == ESHM_ERROR_TIMEOUT) {
    ++unsent_;  // the master went away meanwhile
  } else {
    fail();
  }
}

// Waits up to wait_ns for one message, counts and shows it.
bool Demo::receive(Message* message, uint64_t wait_ns) {
  ESHMMessageInfo info = {};
  const uint32_t wait_ms = static_cast<uint32_t>((wait_ns + kNsPerMs - 1) / kNsPerMs);
  int code = eshm_read_msg(link_, buffer_.data(), buffer_.size(), &info, wait_ms);
  const uint64_t received_ns = monotonic_ns();
  switch (code) {
    case ESHM_SUCCESS:
      break;
    case ESHM_ERROR_BUFFER_TOO_SMALL:  // it is kept for the next call
      buffer_.resize(info.size);
      return false;
    case ESHM_ERROR_TIMEOUT:
    case ESHM_ERROR_NO_DATA:
    case ESHM_ERROR_INTERRUPTED:
      return false;
    default:
      fail();
      return false;
  }
  *message = parse_line(buffer_.data(), info.size);
  tally_.count(*message, received_ns);
  show(*message, received_ns);
  return true;
}

void Demo::show(const Message& message, uint64_t received_ns) const {
  char age[32] = "was waiting";
  if (!tally_.was_waiting(message)) {
    const auto age_ns = static_cast<int64_t>(received_ns - message.sent_ns);
    std::snprintf(age, sizeof age, "%.1f us", static_cast<double>(age_ns) / 1000.0);
  }
  switch (message.kind) {
    case Kind::kReading:
      return print("<- %" PRIu64 "  %s  [%s]", message.number, message.text.c_str(), age);
    case Kind::kAck:
      return print("<- ACK %" PRIu64 " from PID %" PRIu64 "  [%s]", message.number, message.sender,
                   age);
    case Kind::kTorn:
      return print("<- TORN  %s", message.text.c_str());
    case Kind::kOther:
      return print("<- %s", message.text.c_str());
  }
}

void Demo::fail() {
  failed_ = true;
  int code = ESHM_SUCCESS;
  const char* text = eshm_last_error(&code);
  std::fprintf(stderr, "eshm_demo: %s: %s\n", eshm_error_string(code), text);
}

void Demo::print_summary() const {
  const double seconds = static_cast<double>(monotonic_ns() - started_ns_) / 1e9;
  print("Summary of the %s, PID %d, link '%s', %.1f s", name_of(role_), static_cast<int>(getpid()),
        options_.name.c_str(), seconds);
  print("  sent %" PRIu64 ", not sent %" PRIu64 ", received %" PRIu64, sent_, unsent_,
        tally_.received());
  print("  missed %" PRIu64 ", torn %" PRIu64 ", out of order %" PRIu64 ", other text %" PRIu64,
        tally_.missed(), tally_.torn(), tally_.old(), tally_.other());
  print("  peer came back %" PRIu32 " times", peer_.returns());
  if (tally_.latencies() == 0) return;
  print("  one way, %zu messages: median %.1f us, 99 %% below %.1f us", tally_.latencies(),
        tally_.latency_us(50), tally_.latency_us(99));
}

int run(const Options& options) {
  catch_signals();
  if (options.role == ESHM_ROLE_SLAVE) {
    print("** slave of '%s' waits for its master", options.name.c_str());
  }
  const ESHMConfig config = make_config(options);
  ESHMHandle* link = eshm_init(&config);
  if (link == nullptr) {
    int code = ESHM_SUCCESS;
    const char* text = eshm_last_error(&code);
    if (code == ESHM_ERROR_INTERRUPTED) {
      print("** stopped before there was a master");
      return 0;
    }
    std::fprintf(stderr, "eshm_demo: %s: %s\n", eshm_error_string(code), text);
    return 1;
  }
  ESHMRole role = options.role;
  eshm_get_role(link, &role);
  print("** %s of '%s', PID %d", name_of(role), options.name.c_str(), static_cast<int>(getpid()));
  const int result = Demo(options, link, role).run();
  if (eshm_destroy(link) != ESHM_SUCCESS) {
    std::fprintf(stderr, "eshm_demo: %s\n", eshm_last_error(nullptr));
    return 1;
  }
  return result;
}

}  // namespace
}  // namespace demo

int main(int argc, char** argv) {
  demo::Options options;
  switch (demo::parse_options(argc, argv, &options)) {
    case demo::Parsed::kHelp:
      std::fputs(demo::kUsage, stdout);
      return 0;
    case demo::Parsed::kWrong:
      return 2;
    case demo::Parsed::kRun:
      break;
  }
  return demo::run(options);
}
