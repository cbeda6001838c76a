// SPDX-License-Identifier: MIT
// The name of a link's segment is lost, its master renews it, and the slave comes over.
// Each of the two is killed after each of its system calls on that way, and after each
// instruction that changed shared bytes: who is left and who comes read everything, in
// order and once.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "crash/hastened_clock.h"
#include "crash/reporting.h"
#include "crash/stepper.h"
#include "crash/way.h"
#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/player.h"

#if defined(__x86_64__)

namespace {

using namespace test;
using Texts = std::vector<std::string>;

// ---- what is said --------------------------------------------------------------------

constexpr char kMasters[] = "m", kSlaves[] = "s", kHello[] = "hello", kHi[] = "hi";
constexpr char kSpoiled[] = "spoiled";

// Each end writes and reads so far, in two rounds: the ring has gone round, one message is
// in the reader's hands, and some are unread.
struct Round {
  int from, written_to, read_to;
};
constexpr Round kRounds[] = {{1, 8, 8}, {9, 16, 13}};
constexpr int kRead = 13, kWritten = 16;
// So far each end reads in the segment that was left, before the slave knows of another.
constexpr int kReadThere = 14;
// And so far a slave, when the master writes in another one already.
constexpr int kReadLate = 15;
// What the master writes besides after each renewal.
constexpr int kNews = 2;

std::string text_of(const std::string& word, int number) {
  return word + std::to_string(number) + std::string(number % 2 == 0 ? 0 : 24, '.');
}

Texts texts_of(const std::string& word, int from, int to) {
  Texts texts;
  for (int i = from; i <= to; ++i) texts.push_back(text_of(word, i));
  return texts;
}

bool writes(ESHMHandle* link, const Texts& texts) {
  return std::all_of(texts.begin(), texts.end(), [&](const std::string& text) {
    return write_text(link, text) == ESHM_SUCCESS;
  });
}

bool reads(ESHMHandle* link, const Texts& texts) {
  return std::all_of(texts.begin(), texts.end(),
                     [&](const std::string& text) { return read_text(link, 0) == text; });
}

// ---- the scene -----------------------------------------------------------------------

// What the other end does while the one that will be killed stands still.
enum class Meanwhile {
  kNothing,
  kCalls,
  kReads,   // one message then, and all that it finds after the kill
  kRenews,  // a master whose name is lost once more
  kSleeps,  // a slave, until a new master has given it up
};
const char* name_of(Meanwhile meanwhile) {
  static const char* const kNames[] = {"does nothing", "makes calls", "reads", "renews again",
                                       "sleeps on"};
  return kNames[static_cast<size_t>(meanwhile)];
}

// What the one that dies does on its way, in one call.
enum class Part {
  kRenews,   // master: makes the fresh segment, and names it
  kSits,     // slave: takes its seat there
  kMoves,    // master: writes there from now on
  kFollows,  // slave: moves, too
  kLeaves,   // master: reads there from now on
};

struct Play {
  ESHMRole dies;
  Part part;
  int renewals;  // the last of which is the one that both follow
  bool goes_on;  // it is killed at the end of its way, having stood still before
};

// What an end is to read. In front of it may come the message that was in the hands of a
// dead reader.
struct Expected {
  std::string in_hands;
  Texts owed;
  std::string last;
};

class Scene {
 public:
  Scene(const Play& play, const std::string& name, ESHMBackend backend);
  // It stands where its way begins.
  Stepper& child() { return *child_; }
  void meanwhile(Meanwhile what);
  void kill();
  // The dead one has a successor, both hear each other, and what they hear besides is
  // expected. Then both leave. What did not hold, in words; empty: all did.
  std::string heal();
  // Never written: it must be missed.
  void expect_besides(const std::string& text) { slaves_.owed.push_back(text); }

