// SPDX-License-Identifier: MIT
// What two processes notice of those who look on at their link: answers a
// second of a ping-pong (both poll), with observers and without, in slices that
// alternate. A third of the observers is stopped, a third killed, the rest looks
// at 10 Hz. Busy ones, which look without a pause, are shown beside: they share
// the cores and the cache lines, so theirs is a price, not a goal.
#include <atomic>
#include <memory>

#include "support.h"

namespace {

using bench::now_ns;
using bench::Patience;

struct Board {
  std::atomic<uint32_t> is_open{0};
  std::atomic<uint32_t> observers_ready{0};
};

struct Plan {
  int slices;
  int slice_ms;
  int observers;
  int busy;
  size_t size;
};

ESHMDelivery delivery = ESHM_DELIVERY_LATEST;
ESHMBackend backend = ESHM_BACKEND_POSIX;

ESHMConfig config_of(ESHMRole role) {
  static const std::string name = bench::link_name("watched");
  ESHMConfig config = bench::link_config(name, role);
  config.backend = backend;
  config.m2s.delivery = config.s2m.delivery = delivery;
  return config;
}

void answer_for_ever(Board& board, int core) {
  const bench::Link link(config_of(ESHM_ROLE_SLAVE));
  bench::pin_to(core);
  board.is_open = 1;
  char buffer[ESHM_MAX_DATA_SIZE];
  for (;;) {
    size_t got = 0;
    if (eshm_read_ex(link, buffer, sizeof buffer, &got, 0) != ESHM_SUCCESS) continue;
    bench::check(eshm_write(link, buffer, got), "eshm_write");
  }
}

uint64_t answers_per_second(ESHMHandle* master, const Plan& plan) {
  char buffer[ESHM_MAX_DATA_SIZE] = {};
  const uint64_t begin = now_ns();
  const uint64_t end = begin + uint64_t(plan.slice_ms) * 1000000;
  uint64_t answers = 0;
  while (now_ns() < end) {
    for (int i = 0; i < 64; ++i, ++answers) {
      bench::check(eshm_write(master, buffer, plan.size), "eshm_write");
      Patience patience("answer");
      while (eshm_read_ex(master, buffer, sizeof buffer, nullptr, 0) != ESHM_SUCCESS) {
        patience.tick();
      }
    }
  }
  return answers * 1000000000 / (now_ns() - begin);
}

void look_on(Board& board, bool is_busy) {
  const bench::Link observer(config_of(ESHM_ROLE_OBSERVER));
  char buffer[ESHM_MAX_DATA_SIZE];
  eshm_read(observer, buffer, sizeof buffer);
  ++board.observers_ready;
  for (;;) {
    eshm_read_ex(observer, buffer, sizeof buffer, nullptr, 0);
    if (!is_busy) bench::sleep_us(100000);
  }
}

std::vector<std::unique_ptr<bench::Child>> begin_observers(Board& board, int count, bool is_busy) {
  board.observers_ready = 0;
  std::vector<std::unique_ptr<bench::Child>> observers;
  for (int i = 0; i < count; ++i) {
    observers.push_back(
        std::make_unique<bench::Child>([&board, is_busy] { look_on(board, is_busy); }));
  }
  bench::wait_until([&] { return board.observers_ready == uint32_t(count); }, "observers");
  if (is_busy) return observers;
  for (int i = 0; i < count; ++i) {
    if (i % 3 == 0) observers[size_t(i)]->signal(SIGSTOP);
    if (i % 3 == 1) observers[size_t(i)]->kill();
  }
  return observers;
}

void measure(const Plan& plan) {
  const std::vector<int> cores = bench::usable_cores();
  bench::SharedMemory<Board> board;
  const bench::Link master(config_of(ESHM_ROLE_MASTER));
  const bench::Child slave([&] { answer_for_ever(*board, cores.back()); });
  bench::wait_until([&] { return board->is_open == 1; }, "slave");
  bench::pin_to(cores.front());
  std::vector<double> alone, watched, busy;
  double before = double(answers_per_second(master, plan));
  for (int slice = 0; slice < plan.slices; ++slice) {
    double values[2];
    for (const bool is_busy : {false, true}) {
      const auto observers =
          begin_observers(*board, is_busy ? plan.busy : plan.observers, is_busy);
      values[is_busy] = double(answers_per_second(master, plan));
    }
    const double after = double(answers_per_second(master, plan));
    alone.push_back(before);
    watched.push_back(values[0] / ((before + after) / 2));
    busy.push_back(values[1] / ((before + after) / 2));
    before = after;
  }
  std::printf("\nwho looks on at a ping-pong, %s\n",
              delivery == ESHM_DELIVERY_QUEUE ? "queue" : "latest");
  std::printf("answers a second, nobody looks on            %10.0f\n", bench::median(alone));
  std::printf("%2d observers stopped, killed, at 10 Hz        %9.3f x (%.3f .. %.3f), goal 0.97\n",
              plan.observers, bench::median(watched), bench::quantile(watched, 0.25),
              bench::quantile(watched, 0.75));
  std::printf("%2d busy observers                             %9.3f x (%.3f .. %.3f)\n", plan.busy,
              bench::median(busy), bench::quantile(busy, 0.25), bench::quantile(busy, 0.75));
}

}  // namespace

int main(int argc, char** argv) {
  bench::Options options(argc, argv);
  Plan plan = {};
  plan.slices = options.number("slices", 21);
  plan.slice_ms = options.number("slice-ms", 200);
  plan.observers = options.number("observers", 20);
  plan.busy = options.number("busy", 1);
  plan.size = size_t(options.number("size", 64));
  const std::string kind = options.text("delivery", "latest");
  const std::string where = options.text("backend", "posix");
  if (!options.all_understood()) return 2;
  return bench::run_guarded("bench_observers", 600, [&] {
    delivery = bench::delivery_named(kind);
    backend = bench::backend_named(where);
    measure(plan);
  });
}
