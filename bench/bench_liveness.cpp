// SPDX-License-Identifier: MIT
// How fast the truth about the peer is told, and what watching it costs.
//
// In each part this process holds the surviving end of a link. The other end,
// the mortal one, is raised by a nurse: a child that was forked before this
// process opened anything, so that every mortal is an equally small process.
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <deque>
#include <optional>

#include "support.h"

namespace {

using bench::Child;
using bench::Link;
using bench::link_config;
using bench::link_name;
using bench::median;
using bench::now_ns;
using bench::peer_state;
using bench::quantile;

struct Board {
  std::atomic<int> ready{0};     // round whose mortal is up
  std::atomic<int> received{0};  // round whose message the survivor has read
  std::atomic<int> told{0};      // round whose death the survivor was told
  std::atomic<int> pid{0};       // of the mortal
  std::atomic<int> doomed{0};    // round whose mortal shall end itself
  std::atomic<uint64_t> ended_ns{0};
  std::atomic<int> lost{0};      // rounds whose message did not come
  std::atomic<uint64_t> stale_reports{0};
  std::atomic<uint64_t> deaths_told{0};
  std::atomic<double> cpu_percent{0};
};

class Random {
 public:
  uint64_t below(uint64_t limit) {
    return std::uniform_int_distribution<uint64_t>(0, limit - 1)(engine_);
  }

 private:
  std::mt19937_64 engine_{std::random_device()()};
};

double ms_since(uint64_t begin_ns) { return double(now_ns() - begin_ns) / 1e6; }

const char* name_of(ESHMRole role) { return role == ESHM_ROLE_MASTER ? "master" : "slave"; }
ESHMRole other(ESHMRole role) {
  return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
}

// ---- told dead

[[noreturn]] void talk_until_killed(ESHMHandle* link) {
  char message[64] = {};
  for (;;) {
    for (int i = 0; i < 64; ++i) {
      eshm_write(link, message, sizeof message);
      eshm_read_ex(link, message, sizeof message, nullptr, 0);
    }
    eshm_read_ex(link, message, sizeof message, nullptr, 1);
  }
}

// One mortal after another. The next one waits until the survivor was told: else
// it might be there, and alive, before anybody has looked.
void raise_mortals(Board& board, const std::string& name, ESHMRole role, int rounds) {
  for (int round = 1; round <= rounds; ++round) {
    Child mortal([&] {
      const Link link(link_config(name, role));
      board.pid.store(getpid());
      board.ready.store(round);
      talk_until_killed(link);
    });
    mortal.wait();
    bench::wait_until([&] { return board.told.load() == round; }, "survivor");
  }
}

class DeathWatch {
 public:
  DeathWatch(Board& board, ESHMHandle* link) : board_(board), link_(link) {}

  // Both kinds of watcher get the same process to watch: a mortal on this link.
  void one_round(int round) {
    bench::wait_until([&] { return board_.ready.load() == round && state() == ESHM_PEER_ALIVE; },
                      "mortal");
    wait_random_moment();
    if (round % 2 == 0) {
      told_ms.push_back(kill_and_poll_state());
    } else {
      pidfd_ms.push_back(kill_and_poll_pidfd());
      bench::wait_until([&] { return state() == ESHM_PEER_DEAD; }, "dead");
    }
    board_.told.store(round);
  }

  std::vector<double> told_ms, pidfd_ms;
  int told_dead_alive = 0;

 private:
  ESHMPeerState state() { return peer_state(link_); }

  void wait_random_moment() {
    const uint64_t end = now_ns() + random_.below(3000000);
    do {
      if (state() == ESHM_PEER_DEAD) ++told_dead_alive;
    } while (now_ns() < end);
  }

  double kill_and_poll_state() {
    const uint64_t begin = now_ns();
    kill(board_.pid.load(), SIGKILL);
    bench::Patience patience("dead");
    while (state() != ESHM_PEER_DEAD) patience.tick(0xFFF);
    return ms_since(begin);
  }

