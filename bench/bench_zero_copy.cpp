// SPDX-License-Identifier: MIT
// What it costs to move much: whether a loaned message's size counts, what the
// calls that copy add to the copying, what a writer notices of a message that
// somebody has borrowed. Each beside its measure, in short rounds that alternate.
#include "rally.h"

namespace {

using bench::Cell;
using bench::now_ns;
using bench::Patience;
using bench::Series;

constexpr size_t kSmall = 64;

struct Plan {
  int rounds;
  int trips;     // a round of a rally
  int messages;  // a round beside a borrow
  size_t size;   // of a large message
  ESHMBackend backend;
};

const char* name_of(ESHMDelivery delivery) {
  return delivery == ESHM_DELIVERY_QUEUE ? "queue" : "latest";
}

// The memory is touched beforehand, so that no round pays for its pages.
ESHMConfig config_of(const std::string& name, ESHMRole role, ESHMDelivery delivery, size_t largest,
                     const Plan& plan) {
  ESHMConfig config = bench::link_config(name, role);
  config.backend = plan.backend;
  config.flags = ESHM_FLAG_PREFAULT;
  for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
    channel->delivery = delivery;
    channel->max_message_size = largest;
    channel->queue_capacity = 4 * (largest + 4096);
  }
  return config;
}

ESHMView empty_view() {
  ESHMView view = {};
  view.struct_size = sizeof view;
  return view;
}

// ---- the size of a message that nobody copies

struct Board {
  Cell<uint64_t> arrived;
  Cell<uint32_t> slave_open;
};

// The calling thread alone, until the end of the scope.
class Pinned {
 public:
  explicit Pinned(int core) {
    sched_getaffinity(0, sizeof before_, &before_);
    bench::pin_to(core);
  }
  ~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
};

// Fills the first and the last word alone: the filling shall not count.
void send_in_place(ESHMHandle* link, uint64_t turn, size_t size) {
  void* data;
  bench::check(eshm_loan(link, size, &data), "eshm_loan");
  std::memcpy(data, &turn, sizeof turn);
  std::memcpy(static_cast<char*>(data) + size - sizeof turn, &turn, sizeof turn);
  bench::check(eshm_publish(link, data, size), "eshm_publish");
}

void receive_in_place(ESHMHandle* link, uint64_t turn, size_t size) {
  ESHMView view = empty_view();
  Patience patience("message");
  for (;;) {
    const int code = eshm_borrow(link, &view, 0);
    if (code == ESHM_SUCCESS) break;
    if (code != ESHM_ERROR_NO_DATA) bench::check(code, "eshm_borrow");
    patience.tick();
  }
  if (view.size != size) bench::fail("another size than was sent");
  const char* const data = static_cast<const char*>(view.data);
  if (std::memcmp(data, &turn, sizeof turn) != 0 ||
      std::memcmp(data + size - sizeof turn, &turn, sizeof turn) != 0) {
    bench::fail("another message than was sent");
  }
  bench::check(eshm_release(link, &view), "eshm_release");
}

Series play(bench::Rally& rally, ESHMHandle* link, const Plan& plan) {
  const auto round_ns = [&](size_t size) {
    return rally.one_way_ns(
        plan.trips, 0, [=](uint64_t turn) { send_in_place(link, turn, size); },
        [=](uint64_t turn) { receive_in_place(link, turn, size); });
  };
  Series series;
  double before = round_ns(kSmall);
  for (int round = 0; round < plan.rounds; ++round) {
    const double ns = round_ns(plan.size);
    const double after = round_ns(kSmall);
    series.add(ns, before, after);
    before = after;
  }
  return series;
}

Series measure_size(ESHMDelivery delivery, const Plan& plan) {
  const std::vector<int> cores = bench::usable_cores();
  if (cores.size() < 2) bench::fail("zero copy: needs two cores");
  bench::SharedMemory<Board> board;
  const std::string name = bench::link_name(std::string("size-") + name_of(delivery));
  const auto config = [&](ESHMRole role) {
    return config_of(name, role, delivery, plan.size, plan);
  };
  bench::Child slave([&] {
    const bench::Link link(config(ESHM_ROLE_SLAVE));
    board->slave_open.value.store(1);
    bench::pin_to(cores[1]);
    bench::Rally rally(board->arrived, false);
    play(rally, link, plan);
  });
  const bench::Link link(config(ESHM_ROLE_MASTER));
  bench::wait_until([&] { return board->slave_open.value.load() != 0; }, "slave");
  const Pinned pinned(cores[0]);
  bench::Rally rally(board->arrived, true);
  const Series series = play(rally, link, plan);
  slave.wait();
  return series;
}

// ---- both ends in one process

template <class Work>
double ns_of(Work work) {
  const uint64_t begin = now_ns();
  work();
  return double(now_ns() - begin);
}

// Shared memory, as the link's is.
class SharedBytes {
 public:
  explicit SharedBytes(size_t size)
      : size_(size),
        bytes_(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) {
    if (bytes_ == MAP_FAILED) bench::fail_errno("map shared memory");
  }
  ~SharedBytes() { munmap(bytes_, size_); }
  SharedBytes(const SharedBytes&) = delete;
  SharedBytes& operator=(const SharedBytes&) = delete;

