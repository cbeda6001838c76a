// SPDX-License-Identifier: MIT
// A control loop's rhythm with a link and without one.
//
// The loop runs at 1 kHz under SCHED_FIFO on one core, with all memory locked, and wakes
// by an absolute timer. With the library each cycle makes one write and one read with
// time-out 0. Rounds with and without the library alternate, each in a fresh process,
// beside the same disturbance.
//
// It also prints how long the locks of the data path are held, by whichever thread of the
// loop's process. For that it has a copy of the library that is compiled with
// ESHM_TIME_LOCKS: each hold lasts some nanoseconds longer, and so does each call.
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <atomic>
#include <deque>
#include <optional>
#include <string>
#include <thread>

#include "os/word_lock.h"
#include "support.h"

namespace {

using bench::Child;
using bench::Link;
using bench::link_name;
using bench::now_ns;

constexpr uint64_t kPeriodNs = 1000000;
constexpr uint64_t kSpinNs = 1500;  // about as long as both calls
constexpr size_t kMostCycles = 20000;
constexpr uint64_t kPeerLifeUs = 200000;
constexpr size_t kUnreadMessageBytes = 1024;
constexpr size_t kQueueBytes = 8 << 20;

struct Plan {
  int rounds;
  int cycles;
  int priority;
  int hog_priority;
  int hogs;
  int hog_percent;
  int core;
  int unread_kib;
  std::string thread_cpus;  // of the library's threads in the loop's process; empty: its core
  bool has_upkeep_in_calls;
  ESHMBackend backend;
};

// ---- what one round leaves

struct Cycle {
  uint32_t late_ns;   // from the planned moment to the first statement of the cycle
  uint32_t write_ns;  // of the call; without the library, of reading the clock
  uint32_t read_ns;
  uint32_t spin_ns;  // without the library: of spinning for kSpinNs
};

// Of one lock.
struct Holds {
  uint64_t count[eshm::os::HoldTimes::kBuckets] = {};
  uint64_t longest_ticks = 0;

  void add(const eshm::os::HoldTimes& times) {
    for (size_t i = 0; i < times.kBuckets; ++i) count[i] += times.count(i);
    longest_ticks = std::max(longest_ticks, times.longest_ticks());
  }
  void add(const Holds& other) {
    for (size_t i = 0; i < eshm::os::HoldTimes::kBuckets; ++i) count[i] += other.count[i];
    longest_ticks = std::max(longest_ticks, other.longest_ticks);
  }
  uint64_t total() const {
    uint64_t sum = 0;
    for (const uint64_t one : count) sum += one;
    return sum;
  }
  uint64_t quantile_ticks(double q) const {
    const uint64_t before = uint64_t(q * double(total()));
    uint64_t sum = 0;
    for (size_t i = 0; i < eshm::os::HoldTimes::kBuckets; ++i) {
      sum += count[i];
      if (sum > before) return eshm::os::HoldTimes::least_ticks(i);
    }
    return 0;
  }
};

struct Sheet {
  uint64_t cycles = 0;
  uint64_t skipped = 0;      // cycles whose moment had passed when the one before ended
  uint64_t wrong_codes = 0;  // calls that failed with what the contract does not name
  uint64_t reconnects = 0;
  uint64_t received = 0;
  bool has_locked_memory = false;
  Holds holds[2];  // as eshm::os::hold_times
  Cycle cycle[kMostCycles];
};

uint32_t clamp_ns(uint64_t ns) { return uint32_t(std::min<uint64_t>(ns, UINT32_MAX)); }

// ---- scheduling

// The calling thread. As sched_setscheduler answers: 0, or -1 with errno.
int set_scheduling(int policy, int priority) {
  sched_param param = {};
  param.sched_priority = priority;
  return sched_setscheduler(0, policy, &param);
}

// The kernel ends the process whose real-time threads run for ten seconds without a
// sleep: no mistake here keeps a core.
void limit_time_without_sleep() {
  const rlimit limit = {10000000, 10000000};
  setrlimit(RLIMIT_RTTIME, &limit);
}

void stay_off(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int other : bench::usable_cores()) {
    if (other != core) CPU_SET(other, &set);
  }
  if (sched_setaffinity(0, sizeof set, &set) != 0) bench::fail_errno("leave the loop's core");
}

// ---- the loop

class Loop {
 public:
  Loop(const Plan& plan, ESHMHandle* link, Sheet& sheet)
      : plan_(plan), link_(link), sheet_(sheet) {}

