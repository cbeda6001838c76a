// SPDX-License-Identifier: MIT
// A process with one link that does what it is told, and what tests of life
// and death ask about a link over and over.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/link.h"

namespace test {

inline std::string error(int code) { return "error " + std::to_string(code); }

inline uint64_t now_ms() {
  using namespace std::chrono;
  return static_cast<uint64_t>(
      duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count());
}

// What a child says of eshm_init: "open", or "CODE TEXT".
inline std::string outcome(const Link& link) {
  return link ? "open" : std::to_string(last_error_code()) + " " + last_error();
}

// Obeys "write TEXT" (answers the code), "read" (at once) and "wait" (for ever;
// both answer the text or "error N"), "state" (answers its number) and "why"
// (the last error); leaves the link at anything else.
inline int obey(Wire& wire, const Link& link) {
  for (;;) {
    const std::string order = wire.hear();
    if (order.compare(0, 6, "write ") == 0) {
      wire.say(std::to_string(write_text(link.get(), order.substr(6))));
    } else if (order == "read") {
      wire.say(read_text(link.get(), 0));
    } else if (order == "wait") {
      wire.say(read_text(link.get(), UINT32_MAX));
    } else if (order == "state") {
      wire.say(std::to_string(remote_state(link.get())));
    } else if (order == "why") {
      wire.say(last_error());
    } else {
      return 0;
    }
  }
}

inline Child obeying(const ESHMConfig& config) {
  return Child([config](Wire& wire) {
    const Link link = open_link(config);
    wire.say(outcome(link));
    return link ? obey(wire, link) : 0;
  });
}

// Started already, so that only its eshm_init is between an order and its answer.
inline Child standing_by(const ESHMConfig& config) {
  Child child([config](Wire& wire) {
    wire.say("ready");
    wire.hear();
    const Link link = open_link(config);
    wire.say(outcome(link));
    return link ? obey(wire, link) : 0;
  });
  EXPECT_EQ(child.hear(), "ready");
  return child;
}

inline std::string ask(Child& child, const std::string& order) {
  child.say(order);
  return child.hear();
}

inline void leave(Child& child) {
  child.say("leave");
  EXPECT_EQ(child.join(), 0);
}

inline void wait_for_state(ESHMHandle* link, ESHMPeerState state) {
  wait_until([&] { return remote_state(link) == state; });
}

// Reads at once until the answer is another than that there is nothing.
inline std::string first_answer(ESHMHandle* link) {
  std::string answer;
  wait_until([&] { return (answer = read_text(link, 0)) != error(ESHM_ERROR_NO_DATA); });
  return answer;
}

inline uint32_t reconnects_of(ESHMHandle* link) {
  ESHMStatsEx stats = {};
  EXPECT_EQ(eshm_get_stats_ex(link, &stats), ESHM_SUCCESS) << last_error();
  return stats.reconnects;
}

inline uint64_t stale_reports_of(ESHMHandle* link) {
  ESHMStatsEx stats = {};
  EXPECT_EQ(eshm_get_stats_ex(link, &stats), ESHM_SUCCESS) << last_error();
  return stats.stale_reports;
}

// All events of one link, in order. Must outlive the link.
class EventLog {
 public:
  void listen_to(ESHMHandle* link) {
    EXPECT_EQ(eshm_set_event_callback(link, &EventLog::note, this), ESHM_SUCCESS);
  }
  std::vector<ESHMEvent> all() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return events_;
  }
  size_t count_of(ESHMEvent event) {
    size_t found = 0;
    for (ESHMEvent one : all()) found += one == event;
    return found;
  }
  void wait_for(ESHMEvent event, size_t times = 1) {
    wait_until([&] { return count_of(event) >= times; });
  }

 private:
  static void note(ESHMHandle*, ESHMEvent event, void* log) {
    EventLog& self = *static_cast<EventLog*>(log);
    const std::lock_guard<std::mutex> lock(self.mutex_);
    self.events_.push_back(event);
  }

  std::mutex mutex_;
  std::vector<ESHMEvent> events_;
};

}  // namespace test
