// SPDX-License-Identifier: MIT
// A queue channel on a plain byte array, with both of its ends.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel/queue.h"
#include "support/pattern.h"
#include "support/ring_memory.h"

namespace test {

using eshm::channel::Message;
using eshm::channel::QueueReader;
using eshm::channel::QueueWriter;
using Read = QueueReader::Result;
using Write = QueueWriter::Result;

constexpr uint64_t kThread = 1;
// Payloads that begin 16, 32 and 64 bytes behind a record's beginning.
inline constexpr uint32_t kEveryOffset[] = {0, ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD};

constexpr uint64_t word_of(uint64_t kind, uint64_t size, uint64_t generation = 1) {
  return size | kind << 31 | generation << 34;
}
constexpr uint64_t kMessageKind = 1, kPaddingKind = 2, kLoanKind = 3, kHeldKind = 4;

class Queue : public testing::Test {
 protected:
  void use(uint64_t queue_bytes, uint64_t largest, uint32_t flags = 0) {
    use(RingMemory::shape(queue_bytes, largest, flags));
  }
  void use(const eshm::layout::ChannelShape& shape) { use(RingMemory(shape).geometry()); }
  // As a link makes it.
  void use_planned(const eshm::layout::ChannelShape& shape) {
    use(eshm::layout::plan_channel(shape));
  }
  void use(const eshm::layout::ChannelGeometry& geometry) {
    memory_ = std::make_unique<RingMemory>(geometry);
    written_ = read_ = 0;
    restart_writer();
    restart_reader();
  }
  void restart_writer() {
    writer_ = QueueWriter();
    writer_.adopt(memory_->view(), ++generation_);
  }
  void restart_reader() {
    reader_ = QueueReader();
    reader_.attach(memory_->view());
  }

  // The n-th message carries the pattern of n.
  Write write(size_t size) {
    std::vector<char> out(size);
    fill_pattern(out.data(), size, written_ + 1);
    const Write result = writer_.try_write(out.data(), size, 0);
    if (result == Write::kDone) ++written_;
    return result;
  }
  Write write_text(const std::string& text) {
    return writer_.try_write(text.data(), text.size(), 0);
  }

  // "" and a kind of failure, or the text.
  std::string read_text(uint64_t thread = kThread) {
    Message message;
    return read_text(message, thread);
  }
  std::string read_text(Message& message, uint64_t thread = kThread) {
    std::vector<char> in(memory_->geometry().max_message_bytes);
    const Read result = reader_.read(in.data(), in.size(), message, thread);
    if (result != Read::kMessage) return "result " + std::to_string(static_cast<int>(result));
    return std::string(in.data(), message.size);
  }
  static std::string name_of(Read result) {
    return "result " + std::to_string(static_cast<int>(result));
  }

  testing::AssertionResult next_is(size_t size) {
    std::vector<char> in(memory_->geometry().max_message_bytes);
    Message message;
    const Read result = reader_.read(in.data(), in.size(), message, kThread);
    if (result != Read::kMessage) return testing::AssertionFailure() << name_of(result);
    ++read_;
    if (message.number != read_ || message.size != size ||
        !is_pattern(in.data(), size, read_)) {
      return testing::AssertionFailure() << "message " << message.number << " of " << message.size
                                         << " bytes, not " << read_ << " of " << size;
    }
    return testing::AssertionSuccess();
  }

  Read borrow(const void*& payload, Message& message) {
    const Read result = reader_.borrow(&payload, message, kThread);
    if (result == Read::kMessage) borrow_of_[payload] = reader_.last_borrow();
    return result;
  }
  // Of the last borrow at that address.
  bool release(const void* payload) { return reader_.release(payload, borrow_of_[payload]); }
  std::string borrow_text(const void*& payload) {
    Message message;
    const Read result = borrow(payload, message);
    if (result != Read::kMessage) return name_of(result);
    return std::string(static_cast<const char*>(payload), message.size);
  }

  char* loan(size_t size) {
    void* payload = nullptr;
    EXPECT_EQ(writer_.loan(size, &payload), Write::kDone);
    return static_cast<char*>(payload);
  }
  Write publish_text(char* payload, const std::string& text) {
    std::memcpy(payload, text.data(), text.size());
    return writer_.publish(payload, text.size(), 0);
  }

  std::map<const void*, uint64_t> borrow_of_;
  uint32_t generation_ = 0;
  uint64_t written_ = 0;
  uint64_t read_ = 0;
  std::unique_ptr<RingMemory> memory_;
  QueueWriter writer_;
  QueueReader reader_;
};

}  // namespace test