  void run() {
    uint64_t next = now_ns() + kPeriodNs;
    const uint64_t end = next + 4 * uint64_t(plan_.cycles) * kPeriodNs;
    while (sheet_.cycles < uint64_t(plan_.cycles) && next < end) {
      const timespec until = {time_t(next / 1000000000), long(next % 1000000000)};
      while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
      }
      const uint64_t done = one_cycle(next);
      next += kPeriodNs;
      for (; next < done; next += kPeriodNs) ++sheet_.skipped;
    }
  }

 private:
  uint64_t one_cycle(uint64_t planned) {
    const uint64_t began = now_ns();
    if (link_ != nullptr) note(eshm_write(link_, message_, sizeof message_));
    const uint64_t wrote = now_ns();
    if (link_ != nullptr) note(eshm_read_ex(link_, message_, sizeof message_, nullptr, 0));
    const uint64_t read = now_ns();
    const uint64_t spun = link_ == nullptr ? spin_since(read) : read;
    sheet_.cycle[sheet_.cycles++] = {clamp_ns(began - planned), clamp_ns(wrote - began),
                                     clamp_ns(read - wrote), clamp_ns(spun - read)};
    return spun;
  }
  static uint64_t spin_since(uint64_t began) {
    uint64_t now;
    do now = now_ns();
    while (now < began + kSpinNs);
    return now;
  }
  // A slave's write gives TIMEOUT while it has no master.
  void note(int code) {
    sheet_.received += code == ESHM_SUCCESS;
    sheet_.wrong_codes += code != ESHM_SUCCESS && code != ESHM_ERROR_NO_DATA &&
                          code != ESHM_ERROR_TIMEOUT;
  }

  const Plan& plan_;
  ESHMHandle* const link_;
  Sheet& sheet_;
  char message_[64] = {};
};

// ---- disturbances

enum class Trouble { kRestarts, kHogs, kSharedHandle, kMoves, kMovesWithQueue };

bool is_about_moves(Trouble trouble) {
  return trouble == Trouble::kMoves || trouble == Trouble::kMovesWithQueue;
}

// Threads of the loop's process on its core: busy ones below the loop's priority, and one
// without a priority that makes calls on the loop's handle.
class Hogs {
 public:
  Hogs(const Plan& plan, Trouble trouble, ESHMHandle* link) {
    if (trouble != Trouble::kHogs && trouble != Trouble::kSharedHandle) return;
    for (int i = 0; i < plan.hogs; ++i) {
      threads_.emplace_back([this, &plan] {
        set_scheduling(SCHED_FIFO, plan.hog_priority);
        while (!over_.load(std::memory_order_relaxed)) take_turn(plan.hog_percent);
      });
    }
    if (trouble != Trouble::kSharedHandle) return;
    threads_.emplace_back([this, link] {
      set_scheduling(SCHED_OTHER, 0);
      char message[64] = {};
      while (!over_.load(std::memory_order_relaxed)) {
        if (link != nullptr) eshm_write(link, message, sizeof message);
      }
    });
  }
  ~Hogs() {
    over_.store(true);
    for (std::thread& thread : threads_) thread.join();
  }
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;

 private:
  // Busy for a share of each 100 ms, all at the same time. What they leave keeps the kernel
  // from throttling, which would delay the loop itself by up to 50 ms.
  void take_turn(int percent) const {
    constexpr uint64_t kTurnNs = 100000000;
    const uint64_t begin = now_ns() / kTurnNs * kTurnNs;
    const uint64_t busy_until = begin + kTurnNs / 100 * uint64_t(percent);
    while (now_ns() < busy_until && !over_.load(std::memory_order_relaxed)) {
    }
    const uint64_t now = now_ns();
    if (now < begin + kTurnNs) bench::sleep_us((begin + kTurnNs - now) / 1000 + 1);
  }

  std::atomic<bool> over_{false};
  std::deque<std::thread> threads_;
};

ESHMRole loop_role(Trouble trouble) {
  return is_about_moves(trouble) ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
}

std::string link_of(Trouble trouble) { return link_name("loop" + std::to_string(int(trouble))); }

// `name`, of the link of this trouble, must outlive it.
ESHMConfig end_config(const std::string& name, Trouble trouble, ESHMRole role, const Plan& plan) {
  ESHMConfig config = bench::link_config(name, role);
  config.stale_threshold_ms = 100;
  config.max_reconnect_attempts = 0;  // a slave waits for its master through the bare rounds
  config.reconnect_wait_ms = 0;
  config.backend = plan.backend;
  if (trouble == Trouble::kMovesWithQueue) {
    config.s2m.delivery = ESHM_DELIVERY_QUEUE;
    config.s2m.queue_capacity = kQueueBytes;
  }
  return config;
}

