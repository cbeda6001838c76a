// SPDX-License-Identifier: MIT
// The queue: every message once, in order and whole; no payload is touched by
// both ends at once. Its observer: nothing torn, and what it missed is counted.
#include "channel/queue.h"
#include "channel/queue_observer.h"
#include "explore/payload.h"
#include "explore/run.h"
#include "explore/scenarios.h"

namespace explore {
namespace {

using eshm::channel::Message;
using eshm::channel::QueueObserver;
using eshm::channel::QueueReader;
using eshm::channel::QueueView;
using eshm::channel::QueueWriter;
using eshm::channel::ReadResult;
using eshm::channel::WriteResult;

constexpr uint64_t kMostRingBytes = 128;
constexpr uint32_t kFirstWriter = 1;
constexpr uint32_t kSecondWriter = 2;
constexpr uint64_t kReadingThread = 1;

// Records of 32, 16 and 32 bytes: in a ring of 64 the third needs padding.
size_t size_of(uint64_t number) { return number % 3 == 1 ? 16 : number % 3 == 2 ? 0 : 8; }

struct Queue {
  alignas(64) std::byte data[eshm::layout::kFirstSlotOffset + kMostRingBytes];
  alignas(64) eshm::layout::ReaderLine line;
  std::atomic<uint32_t> superseded;
  uint64_t ring_bytes;
  uint64_t messages;
  int looks;
  QueueWriter writer;
  QueueWriter successor;
  QueueReader reader;
  QueueObserver observer;
  uint64_t newest;   // that was written
  uint64_t written;  // that an adopter finds, or writes

