// SPDX-License-Identifier: MIT
// Queues between processes: a hundred million messages, ends that are killed
// at any moment, and a peer that writes rubbish where the queue's state lies.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "layout/segment.h"
#include "support/child.h"
#include "support/counts.h"
#include "support/pattern.h"
#include "support/queues.h"

namespace {

using namespace test;
namespace layout = eshm::layout;

class Streaming;

class QueueKill : public QueueTest {
 protected:
  // Every message that was written has been read, and only so many twice; then all end.
  void expect_nothing_lost(Streaming& stream, uint64_t kills) const;

  static constexpr uint64_t kMax = 600;

  ESHMConfig wide_queues(ESHMRole role) const { return queues(role, 8192, kMax); }
};

// The number, then a pattern that follows from it.
size_t make_message(unsigned char* message, uint64_t number, size_t largest) {
  const size_t size = 8 + pattern_size(number, largest - 8);
  std::memcpy(message, &number, 8);
  fill_pattern(message + 8, size - 8, number);
  return size;
}

bool is_message(const unsigned char* message, size_t size, size_t largest, uint64_t& number) {
  if (size < 8) return false;
  std::memcpy(&number, message, 8);
  return size == 8 + pattern_size(number, largest - 8) &&
         is_pattern(message + 8, size - 8, number);
}

void sleep_us(uint64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

// ---- all of them -----------------------------------------------------------------------

enum class Pace { kWriterFaster, kReaderFaster, kBursts };

int send_all(ESHMHandle* link, uint64_t messages, size_t largest, Pace pace) {
  std::vector<unsigned char> message(largest);
  for (uint64_t number = 1; number <= messages; ++number) {
    const size_t size = make_message(message.data(), number, largest);
    CHILD_CHECK(eshm_write_ex(link, message.data(), size, UINT32_MAX) == ESHM_SUCCESS);
    if (pace == Pace::kReaderFaster && number % 4096 == 0) sleep_us(200);
    if (pace == Pace::kBursts && mix(number) % 8192 == 0) sleep_us(mix(number) % 3000);
  }
  return 0;
}

class QueueStream : public QueueKill {
 protected:
  void stream(Pace pace) {
    const uint64_t messages = count(100'000, 10'000'000);
    ESHMConfig as_master = wide_queues(ESHM_ROLE_MASTER);
    as_master.m2s.queue_capacity = 1 << 16;
    Child writer([=](Wire& wire) {
      const Link link = open_link(as_master);
      CHILD_CHECK(link);
      wire.say("open");
      wire.hear();
      send_all(link.get(), messages, kMax, pace);
      wire.hear();
      return 0;
    });
    ASSERT_EQ(writer.hear(), "open");
    slave_ = open_link(for_ever(wide_queues(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave_) << last_error();
    writer.say("begin");
    unsigned char message[kMax];
    for (uint64_t expected = 1; expected <= messages; ++expected) {
      ESHMMessageInfo info = {};
      uint64_t number = 0;
      ASSERT_EQ(eshm_read_msg(slave(), message, kMax, &info, UINT32_MAX), ESHM_SUCCESS)
          << last_error();
      ASSERT_TRUE(is_message(message, info.size, kMax, number)) << expected;
      ASSERT_EQ(number, expected);
      ASSERT_EQ(info.sequence, expected);
      if (pace == Pace::kWriterFaster && number % 4096 == 0) sleep_us(200);
      if (pace == Pace::kBursts && mix(~number) % 8192 == 0) sleep_us(mix(~number) % 3000);
    }
    expect_nothing(slave());
    leave(writer);
  }
};

TEST_P(QueueStream, EveryMessageOnceInOrderFromAFasterWriter) { stream(Pace::kWriterFaster); }
TEST_P(QueueStream, EveryMessageOnceInOrderToAFasterReader) { stream(Pace::kReaderFaster); }
TEST_P(QueueStream, EveryMessageOnceInOrderInBursts) { stream(Pace::kBursts); }

// ---- killed at any moment -----------------------------------------------------------------

// What consumers have seen, in memory that outlives them.
struct Seen {
  std::atomic<uint64_t> next{1};  // number that comes next
  std::atomic<uint64_t> repeats{0};
  std::atomic<uint64_t> may_repeat{0};    // that number, once
  std::atomic<uint64_t> written{0};       // by producers: the last that told success
  std::atomic<uint64_t> broken{0};        // what is wrong, 0: nothing
};

class Shared {
 public:
  Shared()
      : seen_(new (mmap(nullptr, sizeof(Seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0)) Seen) {}
  ~Shared() { munmap(seen_, sizeof(Seen)); }
  Seen* get() const { return seen_; }

 private:
  Seen* seen_;
};

enum Wrong : uint64_t { kNoMessage = 1, kLost, kRepeated, kOutOfOrder, kNotOpened, kCode };

// Reads for ever. It notes a message before it comes back for the next one.
int consume(const ESHMConfig& config, Seen* seen, Wire& wire) {
  const Link link = open_link(config);
  if (!link) seen->broken = kNotOpened;
  CHILD_CHECK(link);
  wire.say("open");
  seen->may_repeat = seen->next - 1;  // what its predecessor had in its hands
  unsigned char message[600];
  for (;;) {
    size_t bytes = 0;
    const int code = eshm_read_ex(link.get(), message, sizeof message, &bytes, 100);
    if (code == ESHM_ERROR_TIMEOUT) {
      if (wire.has_news()) return 0;
      continue;
    }
    uint64_t number = 0;
    if (code != ESHM_SUCCESS) {
      std::fprintf(stderr, "reader: %d %s\n", code, eshm_last_error(nullptr));
      seen->broken = kCode;
      return 1;
    }
    if (!is_message(message, bytes, 600, number)) seen->broken = kNoMessage;
    const uint64_t next = seen->next.load();
    if (number > next) seen->broken = kLost;
    if (number + 1 < next) seen->broken = kOutOfOrder;
    if (number + 1 == next) {
      ++seen->repeats;
      if (seen->may_repeat.exchange(0) != number) seen->broken = kRepeated;
    }
    if (seen->broken != 0) {
      std::fprintf(stderr, "reader: message %llu, expected %llu\n", (unsigned long long)number,
                   (unsigned long long)next);
      return 1;
    }
    if (number == next) seen->next = next + 1;
    if (wire.has_news() && number % 64 == 0) return 0;
  }
}

// Writes for ever. A message of which it does not know whether it was written
// (it was killed) is written again: only there a repetition is its doing.
int produce(const ESHMConfig& config, Seen* seen, Wire& wire) {
  const Link link = open_link(config);
  if (!link) seen->broken = kNotOpened;
  CHILD_CHECK(link);
  wire.say("open");
  unsigned char message[600];
  for (;;) {
    const uint64_t number = seen->written.load() + 1;
    const size_t size = make_message(message, number, 600);
    const int code = eshm_write_ex(link.get(), message, size, 100);
    if (code == ESHM_SUCCESS) {
      seen->written = number;
    } else if (code != ESHM_ERROR_TIMEOUT) {
      std::fprintf(stderr, "writer: %d %s\n", code, eshm_last_error(nullptr));
      seen->broken = kCode;
      return 1;
    }
    if (wire.has_news()) return 0;
  }
}

// A role that is taken again at once after the kill: its lock falls with it.
ESHMConfig patient(ESHMConfig config) {
  config.stale_threshold_ms = kPatientMs;
  return for_ever(config);
}

// A producer and a consumer, either of which can be ended and begun again.
class Streaming {
 public:
  Streaming(ESHMConfig consumer, ESHMConfig producer)
      : as_consumer_(consumer), as_producer_(producer) {
    // The master opens first.
    if (consumer.role == ESHM_ROLE_MASTER) begin_consumer();
    begin_producer();
    if (consumer.role != ESHM_ROLE_MASTER) begin_consumer();
  }

  Seen& seen() { return *shared_.get(); }
  bool is_sound() { return seen().broken == 0; }
  void begin_consumer() {
    begin(consumer_, [=, seen = shared_.get()](Wire& wire) { return consume(as_consumer_, seen, wire); });
  }
  void begin_producer() {
    begin(producer_, [=, seen = shared_.get()](Wire& wire) { return produce(as_producer_, seen, wire); });
  }
  void end_consumer() { leave(*consumer_); }
  void end_producer() { leave(*producer_); }
  void kill_consumer() { consumer_->kill_now(); }
  void kill_producer() { producer_->kill_now(); }
  // It may have written the message that its successor writes again: this one may
  // be read twice, and has been in the end.
  void replace_producer() {
    const uint64_t unsure = seen().written + 1;
    seen().may_repeat = unsure;
    begin_producer();
    wait_for(unsure + 1);
    seen().may_repeat = 0;
  }
  void replace_consumer() {
    begin_consumer();
    wait_for_more(1);
    seen().may_repeat = 0;
  }
  void wait_for(uint64_t number) {
    wait_until([&] { return seen().next > number || !is_sound(); });
  }
  void wait_for_more(uint64_t messages) { wait_for(seen().next + messages); }

 private:
  void begin(std::unique_ptr<Child>& child, const std::function<int(Wire&)>& body) {
    child = std::make_unique<Child>(body);
    if (child->hear() != "open") seen().broken = kNotOpened;
  }

  ESHMConfig as_consumer_, as_producer_;
  Shared shared_;
  std::unique_ptr<Child> consumer_, producer_;
};

ESHMRole other(ESHMRole role) {
  return role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
}

void QueueKill::expect_nothing_lost(Streaming& stream, uint64_t kills) const {
  EXPECT_TRUE(stream.is_sound());
  EXPECT_LE(stream.seen().repeats, kills);
  stream.wait_for(stream.seen().written);
  EXPECT_TRUE(stream.is_sound());
  stream.end_producer();
  stream.end_consumer();
  remove_name_of_the_killed();
}

TEST_P(QueueKill, ConsumersKilledAndRestartedLoseNothingAndRepeatOneAtMost) {
  Random random;
  for (const ESHMRole role : {ESHM_ROLE_SLAVE, ESHM_ROLE_MASTER}) {
    Streaming stream(patient(wide_queues(role)), patient(wide_queues(other(role))));
    const uint64_t rounds = count(20, 1000);
    for (uint64_t round = 0; round < rounds && stream.is_sound(); ++round) {
      sleep_us(random.up_to(round % 4 == 0 ? 20000 : 2000));
      if (random.up_to(7) == 0) {
        stream.end_consumer();
        // Nothing that it had comes again; a repetition would break the order.
        const uint64_t repeats = stream.seen().repeats;
        stream.begin_consumer();
        stream.wait_for_more(1);
        EXPECT_EQ(stream.seen().repeats, repeats) << "after a clean end";
      } else {
        stream.kill_consumer();
        stream.begin_consumer();
      }
    }
    stream.wait_for_more(1000);
    expect_nothing_lost(stream, rounds);
  }
}

TEST_P(QueueKill, ProducersKilledAndRestartedLoseOnlyWhatTheyHadNotFinished) {
  Random random;
  for (const ESHMRole role : {ESHM_ROLE_SLAVE, ESHM_ROLE_MASTER}) {
    Streaming stream(patient(wide_queues(other(role))), patient(wide_queues(role)));
    const uint64_t rounds = count(20, 1000);
    for (uint64_t round = 0; round < rounds && stream.is_sound(); ++round) {
      sleep_us(random.up_to(round % 4 == 0 ? 20000 : 2000));
      stream.kill_producer();
      // What it had written is read before the next one comes, sometimes.
      if (round % 2 == 0) stream.wait_for(stream.seen().written);
      stream.replace_producer();
    }
    expect_nothing_lost(stream, rounds);
  }
}

TEST_P(QueueKill, EitherKilledAndRestartedInTurnLosesNothingAndRepeatsOneAKill) {
  Random random;
  for (const ESHMRole role : {ESHM_ROLE_SLAVE, ESHM_ROLE_MASTER}) {
    Streaming stream(patient(wide_queues(role)), patient(wide_queues(other(role))));
    const uint64_t rounds = count(40, 2000);
    for (uint64_t round = 0; round < rounds && stream.is_sound(); ++round) {
      sleep_us(random.up_to(round % 4 == 0 ? 20000 : 2000));
      if (random.up_to(1) == 0) {
        stream.kill_consumer();
        stream.replace_consumer();
      } else {
        stream.kill_producer();
        stream.replace_producer();
      }
    }
    expect_nothing_lost(stream, rounds);
  }
}

// ---- a peer that writes rubbish --------------------------------------------------------------

// Writes rubbish where a queue's state lies: positions in the control page,
// and the ring with its headers.
class Vandal {
 public:
  explicit Vandal(const std::string& path) {
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void* const page =
        mmap(nullptr, layout::kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    page_ = static_cast<layout::ControlPage*>(page);
    for (int i : {0, 1}) {
      const layout::ChannelGeometry& shape = page_->geometry[i];
      bytes_[i] = shape.data_bytes;
      data_[i] = static_cast<std::byte*>(
          shape.data_offset != 0 ? mmap(nullptr, shape.data_bytes, PROT_READ | PROT_WRITE,
                                        MAP_SHARED, file, off_t(shape.data_offset))
                                 : shmat(shape.sysv_id, nullptr, 0));
    }
    close(file);
  }
  bool is_ready() const { return page_ != nullptr; }

  void scribble(int direction, uint64_t dice) {
    const auto rubbish = mix(dice);
    const uint64_t kinds[] = {rubbish, rubbish & 0xffff0, 0, UINT64_MAX, uint64_t(1) << 62,
                              rubbish & 0xfffffffff};
    const uint64_t value = kinds[dice / 8 % 6];
    auto& area = *reinterpret_cast<layout::DataArea*>(data_[direction]);
    auto* const words = reinterpret_cast<std::atomic<uint64_t>*>(data_[direction]);
    const uint64_t first = layout::kFirstSlotOffset / 8;
    switch (dice % 5) {
      case 0:
        page_->reader[direction].line.position.store(value);
        break;
      case 1:
        area.publish.published.store(value);
        break;
      case 2:
        area.publish.messages.store(value);
        break;
      default:  // record headers are everywhere
        for (uint64_t word = first + rubbish % 2; word < bytes_[direction] / 8; word += 2) {
          words[word].store(value);
        }
        break;
    }
  }

 private:
  layout::ControlPage* page_ = nullptr;
  std::byte* data_[2] = {};
  uint64_t bytes_[2] = {};
};

bool is_known_answer(int code) {
  return code == ESHM_SUCCESS || code == ESHM_ERROR_NO_DATA || code == ESHM_ERROR_TIMEOUT ||
         code == ESHM_ERROR_BUFFER_FULL || code == ESHM_ERROR_CORRUPT;
}

TEST_P(QueueKill, RubbishInTheSharedStateIsCorruptAndTheEndDetaches) {
  Random random;
  uint64_t corrupt = 0;
  const uint64_t rounds = count(12, 1000);
  for (uint64_t round = 0; round < rounds; ++round) {
    open_both(wide_queues(ESHM_ROLE_MASTER));
    const uint64_t begin = random.up_to(UINT64_MAX / 2);
    Child vandal([path = path(), begin](Wire& wire) {
      Vandal vandal(path);
      CHILD_CHECK(vandal.is_ready());
      wire.say("ready");
      for (uint64_t i = begin; !wire.has_news(); ++i) {
        vandal.scribble(int(mix(i) % 2), mix(i) >> 8);
        sleep_us(1000);
      }
      return 0;
    });
    ASSERT_EQ(vandal.hear(), "ready");
    unsigned char out[kMax];
    unsigned char in[kMax];
    const uint64_t until = now_ms() + 60;
    bool is_over = false;
    for (uint64_t number = 1; !is_over && now_ms() < until; ++number) {
      const size_t size = make_message(out, number, kMax);
      for (ESHMHandle* link : {master(), slave()}) {
        const int written = eshm_write_ex(link, out, size, 1);
        size_t bytes = 0;
        const int read = eshm_read_ex(link, in, kMax, &bytes, 1);
        ESHMView view = {};
        const int borrowed = eshm_borrow(link, &view, 0);
        if (borrowed == ESHM_SUCCESS) {
          unsigned sum = 0;
          for (size_t i = 0; i < view.size; ++i) {
            sum += static_cast<const unsigned char*>(view.data)[i];
          }
          ASSERT_LE(sum, 255u * kMax);
          ASSERT_EQ(eshm_release(link, &view), ESHM_SUCCESS);
        }
        ASSERT_TRUE(is_known_answer(written)) << written << last_error();
        ASSERT_TRUE(is_known_answer(read)) << read << last_error();
        ASSERT_LE(bytes, kMax);
        is_over |= written == ESHM_ERROR_CORRUPT || read == ESHM_ERROR_CORRUPT;
        if (is_over) {  // and from now on
          wait_until([&] { return eshm_write(link, out, 8) == ESHM_ERROR_CORRUPT; });
          EXPECT_EQ(eshm_read_ex(link, in, kMax, &bytes, 1000), ESHM_ERROR_CORRUPT);
          EXPECT_NE(last_error().find("no healthy process"), std::string::npos) << last_error();
          break;
        }
      }
    }
    corrupt += is_over;
    vandal.say("enough");
    EXPECT_EQ(vandal.join(), 0);
    slave_.reset();
    master_.reset();
    unlink(path().c_str());
  }
  EXPECT_GT(corrupt, 0u);
}

ESHM_ON_BOTH_BACKENDS(QueueStream);
ESHM_ON_BOTH_BACKENDS(QueueKill);

}  // namespace