struct PeerBoard {
  std::atomic<uint64_t> lives{0};
  std::atomic<uint64_t> stale_reports{0};  // of the loop, in its peers' eyes
  std::atomic<uint64_t> most_unread{0};    // messages of the loop in one segment
};

// Of a queue that is never read.
void note_unread(ESHMHandle* link, PeerBoard& board) {
  ESHMStats stats = {};
  eshm_get_stats(link, &stats);
  board.most_unread = std::max(board.most_unread.load(), stats.s2m_write_count);
}

// Answers each millisecond. A queue stays unread.
[[noreturn]] void be_the_peer(const ESHMConfig& config, PeerBoard& board) {
  const Link link(config);
  ++board.lives;
  char message[64] = {};
  uint64_t told = 0;
  for (;;) {
    eshm_write(link, message, sizeof message);
    if (config.s2m.delivery == ESHM_DELIVERY_LATEST) {
      eshm_read_ex(link, message, sizeof message, nullptr, 0);
    }
    ESHMStatsEx stats = {};
    eshm_get_stats_ex(link, &stats);
    board.stale_reports += stats.stale_reports - told;
    told = stats.stale_reports;
    if (config.s2m.delivery == ESHM_DELIVERY_QUEUE) note_unread(link, board);
    bench::sleep_us(1000);
  }
}

// One peer after the other, each killed after 200 ms; or one alone, where restarts are not
// the matter. A master has other sizes than the one before it, so that the slave moves.
[[noreturn]] void raise_peers(const Plan& plan, Trouble trouble, PeerBoard& board) {
  stay_off(plan.core);
  const ESHMRole role =
      loop_role(trouble) == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  const std::string name = link_of(trouble);
  ESHMConfig config = end_config(name, trouble, role, plan);
  const bool is_mortal = trouble == Trouble::kRestarts || is_about_moves(trouble);
  for (;;) {
    config.m2s.max_message_size = config.m2s.max_message_size == 2048 ? 4096 : 2048;
    Child peer([&] { be_the_peer(config, board); });
    if (!is_mortal) peer.wait();
    bench::sleep_us(kPeerLifeUs);
  }
}

// ---- one round, in a process of its own

// For the masters to come: each move carries it to the next segment.
void fill_queue(const Plan& plan, ESHMHandle* link) {
  const char message[kUnreadMessageBytes] = {};
  for (int i = 0; i < plan.unread_kib; ++i) {
    bench::check(eshm_write(link, message, sizeof message), "fill the queue");
  }
}

void play_round(const Plan& plan, Trouble trouble, bool has_library, Sheet& sheet) {
  limit_time_without_sleep();
  // Before eshm_init: unless told otherwise the service thread inherits the core, which is
  // the harder case.
  bench::pin_to(plan.core);
  sheet.has_locked_memory = mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
  const std::string name = link_of(trouble);
  std::optional<Link> link;
  if (has_library) {
    ESHMConfig config = end_config(name, trouble, loop_role(trouble), plan);
    config.thread_cpus = plan.thread_cpus.c_str();
    if (!plan.has_upkeep_in_calls) config.flags |= ESHM_FLAG_NO_UPKEEP_IN_CALLS;
    link.emplace(config);
  }
  ESHMHandle* const handle = link ? static_cast<ESHMHandle*>(*link) : nullptr;
  if (link && trouble == Trouble::kMovesWithQueue) fill_queue(plan, *link);
  for (auto& times : eshm::os::hold_times) times.clear();
  {
    if (set_scheduling(SCHED_FIFO, plan.priority) != 0) bench::fail_errno("SCHED_FIFO");
    const Hogs hogs(plan, trouble, handle);
    Loop(plan, handle, sheet).run();
  }
  if (!link) return;
  for (int i = 0; i < 2; ++i) sheet.holds[i].add(eshm::os::hold_times[i]);
  ESHMStatsEx stats = {};
  bench::check(eshm_get_stats_ex(*link, &stats), "eshm_get_stats_ex");
  sheet.reconnects = stats.reconnects;
}

// ---- figures

