// SPDX-License-Identifier: MIT
// What must hold for those who are left when a writer dies: readers, and the
// writer that takes the channel over. They are given a private copy of the
// memory as the dead one left it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "crash/memory.h"

namespace test {

// Message `number` of the `author`-th writer: its size and every byte of it.
class Payloads {
 public:
  explicit Payloads(size_t largest) : largest_(largest), buffer_(largest) {}
  size_t size_of(uint64_t number) const { return number % 3 == 2 ? largest_ / 2 : largest_; }
  const void* make(uint64_t number, uint64_t author);
  const void* made() const { return buffer_.data(); }
  bool is_whole(const void* data, size_t bytes, uint64_t number, uint64_t author) const;

 private:
  size_t largest_;
  std::vector<char> buffer_;
};

// An operation in which a writer may die.
struct Operation {
  size_t largest = 0;                        // payload bytes
  uint64_t before = 0;                       // the newest message when it begins; 0: none
  uint64_t after = 0;                        // and when it has ended
  uint64_t second_author_from = UINT64_MAX;  // messages below are the first writer's
};

class Survivors {
 public:
  // What a successor does besides: a fault that the looks must find.
  using Spoil = std::function<void(const eshm::channel::ChannelView&)>;

  // `memory` stands as it is before the operation. What a pin protects there
  // stays as it is.
  Survivors(const Operation& operation, const ChannelMemory& memory, Spoil spoil = {});

  // Images come in the order in which they were left.
  void look_at(const Image& image);
  // There are no more: the operation has ended.
  void finish();

  // What did not hold, in words; the first few.
  const std::vector<std::string>& faults() const { return faults_; }
  // Newest complete message of the last image.
  uint64_t newest() const { return newest_; }
  uint64_t messages_read() const { return messages_read_; }

 private:
  // What a reader had done before the operation began.
  enum class Past { kNotYetThere, kFoundItEmpty, kHasAttached, kHasRead };
  struct Reader {
    Past past;
    eshm::channel::LatestReader reader;
    uint64_t last = 0;  // the message that it read last; 0: none
  };
  struct Held {
    uint32_t slot;
    std::vector<std::byte> bytes;
  };

  Reader reader_with(Past past);
  void reads_alone(Reader& reader, bool thorough);
  void meets_successor(Reader& reader);
  void drain(Reader& reader, bool thorough);
  void check_held();
  uint64_t author_of(uint64_t number) const;
  void expect(bool condition, const std::string& what);

  const Operation operation_;
  const Spoil spoil_;
  Arena bench_;  // where the copies are laid: readers keep its address
  Payloads payloads_;
  std::vector<char> buffer_;
  std::vector<Reader> readers_;  // as they were before the operation
  std::vector<Held> held_;
  std::string scene_;
  uint64_t looks_ = 0;
  uint64_t newest_ = 0;
  uint64_t oldest_readable_ = 0;
  uint64_t successor_from_ = UINT64_MAX;
  uint64_t messages_read_ = 0;
  std::vector<std::string> faults_;
};

}  // namespace test
