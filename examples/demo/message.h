// SPDX-License-Identifier: MIT
// What the demo's two ends say to each other: one readable line with number,
// sender, time and checksum, so that a line pasted together from two others
// cannot pass for one.
#ifndef ESHM_EXAMPLES_DEMO_MESSAGE_H
#define ESHM_EXAMPLES_DEMO_MESSAGE_H

#include <cstdint>
#include <string>

namespace demo {

enum class Kind {
  kReading,  // master: what it measured
  kAck,      // slave: the number of the reading it answers
  kOther,    // any other program's text
  kTorn      // begins like one of ours, and its checksum is wrong
};

struct Message {
  Kind kind = Kind::kOther;
  uint64_t number = 0;
  uint64_t sender = 0;   // PID
  uint64_t answers = 0;  // ACK: the PID whose reading it is about
  uint64_t sent_ns = 0;  // CLOCK_MONOTONIC of the sender, the same clock all over one host
  std::string text;      // for people
};

std::string to_line(const Message& message);

// Takes any bytes. Unprintable ones come out as dots.
Message parse_line(const char* bytes, size_t size);

uint64_t monotonic_ns();

}  // namespace demo

#endif  // ESHM_EXAMPLES_DEMO_MESSAGE_H
