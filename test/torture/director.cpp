// SPDX-License-Identifier: MIT
#include "torture/director.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <utility>

#include "support/counts.h"
#include "support/link.h"
#include "support/player.h"
#include "support/possessions.h"

namespace torture {

namespace {

using test::Child;
using test::Wire;

// A master that is stopped can be replaced after so long; nobody but
// replace_master starts one while another lives.
constexpr uint32_t kHungMs = 20;
constexpr size_t kLogLines = 400;
const char* const kPlaceNames[] = {"master", "slave", "observer 1", "observer 2"};


}  // namespace

Director::Director(const std::string& name, ESHMBackend backend, uint64_t seed)
    : name_(name),
      backend_(backend),
      seed_(seed),
      dice_(seed),
      shape_(test::config_of(name_, ESHM_ROLE_MASTER, backend)) {
  for (ESHMChannelConfig* channel : {&shape_.m2s, &shape_.s2m}) {
    channel->max_message_size = kLargest;
    channel->queue_capacity = below(2) == 0 ? 8192 : 65536;
    channel->max_borrows = channel->max_loans = uint32_t(2 + below(3));
  }
  shape_.flags = uint32_t(below(4));  // time stamps, alignment
  const uint64_t deliveries = below(4);
  set_delivery(ESHMDelivery(deliveries % 2), ESHMDelivery(deliveries / 2));
}

void Director::set_delivery(ESHMDelivery m2s, ESHMDelivery s2m) {
  shape_.m2s.delivery = m2s;
  shape_.s2m.delivery = s2m;
}

ESHMConfig Director::config_for(Place place) {
  ESHMConfig config = shape_;
  config.shm_name = name_.c_str();
  config.role = place == kMaster  ? ESHM_ROLE_MASTER
                : place == kSlave ? ESHM_ROLE_SLAVE
                                  : ESHM_ROLE_OBSERVER;
  config.stale_threshold_ms = below(2) == 0 || place == kMaster ? kHungMs : test::kPatientMs;
  config.use_threads = below(4) != 0;
  config.spin_us = below(2) == 0 ? 0 : ESHM_SPIN_ADAPTIVE;
  config.reconnect_retry_interval_ms = uint32_t(1 + below(20));
  return place == kSlave ? test::for_ever(config) : config;
}

Life* Director::free_life() {
  for (Life& life : record_->lives) {
    if (life.number == 0) return &life;
  }
  std::abort();  // fewer live at once
}

// ---- coming and going ---------------------------------------------------------------

void Director::start(Place place) {
  Actor& actor = actors_[place];
  actor.number = ++lives_;
  actor.life = free_life();
  new (actor.life) Life;
  actor.life->number = actor.number;
  Task task{config_for(place), actor.number, dice_(), Sin::kNone};
  if (place == kMaster || place == kSlave) task.sin = sin_;
  note("start " + std::string(kPlaceNames[place]));
  actor.child.emplace([task, record = &*record_, life = actor.life](Wire&) {
    return live(task, *record, *life);
  });
}

// Others are seen to until it is gone.
void Director::begin_end(Place place, int expected_code) {
  Actor& actor = actors_[place];
  learn();
  actor.peer = peer_of(place);
  actor.expected_code = expected_code;
  actor.is_ending = true;
}

void Director::kill(Place place) {
  Actor& actor = actors_[place];
  note("kill " + std::string(kPlaceNames[place]) + (actor.life->is_open ? "" : " in eshm_init"));
  begin_end(place, 128 + SIGKILL);
  actor.child->kill_soon();
}

void Director::dismiss(Place place) {
  note("end " + std::string(kPlaceNames[place]));
  begin_end(place, kLeft);
  actors_[place].life->shall_leave = true;
}

bool Director::is_empty(Place place) {
  Actor& actor = actors_[place];
  if (!actor.is_ending || !actor.child->try_reap()) return !actor.is_there();
  const int code = actor.child->join();
  if (code != actor.expected_code) {
    fail(std::string(kPlaceNames[place]) + " ended with " + std::to_string(code));
    return false;
  }
  const bool was_killed = code != kLeft;
  ++(was_killed ? deeds_.kills : deeds_.clean_ends);
  const bool had_peer = actor.peer != 0 && actor.peer == peer_of(place);
  forget(actor);
  if (place < kFirstObserver) ended(place, was_killed, had_peer);
  return true;
}

void Director::stop_for_a_while(Place place) {
  Actor& actor = actors_[place];
  note("stop " + std::string(kPlaceNames[place]));
  actor.child->stop();
  usleep(useconds_t(below(4000)));
  if (below(4) == 0) return kill(place);
  actor.child->go_on();
  ++deeds_.stops;
}

// Only one that is open: one half-way holds the succession, and is waited for.
void Director::replace_master() {
  await_open(kMaster);
  if (has_failed()) return;
  learn();
  note("stop the master, to replace it");
  replaced_.push_back(std::move(actors_[kMaster]));
  actors_[kMaster] = {};
  replaced_.back().child->stop();
  replaced_.back().life->is_replaced = true;
  // Before anybody can hear its successor.
  ended(kMaster, false, peer_of(kMaster) != 0);
  start(kMaster);
  await_open(kMaster);
  if (has_failed()) return;
  ++deeds_.replaced;
}

// It goes on, or dies as it is.
void Director::see_replaced(size_t index) {
  Actor actor = std::move(replaced_[index]);
  replaced_.erase(replaced_.begin() + std::ptrdiff_t(index));
  if (below(3) == 0) {
    note("kill a replaced master");
    actor.child->kill_soon();
    dying_.push_back(std::move(*actor.child));
    ++deeds_.kills;
    return forget(actor);
  }
  note("let a replaced master go on");
  actor.child->go_on();
  ++deeds_.stops;
  await("a replaced master's end", [&] { return actor.child->try_reap(); });
  if (has_failed()) return;
  const int code = actor.child->join();
  if (code != kSuperseded) fail("a replaced master ended with " + std::to_string(code));
  forget(actor);
}

void Director::await_ends() {
  for (size_t place = 0; place < kPlaces; ++place) {
    if (actors_[place].is_ending) await("an end", [&] { return is_empty(Place(place)); });
  }
  dying_.clear();
}

void Director::forget(Actor& actor) {
  deeds_.reads += actor.life->reads;
  new (actor.life) Life;
  actor = {};
}

// ---- what may be lost -----------------------------------------------------------------

uint64_t Director::peer_of(Place place) const {
  const Actor& peer = actors_[place == kMaster ? kSlave : kMaster];
  return peer.is_open() ? peer.number : 0;
}

void Director::learn() {
  const Actor& master = actors_[kMaster];
  const Actor& slave = actors_[kSlave];
  if (!master.is_there() || !slave.is_there()) return;
  if (slave.life->met == master.number) is_attached_ = true;
  // Then the slave had come, and brought what it had to bring before that.
  if (master.life->known_to == slave.number) is_settled_ = is_attached_ = true;
}

// Called when the kernel has seen its end, or its successor is there.
// had_peer: the other one was there from before that end until behind it.
void Director::ended(Place place, bool was_killed, bool had_peer) {
  Ledger& m2s = record_->ledgers[ESHM_M2S];
  Ledger& s2m = record_->ledgers[ESHM_S2M];
  // With both away nobody is left. With a slave goes what is unread in former
  // segments, or on its way; with a master what nobody has come to yet.
  if (!had_peer || !(place == kSlave ? is_settled_ : is_attached_)) m2s.excuse();
  if (!had_peer || (place == kSlave && !is_settled_)) s2m.excuse();
  // A dead master's segment is adopted; any other end of the two leads elsewhere.
  if (place == kSlave || (place == kMaster && !was_killed)) is_attached_ = is_settled_ = false;
}

// ---- waiting ----------------------------------------------------------------------

// Polls are counted: the machine may stand still as a whole.
template <class Condition>
void Director::await(const char* what, Condition condition) {
  for (uint64_t polls = patience_seconds() * 1000ull; !condition() && !has_failed(); --polls) {
    if (polls == 0) return fail(std::string("waited in vain for ") + what);
    usleep(500);
  }
}

void Director::await_open(Place place) {
  await("eshm_init", [&] { return actors_[place].is_open() || actors_[place].child->has_news(); });
}

// Messages go both ways between those that are there now.
void Director::await_exchange() {
  await("an exchange", [&] {
    learn();
    return is_settled_ && actors_[kSlave].life->met == actors_[kMaster].number;
  });
}

// ---- what happens ---------------------------------------------------------------------

bool Director::step() {
  if (!replaced_.empty() && below(2) == 0) see_replaced(below(replaced_.size()));
  const Place place = Place(below(4) != 0 ? below(2) : below(kPlaces));
  const uint64_t deed = below(20);
  const bool is_free = is_empty(place);
  const bool both_are_there = actors_[kMaster].is_staying() && actors_[kSlave].is_staying();
  // Sometimes they get somewhere before they are disturbed.
  if (both_are_there && below(6) == 0) await_exchange();
  if (has_failed()) return false;
  if (is_free) {
    start(place);
  } else if (!actors_[place].is_staying()) {
    // There will be another step.
  } else if (deed < 13) {
    kill(place);
  } else if (deed < 16) {
    stop_for_a_while(place);
  } else if (deed < 18) {
    dismiss(place);
  } else if (place == kMaster && replaced_.size() < 2) {
    replace_master();
  } else if (both_are_there) {
    kill(kMaster);
    kill(kSlave);
  }
  return !has_failed();
}

bool Director::finish() {
  while (!replaced_.empty() && !has_failed()) see_replaced(replaced_.size() - 1);
  await_ends();
  for (const Place place : {kMaster, kSlave}) {
    if (!actors_[place].is_there()) start(place);
  }
  await_exchange();
  for (size_t place = kPlaces; place-- > 0 && !has_failed();) {
    if (actors_[place].is_there()) dismiss(Place(place));
    await_ends();
  }
  return !has_failed();
}

// ---- failures ---------------------------------------------------------------------------

void Director::note(const std::string& what) {
  if (log_.size() == kLogLines) log_.erase(log_.begin(), log_.begin() + kLogLines / 2);
  log_.push_back(std::to_string(test::now_ms()) + " " + what);
}

bool Director::has_failed() {
  if (!complaint_.empty()) return true;
  if (!record_->is_broken()) return false;
  for (int looks = 0; record_->broken != 2 && looks < 2000; ++looks) usleep(1000);
  fail(record_->broken == 2 ? record_->what : "somebody was killed while it complained");
  return true;
}

void Director::fail(const std::string& what) {
  if (!complaint_.empty()) return;
  complaint_ = what;
  note(what);
  keep_evidence();
}

// Where each thread stands; the kernel tells root more.
void Director::note_threads(const Actor& actor) {
  const std::string tasks = "/proc/" + std::to_string(actor.child->pid()) + "/task";
  test::for_each_entry(tasks.c_str(), [&](const char* thread) {
    std::string line = "life " + std::to_string(actor.number);
    line += std::string(actor.is_ending ? ", ending" : "") + ", thread " + thread + ":";
    for (const char* file : {"stat", "wchan", "syscall", "stack"}) {
      std::ifstream from(tasks + "/" + thread + "/" + file);
      line.append(" ").append(std::istreambuf_iterator<char>(from), {});
    }
    note(line);
  });
}

// The segment as it is now, and how it came to that.
void Director::keep_evidence() {
  for (const Actor& actor : actors_) {
    if (actor.is_there()) note_threads(actor);
  }
  for (Actor& actor : actors_) {
    if (actor.is_there() && !actor.child->has_news()) ::kill(actor.child->pid(), SIGSTOP);
  }
  const char* const folder = std::getenv("ESHM_EVIDENCE");
  if (folder == nullptr || sin_ != Sin::kNone) return;
  const std::string base = std::string(folder) + "/" + name_;
  std::ofstream log(base + ".log");
  log << "ESHM_SEED=" << test::seed() << ", of this link " << seed_ << ", backend " << backend_
      << ", delivery " << shape_.m2s.delivery << " and " << shape_.s2m.delivery << "\n";
  for (const std::string& line : log_) log << line << "\n";
  for (const std::string& file : test::files_of(name_)) {
    std::ifstream from("/dev/shm/" + file, std::ios::binary);
    std::ofstream(base + "." + file + ".segment", std::ios::binary) << from.rdbuf();
  }
}

}  // namespace torture
