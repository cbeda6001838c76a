// SPDX-License-Identifier: MIT
// Both ends of one direction as copies in plain memory of what a real link's
// ends are, and the books: what must be readable, and what is in whose hands.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "crash/ends.h"
#include "crash/memory.h"

namespace test {

using Numbers = std::vector<uint64_t>;

// What a queue holds, from its first message on.
class Ledger {
 public:
  // Tells what came of an act; the actors are those after it.
  void wrote(uint64_t number) { entries_.push_back({number, false}); }
  void lent(uint64_t number) { entries_.push_back({number, true}); }
  void published(uint64_t number);
  void discarded(uint64_t number);
  // The thread that read came again; it was given the next message, or nothing.
  void came_back();
  void handed_out(bool is_borrowed);
  void released(bool is_newest);

  // The same hands, over a queue that was left like this by a second death.
  void set_messages(const Numbers& visible, const Numbers& recovered);
  // A new reader that has read nothing begins there.
  void begin_again_at(size_t index);

  // What a reader can read, in order: up to the first open loan.
  Numbers visible() const;
  // The same once an adopter has ended the loans of a dead writer.
  Numbers recovered() const;
  size_t handed_out() const { return handed_out_; }
  // Everything before this one has been consumed.
  size_t first_unconsumed() const;

 private:
  struct Entry {
    uint64_t number;
    bool is_open;
  };
  struct Hand {
    size_t index;
    bool is_borrowed;
  };
  std::vector<Entry> entries_;
  std::vector<Hand> hands_;  // oldest first
  size_t handed_out_ = 0;
};

// A value: a copy goes on in the same memory, once that is as it was.
struct Twins {
  // Over memory that is all zero.
  Twins(const ChannelMemory& memory, const Letters& letters);
  Answer act(Act act);
  uint64_t newest() const { return writing.next_number() - 1; }

  ChannelEnd writer, reader;
  Actor writing, reading;
  Ledger ledger;

 private:
  void keep_books(Act act, Answer answer, const Twins& before);
};

// Every byte that the two ends of that direction write, but for statistics, is
// the same in both.
bool are_alike(const ChannelMemory& one, const ChannelMemory& other);

// The same for memories from which whoever is left, or comes, goes on alike: what
// are_alike() compares, and whether somebody has announced that it sleeps.
size_t likeness_of(const ChannelMemory& memory);

}  // namespace test
