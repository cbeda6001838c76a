// SPDX-License-Identifier: MIT
// How long a message takes from one process to another, beside the least that
// the machine allows: a cache line handed over (both poll), a futex wake (the
// reader sleeps). The distance of two cores of a virtual machine changes while
// one looks, so short rounds of both alternate, and each is judged by the raw
// rounds right before and after it.
//
// Two processes that answer each other at once never sleep: each finds the word
// changed on its way into the kernel. So where the reader shall be parked, each
// side lets some time go by before it answers, which is taken off the result.
#include <linux/futex.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <climits>

#include "rally.h"

namespace {

using bench::Cell;
using bench::Patience;
using bench::Series;

// Longer than it takes to fall asleep.
constexpr uint64_t kAsleepNs = 60000;

// Index 0 is stored by the master, 1 by the slave.
struct Board {
  Cell<uint64_t> line[2];
  Cell<uint32_t> word[2];
  Cell<uint64_t> arrived;
  Cell<uint32_t> slave_open;
};

struct Plan {
  int rounds;
  int polling_trips;
  int parked_trips;
  ESHMBackend backend;
  ESHMDelivery delivery;
  std::vector<size_t> sizes = {8, 64, 256, 4096};
};

void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}
void futex_wait(std::atomic<uint32_t>& word, uint32_t seen) {
  const timespec limit = {10, 0};
  syscall(SYS_futex, &word, FUTEX_WAIT, seen, &limit, nullptr, 0);
}

// One of the two processes. Both call the same measurements in the same order;
// the master's answers count.
class Player {
 public:
  Player(Board& board, ESHMHandle* link, bool is_master)
      : board_(board),
        link_(link),
        rally_(board.arrived, is_master),
        buffer_(ESHM_MAX_DATA_SIZE) {}

  double raw_polling(int trips) {
    return rally_.one_way_ns(
        trips, 0,
        [this](uint64_t turn) { mine(board_.line).store(turn, std::memory_order_release); },
        [this](uint64_t turn) {
          Patience patience("cache line");
          while (theirs(board_.line).load(std::memory_order_acquire) != turn) patience.tick();
        });
  }

  double raw_parked(int trips) {
    return rally_.one_way_ns(
        trips, kAsleepNs,
        [this](uint64_t turn) {
          mine(board_.word).store(uint32_t(turn));
          futex_wake(mine(board_.word));
        },
        [this](uint64_t turn) {
          Patience patience("futex");
          for (;;) {
            const uint32_t seen = theirs(board_.word).load();
            if (seen == uint32_t(turn)) return;
            futex_wait(theirs(board_.word), seen);
            patience.tick(0);
          }
        });
  }

  double eshm_polling(int trips, size_t size) {
    return rally_.one_way_ns(
        trips, 0, [=](uint64_t turn) { send(turn, size); },
        [=](uint64_t turn) {
          Patience patience("message");
          while (!receive(turn, size, 0)) patience.tick();
        });
  }

  double eshm_parked(int trips, size_t size) {
    return rally_.one_way_ns(
        trips, kAsleepNs, [=](uint64_t turn) { send(turn, size); },
        [=](uint64_t turn) {
          if (!receive(turn, size, 10000)) bench::fail("no answer: parked");
        });
  }

 private:
  template <class T>
  std::atomic<T>& mine(Cell<T> (&cells)[2]) {
    return cells[rally_.is_first() ? 0 : 1].value;
  }
  template <class T>
  std::atomic<T>& theirs(Cell<T> (&cells)[2]) {
    return cells[rally_.is_first() ? 1 : 0].value;
  }

  void send(uint64_t turn, size_t size) {
    std::memcpy(buffer_.data(), &turn, sizeof turn);
    bench::check(eshm_write(link_, buffer_.data(), size), "eshm_write");
  }

  bool receive(uint64_t turn, size_t size, uint32_t timeout_ms) {
    size_t got = 0;
    const int code = eshm_read_ex(link_, buffer_.data(), buffer_.size(), &got, timeout_ms);
    if (code == ESHM_ERROR_NO_DATA) return false;
    bench::check(code, "eshm_read_ex");
    uint64_t found;
    std::memcpy(&found, buffer_.data(), sizeof found);
    if (found != turn || got != size) bench::fail("another message than was sent");
    return true;
  }

