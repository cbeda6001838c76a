// SPDX-License-Identifier: MIT
// The newest-value channel: nothing torn, numbers only rise, what was published
// before a call began is not missed, what is borrowed stays as it is.
#include "channel/copy.h"
#include "channel/latest.h"
#include "explore/payload.h"
#include "explore/run.h"
#include "explore/scenarios.h"

namespace explore {
namespace {

using eshm::channel::Borrowed;
using eshm::channel::ChannelView;
using eshm::channel::LatestObserver;
using eshm::channel::LatestReader;
using eshm::channel::LatestWriter;
using eshm::channel::Message;
using eshm::channel::ReadResult;
using eshm::channel::WriteResult;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

constexpr uint32_t kMostSlots = 6;
constexpr uint32_t kFirstWriter = 1;
constexpr uint32_t kSecondWriter = 2;

size_t size_of(uint64_t number) { return number % 3 == 0 ? 8 : 16; }

void require_whole(const Message& message, const Payload& got) {
  explore::require_whole(message, got, size_of(message.number));
}

struct Latest {
  alignas(64) std::byte data[eshm::layout::kFirstSlotOffset + kMostSlots * 64];
  alignas(64) eshm::layout::PinLines pins;
  std::atomic<uint32_t> superseded;
  std::atomic<uint64_t> told;  // the newest number that the writer has told of
  uint32_t slots;
  uint32_t pin_count;
  int writes;
  int reads;
  LatestWriter writer;
  LatestWriter successor;
  LatestReader reader;
  LatestObserver observer;
  uint64_t newest;  // that was published

