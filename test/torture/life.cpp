// SPDX-License-Identifier: MIT
#include "torture/life.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <random>
#include <utility>

#include "support/counts.h"
#include "support/link.h"

namespace torture {

namespace {

using test::Link;

const char* role_name(ESHMRole role) {
  return role == ESHM_ROLE_MASTER ? "master" : role == ESHM_ROLE_SLAVE ? "slave" : "observer";
}

class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed) {}
  uint64_t below(uint64_t sides) { return engine_() % sides; }
  bool one_in(uint64_t sides) { return below(sides) == 0; }

 private:
  std::mt19937_64 engine_;
};

// What the two halves of a life share.
struct Self {
  const Task& task;
  Record& record;
  Life& life;
  ESHMHandle* link;
  Dice dice;
  bool is_over = false;  // it was told SUPERSEDED
  uint64_t heard = 0;    // whose message it read last

  bool is_master() const { return task.config.role == ESHM_ROLE_MASTER; }

  // Says what is wrong, and stands still, so that the segment can be looked at.
  template <class... Values>
  [[noreturn]] void complain(const char* format, Values... values) {
    record.complain(format, role_name(task.config.role),
                    static_cast<unsigned long long>(task.number), values...);
    for (;;) pause();
  }
  [[noreturn]] void complain_of_code(const char* call, int code) {
    complain("%s %llu: %s gave %d: %s", call, code, eshm_last_error(nullptr));
  }
  // Every call's answer comes here that is no SUCCESS.
  void allow(const char* call, int code, bool is_expected) {
    if (code == ESHM_ERROR_SUPERSEDED && is_master()) {
      is_over = true;
    } else if (!is_expected && !(code == ESHM_ERROR_INTERRUPTED && life.shall_leave)) {
      complain_of_code(call, code);
    }
  }
};

// ---- writing ------------------------------------------------------------------

class Writer {
 public:
  Writer(Self& self, ESHMDirection direction, bool is_queue)
      : self_(self), ledger_(self.record.ledgers[direction]), is_queue_(is_queue) {}

  void write_copy(uint32_t timeout_ms) {
    unsigned char message[kLargest];
    const size_t size = prepare(message);
    if (self_.task.sin == Sin::kLosesMessages && is_sinful()) return tell(ESHM_SUCCESS);
    const int code = eshm_write_ex(self_.link, message, size, timeout_ms);
    if (self_.task.sin != Sin::kBreaksRefusals || !is_sinful()) return tell(code);
    tell(ESHM_ERROR_TIMEOUT);
    pending_ = 0;
  }

  // Whoever was told that it is replaced is not heard any more, whatever it does.
  void write_after_the_end() {
    unsigned char message[kLargest];
    pending_ = ledger_.take(self_.task.number);
    const size_t size = prepare(message);
    const int code = eshm_write(self_.link, message, size);
    if (code != ESHM_ERROR_SUPERSEDED) self_.complain_of_code("writing once more", code);
    refuse(code);
  }

  void write_loan() {
    void* room = nullptr;
    if (!lend(room)) return;
    if (self_.dice.one_in(4)) return discard(room);
    publish(room);
  }

  // A message behind an open loan. A queue keeps the loan's place; elsewhere the
  // number comes with the publication. (What a replaced master had written behind
  // an open loan is not promised: so masters do this to newest values alone.)
  void write_behind_loan() {
    if (is_queue_ && self_.is_master()) return write_loan();
    void* room = nullptr;
    if (!lend(room)) return;
    if (!is_queue_) {
      write_copy(0);
      return publish(room);
    }
    const size_t size = prepare(room);
    const uint64_t lent = std::exchange(pending_, 0);
    write_copy(0);
    const uint64_t behind = std::exchange(pending_, lent);
    const int code = eshm_publish(self_.link, room, size);
    tell(code);
    if (code != ESHM_SUCCESS && code != ESHM_ERROR_SUPERSEDED) discard(room);
    pending_ = behind;  // the lent one's number would come too late now
  }

 private:
  bool is_sinful() { return self_.dice.one_in(16); }

