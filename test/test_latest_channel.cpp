// SPDX-License-Identifier: MIT
// The newest-value channel by itself, over plain memory: random steps against a
// model that is too simple to be wrong, where its messages go, and lies.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "eshm_data.h"
#include "support/counts.h"
#include "support/slot_memory.h"

namespace {

using namespace eshm;
using namespace test;

using channel::LatestWriter;
using channel::WriteResult;

// ---- the model ------------------------------------------------------------------

class ModelRun {
 public:
  ModelRun(const layout::ChannelShape& shape, Random& random)
      : shape_(shape), random_(random), channel_(shape) {
    writer_.adopt(channel_.view(), ++generation_);
    reader_.attach(channel_.view());
  }

  void step() {
    switch (random_.up_to(17)) {
      case 0:
        return adopt();
      case 1:
        return attach();
      case 2:
      case 3:
      case 4:
        return write();
      case 5:
      case 6:
        return loan();
      case 7:
      case 8:
        return publish();
      case 9:
        return discard();
      case 10:
        return publish_what_is_not_loaned();
      case 11:
        return release_what_is_not_borrowed();
      case 12:
        return read_into_too_little();
      case 13:
      case 14:
        return borrow();
      case 15:
        return release();
      default:
        return read();
    }
  }

  void check() {
    const uint32_t slots = channel_.geometry().slot_count;
    ASSERT_EQ(channel_.hint() >> 8, newest_);
    uint32_t newest_seen = 0, ahead[2] = {0, 0};
    for (uint32_t slot = 0; slot < slots; ++slot) {
      const uint64_t sequence = channel_.slot(slot).sequence.load();
      newest_seen += newest_ != 0 && sequence == newest_ * 2;
      ASSERT_TRUE(sequence % 2 == 1 || sequence <= newest_ * 2);
      if (sequence % 2 == 0 || sequence == 1) continue;
      // Promised: not published yet, and one of the next two.
      const uint64_t number = sequence / 2;
      ASSERT_GT(number, newest_) << "slot " << slot;
      ASSERT_LE(number, newest_ + 2) << "slot " << slot;
      ++ahead[number - newest_ - 1];
    }
    ASSERT_EQ(newest_seen, newest_ == 0 ? 0u : 1u);
    ASSERT_EQ(ahead[0], 1u);
    ASSERT_EQ(ahead[1], 1u);
    ASSERT_EQ(writer_.loans_out(), loans_.size());
    ASSERT_EQ(reader_.borrows_out(), borrows_.size());
    std::vector<uint32_t> held;
    for (const Loan& loan : loans_) {
      held.push_back(channel_.slot_at(loan.at));
      ASSERT_EQ(channel_.slot(held.back()).sequence.load() % 2, 1u) << "a loan looks like a message";
      ASSERT_EQ(load(loan.at, loan.bytes.size()), loan.bytes);
    }
    for (const Borrow& borrow : borrows_) {
      held.push_back(channel_.slot_at(borrow.view.data));
      ASSERT_EQ(channel_.slot(held.back()).sequence.load(), borrow.view.message.number * 2);
      ASSERT_EQ(load(borrow.view.data, borrow.bytes.size()), borrow.bytes);
    }
    std::sort(held.begin(), held.end());
    ASSERT_EQ(std::adjacent_find(held.begin(), held.end()), held.end());
  }

  // How much of each kind a run has seen.
  uint64_t messages() const { return newest_; }
  uint64_t reads() const { return reads_; }

 private:
  struct Loan {
    std::byte* at;
    Bytes bytes;
  };
  struct Borrow {
    channel::Borrowed view;
    Bytes bytes;
  };