 private:
  bool master_dies() const { return play_.dies == ESHM_ROLE_MASTER; }
  // A renewal is over when its way begins.
  bool has_former() const { return play_.part != Part::kRenews || play_.renewals > 1; }
  bool is_behind(Part part) const { return play_.part > part; }
  ESHMConfig config(ESHMRole role) const;
  std::string path() const { return path_of(name_); }
  int play_child() const;
  void talk(Link& link, const char* own, const char* other);
  void lose_name() const { EXPECT_EQ(unlink(path().c_str()), 0); }
  void renew();
  void renew_often();
  void let_other_act();
  Link& living() { return master_dies() ? slave_ : master_; }
  Texts& heard_by_living() { return master_dies() ? slave_heard_ : master_heard_; }
  void hear(const Link& link, Texts& heard);
  bool open_successor();
  bool open_master();
  bool open_slave();
  std::string pass_last_words();
  std::string what_is_left() const;

  const Play play_;
  const std::string name_;
  const ESHMBackend backend_;
  Link master_;
  Link slave_;
  std::unique_ptr<Stepper> child_;
  Meanwhile meanwhile_ = Meanwhile::kNothing;
  Texts news_;
  Texts master_heard_, slave_heard_;
  Expected masters_, slaves_;
  Texts refusals_;
};

constexpr uint32_t kNeverStaleMs = 600'000;
// A master looks at its name then, whenever it last did.
constexpr uint64_t kNextLookMs = 1'100;
// Upkeep is due.
constexpr uint64_t kNextCheckMs = 20;

bool try_until(const std::function<bool()>& is_done) {
  constexpr int kTries = 5000;
  for (int i = 0; i < kTries; ++i) {
    if (is_done()) return true;
    pause_ms(1);
  }
  return false;
}

void call(ESHMHandle* link, uint64_t after_ms = kNextCheckMs) {
  hasten_clock(after_ms);
  eshm_update_heartbeat(link);
}

ESHMConfig Scene::config(ESHMRole role) const {
  ESHMConfig config = config_of(name_, role, backend_);
  config.use_threads = false;
  config.reconnect_retry_interval_ms = 1;
  config.stale_threshold_ms = kNeverStaleMs;
  for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
    channel->delivery = ESHM_DELIVERY_QUEUE;
    channel->queue_capacity = 512;
    channel->max_message_size = 48;
  }
  return for_ever(config);
}

// Upkeep is not due before the clock is put forward.
void stay_where_it_is(ESHMHandle* link) {
  call(link);
  hold_clock();
}

// The news of one renewal after the other.
Texts news_of(int renewal) {
  const int before = kWritten + (renewal - 1) * kNews;
  return texts_of(kMasters, before + 1, before + kNews);
}

// ---- the one that dies ---------------------------------------------------------------

int Scene::play_child() const {
  const Link link = open_link(config(play_.dies));
  CHILD_CHECK(link);
  mark();
  const char* const own = master_dies() ? kMasters : kSlaves;
  const char* const other = master_dies() ? kSlaves : kMasters;
  for (const Round& round : kRounds) {
    CHILD_CHECK(writes(link.get(), texts_of(own, round.from, round.written_to)));
    mark();
    CHILD_CHECK(reads(link.get(), texts_of(other, round.from, round.read_to)));
    if (!master_dies()) stay_where_it_is(link.get());
    mark();
  }
  const int renewals = play_.renewals - (is_behind(Part::kRenews) ? 0 : 1);
  for (int renewal = 1; master_dies() && renewal <= renewals; ++renewal) {
    hasten_clock(kNextLookMs);
    mark();
    eshm_update_heartbeat(link.get());
    CHILD_CHECK(access(path().c_str(), F_OK) == 0);
    CHILD_CHECK(writes(link.get(), news_of(renewal)));
  }
  mark();
  if (has_former()) CHILD_CHECK(reads(link.get(), texts_of(other, kRead + 1, kReadThere)));
  const Part own_part = master_dies() ? Part::kMoves : Part::kSits;
  const bool acts_before = is_behind(own_part);
  if (acts_before) stay_where_it_is(link.get());
  mark();
  if (play_.part == Part::kFollows) {
    CHILD_CHECK(reads(link.get(), texts_of(other, kReadThere + 1, kReadLate)));
  }
  hasten_clock(kNextLookMs);
  mark();
  eshm_update_heartbeat(link.get());
  mark();
  if (master_dies()) CHILD_CHECK(access(path().c_str(), F_OK) == 0);
  if (play_.part == Part::kFollows) CHILD_CHECK(reconnects_of(link.get()) == 1);
  mark();
  return 0;
}

