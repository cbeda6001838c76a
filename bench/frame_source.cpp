// SPDX-License-Identifier: MIT
// The camera of py/benchmarks/bench_frames.py, which tells it by one-byte
// messages what to do: a frame at once, a stream of them beside a loop at
// 1 kHz, that loop alone, or a bare futex wake to compare with.
#include <linux/futex.h>
#include <sys/syscall.h>

#include <atomic>
#include <climits>
#include <thread>

#include "support.h"

namespace {

using bench::now_ns;
using bench::Patience;

constexpr size_t kFrameBytes = 1920 * 1080 * 3;
constexpr uint64_t kFramesPerSecond = 60;
constexpr uint64_t kNsPerSecond = 1000000000;
constexpr uint64_t kPeriodNs = 1000000;
// Longer than it takes to announce oneself, and to fall asleep.
constexpr uint64_t kAsleepNs = 2000000;
constexpr uint32_t kPatienceMs = 30000;

void run_on(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) bench::fail_errno("choose cores");
}

void spin_until(uint64_t end_ns) {
  while (now_ns() < end_ns) {
  }
}

void sleep_until(uint64_t end_ns) {
  const timespec end = {time_t(end_ns / kNsPerSecond), long(end_ns % kNsPerSecond)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == EINTR) {
  }
}

// ---- a bare futex wake of another process

struct Board {
  alignas(64) std::atomic<uint32_t> word{0};
  alignas(64) std::atomic<uint32_t> waits{0};  // turn in which the sleeper goes to sleep
  alignas(64) std::atomic<uint32_t> woke{0};   // turn that it has woken up in
  std::atomic<uint64_t> woke_ns{0};
};

void sleep_for_ever(Board& board) {
  for (uint32_t turn = 1;; ++turn) {
    board.waits.store(turn);
    while (board.word.load() != turn) {
      syscall(SYS_futex, &board.word, FUTEX_WAIT, turn - 1, nullptr, nullptr, 0);
    }
    board.woke_ns.store(now_ns());
    board.woke.store(turn);
  }
}

uint64_t futex_wake_ns(Board& board) {
  const uint32_t turn = board.word.load() + 1;
  Patience patience("sleeper");
  while (board.waits.load() != turn) patience.tick();
  spin_until(now_ns() + kAsleepNs);
  const uint64_t sent_ns = now_ns();
  board.word.store(turn);
  syscall(SYS_futex, &board.word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  while (board.woke.load() != turn) patience.tick();
  return board.woke_ns.load() - sent_ns;
}

// ---- a loop that shall not be disturbed

struct Rhythm {
  uint64_t periods = 0;
  uint64_t late = 0;  // it came when the next one was due already
  uint64_t worst_ns = 0;
};

Rhythm keep_rhythm(uint64_t seconds) {
  Rhythm rhythm;
  uint64_t due_ns = now_ns();
  const uint64_t end_ns = due_ns + seconds * kNsPerSecond;
  while (due_ns < end_ns) {
    due_ns += kPeriodNs;
    sleep_until(due_ns);
    const uint64_t late_ns = now_ns() - due_ns;
    ++rhythm.periods;
    rhythm.late += late_ns >= kPeriodNs;
    rhythm.worst_ns = std::max(rhythm.worst_ns, late_ns);
  }
  return rhythm;
}

// ---- frames

class Camera {
 public:
  explicit Camera(ESHMHandle* link) : link_(link) {}

  // Every byte is written; the first eight say when it was published. Not
  // before earliest_ns.
  void send_frame(uint64_t earliest_ns = 0) {
    void* frame = nullptr;
    bench::check(eshm_loan(link_, kFrameBytes, &frame), "eshm_loan");
    std::memset(frame, int(++number_ % 256), kFrameBytes);
    spin_until(earliest_ns);
    const uint64_t sent_ns = now_ns();
    std::memcpy(frame, &sent_ns, sizeof sent_ns);
    bench::check(eshm_publish(link_, frame, kFrameBytes), "eshm_publish");
  }

  void stream(uint64_t seconds) {
    const uint64_t begin_ns = now_ns();
    for (uint64_t frame = 1; frame <= seconds * kFramesPerSecond; ++frame) {
      sleep_until(begin_ns + frame * kNsPerSecond / kFramesPerSecond);
      send_frame();
    }
    bench::sleep_us(100000);  // the last one is seen before the result replaces it
  }

 private:
  ESHMHandle* link_;
  uint64_t number_ = 0;
};

template <class T>
void answer(ESHMHandle* link, const T& value) {
  bench::check(eshm_write(link, &value, sizeof value), "eshm_write");
}

Rhythm stream_beside_loop(Camera& camera, uint64_t seconds) {
  Rhythm rhythm;
  std::thread loop([&] { rhythm = keep_rhythm(seconds); });
  camera.stream(seconds);
  loop.join();
  return rhythm;
}

void serve(ESHMHandle* link, Board& board, const std::vector<int>& cores) {
  Camera camera(link);
  for (;;) {
    uint8_t command[2] = {};  // what, and for how many seconds
    bench::check(eshm_read_ex(link, command, sizeof command, nullptr, kPatienceMs), "command");
    const bool is_single = command[0] == 'f' || command[0] == 'w';
    run_on(is_single ? std::vector<int>{cores[0]} : cores);
    switch (command[0]) {
      case 'f':
        camera.send_frame(now_ns() + kAsleepNs);
        break;
      case 'w':
        answer(link, futex_wake_ns(board));
        break;
      case 's':
        answer(link, stream_beside_loop(camera, command[1]));
        break;
      case 'l':
        answer(link, keep_rhythm(command[1]));
        break;
      default:
        return;
    }
  }
}

void run(ESHMBackend backend) {
  const std::vector<int> cores = bench::usable_cores();
  if (cores.size() < 2) bench::fail("frames: needs two cores");
  bench::SharedMemory<Board> board;
  bench::Child sleeper([&] {
    bench::pin_to(cores[1]);  // as the reader of the frames is
    sleep_for_ever(*board);
  });
  const std::string name = bench::link_name("link");
  ESHMConfig config = bench::link_config(name, ESHM_ROLE_MASTER);
  config.backend = backend;
  config.spin_us = 0;
  config.m2s.max_message_size = kFrameBytes;
  config.m2s.max_borrows = 2;  // the viewer has one in hand while it takes the next
  const bench::Link link(config);
  std::printf("%s\n", name.c_str());
  std::fflush(stdout);
  serve(link, *board, cores);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-frames", 1200, [&] {
    bench::Options options(argc, argv);
    const ESHMBackend backend = bench::backend_named(options.text("backend", "posix"));
    if (!options.all_understood()) bench::fail("frames: see above");
    run(backend);
  });
}