  Bytes any_bytes() { return pattern(++patterns_, any_size()); }
  size_t any_size() {
    const uint64_t largest = shape_.max_message_bytes;
    const uint64_t dice = random_.up_to(7);
    return dice == 0 ? 0 : dice == 1 ? largest : random_.up_to(largest);
  }
  template <class Held>
  size_t any_of(const std::vector<Held>& held) {
    return random_.up_to(held.size() - 1);
  }
  void published(Bytes bytes) {
    ++newest_;
    bytes_ = std::move(bytes);
    time_ = patterns_;
    writer_of_newest_ = generation_;
  }
  uint64_t expected_time() const {
    return (shape_.flags & (ESHM_FLAG_TIMESTAMPS | ESHM_FLAG_ALIGN_PAYLOAD)) != 0 ? time_ : 0;
  }
  void expect_newest(const channel::Message& message) {
    ASSERT_EQ(message.number, newest_);
    ASSERT_EQ(message.size, bytes_.size());
    ASSERT_EQ(message.generation, writer_of_newest_);
    ASSERT_EQ(message.timestamp_ns, expected_time());
    last_read_ = newest_;
    ++reads_;
  }

  void adopt() {
    if (random_.up_to(9) != 0) return;
    writer_ = {};
    writer_.adopt(channel_.view(), ++generation_);
    loans_.clear();
  }
  void attach() {
    if (random_.up_to(9) != 0) return;
    reader_ = {};
    reader_.attach(channel_.view());
    borrows_.clear();
    last_read_ = newest_ == 0 ? 0 : newest_ - 1;
  }
  void write() {
    const Bytes bytes = any_bytes();
    writer_.write(bytes.data(), bytes.size(), patterns_);
    published(bytes);
  }
  void loan() {
    std::byte* const at = lend(writer_);
    ASSERT_EQ(at != nullptr, loans_.size() < shape_.max_loans);
    if (at == nullptr) return;
    ASSERT_EQ(reinterpret_cast<uintptr_t>(at) % 16, 0u);
    loans_.push_back({at, pattern(++patterns_, shape_.max_message_bytes)});
    store(at, loans_.back().bytes);
  }
  void publish() {
    if (loans_.empty()) return;
    const size_t which = any_of(loans_);
    Loan loan = loans_[which];
    loans_.erase(loans_.begin() + static_cast<std::ptrdiff_t>(which));
    loan.bytes.resize(any_size());
    ASSERT_EQ(writer_.publish(loan.at, loan.bytes.size(), patterns_), WriteResult::kDone);
    ASSERT_EQ(writer_.publish(loan.at, 0, 0), WriteResult::kNotLoaned) << "twice";
    ASSERT_EQ(writer_.discard(loan.at), WriteResult::kNotLoaned) << "after publishing";
    published(loan.bytes);
  }
  void discard() {
    if (loans_.empty()) return;
    const size_t which = any_of(loans_);
    std::byte* const at = loans_[which].at;
    loans_.erase(loans_.begin() + static_cast<std::ptrdiff_t>(which));
    ASSERT_EQ(writer_.discard(at), WriteResult::kDone);
    ASSERT_EQ(writer_.discard(at), WriteResult::kNotLoaned) << "twice";
    ASSERT_EQ(writer_.publish(at, 0, 0), WriteResult::kNotLoaned) << "after discarding";
  }
  void publish_what_is_not_loaned() {
    int foreign = 0;
    for (const void* at : {static_cast<const void*>(&foreign), static_cast<const void*>(nullptr),
                           reinterpret_cast<const void*>(UINTPTR_MAX)}) {
      ASSERT_EQ(writer_.publish(at, 0, 0), WriteResult::kNotLoaned);
      ASSERT_EQ(writer_.discard(at), WriteResult::kNotLoaned);
    }
    if (loans_.empty()) return;
    const std::byte* const at = loans_[any_of(loans_)].at;
    const std::ptrdiff_t stride = static_cast<std::ptrdiff_t>(channel_.geometry().slot_stride);
    const std::ptrdiff_t ring = stride * channel_.geometry().slot_count;
    for (const std::ptrdiff_t away : {std::ptrdiff_t{1}, std::ptrdiff_t{-1}, std::ptrdiff_t{16},
                                      std::ptrdiff_t{-16}, ring, -ring}) {
      ASSERT_EQ(writer_.publish(at + away, 0, 0), WriteResult::kNotLoaned) << away;
      ASSERT_EQ(writer_.discard(at + away), WriteResult::kNotLoaned) << away;
    }
  }
  void read() {
    Bytes buffer(shape_.max_message_bytes);
    channel::Message message;
    const auto result =
        reader_.read(buffer.data(), buffer.size(), message, random_.up_to(1) != 0);
    if (last_read_ == newest_) {
      ASSERT_EQ(result, channel::ReadResult::kNothing);
      return;
    }
    ASSERT_EQ(result, channel::ReadResult::kMessage);
    expect_newest(message);
    buffer.resize(message.size);
    ASSERT_EQ(buffer, bytes_);
  }
  void read_into_too_little() {
    if (last_read_ == newest_ || bytes_.empty()) return;
    Bytes buffer(bytes_.size() - 1);
    channel::Message message;
    ASSERT_EQ(reader_.read(buffer.data(), buffer.size(), message, false),
              channel::ReadResult::kTooSmall);
    ASSERT_EQ(message.size, bytes_.size());
  }
  void borrow() {
    channel::Borrowed view;
    const auto result = reader_.borrow(view, random_.up_to(1) != 0);
    if (borrows_.size() == shape_.max_borrows) {
      ASSERT_EQ(result, channel::ReadResult::kTooMany);
    } else if (last_read_ == newest_) {
      ASSERT_EQ(result, channel::ReadResult::kNothing);
    } else {
      ASSERT_EQ(result, channel::ReadResult::kMessage);
      expect_newest(view.message);
      borrows_.push_back({view, bytes_});
    }
  }
  void release() {
    if (borrows_.empty()) return;
    const size_t which = any_of(borrows_);
    const channel::Borrowed view = borrows_[which].view;
    borrows_.erase(borrows_.begin() + static_cast<std::ptrdiff_t>(which));
    ASSERT_TRUE(reader_.release(view.token, view.serial));
    ASSERT_FALSE(reader_.release(view.token, view.serial)) << "twice";
  }
  void release_what_is_not_borrowed() {
    for (const uint64_t token : {uint64_t{0}, uint64_t{1}, uint64_t{127}, uint64_t{128},
                                 UINT64_MAX, uint64_t{1} << 32}) {
      ASSERT_FALSE(reader_.release(token, 0));
      ASSERT_FALSE(reader_.release(token, UINT64_MAX));
    }
  }

