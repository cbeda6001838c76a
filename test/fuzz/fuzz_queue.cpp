// SPDX-License-Identifier: MIT
// Both ends of a queue on any bytes, which change between calls.
#include "channel/queue.h"
#include "fuzz/input.h"

using namespace eshm;
using channel::ReadResult;
using channel::WriteResult;

namespace {

struct Channel {
  explicit Channel(fuzz::Input& input)
      : geometry(layout::plan_channel(shape(input))),
        area(layout::kFirstSlotOffset + geometry.ring_bytes) {
    superseded = input.up_to(15) == 15;
    reader.position = input.flip() ? input.take<uint64_t>() : input.up_to(area.size() / 16) * 16;
  }

  static layout::ChannelShape shape(fuzz::Input& input) {
    layout::ChannelShape shape;
    shape.delivery = ESHM_DELIVERY_QUEUE;
    shape.flags = uint32_t(input.up_to(3));  // time stamps, aligned payloads
    shape.max_borrows = uint32_t(input.up_to(3));
    shape.max_loans = uint32_t(input.up_to(3));
    shape.max_message_bytes = 1 + input.up_to(199);
    shape.queue_bytes = shape.max_message_bytes + input.up_to(1024);
    return shape;
  }
  channel::QueueView view() { return {geometry, area.data(), &reader, &superseded}; }

  const layout::ChannelGeometry geometry;
  fuzz::SharedBytes area;
  layout::ReaderLine reader = {};
  std::atomic<uint32_t> superseded{0};
};

class Player {
 public:
  explicit Player(fuzz::Input& input)
      : channel_(input), vandal_(channel_.area.data(), channel_.area.size()) {
    fuzz::Input script = input.part(input.take<uint8_t>());
    channel_.area.fill(input);
    writer_.adopt(channel_.view(), 1);
    reader_.attach(channel_.view());
    while (script.left() != 0) step(script);
    prove_that_it_works();
  }

 private:
  uint64_t largest() const { return channel_.geometry.max_message_bytes; }

  void step(fuzz::Input& script) {
    switch (script.up_to(15)) {
      case 0:
        return renew_writer();
      case 1:
        return renew_reader();
      case 2:
        return void(write(script.up_to(largest())));
      case 3:
        return void(read(script.up_to(largest()), 1 + script.up_to(80)));
      case 4:
        return loan(script.up_to(largest()));
      case 5:
        return end_loan(script);
      case 6:
        return borrow();
      case 7:
        return release(script);
      case 8:
        return channel_.superseded.store(uint32_t(script.up_to(3)) == 3);
      case 9:
        return channel_.reader.position.store(script.flip() ? script.take<uint64_t>()
                                                            : reader_.position() + script.up_to(64));
      case 10:
        return reader_.drain_to(script.flip() ? script.take<uint64_t>() : script.up_to(4096));
      case 11:
        return carry_over();
      case 12:
        borrows_.clear();
        return reader_.consume_handed_out();
      case 13:
        return void(reader_.has_next());
      case 14:
        return forge(script);
      default:
        return vandal_.act(script);
    }
  }

  // A header that is well-formed in itself, anywhere.
  void forge(fuzz::Input& script) {
    const uint64_t places = channel_.geometry.ring_bytes / layout::kRecordUnit;
    auto* const headers = reinterpret_cast<layout::RecordHeader*>(channel_.area.data() +
                                                                  layout::kFirstSlotOffset);
    layout::RecordHeader& header = headers[script.up_to(places - 1)];
    header.commit = script.up_to(largest() + 1) | script.up_to(5) << 31 | script.up_to(3) << 34;
    header.tag = script.up_to(4096);
  }

  void renew_writer() {
    loans_.clear();
    writer_.adopt(channel_.view(), 2);
  }
  void renew_reader() {
    borrows_.clear();
    reader_.attach(channel_.view());
  }

