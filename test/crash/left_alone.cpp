// SPDX-License-Identifier: MIT
#include "crash/left_alone.h"

#include <algorithm>

#include "channel/wakeup.h"

namespace test {

using namespace eshm;

namespace {

constexpr size_t kFaultsKept = 10;
constexpr uint64_t kMostToDrain = 300;

Numbers from(const Numbers& numbers, size_t begin) {
  return {numbers.begin() + static_cast<std::ptrdiff_t>(std::min(begin, numbers.size())),
          numbers.end()};
}

bool begins_with(const Numbers& whole, const Numbers& beginning) {
  return beginning.size() <= whole.size() &&
         std::equal(beginning.begin(), beginning.end(), whole.begin());
}

Numbers joined(Numbers one, const Numbers& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

}  // namespace

std::string text_of(const Numbers& numbers) {
  std::string text = "{";
  for (const uint64_t number : numbers) text += " " + std::to_string(number);
  return text + " }";
}

LeftAlone::LeftAlone(const Situation& situation)
    : bench_(situation.bench),
      act_(situation.act),
      before_(situation.before),
      after_(situation.after),
      letters_(situation.letters),
      first_of_successor_(situation.first_of_successor),
      spoil_(situation.spoil) {}

void LeftAlone::look_at(const Image& image) {
  ++looks_;
  image_ = &image;
  look();
}

LeftAlone::Party LeftAlone::new_writer() {
  if (spoil_) spoil_(bench_);
  Party party = {ChannelEnd::writer(bench_, 2),
                 Actor(letters_, bench_.geometry().delivery == ESHM_DELIVERY_QUEUE)};
  party.actor.go_on_with(first_of_successor_);
  return party;
}

LeftAlone::Party LeftAlone::new_reader() const {
  return {ChannelEnd::reader(bench_),
          Actor(letters_, bench_.geometry().delivery == ESHM_DELIVERY_QUEUE)};
}

Numbers LeftAlone::drain(Party& reader) {
  Numbers numbers;
  while (numbers.size() < kMostToDrain) {
    const Answer answer = reader.actor.act(reader.end, Act::kRead);
    expect(answer != Answer::kOther, "a read fails");
    if (answer != Answer::kDone) return numbers;
    ++messages_read_;
    numbers.push_back(reader.actor.number_read());
    expect(numbers.back() != 0, "a message is not as it was written");
  }
  expect(false, "there is no end of messages");
  return numbers;
}

// One ring, by whoever comes next, is what a dead one's announcement costs.
void LeftAlone::expect_ring_ends_announcements() {
  for (layout::WakeLine* line : {&bench_.wake(), &bench_.room()}) {
    if (!channel::is_announced(*line)) continue;
    const uint32_t doorbell = line->doorbell;
    channel::ring_announced(*line);
    expect(!channel::is_announced(*line) && line->doorbell == doorbell + 1,
           "an announcement outlives its ring");
  }
}

// What a dead reader had borrowed, and was not just about to release.
void LeftAlone::expect_borrows_are_kept() {
  const bool is_release = act_ == Act::kRelease || act_ == Act::kReleaseNewest;
  expect((is_release ? after_ : before_).reading.holds_what_it_borrowed(),
         "a dead reader's borrow was overwritten");
}

void LeftAlone::expect(bool condition, const std::string& what) {
  if (condition || faults_.size() >= kFaultsKept) return;
  faults_.push_back("image " + std::to_string(looks_) + ", " + scene_ + ": " + what);
}

// ---- queues -------------------------------------------------------------------------

void QueueLeftAlone::look() {
  if (!is_writers(act_)) {
    size_t began = began_;
    for (const bool reads_first : {true, false}) {
      for (const bool has_new_writer : {false, true}) {
        began = began_;
        without_reader(reads_first, has_new_writer, began);
      }
    }
    began_ = began;
    return;
  }
  for (const bool has_new_reader : {false, true}) {
    size_t seen = 0;
    for (const bool reads_first : {true, false}) {
      seen = seen_[has_new_reader];
      without_writer(has_new_reader, reads_first, seen);
    }
    seen_[has_new_reader] = std::max(seen_[has_new_reader], seen);
  }
}

void QueueLeftAlone::without_writer(bool has_new_reader, bool reads_first, size_t& seen_before) {
  set_scene(has_new_reader ? "a new reader" : "the reader");
  restore();
  Party reader = has_new_reader ? new_reader() : same_reader();
  const size_t begin =
      has_new_reader ? before_.ledger.first_unconsumed() : before_.ledger.handed_out();
  Numbers seen;
  if (reads_first) {
    seen = drain(reader);
    const Numbers least = from(before_.ledger.visible(), begin);
    const Numbers most = from(after_.ledger.visible(), begin);
    expect(begins_with(seen, least) && begins_with(most, seen),
           "reads " + text_of(seen) + ", not from " + text_of(least) + " to " + text_of(most));
    expect(seen.size() >= seen_before, "a visible message is gone again");
    seen_before = seen.size();
  }
  Party writer = new_writer();
  seen = joined(seen, drain(reader));
  const Numbers undone = from(before_.ledger.recovered(), begin);
  const Numbers done = from(after_.ledger.recovered(), begin);
  expect(seen == undone || seen == done, "reads " + text_of(seen) + " of an adopted queue, not " +
                                             text_of(undone) + " nor " + text_of(done));
  if (reads_first) expect_ring_ends_announcements();
  if (!has_new_reader) expect(reader.actor.holds_what_it_borrowed(), "a borrow has changed");
  go_round(writer, reader);
}

void QueueLeftAlone::without_reader(bool reads_first, bool has_new_writer, size_t& began_before) {
  set_scene(has_new_writer ? "a new writer" : "the writer");
  restore();
  Party writer = has_new_writer ? new_writer() : same_writer();
  Numbers written = has_new_writer ? before_.ledger.recovered() : before_.ledger.visible();
  const bool is_blocked = !has_new_writer && !writer.actor.loans().empty();
  const auto write_on = [&] {
    const uint64_t first = writer.actor.next_number();
    writer.actor.act(writer.end, Act::kFill);
    for (uint64_t number = first; number < writer.actor.next_number() && !is_blocked; ++number) {
      written.push_back(number);
    }
  };
  if (!reads_first) {
    write_on();
    expect_borrows_are_kept();
  }
  Party reader = new_reader();
  const Numbers read = drain(reader);
  const size_t earliest = before_.ledger.first_unconsumed();
  const size_t latest = after_.ledger.first_unconsumed();
  const size_t began = written.size() - std::min(read.size(), written.size());
  expect(read == from(written, began), "reads " + text_of(read) + " of " + text_of(written));
  expect(began >= earliest, "consumed messages are shown again: " + text_of(read));
  expect(began <= latest, "messages are lost before " + text_of(read));
  expect(began >= began_before, "a consumed message is shown again");
  began_before = began;
  if (reads_first) expect_ring_ends_announcements();
  if (!is_blocked) return go_round(writer, reader);
  Numbers held = before_.ledger.recovered();
  for (const Actor::Out& loan : writer.actor.loans()) held.push_back(loan.number);
  for (uint64_t number = before_.writing.next_number(); number < writer.actor.next_number();
       ++number) {
    held.push_back(number);
  }
  std::sort(held.begin(), held.end());
  while (!writer.actor.loans().empty()) {
    expect(writer.actor.act(writer.end, Act::kPublishNewest) == Answer::kDone,
           "a loan cannot be published");
  }
  const Numbers all = joined(read, drain(reader));
  expect(all == from(held, began), "reads " + text_of(all) + " of " + text_of(held) +
                                       " when the loans are published");
  go_round(writer, reader);
}

// Three times as much as the ring holds, with everything read in between.
void QueueLeftAlone::go_round(Party& writer, Party& reader) {
  drain(reader);
  while (!reader.actor.borrows().empty()) {
    expect(reader.actor.act(reader.end, Act::kRelease) == Answer::kDone, "a release fails");
  }
  for (int round = 0; round < 3; ++round) {
    const uint64_t first = writer.actor.next_number();
    writer.actor.act(writer.end, Act::kFill);
    expect(writer.actor.next_number() > first, "an empty queue takes no message");
    Numbers expected;
    for (uint64_t number = first; number < writer.actor.next_number(); ++number) {
      expected.push_back(number);
    }
    const Numbers read = drain(reader);
    expect(read == expected, "reads " + text_of(read) + " of " + text_of(expected));
  }
}

// ---- newest value -------------------------------------------------------------------

void WriterLeftAlone::look() {
  const uint64_t newest = before_.newest();
  for (const bool writes_first : {false, true}) {
    for (const bool has_new_writer : {false, true}) {
      set_scene(has_new_writer ? "a new writer" : "the writer");
      restore();
      Party writer = has_new_writer ? new_writer() : same_writer();
      uint64_t last = newest;
      if (writes_first) {
        for (uint32_t i = 0; i < 2 * bench_.geometry().slot_count; ++i) {
          last = writer.actor.next_number();
          expect(writer.actor.act(writer.end, Act::kWrite) == Answer::kDone, "a write fails");
        }
        expect_borrows_are_kept();
      }
      expect_ring_ends_announcements();
      Party reader = new_reader();
      const Numbers read = drain(reader);
      expect(read == (last == 0 ? Numbers{} : Numbers{last}),
             "reads " + text_of(read) + ", the newest is " + std::to_string(last));
      go_round(writer, reader, last);
    }
  }
}

void WriterLeftAlone::go_round(Party& writer, Party& reader, uint64_t newest) {
  while (!writer.actor.loans().empty()) {
    expect(writer.actor.act(writer.end, Act::kPublish) == Answer::kDone, "a loan is not published");
    newest = writer.actor.next_number() - 1;
    expect(drain(reader) == Numbers{newest}, "the loan published is not read");
  }
  for (uint32_t i = 0; i < bench_.geometry().slot_count + 2; ++i) {
    const uint64_t number = writer.actor.next_number();
    writer.actor.act(writer.end, Act::kWrite);
    const Numbers read = drain(reader);
    expect(read == Numbers{number}, "reads " + text_of(read) + " after " + std::to_string(number));
  }
}

}  // namespace test