  // The number stays the same until its message is told.
  size_t prepare(void* message) {
    if (pending_ == 0) {
      pending_ = ledger_.take(self_.task.number);
    } else {
      ledger_.take_again(pending_);
    }
    uint64_t number = pending_;
    if (self_.task.sin == Sin::kRepeats && last_ != 0 && is_sinful()) number = last_;
    if (self_.task.sin == Sin::kGoesBack && last_ > 40 && is_sinful()) number = last_ - 40;
    fill(message, {number, self_.task.number, self_.heard, size_of(number)});
    if (self_.task.sin == Sin::kTearsMessages && is_sinful()) {
      static_cast<unsigned char*>(message)[size_of(number) - 1] ^= 1;
    }
    return size_of(number);
  }

  void tell(int code) {
    if (code == ESHM_SUCCESS) {
      ledger_.mark(pending_, kTold);
      last_ = std::exchange(pending_, 0);
      return;
    }
    self_.allow("writing", code, code == ESHM_ERROR_TIMEOUT || code == ESHM_ERROR_BUFFER_FULL ||
                                     code == ESHM_ERROR_SUPERSEDED);
    // A master's may have been read before it was replaced.
    if (!self_.is_over) refuse(code);
  }

  void refuse(int code) {
    if ((ledger_.mark(pending_, kRefused) & (kSeen | kWatched)) != 0) {
      self_.complain("%s %llu: message %llu was refused with %d and read",
                     static_cast<unsigned long long>(pending_), code);
    }
  }

  bool lend(void*& room) {
    const int code = eshm_loan(self_.link, kLargest, &room);
    if (code == ESHM_SUCCESS) return true;
    self_.allow("lending", code, code == ESHM_ERROR_TIMEOUT || code == ESHM_ERROR_BUFFER_FULL);
    return false;
  }

  void publish(void* room) {
    const size_t size = prepare(room);
    const int code = eshm_publish(self_.link, room, size);
    tell(code);
    if (code != ESHM_SUCCESS && code != ESHM_ERROR_SUPERSEDED) discard(room);
  }

  void discard(void* room) {
    const int code = eshm_discard(self_.link, room);
    if (code != ESHM_SUCCESS) self_.complain_of_code("discarding", code);
  }

  Self& self_;
  Ledger& ledger_;
  const bool is_queue_;
  uint64_t pending_ = 0;
  uint64_t last_ = 0;
};

// ---- reading ------------------------------------------------------------------

class Reader {
 public:
  Reader(Self& self, ESHMDirection direction, bool is_queue)
      : self_(self),
        ledger_(self.record.ledgers[direction]),
        is_queue_(is_queue),
        last_(is_queue ? ledger_.in_hands() : ledger_.seen()),
        known_(ledger_.seen()) {
    if (last_ > 0) --last_;  // that one may come again
  }

  void read_copy(uint32_t timeout_ms) {
    unsigned char message[kLargest];
    ESHMMessageInfo info = {};
    const int code = eshm_read_msg(self_.link, message, sizeof message, &info, timeout_ms);
    if (code == ESHM_SUCCESS) return check(message, info.size);
    self_.allow("reading", code, code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_TIMEOUT);
  }

  void read_borrowed(uint32_t timeout_ms) {
    ESHMView view = {};
    const int code = eshm_borrow(self_.link, &view, timeout_ms);
    if (code != ESHM_SUCCESS) {
      return self_.allow("borrowing", code,
                         code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_TIMEOUT);
    }
    check(view.data, view.size);
    is_holding_ = true;
    while (self_.dice.below(3) != 0 && !self_.is_over) read_copy(0);
    is_holding_ = false;
    Stamp again;
    if (!is_whole(view.data, view.size, again)) {
      self_.complain("%s %llu: a borrowed message changed");
    }
    const int released = eshm_release(self_.link, &view);
    if (released != ESHM_SUCCESS) self_.complain_of_code("releasing", released);
    note_in_hands(newest_);
  }

  // After a clean end nothing of it is in hands.
  void leave() { note_in_hands(newest_ + 1); }

