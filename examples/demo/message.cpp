// SPDX-License-Identifier: MIT
#include "demo/message.h"

#include <time.h>

#include <cctype>
#include <cinttypes>
#include <cstdio>
#include <cstring>

namespace demo {
namespace {

constexpr char kReadingWord[] = "READING ";
constexpr char kAckWord[] = "ACK ";
// " #" and sixteen hexadecimal digits end a line.
constexpr size_t kTrailerBytes = 18;

// FNV-1a, 64 bits.
uint64_t checksum(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::string trailer(const std::string& text) {
  char buffer[kTrailerBytes + 1];
  std::snprintf(buffer, sizeof buffer, " #%016" PRIx64, checksum(text));
  return buffer;
}

// Where the number begins in a line of ours: "READING 12 from=..."; 0 in any
// other, such as another program's "ACK from ...".
size_t number_begin(const std::string& line, const char* word) {
  const size_t begin = std::strlen(word);
  if (line.compare(0, begin, word) != 0) return 0;
  const size_t end = line.find_first_not_of("0123456789", begin);
  return end != begin && end != std::string::npos && line.compare(end, 6, " from=") == 0 ? begin
                                                                                         : 0;
}

std::string printable(const char* bytes, size_t size) {
  while (size > 0 && (bytes[size - 1] == '\0' || bytes[size - 1] == '\n')) --size;
  std::string text(bytes, size);
  for (char& c : text) {
    if (std::iscntrl(static_cast<unsigned char>(c))) c = '.';
  }
  return text;
}

}  // namespace

std::string to_line(const Message& message) {
  char head[128];
  std::snprintf(head, sizeof head, "%s%" PRIu64 " from=%" PRIu64 " to=%" PRIu64 " t=%" PRIu64 " ",
                message.kind == Kind::kAck ? kAckWord : kReadingWord, message.number,
                message.sender, message.answers, message.sent_ns);
  const std::string line = head + message.text;
  return line + trailer(line);
}

Message parse_line(const char* bytes, size_t size) {
  const std::string line(bytes, size);
  Message message;
  message.text = printable(bytes, size);
  const size_t reading = number_begin(line, kReadingWord);
  const size_t ack = number_begin(line, kAckWord);
  if (reading + ack == 0) return message;

  message.kind = Kind::kTorn;
  if (line.size() < kTrailerBytes) return message;
  const std::string content = line.substr(0, line.size() - kTrailerBytes);
  if (line.compare(content.size(), kTrailerBytes, trailer(content)) != 0) return message;
  int text_begin = 0;
  const int fields =
      std::sscanf(content.c_str() + reading + ack,
                  "%" SCNu64 " from=%" SCNu64 " to=%" SCNu64 " t=%" SCNu64 "%n", &message.number,
                  &message.sender, &message.answers, &message.sent_ns, &text_begin);
  if (fields != 4) return message;
  message.kind = reading != 0 ? Kind::kReading : Kind::kAck;
  const size_t begin = reading + ack + static_cast<size_t>(text_begin) + 1;
  message.text = begin < content.size() ? content.substr(begin) : std::string();
  return message;
}

uint64_t monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace demo
