// SPDX-License-Identifier: MIT
// How many messages a second one thread hands to another through the queue
// channel, beside a plain single-producer ring with cached indices over the
// same memory. Rounds of both alternate; each pair gives one ratio.
#include <memory>
#include <thread>

#include "channel/copy.h"
#include "channel/queue.h"
#include "support.h"

namespace {

using bench::now_ns;
using bench::Patience;

constexpr size_t kLineBytes = eshm::layout::kLineBytes;

// What the two programs share. The queue's reader line and the plain ring's
// indices lie beside the ring.
struct Memory {
  explicit Memory(const eshm::layout::ChannelGeometry& planned) : geometry(planned) {
    data.reset(static_cast<std::byte*>(std::aligned_alloc(4096, geometry.data_bytes)));
    clear();
  }
  void clear() {
    std::memset(data.get(), 0, geometry.data_bytes);
    reader.position.store(0);
    head.store(0);
    tail.store(0);
  }
  eshm::channel::QueueView view() { return {geometry, data.get(), &reader, &superseded}; }

  struct Free {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  eshm::layout::ChannelGeometry geometry;
  std::unique_ptr<std::byte, Free> data;
  alignas(kLineBytes) eshm::layout::ReaderLine reader = {};
  alignas(kLineBytes) std::atomic<uint32_t> superseded{0};
  alignas(kLineBytes) std::atomic<uint64_t> head{0};
  alignas(kLineBytes) std::atomic<uint64_t> tail{0};
};

// Slots of one size, a counter on each side, each side with a copy of the other's.
class PlainRing {
 public:
  PlainRing(Memory& memory, size_t size)
      : memory_(memory), size_(size), ring_(memory.data.get() + eshm::layout::kFirstSlotOffset) {
    slots_ = 1;
    while (slots_ * 2 * size <= memory.geometry.queue_bytes) slots_ *= 2;
  }

  bool push(const void* data) {
    if (pushed_ - seen_popped_ == slots_) {
      seen_popped_ = memory_.head.load(std::memory_order_acquire);
      if (pushed_ - seen_popped_ == slots_) return false;
    }
    std::memcpy(ring_ + (pushed_ & (slots_ - 1)) * size_, data, size_);
    memory_.tail.store(++pushed_, std::memory_order_release);
    return true;
  }
  bool pop(void* data) {
    if (popped_ == seen_pushed_) {
      seen_pushed_ = memory_.tail.load(std::memory_order_acquire);
      if (popped_ == seen_pushed_) return false;
    }
    std::memcpy(data, ring_ + (popped_ & (slots_ - 1)) * size_, size_);
    memory_.head.store(++popped_, std::memory_order_release);
    return true;
  }

 private:
  Memory& memory_;
  const size_t size_;
  std::byte* const ring_;
  uint64_t slots_;
  alignas(kLineBytes) uint64_t pushed_ = 0;
  uint64_t seen_popped_ = 0;
  alignas(kLineBytes) uint64_t popped_ = 0;
  uint64_t seen_pushed_ = 0;
};

class Queue {
 public:
  Queue(Memory& memory, size_t size) : size_(size) {
    writer_.adopt(memory.view(), 1);
    reader_.attach(memory.view());
  }
  bool push(const void* data) {
    return writer_.try_write(data, size_, 0) == eshm::channel::QueueWriter::Result::kDone;
  }
  bool pop(void* data) {
    eshm::channel::Message message;
    return reader_.read(data, size_, message, 1) == eshm::channel::QueueReader::Result::kMessage;
  }

 private:
  const size_t size_;
  alignas(kLineBytes) eshm::channel::QueueWriter writer_;
  alignas(kLineBytes) eshm::channel::QueueReader reader_;
};

// Nanoseconds a message, from the first push to the last pop.
template <class Kind>
double round_ns(Memory& memory, size_t size, int messages, const std::vector<int>& cores) {
  memory.clear();
  Kind ring(memory, size);
  std::atomic<int> ready{0};
  std::thread consumer([&] {
    bench::pin_to(cores[1]);
    std::vector<unsigned char> buffer(size);
    ready.store(1);
    Patience patience("producer");
    for (uint64_t number = 0; number < uint64_t(messages);) {
      if (!ring.pop(buffer.data())) {
        patience.tick();
        continue;
      }
      uint64_t found;
      std::memcpy(&found, buffer.data(), sizeof found);
      if (found != number++) std::abort();
    }
  });
  bench::pin_to(cores[0]);
  while (ready.load() == 0) {
  }
  std::vector<unsigned char> buffer(size, 7);
  const uint64_t begin = now_ns();
  Patience patience("consumer");
  for (uint64_t number = 0; number < uint64_t(messages);) {
    std::memcpy(buffer.data(), &number, sizeof number);
    if (ring.push(buffer.data())) {
      ++number;
    } else {
      patience.tick();
    }
  }
  consumer.join();
  return double(now_ns() - begin) / messages;
}

void run(int rounds, int messages, uint64_t ring_bytes, const std::vector<size_t>& sizes) {
  const std::vector<int> cores = bench::usable_cores();
  if (cores.size() < 2) bench::fail("queue channel: needs two cores");
  std::printf("one producer, one consumer, two cores, ring of %llu KiB; medians of %d pairs\n",
              (unsigned long long)(ring_bytes >> 10), rounds);
  std::printf("%8s %12s %12s   %s\n", "bytes", "queue ns", "plain ns",
              "throughput queue / plain [quartiles]");
  for (const size_t size : sizes) {
    eshm::layout::ChannelShape shape;
    shape.delivery = ESHM_DELIVERY_QUEUE;
    shape.max_borrows = shape.max_loans = 1;
    shape.max_message_bytes = 4096;
    shape.queue_bytes = ring_bytes;
    Memory memory(eshm::layout::plan_channel(shape));
    std::vector<double> queue, plain, ratio;
    for (int round = 0; round < rounds; ++round) {
      queue.push_back(round_ns<Queue>(memory, size, messages, cores));
      plain.push_back(round_ns<PlainRing>(memory, size, messages, cores));
      ratio.push_back(plain.back() / queue.back());
    }
    std::printf("%8zu %12.1f %12.1f   %.2f [%.2f .. %.2f]%s\n", size, bench::median(queue),
                bench::median(plain), bench::median(ratio), bench::quantile(ratio, 0.25),
                bench::quantile(ratio, 0.75), size == 64 ? "   >= 0.60" : "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_guarded("bench-queue", 600, [&] {
    bench::Options options(argc, argv);
    const int rounds = options.number("rounds", 41);
    const int messages = options.number("messages", 300000);
    const int ring_bytes = options.number("ring", 1 << 20);
    if (!options.all_understood()) bench::fail("queue channel: see above");
    run(rounds, messages, uint64_t(ring_bytes), {8, 48, 64, 256, 1024});
  });
}