  ChannelView view() {
    eshm::layout::ChannelGeometry geometry = {};
    geometry.slot_count = slots;
    geometry.pin_count = pin_count;
    geometry.slot_stride = 64;
    geometry.payload_offset = sizeof(eshm::layout::Slot);
    geometry.max_message_bytes = sizeof(Payload);
    geometry.max_borrows = pin_count - 1;
    geometry.max_loans = kMostSlots;
    return {geometry, data, &pins, &superseded};
  }
  // `pins` for borrows, `held` slots for them and for loans; and one message.
  void set_up(uint32_t slot_count, uint32_t pins_count) {
    slots = slot_count;
    pin_count = pins_count;
    writer.adopt(view(), kFirstWriter);
    write(1);
    reader.attach(view());
    observer.attach(view());
  }
  void write(uint64_t number) {
    const Payload payload = Payload::of(number, kFirstWriter);
    writer.write(&payload, size_of(number), 0);
  }
};

void write_on(Latest& state) {
  for (uint64_t number = 2; number < 2 + uint64_t(state.writes); ++number) {
    explorer().begin_call();
    state.write(number);
  }
}

// A call that found nothing, or a message.
template <class End>
ReadResult read_one(End& end, uint64_t& last, bool thorough = false) {
  explorer().begin_call();
  Payload got = {};
  Message message;
  const ReadResult result = end.read(&got, sizeof got, message, thorough);
  explorer().require(result == ReadResult::kMessage || result == ReadResult::kNothing,
                     "there is a message, or there is none");
  if (result == ReadResult::kMessage) {
    explorer().require(message.number > last, "numbers only rise");
    require_whole(message, got);
    last = message.number;
  }
  return result;
}

// Nobody writes any more.
void require_newest(Latest& state, uint64_t last, uint64_t newest) {
  read_one(state.reader, last);
  explorer().require(last == newest, "the newest message is found when the writer rests");
}

// ---- one writer, one observer -----------------------------------------------

void observe(Latest& state) {
  uint64_t last = 0;
  for (int i = 0; i < state.reads; ++i) read_one(state.observer, last);
}

Outcome observer(bool is_long) {
  Plan plan;
  plan.most_steps = is_long ? 40 : 24;
  return explore<Latest>(is_long ? [](Latest& state) {
    state.set_up(3, 0);
    state.writes = 5;
    state.reads = 3;
  } : [](Latest& state) {
    state.set_up(3, 0);
    state.writes = 3;
    state.reads = 2;
  }, {write_on, observe}, plan);
}

// ---- one writer, one reader that pins when lapped ---------------------------

void read_on(Latest& state) {
  uint64_t last = 0;
  for (int i = 0; i < state.reads; ++i) read_one(state.reader, last);
  explorer().join(1);
  require_newest(state, last, uint64_t(1 + state.writes));
}

Outcome reader(bool is_long) {
  Plan plan;
  plan.most_steps = is_long ? 40 : 26;
  return explore<Latest>(
      [](Latest& state) {
        state.set_up(4, 1);
        state.writes = 4;
        state.reads = 1;
      },
      {write_on, read_on}, plan);
}

// ---- one writer, one reader that borrows ------------------------------------

bool borrow_one(Latest& state, uint64_t& last, Borrowed& borrowed) {
  explorer().begin_call();
  const ReadResult result = state.reader.borrow(borrowed, false);
  explorer().require(result == ReadResult::kMessage || result == ReadResult::kNothing,
                     "there is a message, or there is none");
  if (result != ReadResult::kMessage) return false;
  explorer().require(borrowed.message.number > last, "numbers only rise");
  last = borrowed.message.number;
  require_whole(borrowed.message, read_in_place(borrowed.data, borrowed.message.size));
  return true;
}

void give_back(Latest& state, const Borrowed& borrowed) {
  // It stays as it is to the end.
  require_whole(borrowed.message, read_in_place(borrowed.data, borrowed.message.size));
  explorer().begin_call();
  explorer().require(state.reader.release(borrowed.token, borrowed.serial), "it was borrowed");
}

void borrow_on(Latest& state) {
  uint64_t last = 0;
  for (int i = 0; i < state.reads; ++i) {
    Borrowed borrowed;
    if (borrow_one(state, last, borrowed)) give_back(state, borrowed);
  }
}

// The register is used again by a borrow that is not given back.
void borrow_twice(Latest& state) {
  uint64_t last = 0;
  Borrowed borrowed;
  if (borrow_one(state, last, borrowed)) give_back(state, borrowed);
  borrow_one(state, last, borrowed);
}

Outcome borrow(bool is_long) {
  Plan plan;
  plan.most_steps = is_long ? 26 : 18;
  return explore<Latest>(
      [](Latest& state) {
        state.set_up(4, 2);
        state.writes = 4;
        state.reads = 1;
      },
      {write_on, borrow_on}, plan);
}

Outcome borrow_again(bool is_long) {
  Plan plan;
  plan.most_steps = 18;
  // P1 weakened is caught long before.
  if (!is_long) plan.most_runs = 1'000'000;
  return explore<Latest>(
      [](Latest& state) {
        state.set_up(4, 2);
        state.writes = 4;
      },
      {write_on, borrow_twice}, plan);
}

// ---- loans ------------------------------------------------------------------

// Its user stores as it likes; atomically here, since a reader that is lapped
// may copy meanwhile.
void fill_loan(void* at, uint64_t number) {
  const Payload payload = Payload::of(number, kFirstWriter);
  eshm::channel::copy_to_shared(static_cast<std::byte*>(at), &payload, size_of(number));
}

void tell_newest(Latest& state, uint64_t number) {
  state.newest = number;
  state.told.store(number, memory_order_release);
}

// A loan of the next slot is overtaken by a copy; then it is published itself.
void lend_and_write(Latest& state) {
  explorer().begin_call();
  void* loan;
  state.writer.loan(sizeof(Payload), &loan);
  explorer().begin_call();
  state.write(2);
  tell_newest(state, 2);
  explorer().begin_call();
  fill_loan(loan, 3);
  explorer().require(state.writer.publish(loan, size_of(3), 0) == WriteResult::kDone,
                     "a loan is published");
  tell_newest(state, 3);
}

// Two loans, published in the other order.
void lend_twice(Latest& state) {
  explorer().begin_call();
  void* first;
  void* second;
  state.writer.loan(sizeof(Payload), &first);
  state.writer.loan(sizeof(Payload), &second);
  explorer().begin_call();
  fill_loan(second, 2);
  state.writer.publish(second, size_of(2), 0);
  tell_newest(state, 2);
  explorer().begin_call();
  fill_loan(first, 3);
  state.writer.publish(first, size_of(3), 0);
  tell_newest(state, 3);
}

void lend_discard_write(Latest& state) {
  explorer().begin_call();
  void* first;
  void* second;
  state.writer.loan(sizeof(Payload), &first);
  state.writer.loan(sizeof(Payload), &second);
  fill_loan(second, 77);
  explorer().begin_call();
  state.writer.discard(second);
  explorer().begin_call();
  state.write(2);
  tell_newest(state, 2);
  explorer().begin_call();
  state.writer.discard(first);
  state.write(3);
  tell_newest(state, 3);
}

// What was published before a call is returned by it, or something newer.
void poll(Latest& state) {
  uint64_t last = 0;
  for (int i = 0; i < state.reads; ++i) {
    const uint64_t told = state.told.load(memory_order_acquire);
    const ReadResult result = read_one(state.reader, last);
    explorer().require(last >= told, "what was published before the call is found");
    static_cast<void>(result);
  }
}

template <void (*writer)(Latest&), uint32_t slots>
Outcome polled(bool is_long) {
  Plan plan;
  plan.most_steps = is_long ? 60 : 40;
  return explore<Latest>(is_long ? [](Latest& state) {
    state.set_up(slots, 1);
    state.writes = 3;
    state.reads = 3;
  } : [](Latest& state) {
    state.set_up(slots, 1);
    state.writes = 2;
    state.reads = 2;
  }, {writer, poll}, plan);
}

void write_and_tell(Latest& state) {
  for (uint64_t number = 2; number < 2 + uint64_t(state.writes); ++number) {
    explorer().begin_call();
    state.write(number);
    tell_newest(state, number);
  }
}

// The writer sends message 3 elsewhere than to its home. An observer that is
// behind finds it by a look at every slot, and tells of it.
void lend_and_send_elsewhere(Latest& state) {
  explorer().begin_call();
  state.write(3);
}

void observe_and_tell(Latest& state) {
  uint64_t last = 0;
  read_one(state.observer, last, true);
  state.told.store(last, memory_order_release);
}

Outcome passed_on(bool) {
  return explore<Latest>(
      [](Latest& state) {
        state.slots = 6;
        state.pin_count = 1;
        state.writer.adopt(state.view(), kFirstWriter);
        state.observer.attach(state.view());
        state.reader.attach(state.view());
        state.write(1);
        state.write(2);
        uint64_t last = 0;
        read_one(state.reader, last);
        void* loan;
        state.writer.loan(sizeof(Payload), &loan);
      },
      {lend_and_send_elsewhere, observe_and_tell, [](Latest& state) {
         const uint64_t told = state.told.load(memory_order_acquire);
         uint64_t last = 2;
         // Before W5 the hint does not know of it: each slot is looked at here, too.
         if (read_one(state.reader, last, true) == ReadResult::kNothing) {
           explorer().require(told < 3, "what another was shown before the call is found");
         }
       }});
}

// A slot that was borrowed is lent, and filled at once.
void lend_borrowed(Latest& state) {
  for (uint64_t number = 2; number <= 3; ++number) {
    explorer().begin_call();
    state.write(number);
  }
  for (uint64_t i = 0; i < 2; ++i) {
    explorer().begin_call();
    void* loan;
    state.writer.loan(sizeof(Payload), &loan);
    for (size_t word = 0; word < kMostWords; ++word) {
      explorer().plain_store(static_cast<uint64_t*>(loan) + word, 8, 90 + i);
    }
  }
}

Outcome borrowed_then_lent(bool) {
  Plan plan;
  plan.most_steps = 24;
  return explore<Latest>(
      [](Latest& state) {
        state.set_up(5, 2);
        state.reads = 1;
      },
      {lend_borrowed, borrow_on}, plan);
}

// ---- a segment that is superseded -------------------------------------------

// A writer that was replaced does not know it, and writes on.
void supersede(Latest& state) {
  explorer().begin_call();
  state.superseded.store(1, memory_order_release);  // MK1
  state.told.store(1, memory_order_release);
}

void write_late(Latest& state) {
  explorer().begin_call();
  const uint64_t is_late = state.told.load(memory_order_acquire);
  state.newest = is_late != 0 ? 2 : 0;
  state.write(2);
}

void read_superseded(Latest& state) {
  explorer().begin_call();
  Payload got = {};
  Message message;
  const ReadResult result = state.reader.read(&got, sizeof got, message, false);
  if (result == ReadResult::kMessage) require_whole(message, got);
  explorer().join(3);
  explorer().require(result != ReadResult::kMessage || message.number != state.newest,
                     "what is published behind the mark is dropped");
}

Outcome superseded(bool) {
  return explore<Latest>([](Latest& state) { state.set_up(4, 1); },
                         {supersede, write_late, read_superseded});
}

// ---- a writer that dies, and its successor ----------------------------------

void write_and_die(Latest& state) {
  for (uint64_t number = 2; number < 2 + uint64_t(state.writes); ++number) {
    explorer().begin_call();
    state.write(number);
    state.newest = number;
  }
}

void lend_write_and_die(Latest& state) {
  explorer().begin_call();
  void* loan;
  state.writer.loan(sizeof(Payload), &loan);
  write_and_die(state);
}

template <int messages>
void succeed(Latest& state) {
  explorer().join(1);
  explorer().begin_call();
  state.successor.adopt(state.view(), kSecondWriter);
  explorer().require(state.successor.newest_number() >= state.newest,
                     "the successor finds what was published");
  state.newest = state.successor.newest_number();
  for (int i = 0; i < messages; ++i) {
    explorer().begin_call();
    const Payload payload = Payload::of(++state.newest, kSecondWriter);
    state.successor.write(&payload, size_of(state.newest), 0);
  }
}

void read_through(Latest& state) {
  uint64_t last = 0;
  for (int i = 0; i < state.reads; ++i) read_one(state.reader, last, i == 1);
  explorer().join(3);
  require_newest(state, last, state.newest);
}

template <void (*writer)(Latest&), int writes, int messages>
Outcome adoption(bool is_long) {
  Plan plan;
  plan.mortals = 1;
  plan.most_steps = is_long ? 28 : 22;
  return explore<Latest>(
      [](Latest& state) {
        state.set_up(4, 2);
        state.writes = writes;
        state.reads = 1;
      },
      {writer, succeed<messages>, read_through}, plan);
}

}  // namespace

const std::vector<Scenario> latest_scenarios = {
    {"LatestObserver", observer},
    {"LatestReader", reader},
    {"LatestBorrow", borrow},
    {"LatestBorrowAgain", borrow_again},
    {"LatestPolled", polled<write_and_tell, 4>},
    {"LatestLoan", polled<lend_and_write, 6>},
    {"LatestTwoLoans", polled<lend_twice, 6>},
    {"LatestLoanDiscarded", polled<lend_discard_write, 6>},
    {"LatestPassedOn", passed_on},
    {"LatestBorrowedThenLent", borrowed_then_lent},
    {"LatestSuperseded", superseded},
    {"LatestAdoption", adoption<write_and_die, 2, 1>},
    {"LatestAdoptionQuiet", adoption<lend_write_and_die, 1, 0>},
};

}  // namespace explore