 private:
  // Of a replaced one counts what it had in its hands at that moment: its
  // successor may get it again, whatever is given back later.
  void note_in_hands(uint64_t number) {
    if (!self_.life.is_replaced) ledger_.note_in_hands(number);
  }

  void check(const void* message, size_t size) {
    Stamp stamp;
    if (!is_whole(message, size, stamp)) {
      self_.complain("%s %llu: a torn message of %zu bytes: number %llu, author %llu, %llu bytes",
                     size, ull(stamp.number), ull(stamp.author), ull(stamp.size));
    }
    if (stamp.number > ledger_.taken()) {
      self_.complain("%s %llu: message %llu was never written", ull(stamp.number));
    }
    if (stamp.number <= last_) {
      self_.complain("%s %llu: message %llu after %llu", ull(stamp.number), ull(last_));
    }
    if ((ledger_.mark(stamp.number, kSeen) & kRefused) != 0) {
      self_.complain("%s %llu: message %llu was refused before it was read", ull(stamp.number));
    }
    if (is_queue_) {
      const uint64_t lost = ledger_.first_lost(std::max(last_, known_), stamp.number);
      if (lost != 0) {
        self_.complain("%s %llu: message %llu of %llu is lost: %llu of %llu came, after %llu",
                       ull(lost), ull(ledger_.author_of(lost)), ull(stamp.number),
                       ull(stamp.author), ull(std::max(last_, known_)));
      }
    }
    last_ = newest_ = stamp.number;
    ledger_.note_seen(stamp.number);
    if (!is_holding_) note_in_hands(stamp.number);
    self_.heard = stamp.author;
    self_.life.met = stamp.author;
    if (stamp.heard == self_.task.number) self_.life.known_to = stamp.author;
    ++self_.life.reads;
  }
  static unsigned long long ull(uint64_t value) { return value; }

  Self& self_;
  Ledger& ledger_;
  const bool is_queue_;
  uint64_t last_;         // only above it may what comes be
  const uint64_t known_;  // up to it the lives before had read
  uint64_t newest_ = 0;
  bool is_holding_ = false;
};

// ---- looking on ------------------------------------------------------------------

class Watcher {
 public:
  explicit Watcher(Self& self) : self_(self) {}

  void read(uint32_t timeout_ms) {
    unsigned char message[kLargest];
    ESHMMessageInfo info = {};
    const int code = eshm_read_msg(self_.link, message, sizeof message, &info, timeout_ms);
    if (code != ESHM_SUCCESS) {
      return self_.allow("looking on", code,
                         code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_TIMEOUT);
    }
    Stamp stamp;
    if (!is_whole(message, info.size, stamp)) {
      self_.complain("%s %llu: a torn message of %llu bytes: number %llu, author %llu",
                     ull(info.size), ull(stamp.number), ull(stamp.author));
    }
    Ledger& ledger = self_.record.ledgers[info.direction];
    if ((ledger.mark(stamp.number, kWatched) & kRefused) != 0) {
      self_.complain("%s %llu: message %llu was refused before it was read", ull(stamp.number));
    }
    // A new master carries over what its slave has not read, and a slave what its new
    // master has not: then, and only in another segment, a message is seen again.
    Last& last = last_[info.direction];
    const bool is_another_segment = info.sequence <= last.sequence;
    const bool may_repeat = is_another_segment;
    if (stamp.number <= last.number && !may_repeat) {
      self_.complain("%s %llu: message %llu after %llu, in place %llu after %llu",
                     ull(stamp.number), ull(last.number), ull(info.sequence), ull(last.sequence));
    }
    last = {stamp.number, info.sequence};
    ++self_.life.reads;
  }

 private:
  struct Last {
    uint64_t number = 0;
    uint64_t sequence = 0;
  };
  static unsigned long long ull(uint64_t value) { return value; }

  Self& self_;
  Last last_[2];
};

// ---- a life ------------------------------------------------------------------------

int is_told_to_leave(void* life) { return static_cast<Life*>(life)->shall_leave.load() ? 1 : 0; }

