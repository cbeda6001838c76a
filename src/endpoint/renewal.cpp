// SPDX-License-Identifier: MIT
#include "endpoint/renewal.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "endpoint/message_types.h"

namespace eshm::endpoint {

using layout::Finding;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

// A lost name is noticed within a second; a link is renewed at most once a second.
constexpr uint64_t kLookIntervalNs = 500 * os::kNsPerMs;
constexpr uint64_t kRenewalIntervalNs = 1'000 * os::kNsPerMs;

// The slave that it was kept for is dead. It may have sat down there.
void free_seat(const Attachment& next) {
  if (next.replaced != nullptr || next.page().seat.reserved_for.load(memory_order_relaxed) == 0) {
    return;
  }
  claim_record(next.peer_record());
  next.page().seat.reserved_for.store(0, memory_order_release);
}

}  // namespace

Renewal::Renewal(const Settings& settings, DataPath& data, Notices& notices, PeerView& peer)
    : settings_(settings),
      data_(data),
      notices_(notices),
      peer_(peer),
      user_(geteuid()) {}

const std::shared_ptr<SegmentFile>& Renewal::named_segment() const {
  return next_ != nullptr ? next_->next->segment_ptr() : data_.attachment().segment_ptr();
}

const SegmentFile* Renewal::slave_comes_from() const {
  const Attachment& attachment = data_.attachment();
  const Attachment& named = next_ != nullptr ? *next_->next : attachment;
  if (named.replaced != nullptr) return named.replaced.get();
  if (next_ != nullptr) return &attachment.segment();
  return former_ != nullptr ? &former_->segment() : nullptr;
}

void Renewal::beat() const {
  if (next_ != nullptr) next_->next->own_beats().fetch_add(1, memory_order_relaxed);
}

Renewal::Outcome Renewal::run(uint64_t now_ns) {
  Outcome outcome;
  if (next_ != nullptr) move_when_ready(outcome);
  if (now_ns < next_look_ns_ || outcome.is_superseded) return outcome;
  next_look_ns_ = now_ns + kLookIntervalNs;
  keep_name(outcome);
  if (outcome.is_renewed) next_look_ns_ = os::monotonic_ns() + kRenewalIntervalNs;
  return outcome;
}

// ---- the name --------------------------------------------------------------------

void Renewal::keep_name(Outcome& outcome) {
  std::shared_ptr<SegmentFile> found;
  switch (look(found)) {
    case Meaning::kThis:
      reported_.clear();
      break;
    case Meaning::kNothing:
      if (os::names_of(named_segment()->locks().fd()) != 0) {
        link_again(outcome);
      } else {
        renew(nullptr, outcome);
      }
      break;
    case Meaning::kOrphan:
      renew(found, outcome);
      break;
    case Meaning::kLivingMaster:
      give_way_to(read_record(found->page().master).process.pid, outcome);
      break;
    case Meaning::kOther:
      break;
  }
}

// Changes nothing. What keeps this end from its name is reported here.
Renewal::Meaning Renewal::look(std::shared_ptr<SegmentFile>& found_segment) {
  const SegmentFile& own = *named_segment();
  if (own.is_named(settings_)) return Meaning::kThis;
  if (geteuid() != user_ || !(os::names_directory() == settings_.names_directory)) {
    report("this process has changed its user or its root, so it does not look for its name");
    return Meaning::kOther;
  }
  if (!own.locks().is_still_ours()) return Meaning::kOther;  // a fence comes
  Found found = inspect_name(settings_);
  if (found.finding == Finding::kAbsent) return Meaning::kNothing;
  // Given back meanwhile, or the first look failed for another reason.
  if (os::is_same_file(found.meta, own.meta())) return Meaning::kThis;
  if (found.refusal) {
    report("its name was given to something else: " +
           found.refusal.text.substr(about(settings_).size()));
    return Meaning::kOther;
  }
  if (SegmentFile::open(settings_, std::move(found), found_segment)) return Meaning::kOther;
  return judge(*found_segment);
}

Renewal::Meaning Renewal::judge(const SegmentFile& found) {
  const auto is_own = [&](const Attachment& attachment) {
    return os::is_same_file(found.meta(), attachment.segment().meta());
  };
  if (is_own(data_.attachment()) || (former_ != nullptr && is_own(*former_))) {
    report("its name was given to a segment that its master leaves");
    return Meaning::kOther;
  }
  const bool counts = !found.is_superseded();
  if (counts && found.is_held(layout::kMasterByte)) return Meaning::kLivingMaster;
  if (found.meta().st_uid != user_) {
    report("its name was given to a segment of " + os::user_name(found.meta().st_uid));
    return Meaning::kOther;
  }
  // A slave there waits for a master of its own.
  return counts && found.is_held(layout::kSlaveByte) ? Meaning::kOther : Meaning::kOrphan;
}

