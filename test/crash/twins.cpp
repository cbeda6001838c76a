// SPDX-License-Identifier: MIT
#include "crash/twins.h"

#include <algorithm>
#include <functional>
#include <string_view>

#include "channel/wakeup.h"

namespace test {

using namespace eshm;
using std::memory_order_relaxed;

void Ledger::published(uint64_t number) {
  for (Entry& entry : entries_) {
    if (entry.number == number) entry.is_open = false;
  }
}

void Ledger::discarded(uint64_t number) {
  entries_.erase(std::find_if(entries_.begin(), entries_.end(),
                              [&](const Entry& entry) { return entry.number == number; }));
}

void Ledger::came_back() {
  hands_.erase(std::remove_if(hands_.begin(), hands_.end(),
                              [](const Hand& hand) { return !hand.is_borrowed; }),
               hands_.end());
}

void Ledger::handed_out(bool is_borrowed) { hands_.push_back({handed_out_++, is_borrowed}); }

void Ledger::released(bool is_newest) {
  const auto is_borrowed = [](const Hand& hand) { return hand.is_borrowed; };
  if (is_newest) {
    hands_.erase(std::find_if(hands_.rbegin(), hands_.rend(), is_borrowed).base() - 1);
  } else {
    hands_.erase(std::find_if(hands_.begin(), hands_.end(), is_borrowed));
  }
}

void Ledger::set_messages(const Numbers& visible, const Numbers& recovered) {
  entries_.clear();
  for (const uint64_t number : visible) wrote(number);
  if (recovered.size() > visible.size()) lent(0);
  for (size_t i = visible.size(); i < recovered.size(); ++i) wrote(recovered[i]);
}

void Ledger::begin_again_at(size_t index) {
  hands_.clear();
  handed_out_ = index;
}

Numbers Ledger::visible() const {
  Numbers numbers;
  for (const Entry& entry : entries_) {
    if (entry.is_open) break;
    numbers.push_back(entry.number);
  }
  return numbers;
}

Numbers Ledger::recovered() const {
  Numbers numbers;
  for (const Entry& entry : entries_) {
    if (!entry.is_open) numbers.push_back(entry.number);
  }
  return numbers;
}

size_t Ledger::first_unconsumed() const { return hands_.empty() ? handed_out_ : hands_[0].index; }

Twins::Twins(const ChannelMemory& memory, const Letters& letters)
    : writer(ChannelEnd::writer(memory, 1)),
      reader(ChannelEnd::reader(memory)),
      writing(letters, memory.geometry().delivery == ESHM_DELIVERY_QUEUE),
      reading(writing) {}

Answer Twins::act(Act act) {
  const Twins before = *this;
  const Answer answer = is_writers(act) ? writing.act(writer, act) : reading.act(reader, act);
  keep_books(act, answer, before);
  return answer;
}

void Twins::keep_books(Act act, Answer answer, const Twins& before) {
  const bool is_done = answer == Answer::kDone;
  switch (act) {
    case Act::kWrite:
    case Act::kWriteWaiting:
    case Act::kFill:
      for (uint64_t number = before.newest() + 1; number <= newest(); ++number) {
        ledger.wrote(number);
      }
      break;
    case Act::kLoan:
      if (is_done) ledger.lent(writing.loans().back().number);
      break;
    case Act::kPublish:
      ledger.published(before.writing.loans().front().number);
      break;
    case Act::kPublishNewest:
      ledger.published(before.writing.loans().back().number);
      break;
    case Act::kDiscard:
      if (before.writing.loans().front().number != 0) {
        ledger.discarded(before.writing.loans().front().number);
      }
      break;
    case Act::kRead:
    case Act::kReadMsg:
    case Act::kReadWaiting:
    case Act::kBorrow:
      ledger.came_back();
      if (is_done) ledger.handed_out(act == Act::kBorrow);
      break;
    case Act::kRelease:
    case Act::kReleaseNewest:
      ledger.released(act == Act::kReleaseNewest);
      break;
  }
}

namespace {

// What lies behind the data area's identity.
std::string_view data_of(const ChannelMemory& memory) {
  constexpr size_t kBegin = offsetof(layout::DataArea, publish);
  return {reinterpret_cast<const char*>(memory.view().data) + kBegin,
          memory.geometry().data_bytes - kBegin};
}

std::string_view pins_of(const ChannelMemory& memory) {
  return {reinterpret_cast<const char*>(&memory.pins()), sizeof memory.pins()};
}

}  // namespace

bool are_alike(const ChannelMemory& one, const ChannelMemory& other) {
  return data_of(one) == data_of(other) && pins_of(one) == pins_of(other) &&
         one.reader().position.load(memory_order_relaxed) ==
             other.reader().position.load(memory_order_relaxed);
}

size_t likeness_of(const ChannelMemory& memory) {
  std::string all(data_of(memory));
  all += pins_of(memory);
  all += std::to_string(memory.reader().position.load(memory_order_relaxed));
  all += channel::is_announced(memory.wake()) ? ",data" : ",";
  all += channel::is_announced(memory.room()) ? ",room" : ",";
  return std::hash<std::string>()(all);
}

}  // namespace test
