// SPDX-License-Identifier: MIT
// Both ends of a newest-value channel on any bytes, which change between calls.
#include "channel/latest.h"
#include "fuzz/input.h"

using namespace eshm;
using channel::ReadResult;
using channel::WriteResult;

namespace {

struct Channel {
  explicit Channel(fuzz::Input& input)
      : geometry(layout::plan_channel(shape(input))),
        area(layout::kFirstSlotOffset + geometry.slot_count * geometry.slot_stride) {
    superseded = input.up_to(15) == 15;
  }

  static layout::ChannelShape shape(fuzz::Input& input) {
    layout::ChannelShape shape;
    shape.flags = uint32_t(input.up_to(3));  // time stamps, aligned payloads
    shape.max_borrows = uint32_t(input.up_to(2));
    shape.max_loans = uint32_t(input.up_to(2));
    shape.max_message_bytes = 1 + input.up_to(199);
    return shape;
  }
  channel::ChannelView view() { return {geometry, area.data(), &pins, &superseded}; }

  const layout::ChannelGeometry geometry;
  fuzz::SharedBytes area;
  layout::PinLines pins = {};
  std::atomic<uint32_t> superseded{0};
};

class Player {
 public:
  explicit Player(fuzz::Input& input) : channel_(input), vandal_(bytes(), channel_.area.size()) {
    fuzz::Input script = input.part(input.take<uint8_t>());
    channel_.area.fill(input);
    input.take_into(static_cast<void*>(&channel_.pins), sizeof channel_.pins);
    writer_.adopt(channel_.view(), 1);
    reader_.attach(channel_.view());
    while (script.left() != 0) step(script);
    prove_that_it_works();
  }

 private:
  std::byte* bytes() { return channel_.area.data(); }
  uint64_t largest() const { return channel_.geometry.max_message_bytes; }

  void step(fuzz::Input& script) {
    switch (script.up_to(11)) {
      case 0:
        return renew_writer();
      case 1:
        return renew_reader();
      case 2:
        return write(script.up_to(largest()));
      case 3:
        return void(read(script.up_to(largest()), script.flip()));
      case 4:
        return loan();
      case 5:
        return end_loan(script);
      case 6:
        return borrow(script.flip());
      case 7:
        return release(script);
      case 8:
        return channel_.superseded.store(uint32_t(script.up_to(3)) == 3);
      case 9:
        return channel_.pins.slot[script.up_to(channel_.geometry.pin_count)].store(
            script.take<uint8_t>());
      default:
        return vandal_.act(script);
    }
  }

  void renew_writer() {
    loans_.clear();
    writer_.adopt(channel_.view(), 2);
  }
  void renew_reader() {
    borrows_.clear();
    reader_.attach(channel_.view());
  }

  void write(uint64_t size) {
    const std::vector<unsigned char> message(size, 0x5a);
    writer_.write(message.data(), size, 1);
  }

  ReadResult read(uint64_t room, bool thorough) {
    std::vector<unsigned char> buffer(room);
    channel::Message message;
    const ReadResult result = reader_.read(buffer.data(), room, message, thorough);
    last_number_ = message.number;
    fuzz::require(result != ReadResult::kMessage || message.size <= room);
    fuzz::require(result != ReadResult::kTooSmall ||
                  (message.size > room && message.size <= largest()));
    return result;
  }

  void loan() {
    void* room = nullptr;
    const WriteResult result = writer_.loan(largest(), &room);
    const bool are_all_out = loans_.size() == channel_.geometry.max_loans;
    fuzz::require(result == (are_all_out ? WriteResult::kTooMany : WriteResult::kDone));
    if (are_all_out) return;
    auto* const payload = static_cast<std::byte*>(room);
    fuzz::require(channel_.area.holds(payload, largest()));
    for (std::byte* one : loans_) fuzz::require(one != payload);
    std::memset(payload, 0x6b, largest());
    loans_.push_back(payload);
  }

  void end_loan(fuzz::Input& script) {
    const uint64_t size = script.up_to(largest());
    if (loans_.empty()) {
      return fuzz::require(writer_.publish(bytes() + size, size, 1) == WriteResult::kNotLoaned);
    }
    const size_t which = script.up_to(loans_.size() - 1);
    const WriteResult result = script.flip() ? writer_.publish(loans_[which], size, 1)
                                             : writer_.discard(loans_[which]);
    fuzz::require(result == WriteResult::kDone);
    loans_.erase(loans_.begin() + std::ptrdiff_t(which));
  }

  void borrow(bool thorough) {
    channel::Borrowed borrowed;
    const ReadResult result = reader_.borrow(borrowed, thorough);
    fuzz::require((result == ReadResult::kTooMany) ==
                  (borrows_.size() == channel_.geometry.max_borrows));
    if (result != ReadResult::kMessage) return;
    fuzz::require(borrowed.message.size <= largest());
    fuzz::require(channel_.area.holds(borrowed.data, borrowed.message.size));
    fuzz::sum_of(borrowed.data, borrowed.message.size);
    borrows_.push_back(borrowed);
  }

  void release(fuzz::Input& script) {
    if (borrows_.empty()) {
      return fuzz::require(!reader_.release(script.take<uint32_t>(), script.take<uint64_t>()));
    }
    const size_t which = script.up_to(borrows_.size() - 1);
    fuzz::require(reader_.release(borrows_[which].token, borrows_[which].serial));
    borrows_.erase(borrows_.begin() + std::ptrdiff_t(which));
  }

  // Whatever was there: once both ends are new and nobody interferes, a message
  // comes over.
  void prove_that_it_works() {
    renew_writer();
    renew_reader();
    channel_.superseded = 0;
    write(largest());
    const uint64_t number = writer_.newest_number();
    const ReadResult result = read(largest(), true);
    fuzz::require(result == ReadResult::kMessage && last_number_ == number);
  }

  Channel channel_;
  fuzz::Vandal vandal_;
  channel::LatestWriter writer_;
  channel::LatestReader reader_;
  uint64_t last_number_ = 0;
  std::vector<std::byte*> loans_;
  std::vector<channel::Borrowed> borrows_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  Player player(input);
  return 0;
}