  Board& board_;
  ESHMHandle* link_;
  bench::Rally rally_;
  std::vector<char> buffer_;
};

struct Results {
  std::vector<Series> polling;  // one a size
  Series parked;
};

void play(Player& player, const Plan& plan, Results& results) {
  results.polling.resize(plan.sizes.size());
  for (int round = 0; round < plan.rounds; ++round) {
    double before = player.raw_polling(plan.polling_trips);
    for (size_t i = 0; i < plan.sizes.size(); ++i) {
      const double ns = player.eshm_polling(plan.polling_trips, plan.sizes[i]);
      const double after = player.raw_polling(plan.polling_trips);
      results.polling[i].add(ns, before, after);
      before = after;
    }
    const double futex_before = player.raw_parked(plan.parked_trips);
    const double parked = player.eshm_parked(plan.parked_trips, 64);
    results.parked.add(parked, futex_before, player.raw_parked(plan.parked_trips));
  }
}

void print_table(const Results& results, const Plan& plan) {
  const bool is_queue = plan.delivery == ESHM_DELIVERY_QUEUE;
  const char* goal = is_queue ? "<= 1.80 x cache line" : "<= 1.70 x cache line";
  std::printf("\none way between two processes on two cores, %s, medians of %d rounds in turn\n",
              is_queue ? "queue" : "latest", plan.rounds);
  bench::print_heading("ESHM", "raw");
  for (size_t i = 0; i < plan.sizes.size(); ++i) {
    bench::print_row("both poll, " + std::to_string(plan.sizes[i]) + " B (ns)", results.polling[i],
                     1, plan.sizes[i] == 64 ? goal : "");
  }
  bench::print_row("reader parked, 64 B (us)", results.parked, 1000, "<= 1.30 x futex");
}

void print_memory(ESHMHandle* link, const std::string& name) {
  struct stat file = {};
  stat(("/dev/shm/eshm_" + name).c_str(), &file);
  ESHMStatsEx stats = {};
  stats.struct_size = sizeof stats;
  bench::check(eshm_get_stats_ex(link, &stats), "eshm_get_stats_ex");
  std::printf("memory of a default link: %.1f KiB (its file: %.1f KiB)   <= 64 KiB\n",
              double(stats.segment_bytes) / 1024, double(file.st_size) / 1024);
}

ESHMConfig oneway_config(const std::string& name, ESHMRole role, const Plan& plan) {
  ESHMConfig config = bench::link_config(name, role);
  config.backend = plan.backend;
  config.m2s.delivery = config.s2m.delivery = plan.delivery;
  config.spin_us = 0;  // a waiting read parks at once; a read with time-out 0 does not care
  return config;
}

void run(const Plan& plan) {
  const std::vector<int> cores = bench::usable_cores();
  if (cores.size() < 2) bench::fail("one way: needs two cores");
  const std::string name = bench::link_name("oneway");
  bench::SharedMemory<Board> board;
  bench::Child child([&] {
    const bench::Link link(oneway_config(name, ESHM_ROLE_SLAVE, plan));
    board->slave_open.value.store(1);
    bench::pin_to(cores[1]);
    Player player(*board, link, false);
    Results unused;
    play(player, plan, unused);
  });
  const bench::Link link(oneway_config(name, ESHM_ROLE_MASTER, plan));
  bench::wait_until([&] { return board->slave_open.value.load() != 0; }, "slave");
  bench::pin_to(cores[0]);
  Player player(*board, link, true);
  Results results;
  play(player, plan, results);
  print_table(results, plan);
  if (plan.delivery == ESHM_DELIVERY_LATEST) print_memory(link, name);
  child.wait();
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-oneway", 1200, [&] {
    bench::Options options(argc, argv);
    Plan plan;
    plan.rounds = options.number("rounds", 41);
    plan.polling_trips = options.number("trips", 10000);
    plan.parked_trips = options.number("parked-trips", 100);
    plan.backend = bench::backend_named(options.text("backend", "posix"));
    plan.delivery = bench::delivery_named(options.text("delivery", "latest"));
    if (!options.all_understood()) bench::fail("one way: see above");
    run(plan);
  });
}