// ---- the one that lives --------------------------------------------------------------

// Round by round: the child writes, this end reads and writes, the child reads.
void Scene::talk(Link& link, const char* own, const char* other) {
  for (const Round& round : kRounds) {
    EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
    EXPECT_TRUE(reads(link.get(), texts_of(other, round.from, round.read_to)));
    EXPECT_TRUE(writes(link.get(), texts_of(own, round.from, round.written_to)));
    EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
  }
}

void Scene::renew() {
  lose_name();
  call(master_.get(), kNextLookMs);
}

Scene::Scene(const Play& play, const std::string& name, ESHMBackend backend)
    : play_(play), name_(name), backend_(backend) {
  if (!master_dies()) {
    master_ = open_link(config(ESHM_ROLE_MASTER));
    EXPECT_TRUE(master_) << last_error();
  }
  child_ = std::make_unique<Stepper>([this] { return play_child(); });
  EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
  if (master_dies()) {
    slave_ = open_link(config(ESHM_ROLE_SLAVE));
    EXPECT_TRUE(slave_) << last_error();
  }
  talk(living(), master_dies() ? kSlaves : kMasters, master_dies() ? kMasters : kSlaves);
  if (master_dies()) stay_where_it_is(slave_.get());
  renew_often();
  const char* const others = master_dies() ? kMasters : kSlaves;
  if (has_former()) {
    EXPECT_TRUE(reads(living().get(), texts_of(others, kRead + 1, kReadThere)));
  }
  let_other_act();
  hasten_clock(0);
  EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
  if (play_.part == Part::kRenews) lose_name();
  const int read = has_former() ? kReadThere : kRead;
  masters_ = {text_of(kSlaves, read), texts_of(kSlaves, read + 1, kWritten), kHi};
  const int by_slave = play_.part == Part::kFollows ? kReadLate : read;
  slaves_ = {text_of(kMasters, by_slave), texts_of(kMasters, by_slave + 1, kWritten), kHello};
  slaves_.owed.insert(slaves_.owed.end(), news_.begin(), news_.end());
  (master_dies() ? slaves_ : masters_).in_hands.clear();
}

// What has to come before the way: the slave sits, the master moves, the slave follows.
void Scene::let_other_act() {
  constexpr int kCalls = 5;
  const auto act = [this] {
    for (int i = 0; i < kCalls; ++i) call(living().get());
  };
  if (is_behind(Part::kSits)) {
    if (master_dies()) act();
  }
  EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);  // its own part before
  if (is_behind(Part::kMoves)) act();
}

// All renewals that are over when the way begins.
void Scene::renew_often() {
  const int times = play_.renewals - (is_behind(Part::kRenews) ? 0 : 1);
  for (int renewal = 1; renewal <= times; ++renewal) {
    if (master_dies()) {
      EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
      lose_name();
    } else {
      renew();
      EXPECT_EQ(access(path().c_str(), F_OK), 0) << "not renewed";
      EXPECT_TRUE(writes(master_.get(), news_of(renewal)));
    }
    for (const std::string& text : news_of(renewal)) news_.push_back(text);
  }
  EXPECT_EQ(child_->run_to_mark(), Stepper::Stop::kMarked);
}

void Scene::meanwhile(Meanwhile what) {
  constexpr int kCalls = 3;
  meanwhile_ = what;
  if (what == Meanwhile::kRenews) renew();
  if (what == Meanwhile::kReads) hear(living(), heard_by_living());
  if (what != Meanwhile::kCalls && what != Meanwhile::kRenews) return;
  for (int i = 0; i < kCalls; ++i) call(living().get());
}

void Scene::kill() {
  child_->kill_now();
  if (meanwhile_ != Meanwhile::kReads) return;
  for (int i = 0; i < kWritten; ++i) hear(living(), heard_by_living());
}

// ---- afterwards ----------------------------------------------------------------------

void Scene::hear(const Link& link, Texts& heard) {
  hasten_clock(1);
  const std::string text = read_text(link.get(), 0);
  if (text.compare(0, 5, "error") != 0) {
    heard.push_back(text);
  } else if (text != error(ESHM_ERROR_NO_DATA)) {
    refusals_.push_back(text);
  }
}

