// SPDX-License-Identifier: MIT
#include "crash/ends.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "support/pattern.h"

namespace test {

using namespace eshm;
using channel::ReadResult;
using channel::WriteResult;

namespace {

constexpr uint32_t kWaitMs = 1;
constexpr uint64_t kThread = 1;

Answer answer_of(int code) {
  switch (code) {
    case ESHM_SUCCESS:
      return Answer::kDone;
    case ESHM_ERROR_NO_DATA:
    case ESHM_ERROR_BUFFER_FULL:
    case ESHM_ERROR_TIMEOUT:
      return Answer::kNothing;
    default:
      return Answer::kOther;
  }
}

Answer answer_of(WriteResult result) {
  if (result == WriteResult::kDone) return Answer::kDone;
  const bool is_refused = result == WriteResult::kFull || result == WriteResult::kTooMany;
  return is_refused ? Answer::kNothing : Answer::kOther;
}

Answer answer_of(ReadResult result) {
  if (result == ReadResult::kMessage) return Answer::kDone;
  const bool is_refused = result == ReadResult::kNothing || result == ReadResult::kTooMany;
  return is_refused ? Answer::kNothing : Answer::kOther;
}

// As Payloads of the first author, so that Survivors can read them.
uint64_t key_of(uint64_t number) { return number + (uint64_t{1} << 40); }

const std::unordered_map<uint64_t, uint64_t>& numbers_by_first_word() {
  static const std::unordered_map<uint64_t, uint64_t> numbers = [] {
    std::unordered_map<uint64_t, uint64_t> found;
    for (uint64_t number = 1; number <= Letters::kMost; ++number) {
      found[pattern_word(mix(key_of(number)), 0)] = number;
    }
    return found;
  }();
  return numbers;
}

void call(void (*mark)()) {
  if (mark != nullptr) mark();
}

}  // namespace

const char* name_of(Act act) {
  static const char* const kNames[] = {
      "write",    "write that waits", "fill",            "loan",   "publish",
      "publish of the newest",        "discard",         "read",   "read with info",
      "read that waits",              "borrow",          "release", "release of the newest"};
  return kNames[static_cast<size_t>(act)];
}

bool is_writers(Act act) { return act < Act::kRead; }

// ---- a handle ---------------------------------------------------------------------

Answer LinkEnd::write(const void* data, size_t size, Act act) {
  return answer_of(act == Act::kWriteWaiting ? eshm_write_ex(link_, data, size, kWaitMs)
                                             : eshm_write(link_, data, size));
}

Answer LinkEnd::loan(size_t size, void** data) { return answer_of(eshm_loan(link_, size, data)); }

Answer LinkEnd::publish(void* data, size_t size) {
  return answer_of(eshm_publish(link_, data, size));
}

Answer LinkEnd::discard(void* data) { return answer_of(eshm_discard(link_, data)); }

Answer LinkEnd::read(void* buffer, size_t bytes, size_t& size, Act act) {
  if (act != Act::kReadMsg) {
    return answer_of(
        eshm_read_ex(link_, buffer, bytes, &size, act == Act::kReadWaiting ? kWaitMs : 0));
  }
  ESHMMessageInfo info = {};
  const int code = eshm_read_msg(link_, buffer, bytes, &info, 0);
  size = info.size;
  return answer_of(code);
}

Answer LinkEnd::borrow(Piece& piece) {
  const int code = eshm_borrow(link_, &piece.view, 0);
  piece.data = piece.view.data;
  piece.size = piece.view.size;
  return answer_of(code);
}

Answer LinkEnd::release(Piece& piece) { return answer_of(eshm_release(link_, &piece.view)); }

// ---- a channel ----------------------------------------------------------------------

ChannelEnd ChannelEnd::writer(const ChannelMemory& memory, uint32_t generation) {
  ChannelEnd end(memory);
  if (end.is_queue_) {
    end.queue_writer_.adopt(memory.queue_view(), generation);
  } else {
    end.latest_writer_.adopt(memory.view(), generation);
  }
  return end;
}

ChannelEnd ChannelEnd::reader(const ChannelMemory& memory) {
  ChannelEnd end(memory);
  if (end.is_queue_) {
    end.queue_reader_.attach(memory.queue_view());
  } else {
    end.latest_reader_.attach(memory.view());
  }
  return end;
}

Answer ChannelEnd::write(const void* data, size_t size, Act) {
  if (is_queue_) return answer_of(queue_writer_.try_write(data, size, 0));
  latest_writer_.write(data, size, 0);
  return Answer::kDone;
}

Answer ChannelEnd::loan(size_t size, void** data) {
  return answer_of(is_queue_ ? queue_writer_.loan(size, data) : latest_writer_.loan(size, data));
}

Answer ChannelEnd::publish(void* data, size_t size) {
  return answer_of(is_queue_ ? queue_writer_.publish(data, size, 0)
                             : latest_writer_.publish(data, size, 0));
}

Answer ChannelEnd::discard(void* data) {
  return answer_of(is_queue_ ? queue_writer_.discard(data) : latest_writer_.discard(data));
}

Answer ChannelEnd::read(void* buffer, size_t bytes, size_t& size, Act act) {
  channel::Message message;
  const ReadResult result =
      is_queue_ ? queue_reader_.read(buffer, bytes, message, kThread)
                : latest_reader_.read(buffer, bytes, message, act == Act::kReadWaiting);
  size = message.size;
  return answer_of(result);
}

Answer ChannelEnd::borrow(Piece& piece) {
  if (is_queue_) {
    channel::Message message;
    const ReadResult result = queue_reader_.borrow(&piece.data, message, kThread);
    piece.size = message.size;
    if (result == ReadResult::kMessage) piece.borrow = queue_reader_.last_borrow();
    return answer_of(result);
  }
  const ReadResult result = latest_reader_.borrow(piece.latest, false);
  piece.data = piece.latest.data;
  piece.size = piece.latest.message.size;
  return answer_of(result);
}

Answer ChannelEnd::release(Piece& piece) {
  const bool was_out = is_queue_ ? queue_reader_.release(piece.data, piece.borrow)
                                 : latest_reader_.release(piece.latest.token, piece.latest.serial);
  return was_out ? Answer::kDone : Answer::kOther;
}

// ---- messages ---------------------------------------------------------------------

size_t Letters::size_of(uint64_t number) const {
  return number % 3 == 2 ? std::max(kSmallest, largest_ / 2) : largest_;
}

std::vector<char> Letters::letter(uint64_t number) const {
  std::vector<char> bytes(size_of(number));
  fill_pattern(bytes.data(), bytes.size(), key_of(number));
  return bytes;
}

uint64_t Letters::number_of(const void* data, size_t bytes) const {
  if (bytes < kSmallest) return 0;
  uint64_t word = 0;
  std::memcpy(&word, data, sizeof word);
  const auto found = numbers_by_first_word().find(word);
  if (found == numbers_by_first_word().end()) return 0;
  const uint64_t number = found->second;
  return bytes == size_of(number) && is_pattern(data, bytes, key_of(number)) ? number : 0;
}

// ---- acting ------------------------------------------------------------------------

Answer Actor::act(End& end, Act act, const Marks& marks) {
  switch (act) {
    case Act::kWrite:
    case Act::kWriteWaiting:
      return write(end, act, marks);
    case Act::kFill:
      while (write(end, Act::kWrite, marks) == Answer::kDone) {
      }
      return Answer::kDone;
    case Act::kLoan:
      return loan(end, marks);
    case Act::kPublish:
    case Act::kPublishNewest:
    case Act::kDiscard:
      return end_loan(end, act, marks);
    case Act::kRead:
    case Act::kReadMsg:
    case Act::kReadWaiting:
      return read(end, act, marks);
    case Act::kBorrow:
      return borrow(end, marks);
    case Act::kRelease:
    case Act::kReleaseNewest:
      return release(end, act, marks);
  }
  return Answer::kOther;
}

Answer Actor::write(End& end, Act act, const Marks& marks) {
  const std::vector<char> letter = letters_->letter(next_number_);
  call(marks.before_call);
  const Answer answer = end.write(letter.data(), letter.size(), act);
  call(marks.after_call);
  if (answer == Answer::kDone) ++next_number_;
  return answer;
}

// A queue's loan has its place in the order from now on; a newest value gets
// its number when it is published.
Answer Actor::loan(End& end, const Marks& marks) {
  Out out = {is_queue_ ? next_number_ : 0, nullptr, {}};
  const size_t size = is_queue_ ? letters_->size_of(out.number) : letters_->largest();
  call(marks.before_call);
  const Answer answer = end.loan(size, &out.loan);
  call(marks.after_call);
  if (answer != Answer::kDone) return answer;
  if (is_queue_) ++next_number_;
  loans_.push_back(out);
  return answer;
}

void Actor::prepare(Act act) const {
  if (act != Act::kPublish && act != Act::kPublishNewest) return;
  const std::vector<char> letter = letter_for(loan_for(act));
  std::memcpy(loan_for(act).loan, letter.data(), letter.size());
}

Answer Actor::end_loan(End& end, Act act, const Marks& marks) {
  if (loans_.empty()) return Answer::kOther;
  prepare(act);
  const Out out = loan_for(act);
  const size_t size = letter_for(out).size();
  call(marks.before_call);
  const Answer answer =
      act == Act::kDiscard ? end.discard(out.loan) : end.publish(out.loan, size);
  call(marks.after_call);
  loans_.erase(act == Act::kPublishNewest ? loans_.end() - 1 : loans_.begin());
  if (act != Act::kDiscard && !is_queue_) ++next_number_;
  return answer;
}

Answer Actor::read(End& end, Act act, const Marks& marks) {
  std::vector<char> buffer(letters_->largest());
  size_t size = 0;
  call(marks.before_call);
  const Answer answer = end.read(buffer.data(), buffer.size(), size, act);
  call(marks.after_call);
  number_read_ = answer == Answer::kDone ? letters_->number_of(buffer.data(), size) : 0;
  return answer;
}

Answer Actor::borrow(End& end, const Marks& marks) {
  Out out = {};
  call(marks.before_call);
  const Answer answer = end.borrow(out.piece);
  call(marks.after_call);
  if (answer != Answer::kDone) return answer;
  number_read_ = out.number = letters_->number_of(out.piece.data, out.piece.size);
  borrows_.push_back(out);
  return answer;
}

Answer Actor::release(End& end, Act act, const Marks& marks) {
  if (borrows_.empty()) return Answer::kOther;
  const auto at = act == Act::kReleaseNewest ? borrows_.end() - 1 : borrows_.begin();
  Out out = *at;
  borrows_.erase(at);
  call(marks.before_call);
  const Answer answer = end.release(out.piece);
  call(marks.after_call);
  return answer;
}

bool Actor::holds_what_it_borrowed() const {
  return std::all_of(borrows_.begin(), borrows_.end(), [&](const Out& out) {
    return letters_->number_of(out.piece.data, out.piece.size) == out.number;
  });
}

}  // namespace test