// A role that another one holds, or is about to take, is asked for again.
Link open_patiently(const Task& task, Record& record, Life& life) {
  ESHMConfig config = task.config;
  config.interrupt = &is_told_to_leave;
  config.interrupt_context = &life;
  while (!life.shall_leave) {
    Link link = test::open_link(config);
    if (link) return link;
    const int code = test::last_error_code();
    if (code == ESHM_ERROR_ROLE_MISMATCH || code == ESHM_ERROR_INTERRUPTED) continue;
    record.complain("%s %llu: eshm_init gave %d: %s", role_name(config.role),
                    static_cast<unsigned long long>(task.number), code, test::last_error().c_str());
    for (;;) pause();
  }
  return {};
}

// How long it waits, and how much it does in one go.
struct Pace {
  uint32_t longest_wait_ms;
  uint64_t burst;
  unsigned sleep_us;  // up to so long between two goes
};

constexpr Pace kPaces[] = {{0, 64, 0}, {3, 8, 100}, {20, 4, 300}, {1, 16, 500}, {5, 32, 2000}};

int talk(Self& self) {
  const ESHMConfig& config = self.task.config;
  const bool is_master = self.is_master();
  const auto is_queue = [&](ESHMDirection direction) {
    return (direction == ESHM_M2S ? config.m2s : config.s2m).delivery == ESHM_DELIVERY_QUEUE;
  };
  const ESHMDirection out = is_master ? ESHM_M2S : ESHM_S2M;
  const ESHMDirection in = is_master ? ESHM_S2M : ESHM_M2S;
  Writer writer(self, out, is_queue(out));
  Reader reader(self, in, is_queue(in));
  self.life.is_open = true;
  const Pace pace = kPaces[self.dice.below(std::size(kPaces))];
  while (!self.life.shall_leave && !self.is_over) {
    const auto wait = [&] { return uint32_t(self.dice.below(pace.longest_wait_ms + 1)); };
    for (uint64_t i = self.dice.below(pace.burst) + 1; i > 0 && !self.is_over; --i) {
      const uint64_t kind = self.dice.below(8);
      if (kind == 0) writer.write_loan();
      if (kind == 1) writer.write_behind_loan();
      if (kind > 1) writer.write_copy(self.dice.one_in(4) ? wait() : 0);
    }
    for (uint64_t i = self.dice.below(pace.burst) + 1; i > 0 && !self.is_over; --i) {
      if (self.dice.one_in(4)) {
        reader.read_borrowed(wait());
      } else {
        reader.read_copy(wait());
      }
    }
    if (pace.sleep_us != 0) usleep(unsigned(self.dice.below(pace.sleep_us)));
  }
  if (self.is_over) {
    writer.write_after_the_end();
    return kSuperseded;
  }
  // Behind the last call of its thread, and before it is seen to have ended.
  const int code = eshm_destroy(self.link);
  if (code != ESHM_SUCCESS) self.complain_of_code("eshm_destroy", code);
  self.link = nullptr;
  reader.leave();
  return kLeft;
}

int look_on(Self& self) {
  Watcher watcher(self);
  self.life.is_open = true;
  const Pace pace = kPaces[self.dice.below(std::size(kPaces))];
  while (!self.life.shall_leave) {
    watcher.read(uint32_t(self.dice.below(pace.longest_wait_ms + 1)));
    if (pace.sleep_us != 0 && self.dice.one_in(pace.burst)) {
      usleep(unsigned(self.dice.below(pace.sleep_us)));
    }
  }
  return kLeft;
}

}  // namespace

unsigned patience_seconds() { return std::max(test::watchdog_seconds(), 300u); }

int live(const Task& task, Record& record, Life& life) {
  alarm(patience_seconds());
  Link link = open_patiently(task, record, life);
  if (!link) return kLeft;
  Self self{task, record, life, link.get(), Dice(task.dice)};
  if (task.config.role == ESHM_ROLE_OBSERVER) return look_on(self);
  const int code = talk(self);
  if (self.link == nullptr) (void)link.release();
  return code;
}

}  // namespace torture
