// SPDX-License-Identifier: MIT
// What one end has received, and how long it was on its way.
#ifndef ESHM_EXAMPLES_DEMO_TALLY_H
#define ESHM_EXAMPLES_DEMO_TALLY_H

#include <cstdint>
#include <vector>

#include "demo/message.h"

namespace demo {

class Tally {
 public:
  explicit Tally(uint64_t started_ns) : started_ns_(started_ns) {}

  // What was waiting before this end came: its age says nothing of the way.
  bool was_waiting(const Message& message) const { return message.sent_ns < started_ns_; }

  void count(const Message& message, uint64_t received_ns);

  uint64_t received() const { return received_; }
  uint64_t missed() const { return missed_; }
  uint64_t old() const { return old_; }
  uint64_t torn() const { return torn_; }
  uint64_t other() const { return other_; }
  // Nothing arrived that must never arrive.
  bool sound() const { return torn_ == 0 && old_ == 0; }

  // Of those measured, the one below which `percent` of them lie; in microseconds.
  double latency_us(double percent) const;
  size_t latencies() const { return latency_ns_.size(); }

 private:
  void count_number(const Message& message);
  void keep_latency(uint64_t latency_ns);

  const uint64_t started_ns_;
  uint64_t sender_ = 0;
  uint64_t answers_ = 0;
  uint64_t last_number_ = 0;
  uint64_t received_ = 0;
  uint64_t missed_ = 0;
  uint64_t old_ = 0;
  uint64_t torn_ = 0;
  uint64_t other_ = 0;
  uint64_t measured_ = 0;
  std::vector<uint64_t> latency_ns_;  // the newest ones
};

}  // namespace demo

#endif  // ESHM_EXAMPLES_DEMO_TALLY_H
