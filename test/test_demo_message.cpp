// SPDX-License-Identifier: MIT
// The demo counts torn messages; here it is seen that it would.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "demo/message.h"
#include "demo/tally.h"

namespace {

using demo::Kind;
using demo::Message;

Message reading(uint64_t number, uint64_t sender = 77) {
  Message message;
  message.kind = Kind::kReading;
  message.number = number;
  message.sender = sender;
  message.sent_ns = 1000;
  message.text = "cpu 3.0 %, memory 1.00 of 2.00 GiB, load 0.10";
  return message;
}

Message parse(const std::string& line) { return demo::parse_line(line.data(), line.size()); }

TEST(DemoMessage, ComesBackAsItWasSent) {
  Message sent = reading(12);
  sent.kind = Kind::kAck;
  sent.answers = 5;
  const Message got = parse(demo::to_line(sent));
  EXPECT_EQ(got.kind, Kind::kAck);
  EXPECT_EQ(got.number, sent.number);
  EXPECT_EQ(got.sender, sent.sender);
  EXPECT_EQ(got.answers, sent.answers);
  EXPECT_EQ(got.sent_ns, sent.sent_ns);
  EXPECT_EQ(got.text, sent.text);
}

TEST(DemoMessage, AnyChangedByteIsNoticed) {
  const std::string line = demo::to_line(reading(12));
  for (size_t i = 0; i < line.size(); ++i) {
    std::string changed = line;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_NE(parse(changed).kind, Kind::kReading) << "byte " << i;
  }
}

TEST(DemoMessage, HalvesOfTwoMessagesAreTorn) {
  const std::string first = demo::to_line(reading(10));
  Message other = reading(11);
  other.text = "cpu 4.0 %, memory 1.50 of 2.00 GiB, load 0.20";
  const std::string second = demo::to_line(other);
  const size_t half = first.size() / 2;
  EXPECT_EQ(parse(first.substr(0, half) + second.substr(half)).kind, Kind::kTorn);
  EXPECT_EQ(parse(first.substr(0, first.size() - 1)).kind, Kind::kTorn);
}

TEST(DemoMessage, OtherProgramsTextIsTakenAsText) {
  for (const char* text : {"Hello from Python master #4", "ACK from Python slave: 12", "ACK 5",
                           "READING", "READING 3 books", ""}) {
    const Message message = parse(text);
    EXPECT_EQ(message.kind, Kind::kOther) << text;
    EXPECT_EQ(message.text, text);
  }
  EXPECT_EQ(parse(std::string("be\x1b[2Jll\n\0", 9)).text, "be.[2Jll");
}

TEST(DemoTally, TellsGapsRepeatsAndTornOnes) {
  demo::Tally tally(0);
  tally.count(reading(5), 2000);
  tally.count(reading(8), 3000);
  tally.count(reading(8), 3000);
  EXPECT_EQ(tally.missed(), 2u);
  EXPECT_EQ(tally.old(), 1u);
  EXPECT_FALSE(tally.sound());
}

TEST(DemoTally, AnotherSenderBeginsAnew) {
  demo::Tally tally(0);
  tally.count(reading(500), 2000);
  tally.count(reading(1, 78), 3000);
  EXPECT_EQ(tally.missed(), 0u);
  EXPECT_TRUE(tally.sound());
  EXPECT_DOUBLE_EQ(tally.latency_us(50), 2.0);
}

TEST(DemoTally, LatencyLeavesOutWhatWasWaiting) {
  demo::Tally tally(1500);
  tally.count(reading(1), 900000);
  EXPECT_EQ(tally.latencies(), 0u);
  EXPECT_EQ(tally.received(), 1u);
}

}  // namespace
