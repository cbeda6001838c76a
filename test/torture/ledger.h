// SPDX-License-Identifier: MIT
// What a link under torture was given and what came out of it, in memory that
// outlives every process of it; and the messages, which prove themselves.
#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace torture {

constexpr size_t kLargest = 600;

// ---- messages ---------------------------------------------------------------

// Stands at the beginning of each; a pattern that follows from it fills the rest.
struct Stamp {
  uint64_t number;  // of all messages of its direction
  uint64_t author;  // the life that wrote it
  uint64_t heard;   // whose message that life had read last; 0: nobody's
  uint64_t size;
};

size_t size_of(uint64_t number);
void fill(void* message, const Stamp& stamp);
// Its every byte is what its number, its author and its length say.
bool is_whole(const void* message, size_t size, Stamp& stamp);

// ---- one direction ----------------------------------------------------------

enum Mark : uint64_t {
  kTold = 1,     // its writer was told SUCCESS
  kRefused = 2,  // its writer was told that it is not written, or not read by anybody
  kSeen = 4,     // a reader got it
  kWatched = 8   // an observer did
};

class Ledger {
 public:
  // The next number; until it is told or refused nobody knows of it.
  uint64_t take(uint64_t author);
  // The same once more, after a refusal.
  void take_again(uint64_t number);
  // Which marks it had; 0, too, when it was forgotten long ago.
  uint64_t mark(uint64_t number, Mark mark);
  // The first number in (last, number) that was told, that no reader ever got, and
  // that is not excused; 0: none. (A replaced master may have got one before the
  // mark, and say so when its successor has begun.)
  uint64_t first_lost(uint64_t last, uint64_t number) const;

  uint64_t author_of(uint64_t number) const { return authors_[number % kEntries]; }

  uint64_t taken() const { return taken_.load(); }
  uint64_t seen() const { return seen_.load(); }
  uint64_t in_hands() const { return in_hands_.load(); }
  void note_seen(uint64_t number) { raise(seen_, number); }
  // The oldest that a death of the reader would show again.
  void note_in_hands(uint64_t number) { raise(in_hands_, number); }
  // What was given out so far may be lost from now on.
  void excuse() { raise(excused_, taken()); }

 private:
  static constexpr size_t kEntries = 1 << 16;
  static constexpr uint64_t kMarks = 16;
  static void raise(std::atomic<uint64_t>& value, uint64_t to);
  std::atomic<uint64_t>& entry(uint64_t number) { return entries_[number % kEntries]; }

  std::atomic<uint64_t> taken_{0};
  std::atomic<uint64_t> seen_{0};
  std::atomic<uint64_t> in_hands_{0};
  std::atomic<uint64_t> excused_{0};
  std::atomic<uint64_t> entries_[kEntries] = {};  // number * kMarks + marks
  std::atomic<uint64_t> authors_[kEntries] = {};
};

// ---- one link ---------------------------------------------------------------

// Between a life and the director.
struct Life {
  std::atomic<uint64_t> number{0};
  std::atomic<bool> is_open{false};
  std::atomic<bool> shall_leave{false};
  std::atomic<bool> is_replaced{false};  // while it was stopped
  std::atomic<uint64_t> met{0};         // the life whose message it read last
  std::atomic<uint64_t> known_to{0};    // the life that had read one of its own, and then wrote
  std::atomic<uint64_t> reads{0};
};

struct Record {
  static constexpr size_t kLives = 16;  // at once

  Ledger ledgers[2];  // by ESHMDirection
  Life lives[kLives];
  std::atomic<int> broken{0};  // 1: somebody is writing `what`; 2: it stands there
  char what[400] = {};

  // The first one is kept.
  void complain(const char* format, ...) __attribute__((format(printf, 2, 3)));
  bool is_broken() const { return broken.load() != 0; }
};

class SharedRecord {
 public:
  SharedRecord()
      : record_(new (mmap(nullptr, sizeof(Record), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Record) {}
  ~SharedRecord() { munmap(record_, sizeof(Record)); }
  SharedRecord(const SharedRecord&) = delete;
  SharedRecord& operator=(const SharedRecord&) = delete;
  Record* operator->() const { return record_; }
  Record& operator*() const { return *record_; }

 private:
  Record* record_;
};

}  // namespace torture
