// SPDX-License-Identifier: MIT
#include "demo/tally.h"

#include <algorithm>
#include <cmath>

namespace demo {
namespace {
// A demo may run for days; its memory shall not grow with them.
constexpr size_t kKeptLatencies = 65536;
}  // namespace

void Tally::count(const Message& message, uint64_t received_ns) {
  ++received_;
  if (message.kind == Kind::kTorn) {
    ++torn_;
    return;
  }
  if (message.kind == Kind::kOther) {
    ++other_;
    return;
  }
  count_number(message);
  if (!was_waiting(message) && received_ns >= message.sent_ns) {
    keep_latency(received_ns - message.sent_ns);
  }
}

// Numbers rise within one sender, and with the answers to one; another begins anew.
void Tally::count_number(const Message& message) {
  if (message.sender == sender_ && message.answers == answers_) {
    if (message.number <= last_number_) {
      ++old_;
      return;
    }
    missed_ += message.number - last_number_ - 1;
  }
  sender_ = message.sender;
  answers_ = message.answers;
  last_number_ = message.number;
}

void Tally::keep_latency(uint64_t latency_ns) {
  if (latency_ns_.size() < kKeptLatencies) {
    latency_ns_.push_back(latency_ns);
  } else {
    latency_ns_[measured_ % kKeptLatencies] = latency_ns;
  }
  ++measured_;
}

double Tally::latency_us(double percent) const {
  if (latency_ns_.empty()) return 0;
  std::vector<uint64_t> sorted = latency_ns_;
  std::sort(sorted.begin(), sorted.end());
  const double rank = percent / 100.0 * static_cast<double>(sorted.size() - 1);
  return static_cast<double>(sorted[static_cast<size_t>(std::lround(rank))]) / 1000.0;
}

}  // namespace demo
