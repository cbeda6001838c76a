// SPDX-License-Identifier: MIT
// Many links at once, both ends of each in this process.
#pragma once

#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "support/link.h"
#include "support/pattern.h"
#include "support/threads.h"

namespace test {

// The masters write, the slaves are waited for.
struct Crowd {
  Crowd(size_t size, const std::function<ESHMConfig(const std::string&, ESHMRole)>& configure) {
    for (size_t i = 0; i < size; ++i) {
      const std::string name = unique_name();
      writers.push_back(open_link(configure(name, ESHM_ROLE_MASTER)));
      readers.push_back(open_link(configure(name, ESHM_ROLE_SLAVE)));
      handles.push_back(readers.back().get());
    }
  }
  bool is_open() const {
    for (size_t i = 0; i < handles.size(); ++i) {
      if (!writers[i] || !readers[i]) return false;
    }
    return true;
  }
  int wait(uint32_t timeout_ms) { return eshm_wait_any(handles.data(), handles.size(), timeout_ms); }

  std::vector<Link> writers;
  std::vector<Link> readers;
  std::vector<ESHMHandle*> handles;
};

class CrowdTest : public LinkTest {
 protected:
  Crowd crowd(size_t size) const {
    return Crowd(size, [](const std::string& name, ESHMRole role) {
      return config_of(name, role, GetParam());
    });
  }

  // One handle after the other is written while the waiter sleeps, or is about to.
  static void each_is_found(Crowd& links, uint64_t rounds) {
    ASSERT_TRUE(links.is_open()) << last_error();
    std::atomic<uint64_t> turn{0};
    const size_t size = links.handles.size();
    const auto index_of = [size](uint64_t number) { return size_t(mix(number) % size); };
    std::thread writer([&] {
      for (uint64_t number = 1; number <= rounds; ++number) {
        while (turn.load() != number) std::this_thread::yield();
        if (number % 4 != 0) pause_ms(1);
        EXPECT_EQ(write_text(links.writers[index_of(number)].get(), std::to_string(number)),
                  ESHM_SUCCESS);
      }
    });
    for (uint64_t number = 1; number <= rounds; ++number) {
      turn.store(number);
      const int found = links.wait(UINT32_MAX);
      EXPECT_EQ(found, int(index_of(number)));
      EXPECT_EQ(read_text(links.handles[size_t(found)], 0), std::to_string(number));
    }
    writer.join();
    EXPECT_EQ(links.wait(0), ESHM_ERROR_NO_DATA);
  }

  // A wait that finds a handle ready does not get to those behind it: this one ends when
  // that many waiter threads listen to all of them.
  static void all_are_listened_to(Crowd& links, size_t threads) {
    ASSERT_TRUE(links.is_open()) << last_error();
    std::thread writer([&] {
      wait_until([&] { return threads_named("eshm-wait") == threads; });
      EXPECT_EQ(write_text(links.writers.back().get(), "x"), ESHM_SUCCESS);
    });
    EXPECT_EQ(links.wait(UINT32_MAX), int(links.handles.size()) - 1);
    EXPECT_EQ(read_text(links.handles.back(), 0), "x");
    writer.join();
  }

  // Two System V ids each; the kernel's limit is 4096.
  static constexpr size_t kMany = 1000;

  void SetUp() override {
    LinkTest::SetUp();
    // Both ends of a thousand links in one process need more than is usual.
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
};

}  // namespace test
