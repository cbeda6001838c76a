// SPDX-License-Identifier: MIT
// Parking: nobody sleeps for ever while there is something unread, or room.
#include "channel/latest.h"
#include "channel/queue.h"
#include "channel/wakeup.h"
#include "explore/run.h"
#include "explore/scenarios.h"

namespace explore {
namespace {

using namespace eshm::channel;
using eshm::layout::WakeLine;

constexpr uint32_t kReader = 3;  // marks
constexpr uint32_t kWriter = 5;

void sleep(WakeLine& line, uint32_t key) {
  explorer().begin_call();
  park(line, key, eshm::os::Deadline::never());
}

void ring_if_announced(WakeLine& line) {
  if (is_announced(line)) ring_announced(line);
}

// ---- newest value -----------------------------------------------------------

struct ParkedAtLatest {
  alignas(64) std::byte data[eshm::layout::kFirstSlotOffset + 4 * 64];
  alignas(64) eshm::layout::PinLines pins;
  WakeLine wake;
  std::atomic<uint32_t> superseded;
  uint64_t messages;
  LatestWriter writer;
  LatestReader reader;

  ChannelView view() {
    eshm::layout::ChannelGeometry geometry = {};
    geometry.slot_count = 4;
    geometry.pin_count = 1;
    geometry.slot_stride = 64;
    geometry.payload_offset = sizeof(eshm::layout::Slot);
    geometry.max_message_bytes = 8;
    return {geometry, data, &pins, &superseded};
  }
};

void write_and_ring(ParkedAtLatest& state) {
  for (uint64_t number = 1; number <= state.messages; ++number) {
    explorer().begin_call();
    state.writer.write(&number, sizeof number, 0);
    ring_if_announced(state.wake);
  }
}

uint64_t look(ParkedAtLatest& state) {
  explorer().begin_call();
  uint64_t got = 0;
  Message message;
  const ReadResult result = state.reader.read(&got, sizeof got, message, true);
  return result == ReadResult::kMessage ? message.number : 0;
}

void sleep_until_last(ParkedAtLatest& state) {
  while (state.reader.last_read() < state.messages) {
    if (look(state) != 0) continue;
    explorer().begin_call();
    const uint32_t key = announce(state.wake, kReader);
    if (look(state) != 0) continue;
    sleep(state.wake, key);
  }
}

Outcome latest(bool is_long) {
  const auto set_up = [](ParkedAtLatest& state) {
    state.writer.adopt(state.view(), 1);
    state.reader.attach(state.view());
    state.messages = 1;
  };
  return explore<ParkedAtLatest>(is_long ? [](ParkedAtLatest& state) {
    state.writer.adopt(state.view(), 1);
    state.reader.attach(state.view());
    state.messages = 2;
  } : +set_up, {write_and_ring, sleep_until_last});
}

// ---- queue ------------------------------------------------------------------

struct ParkedAtQueue {
  alignas(64) std::byte data[eshm::layout::kFirstSlotOffset + 64];
  alignas(64) eshm::layout::ReaderLine line;
  WakeLine wake;
  WakeLine room;
  std::atomic<uint32_t> superseded;
  uint64_t messages;
  QueueWriter writer;
  QueueReader reader;

  QueueView view() {
    eshm::layout::ChannelGeometry geometry = {};
    geometry.delivery = ESHM_DELIVERY_QUEUE;
    geometry.ring_bytes = geometry.hands_bytes = 64;
    geometry.payload_offset = sizeof(eshm::layout::RecordHeader);
    geometry.max_message_bytes = 8;
    return {geometry, data, &line, &superseded};
  }
};

bool try_write(ParkedAtQueue& state, uint64_t number) {
  explorer().begin_call();
  if (state.writer.try_write(&number, sizeof number, 0) != WriteResult::kDone) return false;
  ring_if_announced(state.wake);
  return true;
}

void write_or_sleep(ParkedAtQueue& state) {
  for (uint64_t number = 1; number <= state.messages; ++number) {
    while (!try_write(state, number)) {
      explorer().begin_call();
      const uint32_t key = announce(state.room, kWriter);
      if (try_write(state, number)) break;
      sleep(state.room, key);
    }
  }
}

bool try_read(ParkedAtQueue& state, uint64_t& last) {
  explorer().begin_call();
  uint64_t got = 0;
  Message message;
  const ReadResult result = state.reader.read(&got, sizeof got, message, 1);
  if (state.reader.freed_room()) ring_if_announced(state.room);
  if (result != ReadResult::kMessage) return false;
  explorer().require(got == ++last, "each message once, and in order");
  return true;
}

void read_or_sleep(ParkedAtQueue& state) {
  uint64_t last = 0;
  while (last < state.messages) {
    if (try_read(state, last)) continue;
    explorer().begin_call();
    const uint32_t key = announce(state.wake, kReader);
    if (state.reader.has_next()) continue;
    sleep(state.wake, key);
  }
}

Outcome queue(bool) {
  return explore<ParkedAtQueue>(
      [](ParkedAtQueue& state) {
        state.writer.adopt(state.view(), 1);
        state.reader.attach(state.view());
        state.messages = 2;
      },
      {write_or_sleep, read_or_sleep});
}

// ---- readers that die one after the other -----------------------------------

// Each has announced itself when it dies; the last one lives, and sleeps.
struct ParkedAfterTheDead {
  WakeLine wake;
  std::atomic<uint32_t> thing;
};

void show_and_ring(ParkedAfterTheDead& state) {
  explorer().begin_call();
  state.thing.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  ring_if_announced(state.wake);
}

void announce_in_turn(ParkedAfterTheDead& state) {
  uint32_t key = 0;
  for (uint32_t announcer = 1; announcer <= 5; ++announcer) {
    explorer().begin_call();
    key = announce(state.wake, announcer);
  }
  if (state.thing.load(std::memory_order_relaxed) == 0) sleep(state.wake, key);
}

Outcome after_the_dead(bool) {
  return explore<ParkedAfterTheDead>([](ParkedAfterTheDead&) {}, {show_and_ring, announce_in_turn});
}

}  // namespace

const std::vector<Scenario> parking_scenarios = {
    {"ParkedAfterTheDead", after_the_dead},
    {"ParkedAtLatest", latest},
    {"ParkedAtQueue", queue},
};

}  // namespace explore