class Figures {
 public:
  void add(const Sheet& sheet) {
    for (uint64_t i = 0; i < sheet.cycles; ++i) {
      const Cycle& cycle = sheet.cycle[i];
      late_.push_back(cycle.late_ns);
      write_.push_back(cycle.write_ns);
      read_.push_back(cycle.read_ns);
      calls_.push_back(double(cycle.write_ns) + cycle.read_ns);
      spin_.push_back(cycle.spin_ns);
      done_.push_back(double(cycle.late_ns) + cycle.write_ns + cycle.read_ns);
    }
    skipped += sheet.skipped;
    wrong_codes += sheet.wrong_codes;
    reconnects += sheet.reconnects;
    received += sheet.received;
    for (int i = 0; i < 2; ++i) holds[i].add(sheet.holds[i]);
  }

  const std::vector<double>& late() const { return late_; }
  const std::vector<double>& write() const { return write_; }
  const std::vector<double>& read() const { return read_; }
  // Both calls; without the library, reading the clock twice.
  const std::vector<double>& calls() const { return calls_; }
  // Without the library: what becomes of 1.5 us of any work.
  const std::vector<double>& spin() const { return spin_; }
  // From the planned moment to the end of the cycle.
  const std::vector<double>& done() const { return done_; }

  uint64_t skipped = 0, wrong_codes = 0, reconnects = 0, received = 0;
  Holds holds[2];

 private:
  std::vector<double> late_, write_, read_, calls_, spin_, done_;
};

void print_row(const char* what, const char* whose, const std::vector<double>& ns) {
  std::printf("  %-22s %-5s", what, whose);
  for (const double q : {0.5, 0.999, 0.9999, 1.0}) {
    std::printf(" %9.2f", bench::quantile(ns, q) / 1000);
  }
  std::printf("\n");
}

// The length of a tick, measured while the benchmark runs.
class TickLength {
 public:
  double ns() const {
    return double(now_ns() - began_ns_) / double(eshm::os::ticks() - began_ticks_);
  }

 private:
  const uint64_t began_ns_ = now_ns();
  const uint64_t began_ticks_ = eshm::os::ticks();
};

void print_holds(const char* what, const Holds& holds, double tick_ns) {
  std::printf("  %-28s", what);
  for (const double q : {0.5, 0.999}) {
    std::printf(" %9.0f", double(holds.quantile_ticks(q)) * tick_ns);
  }
  std::printf(" %9.0f %9llu\n", double(holds.longest_ticks) * tick_ns,
              static_cast<unsigned long long>(holds.total()));
}

// What the timer itself takes.
Holds hold_for_nothing() {
  constexpr int kTimes = 100000;
  eshm::os::WordLock lock;
  lock.time_as(eshm::os::TimedLock::kRead);
  eshm::os::HoldTimes& times = eshm::os::hold_times[int(eshm::os::TimedLock::kRead)];
  times.clear();
  for (int i = 0; i < kTimes; ++i) {
    lock.lock();
    lock.unlock();
  }
  Holds holds;
  holds.add(times);
  return holds;
}

void measure(const Plan& plan, Trouble trouble, const char* what, bool has_goal) {
  const TickLength tick;
  const bench::SharedMemory<Sheet> sheet;
  const bench::SharedMemory<PeerBoard> board;
  Figures bare, with_link;
  bool has_locked_memory = true;
  {
    Child nurse([&] { raise_peers(plan, trouble, *board); });
    for (int round = 0; round < 2 * plan.rounds; ++round) {
      const bool has_library = round % 2 == 1;
      new (&*sheet) Sheet();
      Child loop([&] { play_round(plan, trouble, has_library, *sheet); });
      if (loop.wait() != 0) bench::fail("a round failed");
      has_locked_memory &= sheet->has_locked_memory;
      (has_library ? with_link : bare).add(*sheet);
    }
  }
  std::printf("\n%s\n  %zu cycles each, us: %21s %9s %9s %9s\n", what, bare.done().size(), "p50",
              "p99.9", "p99.99", "max");
  print_row("lateness", "bare", bare.late());
  print_row("", "link", with_link.late());
  print_row("eshm_write", "link", with_link.write());
  print_row("eshm_read_ex", "link", with_link.read());
  print_row("1.5 us of spinning", "bare", bare.spin());
  print_row("both calls", "bare", bare.calls());
  print_row("", "link", with_link.calls());
  print_row("plan to end of cycle", "bare", bare.done());
  print_row("", "link", with_link.done());
  std::printf("  a lock is held, ns: %18s %9s %9s %9s\n", "p50", "p99.9", "max", "times");
  print_holds("around nothing", hold_for_nothing(), tick.ns());
  print_holds("write lock", with_link.holds[int(eshm::os::TimedLock::kWrite)], tick.ns());
  print_holds("read lock", with_link.holds[int(eshm::os::TimedLock::kRead)], tick.ns());
  const auto more_us = [](const std::vector<double>& link, const std::vector<double>& bare_ns) {
    return (bench::quantile(link, 0.9999) - bench::quantile(bare_ns, 0.9999)) / 1000;
  };
  std::printf("  p99.99 with a link less the bare loop's, us: both calls %+.2f, cycle %+.2f%s\n",
              more_us(with_link.calls(), bare.calls()), more_us(with_link.done(), bare.done()),
              has_goal ? "   <= +20" : "");
  std::printf("  p99.99 of both calls with a link less 1.5 us of spinning, us: %+.2f\n",
              more_us(with_link.calls(), bare.spin()));
  std::printf("  cycles left out, being late: %llu bare, %llu with a link\n",
              static_cast<unsigned long long>(bare.skipped),
              static_cast<unsigned long long>(with_link.skipped));
  std::printf("  new peers found: %llu;  calls with SUCCESS: %llu, with an unforeseen code: %llu   0\n",
              static_cast<unsigned long long>(with_link.reconnects),
              static_cast<unsigned long long>(with_link.received),
              static_cast<unsigned long long>(with_link.wrong_codes));
  std::printf("  times that a peer reported the loop stale: %llu   0\n",
              static_cast<unsigned long long>(board->stale_reports.load()));
  if (board->most_unread != 0) {
    std::printf("  most messages that waited at a master: %llu\n",
                static_cast<unsigned long long>(board->most_unread.load()));
  }
  if (!has_locked_memory) std::printf("  mlockall was not permitted: memory was not locked\n");
}