// A new master may wait for the slave, which comes in calls of its own.
bool Scene::open_master() {
  std::atomic<bool> is_over{false};
  std::string why;
  std::thread opener([&] {
    master_ = open_link(config(ESHM_ROLE_MASTER));
    if (!master_) why = last_error();
    is_over = true;
  });
  wait_until([&] {
    if (meanwhile_ == Meanwhile::kSleeps) {
      hasten_clock(kNextCheckMs);
    } else {
      call(slave_.get(), 1);
    }
    return is_over.load();
  });
  opener.join();
  EXPECT_TRUE(master_) << why;
  return master_ != nullptr;
}

bool Scene::open_slave() {
  return try_until([&] {
    call(master_.get());
    slave_ = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    return slave_ != nullptr;
  });
}

std::string described(const Texts& texts) {
  std::string all;
  for (const std::string& text : texts) all += " [" + text.substr(0, text.find('.')) + "]";
  return all;
}

std::string fault_in(const char* who, const Texts& heard, const Expected& expected) {
  size_t at = 0;
  const auto passes = [&](const std::string& text) {
    const bool is_there = at < heard.size() && heard[at] == text;
    at += is_there;
    return is_there;
  };
  if (!expected.in_hands.empty()) passes(expected.in_hands);
  bool is_right = true;
  for (const std::string& text : expected.owed) is_right = is_right && passes(text);
  is_right = is_right && passes(expected.last) && at == heard.size();
  return is_right ? "" : std::string(who) + " reads" + described(heard);
}

std::string Scene::pass_last_words() {
  const auto says = [](const Link& link, const char* text) {
    return try_until([&] {
      hasten_clock(1);
      return write_text(link.get(), text) == ESHM_SUCCESS;
    });
  };
  if (!says(master_, kHello)) return "the master cannot write: " + last_error();
  if (!says(slave_, kHi)) return "the slave cannot write: " + last_error();
  const auto has_heard = [](const Texts& heard, const char* text) {
    return std::find(heard.begin(), heard.end(), text) != heard.end();
  };
  const bool is_heard = try_until([&] {
    hear(master_, master_heard_);
    hear(slave_, slave_heard_);
    return has_heard(master_heard_, kHi) && has_heard(slave_heard_, kHello);
  });
  constexpr int kSilent = 50;
  for (int i = 0; i < kSilent; ++i) {
    hear(master_, master_heard_);
    hear(slave_, slave_heard_);
  }
  std::string fault = is_heard ? "" : "not heard: " + last_error() + "; ";
  return fault + fault_in("the master", master_heard_, masters_) +
         fault_in("the slave", slave_heard_, slaves_);
}

std::string Scene::what_is_left() const {
  std::string left;
  for (const std::string& file : files_of(name_)) left += " left behind: " + file;
  for (const int id : sysv_segments_of_ours()) left += " left behind: id " + std::to_string(id);
  return left;
}

std::string Scene::heal() {
  const bool is_open = master_dies() ? open_master() : open_slave();
  if (!is_open) return "no successor: " + last_error();
  std::string fault = pass_last_words();
  if (!refusals_.empty()) fault += " refused:" + described(refusals_);
  slave_.reset();
  master_.reset();
  return fault + what_is_left();
}

// ---- the tests -----------------------------------------------------------------------

class RenewalKilled : public LinkTest {
 protected:
  void kill_everywhere(const Play& play, const std::vector<Meanwhile>& all);
  std::string kill_at(const Play& play, const Point& point, Meanwhile what);
  Way way_of(const Play& play);
  std::vector<Point> some_of(const Way& way);

  static constexpr uint64_t kFew = 10;
  uint64_t kills_ = 0;
};

std::string describe(const Play& play, const Point& point, Meanwhile what) {
  return std::string(play.dies == ESHM_ROLE_MASTER ? "master" : "slave") + ", renewals: " +
         std::to_string(play.renewals) + (play.goes_on ? ", stopped" : ", killed") + " after " +
         std::to_string(point.system_calls) + " system calls and " +
         std::to_string(point.changes) + " changes, the other " + name_of(what);
}

