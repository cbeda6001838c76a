// SPDX-License-Identifier: MIT
#include "run.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "eshm.h"
#include "text.h"

namespace tool {
namespace {

volatile sig_atomic_t stop_requested = 0;
bool output_failed = false;
int output_errno = 0;
std::string pending;

void request_stop(int) { stop_requested = 1; }

uint64_t clock_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return uint64_t(now.tv_sec) * 1'000'000'000 + uint64_t(now.tv_nsec);
}

}  // namespace

void handle_signals() {
  struct sigaction action = {};
  action.sa_handler = request_stop;  // without SA_RESTART: a waiting call returns
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited;
    const bool is_ignored =
        sigaction(signal, nullptr, &inherited) == 0 && inherited.sa_handler == SIG_IGN;
    if (!is_ignored) sigaction(signal, &action, nullptr);  // nohup, or a shell's background job
  }
  signal(SIGPIPE, SIG_IGN);  // the write's EPIPE ends the command, which then leaves its link
}

bool must_stop() { return stop_requested != 0 || output_failed; }
int interrupt_when_stopping(void*) { return must_stop() ? 1 : 0; }

void step_back() {
  constexpr int kLowest = 19;
  (void)setpriority(PRIO_PROCESS, 0, kLowest);
}

void pause_ns(uint64_t ns) {
  constexpr uint64_t kPieceNs = 50'000'000;  // a signal just before the sleep is not lost
  const uint64_t until = now_ns() + ns;
  while (!must_stop()) {
    const uint64_t now = now_ns();
    if (now >= until) return;
    const uint64_t piece = until - now < kPieceNs ? until - now : kPieceNs;
    const timespec time = {time_t(piece / 1'000'000'000), long(piece % 1'000'000'000)};
    nanosleep(&time, nullptr);
  }
}

uint64_t now_ns() { return clock_ns(CLOCK_MONOTONIC); }
uint64_t real_now_ns() { return clock_ns(CLOCK_REALTIME); }

void put(const std::string& text) {
  constexpr size_t kMost = 1 << 16;
  pending += text;
  if (pending.size() >= kMost) flush();
}

void flush() {
  size_t done = 0;
  while (done < pending.size() && !output_failed) {
    const ssize_t count = write(STDOUT_FILENO, pending.data() + done, pending.size() - done);
    if (count >= 0) {
      done += size_t(count);
    } else if (errno == EAGAIN) {  // somebody made the terminal or pipe non-blocking
      pollfd output = {STDOUT_FILENO, POLLOUT, 0};
      poll(&output, 1, 50);
      if (stop_requested != 0) break;
    } else if (errno != EINTR || stop_requested != 0) {
      output_errno = errno;
      output_failed = true;
    }
  }
  pending.clear();
}

int finish(int code) {
  flush();
  if (!output_failed || output_errno == EPIPE || output_errno == EINTR) return code;
  return complain(std::string("cannot write the output: ") + std::strerror(output_errno));
}

int complain(const std::string& text) {
  flush();
  std::fprintf(stderr, "eshm: %s\n", printable(text).c_str());
  return kFinding;
}

int complain_last_error() { return complain(eshm_last_error(nullptr)); }

bool is_terminal() { return isatty(STDOUT_FILENO) == 1; }

bool wants_colour() {
  static const bool wants = [] {
    const char* const no = std::getenv("NO_COLOR");
    const char* const kind = std::getenv("TERM");
    const bool is_plain = kind == nullptr || std::strcmp(kind, "dumb") == 0;
    return is_terminal() && (no == nullptr || no[0] == '\0') && !is_plain;
  }();
  return wants;
}

std::string coloured(const char* code, const std::string& text) {
  return wants_colour() ? std::string("\033[") + code + "m" + text + "\033[0m" : text;
}

}  // namespace tool