  const layout::ChannelShape shape_;
  Random& random_;
  SlotMemory channel_;
  channel::LatestWriter writer_;
  channel::LatestReader reader_;
  std::vector<Loan> loans_;
  std::vector<Borrow> borrows_;
  uint64_t newest_ = 0;
  Bytes bytes_;  // of the newest
  uint64_t time_ = 0;
  uint32_t writer_of_newest_ = 0;
  uint64_t last_read_ = 0;
  uint32_t generation_ = 0;
  uint64_t patterns_ = 0;
  uint64_t reads_ = 0;
};

class LatestChannelShape : public testing::TestWithParam<layout::ChannelShape> {
 protected:
  void SetUp() override { arm_watchdog(); }
  void TearDown() override { alarm(0); }
};

TEST_P(LatestChannelShape, DoesWhatTheModelDoesWhateverComesInWhateverOrder) {
  Random random;
  for (uint64_t run = 0; run < count(2, 500); ++run) {
    ModelRun model(GetParam(), random);
    for (int step = 0; step < 10000; ++step) {
      model.step();
      if (!HasFatalFailure()) model.check();
      if (HasFatalFailure()) {
        ADD_FAILURE() << "in step " << step << " of run " << run;
        return;
      }
    }
    EXPECT_GT(model.messages(), 1000u);
    EXPECT_GT(model.reads(), 300u);
  }
}

std::vector<layout::ChannelShape> all_shapes() {
  std::vector<layout::ChannelShape> shapes;
  const uint32_t flags[] = {0, ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD,
                            ESHM_FLAG_TIMESTAMPS | ESHM_FLAG_ALIGN_PAYLOAD};
  const uint64_t sizes[] = {1, 48, 200, 64};
  for (uint32_t borrows = 0; borrows <= 3; ++borrows) {
    for (uint32_t loans = 0; loans <= 3; ++loans) {
      const uint32_t which = (borrows + loans) % 4;
      shapes.push_back(shape_of(borrows, loans, sizes[(which + loans) % 4], flags[which]));
    }
  }
  return shapes;
}

std::string name_of_shape(const testing::TestParamInfo<layout::ChannelShape>& info) {
  return std::to_string(info.param.max_borrows) + "Borrows" +
         std::to_string(info.param.max_loans) + "Loans" +
         std::to_string(info.param.max_message_bytes) + "Bytes" + std::to_string(info.param.flags);
}

INSTANTIATE_TEST_SUITE_P(All, LatestChannelShape, testing::ValuesIn(all_shapes()), name_of_shape);

class LatestChannel : public testing::Test {
 protected:
  void SetUp() override { arm_watchdog(); }
  void TearDown() override { alarm(0); }
};

// A reader finds a message at its home by one look.
TEST_F(LatestChannel, HeldSlotDisplacesOneMessageARoundUntilItIsGivenBack) {
  for (const uint32_t max_borrows : {1, 3, 20}) {
    SlotMemory channel(shape_of(max_borrows, 1, 8, 0));
    const uint32_t slots = channel.geometry().slot_count;
    channel::LatestWriter writer;
    channel::LatestReader reader;
    writer.adopt(channel.view(), 1);
    reader.attach(channel.view());
    const auto displaced = [&](uint32_t messages) {
      uint32_t count = 0;
      for (uint32_t i = 0; i < messages; ++i) {
        writer.write("message", 8, 0);
        count += (channel.hint() & 0xff) != (channel.hint() >> 8) % slots;
      }
      return count;
    };
    for (uint32_t held : {0U, 1U, slots - 1}) {
      EXPECT_EQ(displaced(slots + held), 0u);
      channel::Borrowed borrowed;
      ASSERT_EQ(reader.borrow(borrowed, false), channel::ReadResult::kMessage);
      EXPECT_EQ(displaced(10 * slots), 10u) << max_borrows << " borrows, " << held;
      ASSERT_TRUE(reader.release(borrowed.token, borrowed.serial));
      EXPECT_LE(displaced(slots), 1u);  // it may have been passed over already
    }
  }
}

// ---- lies of a peer ----------------------------------------------------------------

// A number that cannot be counted on from is damage, not the newest message.
TEST_F(LatestChannel, AdopterOfImpossibleNumbersIsReadAllTheSame) {
  for (const uint64_t sequence : {UINT64_MAX - 1, uint64_t(1) << 63, uint64_t(1) << 57}) {
    SlotMemory channel(shape_of(1, 1, 8, 0));
    channel::LatestWriter writer;
    writer.adopt(channel.view(), 1);
    writer.write("before", 6, 0);
    channel.slot(0).sequence.store(sequence);
    writer.adopt(channel.view(), 2);
    channel::LatestReader reader;
    reader.attach(channel.view());
    for (const char text : {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'}) {
      writer.write(&text, 1, 0);
      char read = 0;
      channel::Message message;
      ASSERT_EQ(reader.read(&read, 1, message, true), channel::ReadResult::kMessage);
      ASSERT_EQ(read, text);
    }
  }
}

TEST_F(LatestChannel, WriterGoesOnWhateverThePinsClaim) {
  SlotMemory channel(shape_of(3, 2, 32, 0));
  channel::LatestWriter writer;
  channel::LatestReader reader;
  writer.adopt(channel.view(), 1);
  reader.attach(channel.view());
  const uint32_t slots = channel.geometry().slot_count;
  Random random;
  for (uint64_t number = 1; number <= 1000; ++number) {
    for (uint32_t pin = 0; pin < channel.geometry().pin_count; ++pin) {
      channel.pins().slot[pin].store(number % 2 ? static_cast<uint32_t>(random.up_to(slots))
                                        : static_cast<uint32_t>(random.up_to(UINT32_MAX)));
    }
    const Bytes bytes = pattern(number, 32);
    if (number % 3 == 0) {
      std::byte* const at = lend(writer);
      ASSERT_NE(at, nullptr);
      store(at, bytes);
      ASSERT_EQ(writer.publish(at, bytes.size(), 0), WriteResult::kDone);
    } else {
      writer.write(bytes.data(), bytes.size(), 0);
    }
    Bytes buffer(32);
    channel::Message message;
    ASSERT_EQ(reader.read(buffer.data(), buffer.size(), message, false),
              channel::ReadResult::kMessage);
    ASSERT_EQ(message.number, number);
    ASSERT_EQ(buffer, bytes);
  }
}

}  // namespace