// The first one does some things that later ones in this process find done.
Way RenewalKilled::way_of(const Play& play) {
  EXPECT_EQ(kill_at({play.dies, play.part, play.renewals, true}, {}, Meanwhile::kNothing), "");
  kills_ = 0;
  Scene scene(play, name(), GetParam());
  const Way way = record_way(scene.child());
  EXPECT_EQ(scene.child().run_to_mark(), Stepper::Stop::kMarked) << "it did not do its part";
  scene.kill();
  EXPECT_EQ(scene.heal(), "") << "to its end";
  return way;
}

std::string RenewalKilled::kill_at(const Play& play, const Point& point, Meanwhile what) {
  Scene scene(play, name(), GetParam());
  const bool is_on_its_way = go_to(scene.child(), point);
  kills_ += is_on_its_way;
  scene.meanwhile(what);
  if (play.goes_on && is_on_its_way) scene.child().run_to_mark();
  scene.kill();
  return scene.heal();
}

// All of them, or every so many-th.
std::vector<Point> RenewalKilled::some_of(const Way& way) {
  const test::Part part{count(way.points.size() / kFew + 1, 1)};
  std::vector<Point> some;
  for (size_t i = part.begin; i < way.points.size(); i += part.stride) some.push_back(way.points[i]);
  return some;
}

void RenewalKilled::kill_everywhere(const Play& play, const std::vector<Meanwhile>& all) {
  const Way way = way_of(play);
  uint64_t tried = 0;
  for (const Point& point : some_of(way)) {
    for (size_t j = 0; j < count(1, all.size()); ++j) {
      const Meanwhile what = all[(tried++ + seed()) % all.size()];
      ASSERT_EQ(kill_at(play, point, what), "")
          << describe(play, point, what) << ", ESHM_SEED=" << seed();
      ASSERT_FALSE(HasFailure()) << describe(play, point, what);
    }
  }
  std::printf("%llu steps, %zu points, %llu of %llu killed there\n",
              static_cast<unsigned long long>(way.steps), way.points.size(),
              static_cast<unsigned long long>(kills_), static_cast<unsigned long long>(tried));
  tally("real_kills", kills_);
  EXPECT_GT(2 * kills_, tried) << "most ways were another way";
  EXPECT_GT(way.points.size(), way.points.back().system_calls) << "no shared byte was changed";
}

const std::vector<Meanwhile> kOfASlave = {Meanwhile::kNothing, Meanwhile::kCalls,
                                          Meanwhile::kReads, Meanwhile::kSleeps};
const std::vector<Meanwhile> kOfAMaster = {Meanwhile::kNothing, Meanwhile::kCalls,
                                           Meanwhile::kReads, Meanwhile::kRenews};

#define ESHM_KILLED_EVERYWHERE(name, dies, part, renewals, goes_on, others) \
  TEST_P(RenewalKilled, name) {                                             \
    SKIP_WITHOUT_STEPS();                                                   \
    kill_everywhere({dies, part, renewals, goes_on}, others);               \
  }

ESHM_KILLED_EVERYWHERE(MasterThatRenews, ESHM_ROLE_MASTER, Part::kRenews, 1, false, kOfASlave)
ESHM_KILLED_EVERYWHERE(MasterThatRenewsTwice, ESHM_ROLE_MASTER, Part::kRenews, 2, false, kOfASlave)
ESHM_KILLED_EVERYWHERE(SlaveThatSits, ESHM_ROLE_SLAVE, Part::kSits, 1, false, kOfAMaster)
ESHM_KILLED_EVERYWHERE(SlaveThatSitsAfterTwo, ESHM_ROLE_SLAVE, Part::kSits, 2, false, kOfAMaster)
ESHM_KILLED_EVERYWHERE(MasterThatMoves, ESHM_ROLE_MASTER, Part::kMoves, 1, false, kOfASlave)
ESHM_KILLED_EVERYWHERE(SlaveThatFollows, ESHM_ROLE_SLAVE, Part::kFollows, 1, false, kOfAMaster)
ESHM_KILLED_EVERYWHERE(MasterThatLeaves, ESHM_ROLE_MASTER, Part::kLeaves, 1, false, kOfASlave)