// Renamed away, or linked elsewhere: the file itself is whole.
void Renewal::link_again(Outcome& outcome) {
  const std::shared_ptr<SegmentFile> segment = named_segment();
  Succession succession(segment);
  if (!succession.try_take() || segment->is_superseded()) return;
  const Naming naming = give_free_name(settings_, segment->locks().fd());
  outcome.is_renewed = naming.is_done();
  if (naming.error_number != 0) {
    report(std::string("its name is gone, and cannot be given again: ") +
           std::strerror(naming.error_number));
  }
}

// `orphan`: has the name, and no living master. A fresh segment that has lost its name
// before the slave took its seat there is given up for the next one.
void Renewal::renew(const std::shared_ptr<SegmentFile>& orphan, Outcome& outcome) {
  Attachment& attachment = data_.attachment();
  const std::shared_ptr<SegmentFile> nameless = named_segment();
  Succession succession(nameless);
  if (!succession.try_take() || nameless->is_superseded()) return;
  if (next_ != nullptr && nameless->is_held(layout::kSlaveByte)) return;  // it moves now

  auto move = std::make_unique<Move>();  // what needs memory, before anything is changed
  std::unique_ptr<Attachment> fresh;
  if (Failure failure = Attachment::create(settings_of_link(), fresh)) {
    report("its name is gone, and it cannot be renewed: " +
           failure.text.substr(about(settings_).size()));
    return;
  }
  keep_seat(*fresh);
  const Naming naming = name(fresh->segment_ptr(), orphan);
  if (naming.error_number != 0) {
    report(std::string("its name is gone, and it cannot be renewed: ") +
           std::strerror(naming.error_number));
  }
  if (!naming.is_done()) return;
  fresh->segment().close_file();
  if (next_ != nullptr) {
    next_->next->mark(layout::kSuperseded, os::self().pid);
    nameless->locks().close();
  }
  move->start(std::move(fresh));
  next_ = std::move(move);
  // A slave that loads it finds a seat in whatever the name means.
  attachment.page().mark.has_successor.store(1, memory_order_release);
  outcome.is_renewed = true;
  move_when_ready(outcome);
}

// For the slave that lives here, or is to come from a segment that this one replaced.
void Renewal::keep_seat(Attachment& fresh) const {
  const Attachment& attachment = data_.attachment();
  fresh.replaced = attachment.replaced;
  if (attachment.segment().is_held(layout::kSlaveByte)) fresh.replaced.reset();  // it has come
  if (fresh.replaced != nullptr) {
    const layout::SeatLine& seat = attachment.page().seat;
    layout::SeatLine& next = fresh.page().seat;
    next.copied_until.store(seat.copied_until.load(memory_order_relaxed), memory_order_relaxed);
    next.copied_for.store(seat.copied_for.load(memory_order_relaxed), memory_order_relaxed);
  }
  const SegmentFile& lives_in = fresh.replaced != nullptr ? *fresh.replaced : attachment.segment();
  if (lives_in.is_held(layout::kSlaveByte)) {
    fresh.reserve_seat(read_record(lives_in.record(ESHM_ROLE_SLAVE)));
    fresh.page().seat.is_renewal.store(1, memory_order_relaxed);
  }
}

Naming Renewal::name(const std::shared_ptr<SegmentFile>& fresh,
                     const std::shared_ptr<SegmentFile>& orphan) const {
  if (orphan == nullptr) return give_free_name(settings_, fresh->file());
  Succession succession(orphan);
  if (!succession.try_take() || !orphan->is_named(settings_)) return {};
  const bool counts = !orphan->is_superseded();
  if (counts && (orphan->is_held(layout::kMasterByte) || orphan->is_held(layout::kSlaveByte))) {
    return {};
  }
  return give_name_over(settings_, *orphan, fresh);
}

Settings Renewal::settings_of_link() const {
  const SegmentFile& segment = data_.attachment().segment();
  Settings settings = settings_;
  settings.auto_cleanup = segment.plan().identity.auto_cleanup != 0;
  settings.permissions = segment.meta().st_mode & 0777;
  for (const layout::Direction direction : layout::kDirections) {
    settings.shape[direction] = layout::shape_of(segment.plan().geometry[direction]);
    settings.type_text[direction] = type_text_in(segment, direction);
  }
  return settings;
}

