// SPDX-License-Identifier: MIT
// What the benchmarks share: clock, cores, statistics, child processes, and a
// guard that leaves nothing behind.
#pragma once

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "eshm.h"

namespace bench {

[[noreturn]] inline void fail(const std::string& what) { throw std::runtime_error(what); }
[[noreturn]] inline void fail_errno(const std::string& what) {
  fail(what + ": " + std::strerror(errno));
}

// ---- time and cores

inline uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return uint64_t(time.tv_sec) * 1000000000 + uint64_t(time.tv_nsec);
}

inline void sleep_us(uint64_t us) {
  timespec time = {time_t(us / 1000000), long(us % 1000000) * 1000};
  while (nanosleep(&time, &time) != 0 && errno == EINTR) {
  }
}

inline std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

// The calling thread alone; threads that exist already stay free.
inline void pin_to(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail_errno("pin to a core");
}

// Ends a polling loop whose other end has died; asks the clock seldom.
class Patience {
 public:
  explicit Patience(const char* what, uint64_t seconds = 10)
      : what_(what), end_ns_(now_ns() + seconds * 1000000000) {}

  void tick(uint32_t mask = 0xFFFFF) {
    if ((++ticks_ & mask) == 0 && now_ns() > end_ns_) fail(std::string("no answer: ") + what_);
  }

 private:
  const char* what_;
  uint64_t end_ns_;
  uint32_t ticks_ = 0;
};

template <class Condition>
void wait_until(Condition condition, const char* what, uint64_t seconds = 10) {
  Patience patience(what, seconds);
  while (!condition()) {
    sleep_us(50);
    patience.tick(0xF);
  }
}

// ---- statistics

// The value below which a share of q of the values lies; NaN of none.
inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::nan("");
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, size_t(q * double(values.size())))];
}

inline double median(const std::vector<double>& values) { return quantile(values, 0.5); }

// ---- what parent and children see

template <class T>
class SharedMemory {
 public:
  SharedMemory() {
    void* bytes =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) fail_errno("map shared memory");
    value_ = new (bytes) T();
  }
  ~SharedMemory() { munmap(value_, sizeof(T)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  T& operator*() const { return *value_; }
  T* operator->() const { return value_; }

 private:
  T* value_;
};

// ---- processes

template <class Body>
int run_reporting(Body body) {
  try {
    body();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 1;
  }
}

// A forked process that dies with its parent, and with this object.
class Child {
 public:
  template <class Body>
  explicit Child(Body body) {
    std::fflush(nullptr);
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ < 0) fail_errno("fork");
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // It died before the line above; 0 is a parent in another PID namespace.
    if (getppid() != parent && getppid() != 0) _exit(1);
    const int status = run_reporting(body);
    std::fflush(nullptr);
    _exit(status);
  }
  ~Child() { kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  void signal(int number) const { ::kill(pid_, number); }

  void kill() {
    if (pid_ <= 0) return;
    signal(SIGKILL);
    wait();
  }

  // Its status as of waitpid.
  int wait() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

 private:
  pid_t pid_ = -1;
};

// ---- links

// Begins every link name of this run; set by run_guarded.
inline std::string& name_prefix() {
  static std::string prefix;
  return prefix;
}

inline std::string link_name(const std::string& what) { return name_prefix() + what; }

// A starved process is rightly told stale, so the threshold is long where
// staleness is not the matter.
inline ESHMConfig link_config(const std::string& name, ESHMRole role) {
  ESHMConfig config = eshm_default_config(name.c_str());
  config.role = role;
  config.disconnect_behavior = ESHM_DISCONNECT_NEVER;
  config.stale_threshold_ms = 5000;
  return config;
}

class Link {
 public:
  explicit Link(const ESHMConfig& config) : handle_(eshm_init(&config)) {
    if (handle_ == nullptr) fail(eshm_last_error(nullptr));
  }
  ~Link() {
    if (handle_ != nullptr) eshm_destroy(handle_);
  }
  Link(Link&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
  Link& operator=(Link&&) = delete;

  operator ESHMHandle*() const { return handle_; }

 private:
  ESHMHandle* handle_;
};

inline void check(int code, const char* what) {
  if (code != ESHM_SUCCESS) fail(std::string(what) + ": " + eshm_last_error(nullptr));
}

inline ESHMPeerState peer_state(ESHMHandle* link) {
  ESHMPeerState state;
  check(eshm_get_remote_state(link, &state), "eshm_get_remote_state");
  return state;
}

// ---- the guard

inline void remove_segments(const std::string& prefix) {
  DIR* folder = opendir("/dev/shm");
  if (folder == nullptr) return;
  while (const dirent* entry = readdir(folder)) {
    if (std::strstr(entry->d_name, prefix.c_str()) == nullptr) continue;
    unlinkat(dirfd(folder), entry->d_name, 0);
  }
  closedir(folder);
}

inline volatile pid_t guarded_pid = 0;

// Runs the benchmark in a child, which may crash, hang or be interrupted: when
// it has ended, and its own children with it, no segment of it stays.
template <class Body>
int run_guarded(const char* name, unsigned limit_s, Body body) {
  name_prefix() = std::string(name) + "-" + std::to_string(getpid()) + "-" +
                  std::to_string(std::random_device()() % 1000000) + "-";
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  Child worker(body);
  guarded_pid = worker.pid();
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGALRM}) {
    signal(number, [](int) { kill(guarded_pid, SIGKILL); });
  }
  alarm(limit_s);
  const int status = worker.wait();
  while (wait(nullptr) > 0 || errno == EINTR) {
  }
  remove_segments(name_prefix());
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  std::fprintf(stderr, "%s: ended by signal %d\n", name, WTERMSIG(status));
  return 1;
}

// ---- the command line: --name value, or --name alone

class Options {
 public:
  Options(int argc, char** argv) : words_(argv + 1, argv + argc) {}

  std::string text(const std::string& name, const std::string& fallback) {
    known_ += "  --" + name + " " + fallback + "\n";
    for (size_t i = 0; i + 1 < words_.size(); ++i) {
      if (words_[i] != "--" + name) continue;
      const std::string value = words_[i + 1];
      words_.erase(words_.begin() + long(i), words_.begin() + long(i) + 2);
      return value;
    }
    return fallback;
  }

  int number(const std::string& name, int fallback) {
    return std::atoi(text(name, std::to_string(fallback)).c_str());
  }

  // False, with the options and their defaults printed, when a word is left.
  bool all_understood() const {
    if (words_.empty()) return true;
    std::fprintf(stderr, "not understood: %s\noptions and defaults:\n%s", words_[0].c_str(),
                 known_.c_str());
    return false;
  }

 private:
  std::vector<std::string> words_;
  std::string known_;
};

inline ESHMBackend backend_named(const std::string& name) {
  if (name == "posix") return ESHM_BACKEND_POSIX;
  if (name == "sysv") return ESHM_BACKEND_SYSV;
  fail("--backend is posix or sysv, not " + name);
}

inline ESHMDelivery delivery_named(const std::string& name) {
  if (name == "latest") return ESHM_DELIVERY_LATEST;
  if (name == "queue") return ESHM_DELIVERY_QUEUE;
  fail("--delivery is latest or queue, not " + name);
}

}  // namespace bench
