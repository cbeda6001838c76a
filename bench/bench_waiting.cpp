// SPDX-License-Identifier: MIT
// What waiting for many costs beside waiting for one, and what waiting costs
// at all: whether busy peers park, and what a parked one uses.
//
// The writer, in this process, writes to one of the reader's handles when the
// reader has slept for a while; the reader tells how long ago that was when it
// has the message. Short rounds of all ways to wait alternate, and each is
// judged by the rounds of a single parked read right before and after it.
#include <sys/epoll.h>
#include <sys/resource.h>

#include <atomic>

#include "support.h"

namespace {

using bench::Link;
using bench::link_config;
using bench::link_name;
using bench::median;
using bench::now_ns;
using bench::quantile;

// Longer than it takes to announce a thousand times, and to fall asleep.
constexpr uint64_t kAsleepNs = 2000000;
constexpr uint32_t kForeverMs = UINT32_MAX;

struct Board {
  std::atomic<uint64_t> opened{0};
  std::atomic<uint64_t> waits{0};  // turn in which the reader goes to sleep
  std::atomic<uint64_t> has{0};    // turn that it has the message of
  std::atomic<uint64_t> took_ns{0};
  std::atomic<uint64_t> parks{0};
  std::atomic<uint64_t> cpu_ns{0};
};

struct Plan {
  int rounds;
  int trips;
  int exchanges;
  int idle_s;
  ESHMBackend backend;
};

// The links of one way to wait.
class Group {
 public:
  Group(const std::string& name, size_t size, ESHMRole role, const Plan& plan) {
    for (size_t i = 0; i < size; ++i) {
      const std::string link = link_name(name + std::to_string(i));
      ESHMConfig config = link_config(link, role);
      config.backend = plan.backend;
      config.spin_us = 0;
      links_.emplace_back(config);
      handles_.push_back(links_.back());
    }
  }
  size_t size() const { return handles_.size(); }
  ESHMHandle* operator[](size_t index) const { return handles_[index]; }
  ESHMHandle* const* data() const { return handles_.data(); }

 private:
  std::vector<Link> links_;
  std::vector<ESHMHandle*> handles_;
};

enum Way { kRead, kAnyFew, kAnyMany, kEpoll, kWays };
const char* const kNames[kWays] = {"one handle, eshm_read_ex", "eshm_wait_any of 100",
                                   "eshm_wait_any of 1,000", "epoll of 100 by eshm_get_fd"};
const char* const kGoals[kWays] = {"", "<= 1.30 x one", "<= 2.00 x one", ""};
const size_t kSizes[kWays] = {1, 100, 1000, 100};

std::vector<Group> open_all(ESHMRole role, const Plan& plan) {
  std::vector<Group> groups;
  for (int way = 0; way < kWays; ++way) {
    groups.emplace_back("waiting" + std::to_string(way) + "_", kSizes[way], role, plan);
  }
  return groups;
}

// ---- the reader

class Reader {
 public:
  explicit Reader(const std::vector<Group>& groups)
      : groups_(groups), loop_(epoll_create1(EPOLL_CLOEXEC)) {
    for (size_t i = 0; i < groups[kEpoll].size(); ++i) {
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.u64 = i;
      const int fd = eshm_get_fd(groups[kEpoll][i]);
      if (fd < 0) bench::fail(eshm_last_error(nullptr));
      epoll_ctl(loop_, EPOLL_CTL_ADD, fd, &event);
    }
    // The threads start here, where this one is not pinned yet.
    eshm_wait_any(groups[kAnyMany].data(), groups[kAnyMany].size(), 1);
  }
  ~Reader() { close(loop_); }

  // When the message was sent.
  uint64_t wait(Way way) {
    uint64_t sent_ns = 0;
    if (way == kRead) {
      bench::check(eshm_read_ex(groups_[way][0], &sent_ns, sizeof sent_ns, nullptr, kForeverMs),
                   "eshm_read_ex");
      return sent_ns;
    }
    for (;;) {
      const size_t index = way == kEpoll ? wait_for_epoll() : wait_any(groups_[way]);
      const int code =
          eshm_read_ex(groups_[way][index], &sent_ns, sizeof sent_ns, nullptr, 0);
      if (code == ESHM_SUCCESS) return sent_ns;
      if (code != ESHM_ERROR_NO_DATA) bench::check(code, "eshm_read_ex");
    }
  }

