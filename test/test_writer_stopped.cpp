// SPDX-License-Identifier: MIT
// A writer stopped or killed in the middle of its writes: the reader has the
// last good value at once, with no waiting at all (time-out 0).
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <new>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"

namespace {

using namespace test;

constexpr size_t kLargest = 64 * 1024;  // most of the time passes inside eshm_write

// What a writer has told a test outside the library.
struct Progress {
  std::atomic<uint64_t> begun{0};    // a write of that number may be half done
  std::atomic<uint64_t> written{0};  // a write of that number was answered
};

class WriterStopped : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    void* memory =
        mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    progress_ = new (memory) Progress;
  }

  void TearDown() override {
    munmap(progress_, sizeof(Progress));
    LinkTest::TearDown();
  }

  // Writes numbered messages until it is killed. The numbers go on where the
  // last writer's ended.
  Child writing_master() {
    return Child([this](Wire& wire) {
      ESHMConfig large = config(ESHM_ROLE_MASTER);
      large.m2s.max_message_size = kLargest;
      const Link link = open_link(large);
      CHILD_CHECK(link);
      // The payloads are made beforehand: of the loop, most is eshm_write.
      constexpr uint64_t kPayloads = 16;
      std::vector<std::vector<char>> payloads(kPayloads, std::vector<char>(kLargest));
      for (uint64_t i = 0; i < kPayloads; ++i) {
        fill_pattern(payloads[i].data() + 8, kLargest - 8, i);
      }
      wire.say("open");
      for (uint64_t number = progress_->begun + 1;; ++number) {
        std::vector<char>& payload = payloads[number % kPayloads];
        std::memcpy(payload.data(), &number, sizeof number);
        progress_->begun = number;
        CHILD_CHECK(eshm_write(link.get(), payload.data(), size_of(number)) == ESHM_SUCCESS);
        progress_->written = number;
      }
      return 0;
    });
  }

  static size_t size_of(uint64_t number) { return 8 + pattern_size(number, kLargest - 8); }

  // The number of the newest unread message, proved to be whole; 0: none.
  uint64_t read_number(ESHMHandle* link) {
    size_t bytes = 0;
    const int code = eshm_read_ex(link, buffer_.data(), kLargest, &bytes, 0);
    if (code == ESHM_ERROR_NO_DATA) return 0;
    EXPECT_EQ(code, ESHM_SUCCESS) << last_error();
    if (code != ESHM_SUCCESS) return 0;
    uint64_t number = 0;
    std::memcpy(&number, buffer_.data(), sizeof number);
    EXPECT_EQ(bytes, size_of(number));
    EXPECT_TRUE(is_pattern(buffer_.data() + 8, bytes - 8, number % 16)) << number;
    return number;
  }

  // A write whose last step was missing may be seen complete at a second look;
  // anything else would be the same message twice. The newest number read.
  uint64_t expect_nothing_but_the_write_in_flight(ESHMHandle* link, uint64_t read, uint64_t begun) {
    const uint64_t next = read_number(link);
    if (next == 0) return read;
    EXPECT_GT(next, read) << "the same message twice";
    EXPECT_EQ(next, begun);
    EXPECT_EQ(read_number(link), 0u);
    return next;
  }

  // Of a writer that stands still or is dead. The newest number read.
  uint64_t expect_last_good_value(ESHMHandle* link, uint64_t last) {
    const uint64_t written = progress_->written, begun = progress_->begun;
    const uint64_t number = read_number(link);
    EXPECT_GE(number, written) << "after " << last;
    EXPECT_LE(number, begun);
    EXPECT_GT(number, last);
    return expect_nothing_but_the_write_in_flight(link, number, begun);
  }

  uint64_t wait_for_newer(ESHMHandle* link, uint64_t last) {
    uint64_t next = 0;
    wait_until([&] { return (next = read_number(link)) != 0; });
    EXPECT_GT(next, last);
    return next;
  }

  void wait_for_writes(uint64_t more) const {
    const uint64_t goal = progress_->written + more;
    wait_until([&] { return progress_->written >= goal; });
  }

  Progress* progress_ = nullptr;
  std::vector<char> buffer_ = std::vector<char>(kLargest);
  Random random_;
};

TEST_P(WriterStopped, LaggingReaderHasTheLastGoodValue) {
  Child writer = writing_master();
  ASSERT_EQ(writer.hear(), "open");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  uint64_t last = 0;
  for (uint64_t round = 1; round <= count(150, 20000); ++round) {
    wait_for_writes(2);
    usleep(static_cast<useconds_t>(random_.up_to(200)));
    writer.stop();
    last = expect_last_good_value(slave.get(), last);
    if (HasFailure()) return;
    writer.go_on();
    // What comes after the stop is read as well.
    wait_for_writes(2);
    last = wait_for_newer(slave.get(), last);
  }
  writer.kill_now();  // the slave is then the last one out
}

TEST_P(WriterStopped, FreshReaderHasTheLastGoodValue) {
  Child writer = writing_master();
  ASSERT_EQ(writer.hear(), "open");
  for (uint64_t round = 1; round <= count(60, 5000); ++round) {
    wait_for_writes(2);
    usleep(static_cast<useconds_t>(random_.up_to(200)));
    writer.stop();
    const uint64_t written = progress_->written, begun = progress_->begun;
    const Link slave = open_link(at_once(config(ESHM_ROLE_SLAVE)));
    ASSERT_TRUE(slave) << last_error();
    const uint64_t number = read_number(slave.get());
    ASSERT_GE(number, written);
    ASSERT_LE(number, begun);
    writer.go_on();
  }
  writer.kill_now();
  remove_name_of_the_killed();
}

TEST_P(WriterStopped, ReaderOfAKilledWriterHasTheLastGoodValue) {
  Child writer = writing_master();
  ASSERT_EQ(writer.hear(), "open");
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  uint64_t last = 0;
  for (uint64_t round = 1; round <= count(25, 2000); ++round) {
    wait_for_writes(2);
    usleep(static_cast<useconds_t>(random_.up_to(500)));
    writer.kill_now();
    last = expect_last_good_value(slave.get(), last);
    if (HasFailure()) return;

    writer = writing_master();
    ASSERT_EQ(writer.hear(), "open");
    last = wait_for_newer(slave.get(), last);
  }
  writer.kill_now();
}

ESHM_ON_BOTH_BACKENDS(WriterStopped);

}  // namespace