  QueueView view() {
    eshm::layout::ChannelGeometry geometry = {};
    geometry.delivery = ESHM_DELIVERY_QUEUE;
    geometry.ring_bytes = geometry.hands_bytes = ring_bytes;
    geometry.payload_offset = sizeof(eshm::layout::RecordHeader);
    geometry.max_message_bytes = sizeof(Payload);
    geometry.max_borrows = 2;
    geometry.max_loans = 3;
    return {geometry, data, &line, &superseded};
  }
  void set_up(uint64_t bytes, uint64_t count) {
    ring_bytes = bytes;
    messages = count;
    writer.adopt(view(), kFirstWriter);
    reader.attach(view());
    observer.attach(view(), true);
  }
};

Plan exclusive() {
  Plan plan;
  plan.copies_are_plain = true;
  return plan;
}

void write_one(QueueWriter& writer, uint64_t number, uint32_t who) {
  const Payload payload = Payload::of(number, who);
  for (;;) {
    explorer().begin_call();
    const WriteResult result = writer.try_write(&payload, size_of(number), 0);
    if (result == WriteResult::kDone) return;
    explorer().require(result == WriteResult::kFull, "a queue is written, or full");
    explorer().await_news();
  }
}

void write_all(Queue& state) {
  for (uint64_t number = 1; number <= state.messages; ++number) {
    write_one(state.writer, number, kFirstWriter);
  }
}

bool try_read(Queue& state, uint64_t number) {
  explorer().begin_call();
  Payload got = {};
  Message message;
  const ReadResult result = state.reader.read(&got, sizeof got, message, kReadingThread);
  explorer().require(result == ReadResult::kMessage || result == ReadResult::kNothing,
                     "there is a message, or there is none");
  if (result == ReadResult::kNothing) return false;
  explorer().require(message.number == number, "each message once, and in order");
  require_whole(message, got, size_of(number));
  return true;
}

// The next message; waits for it.
void read_one(Queue& state, uint64_t number) {
  while (!try_read(state, number)) explorer().await_news();
}

void read_all(Queue& state) {
  for (uint64_t number = 1; number <= state.messages; ++number) read_one(state, number);
  explorer().begin_call();
  explorer().require(!state.reader.has_next(), "nothing comes behind the last message");
}

Outcome exact(bool is_long) {
  return explore<Queue>(is_long ? [](Queue& state) { state.set_up(64, 6); }
                                : [](Queue& state) { state.set_up(64, 4); },
                        {write_all, read_all}, exclusive());
}

Outcome exact_in_more_room(bool is_long) {
  return explore<Queue>(is_long ? [](Queue& state) { state.set_up(128, 6); }
                                : [](Queue& state) { state.set_up(128, 5); },
                        {write_all, read_all}, exclusive());
}

// ---- borrows ----------------------------------------------------------------

void borrow_all(Queue& state) {
  for (uint64_t number = 1; number <= state.messages;) {
    explorer().begin_call();
    const void* payload;
    Message message;
    const ReadResult result = state.reader.borrow(&payload, message, kReadingThread);
    if (result != ReadResult::kMessage) {
      explorer().require(result == ReadResult::kNothing, "there is a message, or there is none");
      explorer().await_news();
      continue;
    }
    const uint64_t borrow = state.reader.last_borrow();
    explorer().require(message.number == number, "each message once, and in order");
    require_whole(message, read_in_place(payload, message.size), size_of(number));
    explorer().begin_call();
    require_whole(message, read_in_place(payload, message.size), size_of(number));
    explorer().require(state.reader.release(payload, borrow), "it was borrowed");
    ++number;
  }
}

Outcome borrowed(bool is_long) {
  return explore<Queue>(is_long ? [](Queue& state) { state.set_up(64, 6); }
                                : [](Queue& state) { state.set_up(64, 5); },
                        {write_all, borrow_all}, exclusive());
}

// ---- loans ------------------------------------------------------------------

void fill_loan(void* at, uint64_t number) {
  const Payload payload = Payload::of(number, kFirstWriter);
  for (size_t i = 0; i < size_of(number) / 8; ++i) {
    explorer().plain_store(static_cast<uint64_t*>(at) + i, 8, payload.words[i]);
  }
}

void* lend(Queue& state, size_t bytes) {
  for (;;) {
    explorer().begin_call();
    void* loan;
    const WriteResult result = state.writer.loan(bytes, &loan);
    if (result == WriteResult::kDone) return loan;
    explorer().require(result == WriteResult::kFull, "there is room, or the queue is full");
    explorer().await_news();
  }
}

// Message 1 is lent, 2 is complete before it, and smaller than was lent for it. A
// loan behind message 3 is discarded.
void lend_all(Queue& state) {
  void* const first = lend(state, size_of(1));
  void* const second = lend(state, sizeof(Payload));
  explorer().begin_call();
  fill_loan(second, 1);
  state.writer.publish(second, size_of(2), 0);
  explorer().begin_call();
  fill_loan(first, 1);
  state.writer.publish(first, size_of(1), 0);
  void* const third = lend(state, size_of(3));
  void* const unused = lend(state, 0);
  explorer().begin_call();
  fill_loan(third, 3);
  state.writer.discard(unused);
  state.writer.publish(third, size_of(3), 0);
  for (uint64_t number = 4; number <= state.messages; ++number) {
    write_one(state.writer, number, kFirstWriter);
  }
}

Outcome lent(bool is_long) {
  return explore<Queue>(is_long ? [](Queue& state) { state.set_up(128, 6); }
                                : [](Queue& state) { state.set_up(128, 4); },
                        {lend_all, read_all}, exclusive());
}

// ---- a writer that dies, and its successor ----------------------------------

void write_and_die(Queue& state) {
  for (uint64_t number = 1; number <= state.messages; ++number) {
    write_one(state.writer, number, kFirstWriter);
    state.newest = number;
  }
}

void succeed(Queue& state) {
  explorer().join(1);
  explorer().begin_call();
  state.successor.adopt(state.view(), kSecondWriter);
  explorer().require(state.successor.newest_number() >= state.newest,
                     "the successor finds what was written");
  const uint64_t number = state.successor.newest_number() + 1;
  const Payload payload = Payload::of(number, kSecondWriter);
  explorer().begin_call();
  const WriteResult result = state.successor.try_write(&payload, size_of(number), 0);
  explorer().require(result == WriteResult::kDone || result == WriteResult::kFull,
                     "a queue is written, or full");
  state.written = state.successor.newest_number();
}

// What was written, to the end, and nothing else.
void read_through(Queue& state) {
  uint64_t next = 1;
  for (int i = 0; i < 3; ++i) next += try_read(state, next);
  explorer().join(3);
  for (; next <= state.written; ++next) read_one(state, next);
  explorer().begin_call();
  explorer().require(!state.reader.has_next(), "nothing comes behind the last message");
}

Outcome adoption(bool is_long) {
  Plan plan = exclusive();
  plan.mortals = 1;
  return explore<Queue>(is_long ? [](Queue& state) { state.set_up(128, 4); }
                                : [](Queue& state) { state.set_up(64, 2); },
                        {write_and_die, succeed, read_through}, plan);
}

// ---- superseded -------------------------------------------------------------

Outcome superseded(bool) {
  return explore<Queue>(
      [](Queue& state) { state.set_up(128, 2); },
      {[](Queue& state) {
         explorer().begin_call();
         state.superseded.store(1, std::memory_order_release);  // MK1
       },
       [](Queue& state) {
         explorer().join(1);  // it is replaced, and does not know it
         write_one(state.writer, 1, kFirstWriter);
       },
       [](Queue& state) {
         explorer().begin_call();
         Payload got = {};
         Message message;
         const ReadResult result = state.reader.read(&got, sizeof got, message, kReadingThread);
         explorer().require(result != ReadResult::kMessage,
                            "what is written behind the mark is dropped");
         explorer().begin_call();
         uint64_t missed = 0;
         explorer().require(state.observer.read(&got, sizeof got, message, missed) !=
                                ReadResult::kMessage,
                            "nor is it shown to an observer");
       }},
      exclusive());
}

// ---- an observer ------------------------------------------------------------

void observe(Queue& state) {
  uint64_t last = 0;
  for (int i = 0; i < state.looks; ++i) {
    explorer().begin_call();
    Payload got = {};
    Message message;
    uint64_t missed = 0;
    const ReadResult result = state.observer.read(&got, sizeof got, message, missed);
    if (result == ReadResult::kNothing) continue;
    explorer().require(result == ReadResult::kMessage, "there is a message, or there is none");
    require_whole(message, got, size_of(message.number));
    explorer().require(message.number == last + missed + 1, "what was missed is counted");
    last = message.number;
  }
}

// One thread is both ends.
void write_and_read(Queue& state) {
  for (uint64_t number = 1; number <= state.messages; ++number) {
    write_one(state.writer, number, kFirstWriter);
    read_one(state, number);
    explorer().begin_call();
    state.reader.consume_handed_out();
  }
}

Outcome observer(bool is_long) {
  Plan plan;
  plan.most_steps = is_long ? 60 : 40;
  return explore<Queue>(is_long ? [](Queue& state) {
    state.set_up(64, 5);
    state.looks = 3;
  } : [](Queue& state) {
    state.set_up(64, 4);
    state.looks = 2;
  }, {write_and_read, observe}, plan);
}

Outcome observer_of_two(bool is_long) {
  Plan plan;
  plan.most_steps = is_long ? 60 : 40;
  return explore<Queue>(
      [](Queue& state) {
        state.set_up(64, 3);
        state.looks = 1;
      },
      {write_all, read_all, observe}, plan);
}

}  // namespace

const std::vector<Scenario> queue_scenarios = {
    {"Queue", exact},
    {"QueueInMoreRoom", exact_in_more_room},
    {"QueueBorrow", borrowed},
    {"QueueLoans", lent},
    {"QueueAdoption", adoption},
    {"QueueSuperseded", superseded},
    {"QueueObserver", observer},
    {"QueueObserverOfTwo", observer_of_two},
};

}  // namespace explore