// Stopped there, they go on and die later.
ESHM_KILLED_EVERYWHERE(MasterThatStoodStillAndMoved, ESHM_ROLE_MASTER, Part::kMoves, 1, true, kOfASlave)
ESHM_KILLED_EVERYWHERE(SlaveThatStoodStillAndSat, ESHM_ROLE_SLAVE, Part::kSits, 1, true, kOfAMaster)
ESHM_KILLED_EVERYWHERE(SlaveThatStoodStillAndFollowed, ESHM_ROLE_SLAVE, Part::kFollows, 1, true, kOfAMaster)

// ---- the newest value --------------------------------------------------------------------

ESHMConfig of_values(const std::string& name, ESHMRole role, ESHMBackend backend) {
  ESHMConfig config = config_of(name, role, backend);
  config.use_threads = false;
  config.reconnect_retry_interval_ms = 1;
  config.stale_threshold_ms = kNeverStaleMs;
  return for_ever(config);
}

TEST_P(RenewalKilled, ValueThatWasReadIsNotNewAgainWhenTheMasterDiesBeforeTheMark) {
  SKIP_WITHOUT_STEPS();
  const ESHMConfig config = of_values(name(), ESHM_ROLE_MASTER, GetParam());
  Stepper child([&] {
    const Link link = open_link(config);
    CHILD_CHECK(link);
    mark();
    CHILD_CHECK(write_text(link.get(), "read") == ESHM_SUCCESS);
    hasten_clock(kNextLookMs);
    mark();
    eshm_update_heartbeat(link.get());
    mark();
    return 0;
  });
  ASSERT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  const Link slave = open_link(of_values(name(), ESHM_ROLE_SLAVE, GetParam()));
  ASSERT_TRUE(slave) << last_error();
  ASSERT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  ASSERT_EQ(read_text(slave.get(), 0), "read");
  ASSERT_EQ(unlink(path().c_str()), 0);
  while (access(path().c_str(), F_OK) != 0) {
    ASSERT_EQ(child.run_to_end_of_system_call(), Stepper::Stop::kStepped);
  }
  child.kill_now();
  Link master;
  std::atomic<bool> is_over{false};
  std::thread opener([&] {
    master = open_link(config);
    is_over = true;
  });
  wait_until([&] {
    call(slave.get(), 1);
    return is_over.load();
  });
  opener.join();
  ASSERT_TRUE(master) << last_error();
  for (int i = 0; i < 5; ++i) call(slave.get());
  EXPECT_EQ(remote_state(slave.get()), ESHM_PEER_ALIVE);
  EXPECT_EQ(read_text(slave.get(), 0), error(ESHM_ERROR_NO_DATA));
}

TEST_P(RenewalKilled, UnreadValueOfASlaveThatDiesBeforeItComesOverIsRead) {
  SKIP_WITHOUT_STEPS();
  const Link master = open_link(of_values(name(), ESHM_ROLE_MASTER, GetParam()));
  ASSERT_TRUE(master) << last_error();
  Stepper child([&] {
    const Link link = open_link(of_values(name(), ESHM_ROLE_SLAVE, GetParam()));
    CHILD_CHECK(link);
    CHILD_CHECK(write_text(link.get(), "unread") == ESHM_SUCCESS);
    mark();
    return 0;
  });
  ASSERT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  call(master.get());
  ASSERT_EQ(unlink(path().c_str()), 0);
  call(master.get(), kNextLookMs);
  ASSERT_EQ(access(path().c_str(), F_OK), 0);
  child.kill_now();
  for (int i = 0; i < 5; ++i) call(master.get());
  EXPECT_EQ(read_text(master.get(), 0), "unread");
}

// ---- what is missing is found ----------------------------------------------------------

TEST_P(RenewalKilled, MessageThatIsLostIsFound) {
  SKIP_WITHOUT_STEPS();
  Scene scene({ESHM_ROLE_MASTER, Part::kRenews, 1, false}, name(), GetParam());
  scene.expect_besides(kSpoiled);
  scene.kill();
  EXPECT_NE(scene.heal().find("the slave reads [m14] [m15] [m16] [hello]"), std::string::npos);
}

ESHM_ON_BOTH_BACKENDS(RenewalKilled);

}  // namespace

#endif
