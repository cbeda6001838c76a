// SPDX-License-Identifier: MIT
#include "crash/survivors.h"

#include <algorithm>
#include <utility>

#include "support/pattern.h"

namespace test {

using eshm::channel::LatestReader;
using eshm::channel::LatestWriter;
using eshm::channel::Message;
using eshm::channel::ReadResult;

namespace {

constexpr uint64_t kSuccessor = 3;
constexpr size_t kFaultsKept = 10;

uint64_t key_of(uint64_t number, uint64_t author) { return number + (author << 40); }

}  // namespace

const void* Payloads::make(uint64_t number, uint64_t author) {
  fill_pattern(buffer_.data(), size_of(number), key_of(number, author));
  return buffer_.data();
}

bool Payloads::is_whole(const void* data, size_t bytes, uint64_t number, uint64_t author) const {
  return bytes == size_of(number) && is_pattern(data, bytes, key_of(number, author));
}

Survivors::Survivors(const Operation& operation, const ChannelMemory& memory, Spoil spoil)
    : operation_(operation),
      spoil_(std::move(spoil)),
      bench_(memory.geometry()),
      payloads_(operation.largest),
      buffer_(operation.largest + 1),
      newest_(operation.before) {
  scene_ = "before the operation";
  const Image before = memory.image();
  const Image empty(before.size());
  for (const Past past :
       {Past::kNotYetThere, Past::kFoundItEmpty, Past::kHasAttached, Past::kHasRead}) {
    Reader reader{past, {}};
    bench_.load(past == Past::kFoundItEmpty ? empty : before);
    reader.reader.attach(bench_.view());
    if (past == Past::kHasRead) drain(reader, true);
    readers_.push_back(reader);
  }
  bench_.load(before);
  for (uint32_t pin = 0; pin < bench_.geometry().pin_count; ++pin) {
    const uint32_t pinned = bench_.pins().slot[pin].load(std::memory_order_relaxed);
    if (pinned == 0) continue;
    const uint64_t sequence = bench_.slot(pinned - 1).sequence.load(std::memory_order_relaxed);
    if (sequence % 2 == 0) held_.push_back({pinned - 1, bench_.bytes_of_slot(pinned - 1)});
  }
}

void Survivors::look_at(const Image& image) {
  ++looks_;
  scene_ = "the image";
  bench_.load(image);
  const uint64_t newest_before = std::exchange(newest_, bench_.newest_complete());
  // A writer that died between a publication and its hint leaves both to be
  // read, the hinted message first.
  oldest_readable_ = std::min(operation_.before, bench_.hinted());
  expect(newest_ == operation_.before || newest_ == operation_.after,
         "the newest complete message is " + std::to_string(newest_));
  expect(newest_ >= newest_before, "a published message is gone again");
  check_held();
  for (const Reader& as_it_was : readers_) {
    for (const bool thorough : {false, true}) {
      bench_.load(image);
      Reader reader = reader_with(as_it_was.past);
      reads_alone(reader, thorough);
      meets_successor(reader);
    }
    bench_.load(image);
    Reader sleeper = reader_with(as_it_was.past);
    meets_successor(sleeper);
  }
}

void Survivors::finish() {
  scene_ = "the end";
  expect(looks_ > 0, "there was no image");
  expect(newest_ == operation_.after, "it is " + std::to_string(newest_));
}

Survivors::Reader Survivors::reader_with(Past past) {
  Reader reader = readers_[static_cast<size_t>(past)];
  if (past == Past::kNotYetThere) reader.reader.attach(bench_.view());
  static const char* const kScenes[] = {"a fresh reader", "a reader that found it empty",
                                        "a reader that has read nothing",
                                        "a reader that has read the value before"};
  scene_ = kScenes[static_cast<size_t>(past)];
  return reader;
}

void Survivors::reads_alone(Reader& reader, bool thorough) {
  scene_ += thorough ? ", thorough" : "";
  drain(reader, thorough);
  // A quick look may miss what is complete while the hint does not yet name it.
  const uint64_t hinted = bench_.hinted();
  const bool may_miss = !thorough && hinted < newest_;
  expect(reader.last == newest_ ||
             (may_miss && (reader.last == operation_.before || reader.last == hinted)),
         "ends at message " + std::to_string(reader.last) + ", the newest is " +
             std::to_string(newest_));
}

void Survivors::meets_successor(Reader& reader) {
  scene_ += ", after the adoption";
  Payloads payloads(operation_.largest);
  LatestWriter successor;
  if (spoil_) spoil_(bench_.view());
  successor.adopt(bench_.view(), 9);
  drain(reader, false);
  expect(reader.last == newest_, "ends at message " + std::to_string(reader.last) +
                                     ", the newest is " + std::to_string(newest_));
  successor_from_ = newest_ + 1;
  uint64_t number = newest_;
  for (uint32_t i = 0; i < bench_.geometry().slot_count + 2; ++i) {
    ++number;
    successor.write(payloads.make(number, kSuccessor), payloads.size_of(number), 0);
    drain(reader, false);
    expect(reader.last == number, "is at message " + std::to_string(reader.last) + " after " +
                                      std::to_string(number) + " was written");
  }
  if (reader.past != Past::kNotYetThere) check_held();  // that one has cleared the pins
  scene_ += ", attached then";
  Reader newcomer{Past::kNotYetThere, {}};
  newcomer.reader.attach(bench_.view());
  drain(newcomer, false);
  expect(newcomer.last == number, "is at message " + std::to_string(newcomer.last));
  successor_from_ = UINT64_MAX;
}

// Reads all that is unread; every message must prove itself, and be newer than the last.
void Survivors::drain(Reader& reader, bool thorough) {
  for (int reads = 0; reads < 4; ++reads) {
    Message message;
    const ReadResult result = reader.reader.read(buffer_.data(), buffer_.size(), message, thorough);
    if (result == ReadResult::kNothing) return;
    expect(result == ReadResult::kMessage,
           "a read gives " + std::to_string(static_cast<int>(result)));
    if (result != ReadResult::kMessage) return;
    ++messages_read_;
    expect(message.number > reader.last,
           "message " + std::to_string(message.number) + " after " + std::to_string(reader.last));
    expect(message.number >= oldest_readable_,
           "message " + std::to_string(message.number) + " is older than what was published");
    expect(
        payloads_.is_whole(buffer_.data(), message.size, message.number, author_of(message.number)),
        "message " + std::to_string(message.number) + " is not as it was written");
    reader.last = message.number;
  }
  expect(false, "finds something unread without end");
}

void Survivors::check_held() {
  // A writer that has not met a pin yet marks the slot before it sees this one;
  // nothing but the sequence is touched by that.
  constexpr std::ptrdiff_t kBehindSequence = sizeof(uint64_t);
  for (const Held& held : held_) {
    const std::vector<std::byte> now = bench_.bytes_of_slot(held.slot);
    expect(std::equal(now.begin() + kBehindSequence, now.end(),
                      held.bytes.begin() + kBehindSequence, held.bytes.end()),
           "pinned slot " + std::to_string(held.slot) + " has changed");
  }
}

uint64_t Survivors::author_of(uint64_t number) const {
  if (number >= successor_from_) return kSuccessor;
  return number >= operation_.second_author_from ? 2 : 1;
}

void Survivors::expect(bool condition, const std::string& what) {
  if (condition || faults_.size() >= kFaultsKept) return;
  faults_.push_back("image " + std::to_string(looks_) + ", " + scene_ + ": " + what);
}

}  // namespace test
