// SPDX-License-Identifier: MIT
// The library prints nothing, whatever happens; a log callback hears it instead.
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;

class Quiet : public LinkTest {
 protected:
  // Successes, refusals and failures of all sorts.
  void do_all_sorts() const {
    {
      const Link master = open_link(config(ESHM_ROLE_MASTER));
      const Link slave = open_link(config(ESHM_ROLE_SLAVE));
      open_link(config(ESHM_ROLE_MASTER));
      open_link(at_once(config(ESHM_ROLE_SLAVE)));
      open_link(at_once(config(ESHM_ROLE_AUTO)));
      char buffer[8];
      eshm_write(master.get(), "x", 1);
      eshm_write(master.get(), "x", SIZE_MAX);
      eshm_read(slave.get(), buffer, sizeof buffer);
      eshm_read_ex(slave.get(), buffer, sizeof buffer, nullptr, 1);
      eshm_read_ex(nullptr, buffer, sizeof buffer, nullptr, 1);
      remote_is_alive(master.get());
    }
    open_link(at_once(config(ESHM_ROLE_SLAVE)));
    const int file = open(path().c_str(), O_CREAT | O_WRONLY, 0600);
    (void)!write(file, "rubbish", 7);
    close(file);
    open_link(config(ESHM_ROLE_MASTER));
    unlink(path().c_str());

    // A hung master, replaced; it then says good-bye.
    ESHMConfig silent = config(ESHM_ROLE_MASTER);
    silent.stale_threshold_ms = kHungMs;
    silent.use_threads = false;
    const Link hung = open_link(silent);
    const Link successor = open_link(silent);
    eshm_write(hung.get(), "x", 1);
  }
};

TEST_P(Quiet, NothingIsPrinted) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Child child([&](Wire&) {
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    do_all_sorts();
    (void)!write(STDOUT_FILENO, "end", 3);
    return 0;
  });
  close(ends[1]);
  std::string printed;
  char bytes[256];
  ssize_t size;
  while ((size = read(ends[0], bytes, sizeof bytes)) > 0) {
    printed.append(bytes, static_cast<size_t>(size));
  }
  close(ends[0]);
  EXPECT_EQ(child.join(), 0);
  EXPECT_EQ(printed, "end");  // the pipe was heard
}

struct Log {
  std::mutex mutex;
  std::vector<std::string> lines;

  static void add(ESHMLogLevel, const char* text, void* self) {
    Log& log = *static_cast<Log*>(self);
    const std::lock_guard<std::mutex> lock(log.mutex);
    log.lines.push_back(text);
  }
};

TEST_P(Quiet, LogCallbackHearsFinishedLinesUntilItIsTakenAway) {
  Log log;
  eshm_set_log_callback(Log::add, &log);
  do_all_sorts();
  eshm_set_log_callback(nullptr, nullptr);
  const size_t heard = log.lines.size();
  EXPECT_GT(heard, 0u) << "a replaced master is worth a word";
  for (const std::string& line : log.lines) {
    EXPECT_NE(line, "");
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
  do_all_sorts();
  EXPECT_EQ(log.lines.size(), heard);
}

// It is called without any lock held: what it calls answers.
TEST_P(Quiet, LogCallbackMayCallWhatItLikes) {
  struct Caller {
    ESHMHandle* link = nullptr;
    std::atomic<int> lines{0};
    static void call(ESHMLogLevel, const char*, void* self) {
      Caller& caller = *static_cast<Caller*>(self);
      remote_is_alive(caller.link);
      write_text(caller.link, "from the log");
      read_text(caller.link, 1);
      ESHMStatsEx stats = {};
      EXPECT_EQ(eshm_get_stats_ex(caller.link, &stats), ESHM_SUCCESS);
      EXPECT_EQ(eshm_set_event_callback(caller.link, nullptr, nullptr), ESHM_SUCCESS);
      EXPECT_EQ(eshm_destroy(caller.link), ESHM_ERROR_INVALID_PARAM);
      EXPECT_FALSE(open_link(config_of(unique_name(), ESHM_ROLE_MASTER, GetParam())));
      EXPECT_EQ(last_error_code(), ESHM_ERROR_INVALID_PARAM);
      ++caller.lines;
    }
  };
  for (bool use_threads : {true, false}) {
    Caller caller;
    ESHMConfig config = this->config(ESHM_ROLE_MASTER);
    config.use_threads = use_threads;
    const Link master = open_link(config);
    ASSERT_TRUE(master) << last_error();
    caller.link = master.get();
    eshm_set_log_callback(Caller::call, &caller);
    ESHMConfig other = at_once(this->config(ESHM_ROLE_SLAVE));
    other.use_threads = false;  // says nothing by itself
    Child slave([other](Wire& wire) {
      eshm_set_log_callback(nullptr, nullptr);
      const Link link = open_link(other);
      CHILD_CHECK(link);
      wire.hear();
      return 0;
    });
    while (caller.lines == 0) remote_is_alive(master.get());
    slave.say("leave");
    EXPECT_EQ(slave.join(), 0);
    while (caller.lines == 1) remote_is_alive(master.get());
    eshm_set_log_callback(nullptr, nullptr);
  }
}

ESHM_ON_BOTH_BACKENDS(Quiet);

}  // namespace
