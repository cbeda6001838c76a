// SPDX-License-Identifier: MIT
// Both ends of a queue end again and again, killed or by themselves, in every order, each
// some 50 ms, and one of them stays away for long now and then: nothing is lost.
#include <unistd.h>

#include <cstring>
#include <memory>

#include "support/counts.h"
#include "support/pattern.h"
#include "support/queues.h"
#include "support/shared_page.h"

namespace {

using namespace test;

struct Ledger {
  std::atomic<uint64_t> written{0};  // numbers whose write has returned
  std::atomic<uint64_t> read{0};     // newest number that was read
  std::atomic<uint64_t> sequence{0};  // and its sequence number
  std::atomic<uint64_t> repeats{0};  // messages that came again
  std::atomic<uint64_t> broken{0};   // gaps, torn messages, sequences that contradict
};

constexpr size_t kMost = 600;

size_t make_message(unsigned char* message, uint64_t number) {
  const size_t size = 8 + pattern_size(number, kMost - 8);
  std::memcpy(message, &number, 8);
  fill_pattern(message + 8, size - 8, number);
  return size;
}

bool parse(const unsigned char* message, size_t size, uint64_t& number) {
  if (size < 8) return false;
  std::memcpy(&number, message, 8);
  return size == 8 + pattern_size(number, kMost - 8) &&
         is_pattern(message + 8, size - 8, number);
}

// Its predecessor may have been killed between a write and its note: then the same number
// is written twice, and the second one has a sequence number of its own.
int produce(const ESHMConfig& config, Ledger& ledger, Wire& wire) {
  const Link link = open_link(config);
  wire.say(outcome(link));
  if (!link) return 1;
  unsigned char message[kMost];
  while (!wire.has_news()) {
    const uint64_t number = ledger.written + 1;
    const size_t size = make_message(message, number);
    const int code = eshm_write_ex(link.get(), message, size, 5);
    if (code == ESHM_SUCCESS) {
      ledger.written = number;
    } else if (code != ESHM_ERROR_TIMEOUT) {
      ++ledger.broken;
      return 1;
    }
    if (number % 64 == 0) usleep(useconds_t(mix(number) % 1000));
  }
  return 0;
}

int consume(const ESHMConfig& config, Ledger& ledger, Wire& wire) {
  const Link link = open_link(config);
  wire.say(outcome(link));
  if (!link) return 1;
  unsigned char message[kMost];
  while (!wire.has_news()) {
    ESHMMessageInfo info = {};
    const int code = eshm_read_msg(link.get(), message, sizeof message, &info, 5);
    if (code == ESHM_ERROR_TIMEOUT) continue;
    uint64_t number = 0;
    if (code != ESHM_SUCCESS || !parse(message, info.size, number)) {
      ++ledger.broken;
      return 1;
    }
    const uint64_t last = ledger.read;
    if (number == last + 1) {
      if (info.sequence <= ledger.sequence) ++ledger.broken;
      ledger.read = number;  // first: who is killed behind it reads the same number again
      ledger.sequence = info.sequence;
    } else if (number <= last && (number == last || info.sequence <= ledger.sequence)) {
      ++ledger.repeats;
      if (info.sequence > ledger.sequence) ledger.sequence = info.sequence;
    } else {
      ++ledger.broken;
      return 1;
    }
  }
  return 0;
}

class RestartStorms : public QueueTest {
 protected:
  ESHMConfig kept(ESHMRole role) const {
    ESHMConfig config = for_ever(queues(role, 16384, kMost));
    config.stale_threshold_ms = kPatientMs;
    config.auto_cleanup = false;
    return config;
  }

  // Producer and consumer, by number.
  struct End {
    ESHMRole role;
    bool produces;
    std::unique_ptr<Child> child;
    bool is_open = false;
  };

  void begin(End& end) {
    end.child = std::make_unique<Child>([&, config = kept(end.role)](Wire& wire) {
      return end.produces ? produce(config, *ledger_, wire) : consume(config, *ledger_, wire);
    });
    end.is_open = false;
  }
  static void wait_until_open(End& end) {
    if (end.is_open) return;
    ASSERT_EQ(end.child->hear(), "open");
    end.is_open = true;
  }
  // A slave without a master waits in eshm_init, and hears nothing.
  static void end(End& end, bool is_killed) {
    if (is_killed || !end.is_open) {
      end.child->kill_now();
    } else {
      end.child->say("leave");
      EXPECT_EQ(end.child->join(), 0);
    }
    end.child.reset();
  }

  void storm(ESHMRole producer) {
    Random random;
    const bool one_must_live = GetParam() == ESHM_BACKEND_SYSV;
    End ends[2] = {{producer, true, nullptr},
                   {producer == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER, false,
                    nullptr}};
    for (End& one : ends) begin(one);
    for (End& one : ends) wait_until_open(one);
    const uint64_t rounds = count(25, UINT64_MAX);
    const uint64_t most = count(UINT64_MAX, 1'000'000);
    uint64_t ended = 0;
    for (uint64_t round = 0; round < rounds && ledger_->read < most && ledger_->broken == 0;
         ++round) {
      pause_ms(unsigned(random.up_to(50)));
      const uint64_t first = random.up_to(1);
      const bool both = !one_must_live && random.up_to(1) == 0;
      end(ends[first], random.up_to(3) != 0);
      ++ended;
      if (both) {
        pause_ms(unsigned(random.up_to(5)));
        end(ends[1 - first], random.up_to(3) != 0);
        ++ended;
      }
      pause_ms(unsigned(random.up_to(9) == 0 ? 300 : random.up_to(10)));
      const uint64_t begun = random.up_to(1);
      for (const uint64_t i : {begun, 1 - begun}) {
        if (ends[i].child == nullptr) begin(ends[i]);
      }
      // Not always: the next end may find one that is still on its way.
      if (one_must_live || random.up_to(1) == 0) {
        for (End& one : ends) wait_until_open(one);
      }
    }
    for (End& one : ends) wait_until_open(one);
    end(ends[0], false);
    wait_until([&] { return ledger_->read >= ledger_->written || ledger_->broken != 0; });
    EXPECT_EQ(ledger_->broken, 0u) << "after " << ledger_->read << " of " << ledger_->written;
    EXPECT_LE(ledger_->repeats, 2 * ended) << "what was in hand, or not noted, at each end";
    end(ends[1], false);
    RecordProperty("messages", std::to_string(ledger_->read));
    printf("%llu messages, %llu ends, %llu came again\n", (unsigned long long)ledger_->read,
           (unsigned long long)ended, (unsigned long long)ledger_->repeats);
    ledger_.reset();
    unlink(path().c_str());
  }

  const SharedPage<Ledger> ledger_;
};

TEST_P(RestartStorms, NothingFromAMasterIsLost) { storm(ESHM_ROLE_MASTER); }

TEST_P(RestartStorms, NothingFromASlaveIsLost) { storm(ESHM_ROLE_SLAVE); }

ESHM_ON_BOTH_BACKENDS(RestartStorms);

}  // namespace