// Another process is the link's master by now.
void Renewal::give_way_to(int32_t pid, Outcome& outcome) {
  const Attachment& attachment = data_.attachment();
  Succession succession(attachment.segment_ptr());
  if (!succession.try_take()) return;
  attachment.mark(layout::kSuperseded, pid);
  wake_all_waiters(attachment.segment());
  outcome.is_superseded = true;
}

// ---- the move --------------------------------------------------------------------

// The slave goes first: so messages flow while it is on its way, however long that is.
void Renewal::move_when_ready(Outcome& outcome) {
  const Attachment& attachment = data_.attachment();
  const Attachment& next = *next_->next;
  if (next.segment().is_superseded()) {  // this process stood still, and was replaced
    give_way_to(next.page().mark.successor_pid.load(memory_order_relaxed), outcome);
    return;
  }
  if (awaits_slave()) return;  // on its way to this segment from the one before
  const bool has_slave = attachment.segment().is_held(layout::kSlaveByte);
  const bool is_seated = next.peer_record().incarnation.load(memory_order_acquire) != 0 &&
                         next.segment().is_held(layout::kSlaveByte);
  // Of a death the check of the peer tells, in the segment where it was.
  if (has_slave ? is_seated : !peer_.is_there()) move(has_slave, outcome);
}

void Renewal::move(bool has_slave, Outcome& outcome) {
  std::unique_ptr<Move> move = std::move(next_);
  const std::shared_ptr<Attachment> next = move->next;
  const std::shared_ptr<Attachment> former = data_.current();
  data_.prepare_move(*move);
  channel::QueueWriter former_queue;
  outcome.is_superseded = !data_.renew(*move, has_slave, former_queue);
  outcome.former = former;
  if (has_slave) {
    former_ = former;
    former_queue_ = former_queue;
    carried_from_ = move->carried.begin;
    move_ = std::move(move);
  } else {
    former->segment().locks().close();
    outcome.events = peer_.take_over(peer_.check_ahead(*next), *next);
    free_seat(*next);
    if (data_.incoming().is_listened_to()) Waiters::moved(data_.incoming());
  }
  // Those of this process that wait there, and its slave.
  wake_all_waiters(former->segment());
}

PeerView::Events Renewal::check_slave(uint64_t now_ns, Locking locking) {
  Attachment& next = data_.attachment();
  layout::SeatLine& seat = next.page().seat;
  // Asked in this order: who has come over has stored the seat before it leaves.
  const bool is_there = former_->segment().is_held(layout::kSlaveByte);
  const bool has_come = seat.reserved_for.load(memory_order_acquire) == 0;
  if (is_there && !has_come) return peer_.check_until_gone(*former_, now_ns);
  if (!has_come && locking == Locking::kTry) return {};  // may take long
  if (!data_.follow_slave(*move_, has_come, locking)) return {};

  PeerView::Events events;
  if (!has_come) {
    events = peer_.check(*former_, now_ns);
    // What it had read there is not shown to the next one.
    data_.outgoing().pass_consumed(former_queue_, carried_from_);
  }
  const PeerView::Ahead ahead = peer_.check_ahead(next);
  const PeerView::Events met = peer_.take_over(ahead, next);
  if (has_come) events = met;
  if (!has_come) free_seat(next);
  former_->segment().locks().close();
  wake_all_waiters(former_->segment());  // they park again, in the other one
  former_.reset();
  move_.reset();
  data_.wake_waiting_calls();
  if (data_.incoming().is_listened_to()) Waiters::moved(data_.incoming());
  return events;
}

// ---- the end ---------------------------------------------------------------------

// Whoever is in another segment of this link is told that its master has left.
void Renewal::end() {
  const auto leave = [](Attachment& attachment) {
    attachment.own_record().left.store(attachment.incarnation(), memory_order_release);
    attachment.segment().locks().close();
  };
  if (next_ != nullptr) leave(*next_->next);
  if (former_ != nullptr) leave(*former_);
  next_.reset();
  former_.reset();
  move_.reset();
}

// The same reason comes with other numbers each time, as of the memory that is left.
void Renewal::report(const std::string& why) {
  std::string reason;
  std::remove_copy_if(why.begin(), why.end(), std::back_inserter(reason),
                      [](char c) { return c >= '0' && c <= '9'; });
  if (reason == reported_) return;
  reported_ = reason;
  notices_.say(ESHM_LOG_WARNING, about(settings_) + why);
}

}  // namespace eshm::endpoint