// Why there is nothing to measure; empty if there is.
std::string left_out_because(const Plan& plan) {
  if (bench::usable_cores().size() < 2) return "it needs two cores";
  if (plan.cycles > int(kMostCycles)) return "at most 20000 cycles a round";
  const bench::SharedMemory<int> error;
  Child child([&] { *error = set_scheduling(SCHED_FIFO, plan.priority) == 0 ? 0 : errno; });
  child.wait();
  if (*error == 0) return {};
  rlimit limit = {};
  getrlimit(RLIMIT_RTPRIO, &limit);
  return "SCHED_FIFO " + std::to_string(plan.priority) + " is not permitted (" +
         std::strerror(*error) + "; RLIMIT_RTPRIO is " + std::to_string(limit.rlim_cur) +
         "): run it as root, with CAP_SYS_NICE, or after ulimit -r " +
         std::to_string(plan.priority);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-realtime", 3600, [&] {
    bench::Options options(argc, argv);
    Plan plan = {};
    const std::string only = options.text("only", "all");
    plan.rounds = options.number("rounds", 41);
    plan.cycles = options.number("cycles", 500);
    plan.priority = options.number("priority", 50);
    plan.hog_priority = options.number("hog-priority", 30);
    plan.hogs = options.number("hogs", 2);
    plan.hog_percent = options.number("hog-percent", 90);
    plan.unread_kib = options.number("unread-kib", 1024);
    plan.thread_cpus = options.text("thread-cpus", "");
    plan.has_upkeep_in_calls = options.number("upkeep-in-calls", 1) != 0;
    plan.core = options.number("core", bench::usable_cores().back());
    plan.backend = bench::backend_named(options.text("backend", "posix"));
    if (!options.all_understood()) bench::fail("realtime: see above");
    const std::string reason = left_out_because(plan);
    if (!reason.empty()) {
      std::printf("\na control loop: left out, %s\n", reason.c_str());
      return;
    }
    stay_off(plan.core);

    std::printf("\na SCHED_FIFO %d loop at 1 kHz on core %d, %d rounds each in turn\n",
                plan.priority, plan.core, plan.rounds);
    const auto wanted = [&](const char* part) { return only == "all" || only == part; };
    if (wanted("restarts")) {
      measure(plan, Trouble::kRestarts, "(a) the peer is killed and restarted every 200 ms", true);
    }
    if (wanted("hogs")) {
      measure(plan, Trouble::kHogs, "(b) busy threads of the process below the loop's priority",
              true);
      measure(plan, Trouble::kSharedHandle,
              "(b) the same, and a thread without a priority writes on the same handle", true);
    }
    if (wanted("moves")) {
      measure(plan, Trouble::kMoves, "(c) the loop is the slave, and moves every 200 ms", false);
      const std::string unread = std::to_string(plan.unread_kib) + " KiB unread";
      measure(plan, Trouble::kMovesWithQueue,
              ("(c) the same, and its queue holds " + unread).c_str(), false);
    }
  });
}