 private:
  size_t wait_for_epoll() {
    epoll_event event;
    while (epoll_wait(loop_, &event, 1, -1) != 1) {
    }
    return size_t(event.data.u64);
  }
  static size_t wait_any(const Group& group) {
    const int found = eshm_wait_any(group.data(), group.size(), kForeverMs);
    if (found < 0) bench::check(found, "eshm_wait_any");
    return size_t(found);
  }

  const std::vector<Group>& groups_;
  const int loop_;
};

// ---- both play the same rounds

template <class Trips>
void play(const Plan& plan, Trips trips) {
  for (int round = 0; round < plan.rounds; ++round) {
    for (int way = kAnyFew; way < kWays; ++way) {
      trips(kRead);
      trips(Way(way));
    }
    trips(kRead);
  }
}

void read_all(const Plan& plan, Board& board, int core) {
  const std::vector<Group> groups = open_all(ESHM_ROLE_SLAVE, plan);
  Reader reader(groups);
  bench::pin_to(core);
  board.opened.store(1);
  uint64_t turn = 0;
  play(plan, [&](Way way) {
    for (int trip = 0; trip < plan.trips; ++trip) {
      board.waits.store(++turn);
      const uint64_t sent_ns = reader.wait(way);
      board.took_ns.store(now_ns() - sent_ns);
      board.has.store(turn);
    }
  });
}

struct Series {
  std::vector<double> ns, ratio;
};

void write_all(const Plan& plan, Board& board, Series (&series)[kWays]) {
  const std::vector<Group> groups = open_all(ESHM_ROLE_MASTER, plan);
  board.opened.store(2);
  bench::wait_until([&] { return board.opened.load() == 1; }, "reader", 60);
  std::mt19937_64 random{std::random_device()()};
  uint64_t turn = 0;
  double one_before = 0, pending = 0;
  int pending_way = kRead;
  play(plan, [&](Way way) {
    std::vector<double> took;
    for (int trip = 0; trip < plan.trips; ++trip) {
      ++turn;
      bench::Patience patience("reader");
      while (board.waits.load() != turn) patience.tick();
      const uint64_t asleep_ns = now_ns() + kAsleepNs;
      while (now_ns() < asleep_ns) {
      }
      const uint64_t sent_ns = now_ns();
      bench::check(eshm_write(groups[way][random() % groups[way].size()], &sent_ns, sizeof sent_ns),
                   "eshm_write");
      while (board.has.load() != turn) patience.tick();
      took.push_back(double(board.took_ns.load()));
    }
    const double ns = median(took);
    series[way].ns.push_back(ns);
    if (way != kRead) {
      pending = ns;
      pending_way = way;
      return;
    }
    if (pending_way != kRead) {
      series[pending_way].ratio.push_back(pending / ((one_before + ns) / 2));
    }
    pending_way = kRead;
    one_before = ns;
  });
}

void many(const Plan& plan) {
  const std::vector<int> cores = bench::usable_cores();
  if (cores.size() < 2) bench::fail("waiting: needs two cores");
  bench::SharedMemory<Board> board;
  bench::Child child([&] {
    bench::wait_until([&] { return board->opened.load() == 2; }, "writer", 60);
    read_all(plan, *board, cores[1]);
  });
  bench::pin_to(cores[0]);
  Series series[kWays];
  write_all(plan, *board, series);
  child.wait();
  std::printf("\na message for a sleeping reader, medians of %d interleaved rounds of %d\n",
              plan.rounds, plan.trips);
  std::printf("%-32s %8s   %5s  %-16s  %s\n", "", "us", "ratio", "[quartiles]", "goal");
  for (int way = 0; way < kWays; ++way) {
    const std::vector<double>& ratio = series[way].ratio;
    std::printf("%-32s %8.1f", kNames[way], median(series[way].ns) / 1000);
    if (way != kRead) {
      std::printf("   %5.2f  [%.2f .. %.2f]    %s", median(ratio), quantile(ratio, 0.25),
                  quantile(ratio, 0.75), kGoals[way]);
    }
    std::printf("\n");
  }
}

// ---- the adaptive spin

uint64_t parks_of(ESHMHandle* link) {
  ESHMStatsEx stats = {};
  bench::check(eshm_get_stats_ex(link, &stats), "eshm_get_stats_ex");
  return stats.parks;
}

ESHMConfig adaptive(const std::string& name, ESHMRole role, const Plan& plan) {
  ESHMConfig config = link_config(name, role);
  config.backend = plan.backend;
  return config;
}

// Two that answer each other at once, with blocking reads and default spin.
void busy(const Plan& plan) {
  const std::vector<int> cores = bench::usable_cores();
  const std::string name = link_name("busy");
  const auto exchange = [&](ESHMHandle* link, bool begins) {
    uint64_t number = 0;
    for (int i = 0; i < plan.exchanges; ++i) {
      if (begins) bench::check(eshm_write(link, &number, sizeof number), "eshm_write");
      bench::check(eshm_read_ex(link, &number, sizeof number, nullptr, 10000), "eshm_read_ex");
      if (!begins) bench::check(eshm_write(link, &number, sizeof number), "eshm_write");
    }
  };
  bench::Child child([&] {
    const Link link(adaptive(name, ESHM_ROLE_SLAVE, plan));
    bench::pin_to(cores[1]);
    exchange(link, false);
  });
  const Link link(adaptive(name, ESHM_ROLE_MASTER, plan));
  bench::wait_until([&] { return bench::peer_state(link) == ESHM_PEER_ALIVE; }, "slave");
  bench::pin_to(cores[0]);
  const uint64_t begin_ns = now_ns();
  exchange(link, true);
  const double each_ns = double(now_ns() - begin_ns) / plan.exchanges;
  std::printf("busy peers, default spin: %llu parks in %d exchanges of %.0f ns   0 unless preempted\n",
              static_cast<unsigned long long>(parks_of(link)), plan.exchanges, each_ns);
  child.wait();
}

uint64_t cpu_ns() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto ns = [](const timeval& time) {
    return uint64_t(time.tv_sec) * 1000000000 + uint64_t(time.tv_usec) * 1000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

enum class Idle { kSleeps, kReads, kWaitsForMany };

// CPU use, in percent of a core, of a process with 200 links.
double idle_percent(const Plan& plan, Idle how) {
  constexpr size_t kLinks = 200;
  bench::SharedMemory<Board> board;
  bench::Child child([&] {
    const Group group("idle", kLinks, ESHM_ROLE_MASTER, plan);
    std::vector<char> buffer(64);
    const auto rest = [&](uint32_t ms) {
      if (how == Idle::kSleeps) {
        bench::sleep_us(uint64_t(ms) * 1000);
      } else if (how == Idle::kReads) {
        eshm_read_ex(group[0], buffer.data(), buffer.size(), nullptr, ms);
      } else {
        eshm_wait_any(group.data(), group.size(), ms);
      }
    };
    rest(100);
    const uint64_t before = cpu_ns();
    rest(uint32_t(plan.idle_s) * 1000);
    board->cpu_ns.store(cpu_ns() - before);
  });
  child.wait();
  return double(board->cpu_ns.load()) / (double(plan.idle_s) * 1e9) * 100;
}

void idle(const Plan& plan) {
  std::printf("CPU use of a process with 200 links, %d s each\n", plan.idle_s);
  const double sleeps = idle_percent(plan, Idle::kSleeps);
  const double reads = idle_percent(plan, Idle::kReads);
  const double waits = idle_percent(plan, Idle::kWaitsForMany);
  std::printf("%-32s %7.2f %%\n", "its main thread sleeps", sleeps);
  std::printf("%-32s %7.2f %%   the same\n", "it is parked in a read", reads);
  std::printf("%-32s %7.2f %%   the same\n", "it waits for all 200", waits);
}

void run(const Plan& plan) {
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  // Each in a process of its own: the first two pin theirs.
  for (const auto part : {many, busy, idle}) {
    const int status = bench::Child([&] { part(plan); }).wait();
    if (status != 0) bench::fail("waiting: a part failed");
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-waiting", 1200, [&] {
    bench::Options options(argc, argv);
    Plan plan;
    plan.rounds = options.number("rounds", 21);
    plan.trips = options.number("trips", 40);
    plan.exchanges = options.number("exchanges", 100000);
    plan.idle_s = options.number("idle-seconds", 3);
    plan.backend = bench::backend_named(options.text("backend", "posix"));
    if (!options.all_understood()) bench::fail("waiting: see above");
    run(plan);
  });
}