  WriteResult write(uint64_t size) {
    const std::vector<unsigned char> message(size, 0x5a);
    return writer_.try_write(message.data(), size, 1);
  }

  ReadResult read(uint64_t room, uint64_t thread) {
    std::vector<unsigned char> buffer(room);
    channel::Message message;
    const ReadResult result = reader_.read(buffer.data(), room, message, thread);
    fuzz::require(result != ReadResult::kMessage || message.size <= room);
    fuzz::require(result != ReadResult::kTooSmall ||
                  (message.size > room && message.size <= largest()));
    return result;
  }

  void loan(uint64_t size) {
    void* payload = nullptr;
    if (writer_.loan(size, &payload) != WriteResult::kDone) return;
    fuzz::require(loans_.size() < channel_.geometry.max_loans);
    fuzz::require(channel_.area.holds(payload, size));
    std::memset(payload, 0x6b, size);
    loans_.push_back(payload);
  }

  void end_loan(fuzz::Input& script) {
    const uint64_t size = script.up_to(largest());
    if (loans_.empty()) {
      return fuzz::require(writer_.publish(channel_.area.data(), size, 1) ==
                           WriteResult::kNotLoaned);
    }
    const size_t which = script.up_to(loans_.size() - 1);
    const WriteResult result = script.flip() ? writer_.publish(loans_[which], size, 1)
                                             : writer_.discard(loans_[which]);
    fuzz::require(result != WriteResult::kNotLoaned && result != WriteResult::kFull);
    if (result == WriteResult::kTooLarge) return;
    loans_.erase(loans_.begin() + std::ptrdiff_t(which));
  }

  void borrow() {
    const void* payload = nullptr;
    channel::Message message;
    if (reader_.borrow(&payload, message, 0) != ReadResult::kMessage) return;
    fuzz::require(borrows_.size() < channel_.geometry.max_borrows);
    fuzz::require(message.size <= largest() && channel_.area.holds(payload, message.size));
    fuzz::sum_of(payload, message.size);
    borrows_.push_back({payload, reader_.last_borrow()});
  }

  void release(fuzz::Input& script) {
    if (borrows_.empty()) {
      return fuzz::require(!reader_.release(channel_.area.data() + script.up_to(64), 0));
    }
    const size_t which = script.up_to(borrows_.size() - 1);
    fuzz::require(reader_.release(borrows_[which].payload, borrows_[which].serial));
    borrows_.erase(borrows_.begin() + std::ptrdiff_t(which));
  }

  void carry_over() {
    uint64_t cursor = channel::QueueWriter::kFromReader;
    channel::QueueWriter::Unread unread;
    while (writer_.next_unread(cursor, unread)) {
      fuzz::require(unread.size <= largest());
      fuzz::require(channel_.area.holds(unread.payload, unread.size));
      fuzz::sum_of(unread.payload, unread.size);
    }
  }

  // Whatever was there: once both ends are new and nobody interferes, reading
  // comes to an end, and what is written into an empty queue comes over.
  void prove_that_it_works() {
    renew_writer();
    renew_reader();
    channel_.superseded = 0;
    const bool is_empty = writer_.committed_position() == reader_.position();
    const bool is_accepted = write(largest()) == WriteResult::kDone;
    uint64_t messages = 0;
    ReadResult result;
    while ((result = read(largest(), 1)) == ReadResult::kMessage) {
      fuzz::require(++messages <= channel_.area.size());
    }
    fuzz::require(result == ReadResult::kNothing || result == ReadResult::kCorrupt);
    fuzz::require(!is_empty || !is_accepted || messages == 1 || result == ReadResult::kCorrupt);
  }

  struct Borrow {
    const void* payload;
    uint64_t serial;
  };
  Channel channel_;
  fuzz::Vandal vandal_;
  channel::QueueWriter writer_;
  channel::QueueReader reader_;
  std::vector<void*> loans_;
  std::vector<Borrow> borrows_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  Player player(input);
  return 0;
}
