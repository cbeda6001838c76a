// SPDX-License-Identifier: MIT
#include "crash/stage.h"

#include <algorithm>

#include "support/player.h"

namespace test {

namespace {

// Nobody beats between two calls here: so a living one is told from one that is
// to be found hung.
constexpr uint32_t kNeverStaleMs = 600'000;
constexpr uint32_t kSoonHungMs = 5;

const std::vector<std::string> kLastWords = {"old 0", "old 1"};

void write_last_words(ESHMHandle* link) {
  for (const std::string& text : kLastWords) EXPECT_EQ(write_text(link, text), ESHM_SUCCESS);
}

bool try_until(const std::function<bool()>& is_done) {
  constexpr int kTries = 5000;
  for (int i = 0; i < kTries; ++i) {
    if (is_done()) return true;
    pause_ms(1);
  }
  return false;
}

bool is_hung_one_about(Change change) {
  return change == Change::kReplace || change == Change::kFollow;
}

}  // namespace

const char* name_of(Change change) {
  static const char* const kNames[] = {
      "birth",          "attach",        "adopt",        "inherit",       "carry",        "replace",
      "follow",         "master leaves", "slave leaves", "last master leaves", "last slave leaves"};
  return kNames[static_cast<size_t>(change)];
}

ESHMConfig Stage::config(ESHMRole role) const {
  ESHMConfig config = config_of(name_, role, backend_);
  config.use_threads = false;
  config.reconnect_retry_interval_ms = 1;
  config.stale_threshold_ms =
      is_hung_one_about(change_) && role == ESHM_ROLE_MASTER ? kSoonHungMs : kNeverStaleMs;
  config.m2s.delivery = ESHM_DELIVERY_QUEUE;
  config.m2s.queue_capacity = is_wider_ ? 1024 : 512;
  config.m2s.max_message_size = config.s2m.max_message_size = 48;
  return for_ever(config);
}

Child Stage::obedient(ESHMRole role) const {
  Child child = obeying(config(role));
  EXPECT_EQ(child.hear(), "open");
  return child;
}

// The kernel frees System V memory with the last process.
void Stage::keep_if_memory_is_there() {
  if (backend_ == ESHM_BACKEND_POSIX) unread_ = kLastWords;
}

void Stage::open_slave() {
  slave_ = open_link(config(ESHM_ROLE_SLAVE));
  EXPECT_TRUE(slave_) << last_error();
}

void Stage::step(const std::function<void(Link&)>& prepare,
                 const std::function<void(Link&)>& change) {
  child_ = std::make_unique<Stepper>([&] {
    Link link;
    prepare(link);
    mark();
    change(link);
    mark();
    return 0;
  });
}

Stage::Stage(Change change, const std::string& name, ESHMBackend backend)
    : change_(change), name_(name), backend_(backend) {
  const auto nothing = [](Link&) {};
  const auto open = [this](ESHMRole role) {
    return [this, role](Link& link) { link = open_link(config(role)); };
  };
  const auto leave = [](Link& link) { link.reset(); };
  const auto dies_after_last_words = [&](Child& master) {
    for (const std::string& text : kLastWords) EXPECT_EQ(ask(master, "write " + text), "0");
    master.kill_now();
  };
  switch (change) {
    case Change::kBirth:
      step(nothing, open(ESHM_ROLE_MASTER));
      break;
    case Change::kAttach:
      master_ = open_link(config(ESHM_ROLE_MASTER));
      write_last_words(master_.get());
      unread_ = kLastWords;
      step(nothing, open(ESHM_ROLE_SLAVE));
      break;
    case Change::kAdopt: {
      Child first = obedient(ESHM_ROLE_MASTER);
      open_slave();
      dies_after_last_words(first);
      unread_ = kLastWords;
      step(nothing, open(ESHM_ROLE_MASTER));
      break;
    }
    case Change::kInherit: {
      Child first = obedient(ESHM_ROLE_MASTER);
      Child second = obedient(ESHM_ROLE_SLAVE);
      dies_after_last_words(first);
      second.kill_now();
      keep_if_memory_is_there();
      step(nothing, open(ESHM_ROLE_MASTER));
      break;
    }
    case Change::kCarry: {
      Child first = obedient(ESHM_ROLE_MASTER);
      Child second = obedient(ESHM_ROLE_SLAVE);
      dies_after_last_words(first);
      second.kill_now();
      keep_if_memory_is_there();
      is_wider_ = true;
      step(nothing, open(ESHM_ROLE_MASTER));
      break;
    }
    case Change::kReplace:
      hung_ = std::make_unique<Child>(obedient(ESHM_ROLE_MASTER));
      open_slave();
      for (const std::string& text : kLastWords) ask(*hung_, "write " + text);
      unread_ = kLastWords;
      step(nothing, open(ESHM_ROLE_MASTER));
      child_->run_to_mark();
      // How many looks its watch over the hung one takes is another number each time.
      child_->run_behind_a_lock();
      return;
    case Change::kFollow:
      hung_ = std::make_unique<Child>(obedient(ESHM_ROLE_MASTER));
      step(open(ESHM_ROLE_SLAVE), [](Link& link) { read_until(link.get(), "new"); });
      child_->run_to_mark();
      master_ = open_link(config(ESHM_ROLE_MASTER));
      EXPECT_EQ(write_text(master_.get(), "new"), ESHM_SUCCESS);
      unread_ = {"new"};
      may_be_gone_ = true;
      return;
    case Change::kMasterLeaves:
      step(
          [this](Link& link) {
            link = open_link(config(ESHM_ROLE_MASTER));
            mark();
            write_last_words(link.get());
          },
          leave);
      child_->run_to_mark();
      open_slave();
      unread_ = kLastWords;
      break;
    case Change::kSlaveLeaves:
      master_ = open_link(config(ESHM_ROLE_MASTER));
      step(open(ESHM_ROLE_SLAVE), leave);
      break;
    case Change::kLastMasterLeaves:
      step(open(ESHM_ROLE_MASTER), leave);
      break;
    case Change::kLastSlaveLeaves: {
      Child first = obedient(ESHM_ROLE_MASTER);
      step(open(ESHM_ROLE_SLAVE), leave);
      child_->run_to_mark();
      dies_after_last_words(first);
      keep_if_memory_is_there();
      may_be_gone_ = true;
      return;
    }
  }
  child_->run_to_mark();
}

std::string Stage::heal() {
  if (!master_) master_ = open_link(config(ESHM_ROLE_MASTER));
  if (!master_) return "no master: " + last_error();
  // A seat that was kept for a dead slave is freed in a call of the master's.
  const auto has_slave = [&] {
    if (!slave_) slave_ = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    if (!slave_) eshm_update_heartbeat(master_.get());
    return slave_ != nullptr;
  };
  if (!try_until(has_slave)) return "no slave: " + last_error();
  std::string fault = pass_messages();
  if (fault.empty() && hung_) {
    const std::string answer = ask(*hung_, "write grave");
    if (answer != std::to_string(ESHM_ERROR_SUPERSEDED)) fault = "the replaced one hears " + answer;
    leave(*hung_);
  }
  slave_.reset();
  master_.reset();
  for (const std::string& file : files_of(name_)) fault += " left behind: " + file;
  for (const int id : sysv_segments_of_ours()) fault += " left behind: id " + std::to_string(id);
  return fault;
}

std::string Stage::pass_messages() {
  const auto writes = [](ESHMHandle* link, const char* text) {
    return [=] { return write_text(link, text) == ESHM_SUCCESS; };
  };
  if (!try_until(writes(master_.get(), "hello"))) return "the master cannot write: " + last_error();
  std::vector<std::string> read;
  const bool is_heard = try_until([&] {
    const std::string text = read_text(slave_.get(), 1);
    if (text.compare(0, 5, "error") != 0) read.push_back(text);
    return text == "hello";
  });
  if (!is_heard) return "the slave does not hear the master: " + last_error();
  std::vector<std::string> expected = unread_;
  if (may_be_gone_ && read.size() == 1) expected.clear();
  expected.push_back("hello");
  if (read != expected) {
    std::string texts;
    for (const std::string& text : read) texts += " [" + text + "]";
    return "the slave reads" + texts;
  }
  if (!try_until(writes(slave_.get(), "hi"))) return "the slave cannot write: " + last_error();
  if (!try_until([&] { return read_text(master_.get(), 1) == "hi"; })) {
    return "the master does not hear the slave: " + last_error();
  }
  return "";
}

}  // namespace test
