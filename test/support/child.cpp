// SPDX-License-Identifier: MIT
#include "support/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "support/counts.h"
#include "support/link.h"
#include "support/tally.h"

namespace test {

namespace {

constexpr size_t kLongestMessage = 4096;

void check(bool condition, const char* what) {
  if (!condition) {
    std::perror(what);
    std::abort();
  }
}

std::atomic<uint64_t> kills{0};
std::atomic<uint64_t> continued{0};

// Not in a forked child: those end by _exit.
struct AtExit {
  ~AtExit() { Child::tell_tally(); }
} at_exit;

}  // namespace

Wire::Wire(Wire&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Wire& Wire::operator=(Wire&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Wire::~Wire() {
  if (fd_ >= 0) close(fd_);
}

void Wire::say(const std::string& text) {
  // The other end may be dead, which the test finds out by itself.
  (void)!send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
}

std::string Wire::hear() {
  char text[kLongestMessage];
  ssize_t bytes;
  do {
    bytes = recv(fd_, text, sizeof text, 0);
  } while (bytes < 0 && errno == EINTR);
  return bytes > 0 ? std::string(text, static_cast<size_t>(bytes)) : std::string();
}

bool Wire::has_news() const {
  pollfd one{fd_, POLLIN, 0};
  return poll(&one, 1, 0) > 0;
}

void child_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: in child %d: %s\n", file, line, static_cast<int>(getpid()),
               condition);
  _exit(1);
}

Child::Child(const std::function<int(Wire&)>& body) : pid_(-1), wire_(-1) {
  int ends[2];
  check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  std::fflush(nullptr);
  const pid_t parent = getpid();
  pid_ = fork();
  check(pid_ >= 0, "fork");
  if (pid_ == 0) {
    close(ends[0]);
    arm_watchdog();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    Wire wire(ends[1]);
    _exit(body(wire));
  }
  close(ends[1]);
  wire_ = Wire(ends[0]);
  remember_process(pid_);
}

Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), status_(other.status_), wire_(std::move(other.wire_)) {}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(status_, other.status_);
  std::swap(wire_, other.wire_);
  return *this;
}

Child::~Child() {
  if (pid_ > 0) kill_now();
}

void Child::stop() {
  check(kill(pid_, SIGSTOP) == 0, "kill");
  check(waitpid(pid_, &status_, WUNTRACED) == pid_, "waitpid");
  // It ended instead: there is nobody to stop, and no number to reuse.
  if (!WIFSTOPPED(status_)) note_end();
}

void Child::go_on() {
  check(kill(pid_, SIGCONT) == 0, "kill");
  ++continued;
}

void Child::tell_tally() {
  tally("real_kills", kills.exchange(0));
  tally("stop_continue", continued.exchange(0));
}

void Child::note_end() {
  note_reaped(pid_);
  pid_ = -1;
  kills += WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL;
}

void Child::kill_now() {
  check(pid_ > 0, "kill of a child that has ended");
  kill(pid_, SIGKILL);
  waitpid(pid_, &status_, 0);
  note_end();
}

void Child::kill_soon() { check(kill(pid_, SIGKILL) == 0, "kill"); }

bool Child::try_reap() {
  if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_) note_end();
  return pid_ <= 0;
}

int Child::join() {
  if (pid_ > 0) {
    check(waitpid(pid_, &status_, 0) == pid_, "waitpid");
    note_end();
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

}  // namespace test