  double kill_and_poll_pidfd() {
    pollfd exit_watch = {int(syscall(SYS_pidfd_open, board_.pid.load(), 0)), POLLIN, 0};
    if (exit_watch.fd < 0) bench::fail_errno("pidfd_open");
    const uint64_t begin = now_ns();
    kill(board_.pid.load(), SIGKILL);
    poll(&exit_watch, 1, 10000);
    const double ms = ms_since(begin);
    close(exit_watch.fd);
    return ms;
  }

  Board& board_;
  ESHMHandle* link_;
  Random random_;
};

void measure_deaths(int kills, ESHMRole mortal_role) {
  const std::string name = link_name("death");
  bench::SharedMemory<Board> board;
  const int rounds = 2 * kills;
  std::optional<Link> link;
  Child nurse([&] { raise_mortals(*board, name, mortal_role, rounds); });
  link.emplace(link_config(name, other(mortal_role)));
  DeathWatch watch(*board, *link);
  for (int round = 1; round <= rounds; ++round) watch.one_round(round);

  const double told = median(watch.told_ms), pidfd = median(watch.pidfd_ms);
  const double told99 = quantile(watch.told_ms, 0.99), pidfd99 = quantile(watch.pidfd_ms, 0.99);
  std::printf("\n%s killed %d times: from kill -9 to being told (ms)\n", name_of(mortal_role),
              kills);
  std::printf("  %-26s %8s %8s\n", "", "median", "p99");
  std::printf("  %-26s %8.3f %8.3f\n", "eshm_get_remote_state", told, told99);
  std::printf("  %-26s %8.3f %8.3f\n", "bare pidfd", pidfd, pidfd99);
  std::printf("  %-26s %+8.3f %8.2f   <= +0.2 ms, 1.20 x\n", "difference, ratio", told - pidfd,
              told99 / pidfd99);
  std::printf("  told dead while alive: %d   0\n", watch.told_dead_alive);
}

// ---- told dead where no pidfd becomes readable

// After exec the process lives on, and so its pidfd is silent; the role is free.
void raise_deserters(Board& board, const std::string& name, ESHMRole role, int rounds) {
  for (int round = 1; round <= rounds; ++round) {
    Child mortal([&] {
      const Link link(link_config(name, role));
      board.ready.store(round);
      bench::wait_until([&] { return board.doomed.load() == round; }, "order to exec");
      board.ended_ns.store(now_ns());
      execlp("sleep", "sleep", "60", nullptr);
      bench::fail_errno("exec");
    });
    bench::wait_until([&] { return board.told.load() == round; }, "survivor");
  }
}

// The PID that stands in the segment says nothing to the survivor, who knows
// another one, and kills by it.
void raise_foreigners(Board& board, const std::string& name, ESHMRole role, int rounds) {
  for (int round = 1; round <= rounds; ++round) {
    Child gate([&] {
      if (unshare(CLONE_NEWPID) != 0) bench::fail_errno("unshare");
      Child mortal([&] {
        const Link link(link_config(name, role));
        for (;;) pause();
      });
      board.pid.store(mortal.pid());
      board.ready.store(round);
      mortal.wait();
    });
    gate.wait();
    bench::wait_until([&] { return board.told.load() == round; }, "survivor");
  }
}

bool may_unshare_pids() {
  Child child([] {
    if (unshare(CLONE_NEWPID) != 0) _exit(1);
  });
  return child.wait() == 0;
}

// `raise` runs in the nurse. The moment of the end stands on the board afterwards.
template <class Raise, class End>
void measure_silent_deaths(const char* what, int rounds, ESHMRole mortal_role, Raise raise,
                           End end_mortal) {
  const std::string name = link_name(std::string("silent-") + name_of(mortal_role));
  bench::SharedMemory<Board> board;
  std::optional<Link> link;
  Child nurse([&] { raise(*board, name, mortal_role, rounds); });
  link.emplace(link_config(name, other(mortal_role)));
  Random random;
  std::vector<double> ms;
  for (int round = 1; round <= rounds; ++round) {
    bench::wait_until(
        [&] { return board->ready.load() == round && peer_state(*link) == ESHM_PEER_ALIVE; },
        "mortal");
    bench::sleep_us(random.below(30000));
    end_mortal(*board, round);
    bench::Patience patience("dead");
    while (peer_state(*link) != ESHM_PEER_DEAD) patience.tick(0xFFF);
    ms.push_back(ms_since(board->ended_ns.load()));
    board->told.store(round);
  }
  std::printf("  %-6s %-28s median %7.3f, p99 %7.3f   <= 20\n", name_of(mortal_role), what,
              median(ms), quantile(ms, 0.99));
}

void measure_silent_deaths(int rounds) {
  std::printf("\nended %d times where no pidfd tells, to being told dead (ms):\n", rounds);
  const bool has_namespaces = may_unshare_pids();
  for (const ESHMRole role : {ESHM_ROLE_SLAVE, ESHM_ROLE_MASTER}) {
    measure_silent_deaths("by exec", rounds, role, raise_deserters,
                          [](Board& board, int round) { board.doomed.store(round); });
    if (!has_namespaces) continue;
    measure_silent_deaths("killed in another namespace", rounds, role, raise_foreigners,
                          [](Board& board, int) {
                            board.ended_ns.store(now_ns());
                            kill(board.pid.load(), SIGKILL);
                          });
  }
  if (!has_namespaces) std::printf("  another PID namespace: left out, not permitted here\n");
}

// ---- restarts

struct Stamp {
  int round;
  uint64_t opened_ns;
};

[[noreturn]] void speak_once(Board& board, const std::string& name, ESHMRole role, int round) {
  const Link link(link_config(name, role));
  const Stamp stamp = {round, now_ns()};
  bench::check(eshm_write(link, &stamp, sizeof stamp), "eshm_write");
  board.ready.store(round);
  for (;;) pause();
}

void restart_mortals(Board& board, const std::string& name, ESHMRole role, int rounds) {
  Random random;
  for (int round = 1; round <= rounds; ++round) {
    Child mortal([&] { speak_once(board, name, role, round); });
    const uint64_t begin = now_ns();
    while (board.received.load() != round && ms_since(begin) < 5000) bench::sleep_us(100);
    if (board.received.load() != round) ++board.lost;
    bench::sleep_us(random.below(5000));
  }
  board.ready.store(-1);
}

void measure_restarts(int restarts, ESHMRole mortal_role) {
  const std::string name = link_name("restart");
  bench::SharedMemory<Board> board;
  std::optional<Link> link;
  Child nurse([&] { restart_mortals(*board, name, mortal_role, restarts); });
  link.emplace(link_config(name, other(mortal_role)));

  std::vector<double> ms;
  int wrong_codes = 0;
  while (board->ready.load() >= 0) {
    Stamp stamp;
    const int code = eshm_read_ex(*link, &stamp, sizeof stamp, nullptr, 1000);
    if (code == ESHM_SUCCESS) {
      ms.push_back(ms_since(stamp.opened_ns));
      board->received.store(stamp.round);
    } else if (code != ESHM_ERROR_TIMEOUT) {
      ++wrong_codes;
    }
  }
  std::printf("\n%s killed and restarted %d times, the %s in a blocking read:\n",
              name_of(mortal_role), restarts, name_of(other(mortal_role)));
  std::printf(
      "  new eshm_init's return to first message read (ms): median %.3f, p99 %.3f"
      "   <= 1, 5\n",
      median(ms), quantile(ms, 0.99));
  std::printf(
      "  messages that did not come: %d   0;  reads that failed with other than TIMEOUT: %d"
      "   0\n",
      board->lost.load(), wrong_codes);
}

// ---- stale

void measure_staleness(int stops) {
  const std::string name = link_name("stale");
  bench::SharedMemory<Board> board;
  std::optional<Link> link;
  Child mortal([&] {
    const Link end(link_config(name, ESHM_ROLE_SLAVE));
    for (;;) pause();
  });
  ESHMConfig config = link_config(name, ESHM_ROLE_MASTER);
  config.stale_threshold_ms = 100;
  link.emplace(config);

  const auto time_until = [&](ESHMPeerState wanted) {
    const uint64_t begin = now_ns();
    bench::wait_until([&] { return peer_state(*link) == wanted; }, "state of the stopped peer");
    return ms_since(begin);
  };
  std::vector<double> stale_ms, alive_ms;
  Random random;
  time_until(ESHM_PEER_ALIVE);
  for (int i = 0; i < stops; ++i) {
    bench::sleep_us(20000 + random.below(30000));
    mortal.signal(SIGSTOP);
    stale_ms.push_back(time_until(ESHM_PEER_STALE));
    mortal.signal(SIGCONT);
    alive_ms.push_back(time_until(ESHM_PEER_ALIVE));
  }
  std::printf("\npeer stopped %d times, threshold 100 ms:\n", stops);
  std::printf("  SIGSTOP to stale (ms): median %.1f, max %.1f   100 .. 125\n", median(stale_ms),
              quantile(stale_ms, 1));
  std::printf("  SIGCONT to alive (ms): median %.1f, max %.1f\n", median(alive_ms),
              quantile(alive_ms, 1));
}

// ---- cost of the service thread

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

// Beats each millisecond on an absolute timer and does nothing else.
void beat_bare(uint64_t duration_ms) {
  timespec next;
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (uint64_t i = 0; i < duration_ms; ++i) {
    next.tv_nsec += 1000000;
    if (next.tv_nsec >= 1000000000) {
      next.tv_nsec -= 1000000000;
      ++next.tv_sec;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
  }
}

template <class Idle>
double percent_of_a_core(Idle idle) {
  const double cpu_begin = cpu_seconds();
  const uint64_t begin = now_ns();
  idle();
  return 100 * (cpu_seconds() - cpu_begin) / (double(now_ns() - begin) / 1e9);
}

void allow_many_files() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Masters without a slave, or (paired) half as many links with both ends here.
double idle_cpu_of(Board& board, int handles, bool paired, uint64_t slice_ms) {
  Child sleeper([&] {
    if (handles == 0) {
      board.cpu_percent.store(percent_of_a_core([&] { beat_bare(slice_ms); }));
      return;
    }
    allow_many_files();
    std::deque<Link> links;
    const std::string name = link_name("idle");
    const int masters = paired ? handles / 2 : handles;
    for (int i = 0; i < masters; ++i) {
      links.emplace_back(link_config(name + std::to_string(i), ESHM_ROLE_MASTER));
      if (paired) links.emplace_back(link_config(name + std::to_string(i), ESHM_ROLE_SLAVE));
    }
    bench::sleep_us(100000);
    board.cpu_percent.store(percent_of_a_core([&] { bench::sleep_us(slice_ms * 1000); }));
  });
  if (sleeper.wait() != 0) bench::fail("the idle process failed");
  return board.cpu_percent.load();
}

void measure_idle_cpu(int slices, uint64_t slice_ms) {
  struct Kind {
    const char* what;
    int handles;
    bool paired;
    const char* goal;
    std::vector<double> percent;
  };
  Kind kinds[] = {{"bare 1 kHz timer", 0, false, "", {}},
                  {"1 handle", 1, false, "<= 1.25 x bare", {}},
                  {"both ends of a link", 2, true, "", {}},
                  {"1,000 handles, no peers", 1000, false, "<= bare + 4", {}},
                  {"1,000 handles, 500 links", 1000, true, "<= bare + 4", {}}};
  bench::SharedMemory<Board> board;
  for (int slice = 0; slice < slices; ++slice) {
    for (Kind& kind : kinds) {
      kind.percent.push_back(idle_cpu_of(*board, kind.handles, kind.paired, slice_ms));
    }
  }
  std::printf("\nidle service thread, percent of a core, median of %d slices of %llu ms\n", slices,
              static_cast<unsigned long long>(slice_ms));
  const double bare = median(kinds[0].percent);
  for (const Kind& kind : kinds) {
    const double percent = median(kind.percent);
    std::printf("  %-26s %6.2f   %5.2f x  %+6.2f   %s\n", kind.what, percent, percent / bare,
                percent - bare, kind.goal);
  }
}

// ---- a crowded machine

// How often this end says stale, and (never) dead.
void watch_from(Board& board, ESHMHandle* link, int seconds) {
  const uint64_t end = now_ns() + uint64_t(seconds) * 1000000000;
  bool was_dead = false;
  while (now_ns() < end) {
    const bool is_dead = peer_state(link) == ESHM_PEER_DEAD;
    if (is_dead && !was_dead) ++board.deaths_told;
    was_dead = is_dead;
    bench::sleep_us(1000);
  }
  ESHMStatsEx stats = {};
  stats.struct_size = sizeof stats;
  bench::check(eshm_get_stats_ex(link, &stats), "eshm_get_stats_ex");
  board.stale_reports += stats.stale_reports;
}

void measure_under_load(int seconds) {
  const std::string name = link_name("load");
  bench::SharedMemory<Board> board;
  const auto config = [&](ESHMRole role) {
    ESHMConfig config = link_config(name, role);
    config.stale_threshold_ms = 100;
    return config;
  };
  const size_t busy_count = 2 * bench::usable_cores().size();
  std::deque<Child> busy;
  for (size_t i = 0; i < busy_count; ++i) {
    busy.emplace_back([] {
      for (volatile uint64_t spins = 0;; spins = spins + 1) {
      }
    });
  }
  Child slave([&] {
    const Link link(config(ESHM_ROLE_SLAVE));
    board->ready.store(1);
    watch_from(*board, link, seconds);
    board->ready.store(2);
    for (;;) pause();
  });
  const Link master(config(ESHM_ROLE_MASTER));
  bench::wait_until([&] { return board->ready.load() == 1; }, "slave under load", 30);
  watch_from(*board, master, seconds);
  bench::wait_until([&] { return board->ready.load() == 2; }, "slave under load", 30);
  std::printf("\n%zu busy processes on %zu cores for %d s, threshold 100 ms, both ends asked:\n",
              busy_count, bench::usable_cores().size(), seconds);
  std::printf("  told dead while alive: %llu   0;  told stale: %llu\n",
              static_cast<unsigned long long>(board->deaths_told.load()),
              static_cast<unsigned long long>(board->stale_reports.load()));
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-liveness", 3600, [&] {
    bench::Options options(argc, argv);
    const std::string only = options.text("only", "all");
    const int kills = options.number("kills", 200);
    const int silent = options.number("silent-deaths", 40);
    const int restarts = options.number("restarts", kills);
    const int stops = options.number("stops", 20);
    const int slices = options.number("slices", 5);
    const int slice_ms = options.number("slice-ms", 1000);
    const int load_s = options.number("load", 0);
    if (!options.all_understood()) bench::fail("liveness: see above");

    const auto wanted = [&](const char* part) { return only == "all" || only == part; };
    if (wanted("death")) {
      measure_deaths(kills, ESHM_ROLE_SLAVE);
      measure_deaths(kills, ESHM_ROLE_MASTER);
    }
    if (wanted("silent")) measure_silent_deaths(silent);
    if (wanted("restart")) {
      measure_restarts(restarts, ESHM_ROLE_MASTER);
      measure_restarts(restarts, ESHM_ROLE_SLAVE);
    }
    if (wanted("stale")) measure_staleness(stops);
    if (wanted("cpu")) measure_idle_cpu(slices, uint64_t(slice_ms));
    if (load_s > 0) measure_under_load(load_s);
  });
}