  char* data() const { return static_cast<char*>(bytes_); }

 private:
  const size_t size_;
  void* const bytes_;
};

// The compiler must not leave out what went into these bytes.
void keep(const void* bytes) { asm volatile("" : : "r"(bytes) : "memory"); }

// The two copies by hand go through `places` pieces of shared memory in turn.
Series measure_copying(ESHMDelivery delivery, size_t places, const Plan& plan) {
  const std::string name = bench::link_name(std::string("copy-") + name_of(delivery));
  const bench::Link master(config_of(name, ESHM_ROLE_MASTER, delivery, plan.size, plan));
  const bench::Link slave(config_of(name, ESHM_ROLE_SLAVE, delivery, plan.size, plan));
  std::vector<char> from(plan.size, 'x'), to(plan.size);
  const SharedBytes between(places * plan.size);
  size_t copies = 0;
  const auto by_link = [&] {
    bench::check(eshm_write(master, from.data(), from.size()), "eshm_write");
    bench::check(eshm_read_ex(slave, to.data(), to.size(), nullptr, 0), "eshm_read_ex");
  };
  const auto by_hand = [&] {
    char* const place = between.data() + copies++ % places * plan.size;
    std::memcpy(place, from.data(), from.size());
    std::memcpy(to.data(), place, to.size());
    keep(to.data());
  };
  Series series;
  for (size_t i = 0; i < places; ++i) {  // a page's first touch shall not count
    by_link();
    by_hand();
  }
  double before = ns_of(by_hand);
  for (int round = 0; round < plan.rounds; ++round) {
    const double ns = ns_of(by_link);
    const double after = ns_of(by_hand);
    series.add(ns, before, after);
    before = after;
  }
  return series;
}

// ---- a message in somebody's hands

// Kept through a whole round, which publishes `messages` more.
class Held {
 public:
  explicit Held(ESHMHandle* link) : link_(link), view_(empty_view()) {
    bench::check(eshm_borrow(link_, &view_, 0), "eshm_borrow");
    std::memcpy(&first_, view_.data, sizeof first_);
  }
  ~Held() { eshm_release(link_, &view_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  void check_unchanged() const {
    if (std::memcmp(&first_, view_.data, sizeof first_) != 0) bench::fail("a borrow was changed");
  }

 private:
  ESHMHandle* link_;
  ESHMView view_;
  uint64_t first_;
};

Series measure_borrow_held(const Plan& plan) {
  const std::string name = bench::link_name("held");
  const auto config = [&](ESHMRole role) {
    return config_of(name, role, ESHM_DELIVERY_LATEST, kSmall, plan);
  };
  const bench::Link master(config(ESHM_ROLE_MASTER));
  const bench::Link slave(config(ESHM_ROLE_SLAVE));
  uint64_t message[kSmall / sizeof(uint64_t)] = {};
  const auto publish_ns = [&] {
    return ns_of([&] {
             for (int i = 0; i < plan.messages; ++i) {
               ++message[0];
               bench::check(eshm_write(master, message, sizeof message), "eshm_write");
             }
           }) /
           plan.messages;
  };
  Series series;
  double before = publish_ns();
  for (int round = 0; round < plan.rounds; ++round) {
    double ns;
    {
      const Held held(slave);
      ns = publish_ns();
      held.check_unchanged();
    }
    const double after = publish_ns();
    series.add(ns, before, after);
    before = after;
  }
  return series;
}

// ---- all of it

void measure(const Plan& plan) {
  const std::string large = std::to_string(plan.size >> 20) + " MiB";
  const ESHMDelivery deliveries[] = {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE};
  std::printf("\nlarge messages, medians of %d interleaved rounds\n", plan.rounds);
  bench::print_heading(large.c_str(), "64 B");
  for (const ESHMDelivery delivery : deliveries) {
    bench::print_row(std::string("loan to borrow, ") + name_of(delivery) + " (us)",
                     measure_size(delivery, plan), 1000, "<= 2 us, whatever the size");
  }
  bench::print_heading("ESHM", "memcpy");
  for (const ESHMDelivery delivery : deliveries) {
    const std::string what = std::string("write, read, ") + name_of(delivery);
    bench::print_row(what + " (ms)", measure_copying(delivery, 1, plan), 1e6,
                     "<= 1.15 x two memcpy");
    bench::print_row("  beside 4 places in turn", measure_copying(delivery, 4, plan), 1e6, "");
  }
  bench::print_heading("held", "none");
  bench::print_row("a write beside a borrow (ns)", measure_borrow_held(plan), 1, "<= 1.10 x");
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-zero-copy", 600, [&] {
    bench::Options options(argc, argv);
    Plan plan = {};
    plan.rounds = options.number("rounds", 41);
    plan.trips = options.number("trips", 3000);
    plan.messages = options.number("messages", 25000);
    plan.size = size_t(options.number("mib", 8)) << 20;
    plan.backend = bench::backend_named(options.text("backend", "posix"));
    if (!options.all_understood()) bench::fail("zero copy: see above");
    measure(plan);
  });
}
