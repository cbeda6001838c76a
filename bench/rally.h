// SPDX-License-Identifier: MIT
// Two processes that answer each other in turn, and how a kind of round compares
// with another that alternates with it.
#pragma once

#include <atomic>

#include "support.h"

namespace bench {

template <class T>
struct alignas(64) Cell {
  std::atomic<T> value{0};
};

// One of the two. Both play the same rounds in the same order.
class Rally {
 public:
  Rally(Cell<uint64_t>& arrived, bool is_first) : arrived_(arrived.value), is_first_(is_first) {}

  bool is_first() const { return is_first_; }

  // Half a round trip, less the time that each side lets go by before it answers.
  // `send` and `receive` are told the number of the turn.
  template <class Send, class Receive>
  double one_way_ns(int trips, uint64_t rest_ns, Send send, Receive receive) {
    const auto answer = [&] {
      if (rest_ns != 0) spin_for(rest_ns);
      send(turn_);
    };
    meet();
    const uint64_t begin = now_ns();
    for (int trip = 0; trip < trips; ++trip) {
      ++turn_;
      if (is_first_) answer();
      receive(turn_);
      if (!is_first_) answer();
    }
    return double(now_ns() - begin) / (2.0 * trips) - double(rest_ns);
  }

 private:
  static void spin_for(uint64_t ns) {
    const uint64_t end = now_ns() + ns;
    while (now_ns() < end) {
    }
  }

  void meet() {
    meetings_ += 2;
    arrived_.fetch_add(1);
    Patience patience("other process");
    while (arrived_.load() < meetings_) patience.tick();
  }

  std::atomic<uint64_t>& arrived_;
  const bool is_first_;
  uint64_t turn_ = 0;
  uint64_t meetings_ = 0;
};

// One kind of round and the bare rounds around it.
struct Series {
  std::vector<double> ns, raw_ns, ratio;

  void add(double value_ns, double raw_before_ns, double raw_after_ns) {
    const double raw = (raw_before_ns + raw_after_ns) / 2;
    ns.push_back(value_ns);
    raw_ns.push_back(raw);
    ratio.push_back(value_ns / raw);
  }
};

inline void print_heading(const char* value, const char* raw) {
  std::printf("%-28s %9s %9s   %5s  %-16s  %s\n", "", value, raw, "ratio", "[quartiles]", "goal");
}

inline void print_row(const std::string& what, const Series& series, double unit_ns,
                      const char* goal) {
  std::printf("%-28s %9.2f %9.2f   %5.2f  [%.2f .. %.2f]   %s\n", what.c_str(),
              median(series.ns) / unit_ns, median(series.raw_ns) / unit_ns, median(series.ratio),
              quantile(series.ratio, 0.25), quantile(series.ratio, 0.75), goal);
}

}  // namespace bench
