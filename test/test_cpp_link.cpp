// SPDX-License-Identifier: MIT
// eshm.hpp over a living link: what a C++ program gets for its calls.
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "eshm.hpp"
#include "support/allocations.h"
#include "support/child.h"
#include "support/link.h"

namespace {

using namespace std::literals;
using eshm::Code;
using eshm::Config;
using eshm::Event;
using eshm::PeerState;
using eshm::Role;
using test::pause_ms;
using test::wait_until;

struct Sample {
  uint64_t number;
  double value;
};

class CppLink : public test::LinkTest {
 protected:
  Config config_of(Role role) const {
    return Config(name())
        .role(role)
        .backend(static_cast<eshm::Backend>(GetParam()))
        .stale_threshold(std::chrono::milliseconds(test::kPatientMs));
  }

  void open_both(Config master) {
    master_ = eshm::Link(master);
    slave_ = eshm::Link(config_of(Role::kSlave));
    // Unseen, a slave that leaves has never been there.
    wait_until([this] { return master_.peer_is_alive(); });
  }
  void open_both() { open_both(config_of(Role::kMaster)); }

  void TearDown() override {
    slave_ = {};
    master_ = {};
    LinkTest::TearDown();
  }

  eshm::Link master_;
  eshm::Link slave_;
};

// ---- configuration and time-outs ------------------------------------------------

TEST(CppConfig, BeginsWithTheDefaultsOfTheCInterface) {
  const Config config("name");
  const auto made = config.c_config();
  ASSERT_TRUE(made);
  EXPECT_STREQ(made->shm_name, "name");
  ESHMConfig expected = eshm_default_config(made->shm_name);
  EXPECT_EQ(std::memcmp(&*made, &expected, sizeof expected), 0);
}

TEST(CppConfig, CarriesEachSetterIntoItsField) {
  int context = 0;
  Config config("name");
  config.role(Role::kSlave)
      .backend(eshm::Backend::kSysV)
      .m2s(eshm::Channel().queue(1234).max_message_size(99).max_borrows(7).max_loans(8))
      .s2m(eshm::Channel().max_message_size(5))
      .stale_threshold(2s)
      .on_disconnect(eshm::OnDisconnect::kRetryForEver)
      .reconnect_wait(3s)
      .reconnect_retry_interval(20ms)
      .max_reconnect_attempts(4)
      .auto_cleanup(false)
      .use_threads(false)
      .thread_cpus("2,4-7")
      .thread_policy(SCHED_RR, 3)
      .spin(50us)
      .permissions(0660)
      .flags(ESHM_FLAG_TIMESTAMPS)
      .interrupt([](void*) { return 1; }, &context);
  const auto made = config.c_config();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->role, ESHM_ROLE_SLAVE);
  EXPECT_EQ(made->backend, ESHM_BACKEND_SYSV);
  EXPECT_EQ(made->m2s.delivery, ESHM_DELIVERY_QUEUE);
  EXPECT_EQ(made->m2s.queue_capacity, 1234u);
  EXPECT_EQ(made->m2s.max_message_size, 99u);
  EXPECT_EQ(made->m2s.max_borrows, 7u);
  EXPECT_EQ(made->m2s.max_loans, 8u);
  EXPECT_EQ(made->s2m.delivery, ESHM_DELIVERY_LATEST);
  EXPECT_EQ(made->s2m.max_message_size, 5u);
  EXPECT_EQ(made->stale_threshold_ms, 2000u);
  EXPECT_EQ(made->disconnect_behavior, ESHM_DISCONNECT_NEVER);
  EXPECT_EQ(made->reconnect_wait_ms, 3000u);
  EXPECT_EQ(made->reconnect_retry_interval_ms, 20u);
  EXPECT_EQ(made->max_reconnect_attempts, 4u);
  EXPECT_FALSE(made->auto_cleanup);
  EXPECT_FALSE(made->use_threads);
  EXPECT_STREQ(made->thread_cpus, "2,4-7");
  EXPECT_EQ(made->thread_policy, SCHED_RR);
  EXPECT_EQ(made->thread_priority, 3);
  EXPECT_EQ(made->spin_us, 50u);
  EXPECT_EQ(made->permissions, 0660u);
  EXPECT_EQ(made->flags, uint32_t{ESHM_FLAG_TIMESTAMPS});
  EXPECT_EQ(made->interrupt(nullptr), 1);
  EXPECT_EQ(made->interrupt_context, &context);
}

TEST(CppConfig, DoesNotWrapTimesThatDoNotFit) {
  EXPECT_EQ(Config("name").reconnect_wait(-1ms).c_config()->reconnect_wait_ms, 0u);
  EXPECT_EQ(Config("name").reconnect_wait(2000h).c_config()->reconnect_wait_ms, UINT32_MAX - 1);
}

TEST(CppTimeout, IsNeverShorterThanAskedNorEndlessByAccident) {
  EXPECT_EQ(eshm::Timeout(0s).ms(), 0u);
  EXPECT_EQ(eshm::Timeout(1ns).ms(), 1u);
  EXPECT_EQ(eshm::Timeout(1ms).ms(), 1u);
  EXPECT_EQ(eshm::Timeout(1'000'001ns).ms(), 2u);
  EXPECT_EQ(eshm::Timeout(3s).ms(), 3000u);
  EXPECT_EQ(eshm::Timeout(std::chrono::duration<double>(0.0105)).ms(), 11u);
  EXPECT_EQ(eshm::Timeout(-5ms).ms(), 0u);
  EXPECT_EQ(eshm::Timeout(4294967294ms).ms(), UINT32_MAX - 1);
  EXPECT_EQ(eshm::Timeout(4294967295ms).ms(), UINT32_MAX - 1);
  EXPECT_EQ(eshm::Timeout(std::chrono::hours::max()).ms(), UINT32_MAX - 1);
  EXPECT_EQ(eshm::kForEver.ms(), ESHM_WAIT_FOREVER);
}

// ---- errors -----------------------------------------------------------------------

TEST_P(CppLink, ConstructorThrowsCodeAndSentence) {
  master_ = eshm::Link(config_of(Role::kMaster));
  try {
    const eshm::Link second(config_of(Role::kMaster));
    FAIL() << "a second master";
  } catch (const eshm::Error& error) {
    EXPECT_EQ(error.code(), Code::kRoleMismatch);
    EXPECT_TRUE(test::names_number(error.what(), getpid())) << error.what();
  }
}

TEST_P(CppLink, OpenAnswersTheSameAsAValue) {
  auto first = eshm::Link::open(config_of(Role::kMaster));
  ASSERT_TRUE(first) << first.what();
  EXPECT_TRUE(*first);
  auto second = eshm::Link::open(config_of(Role::kMaster));
  EXPECT_EQ(second.code(), Code::kRoleMismatch);
  EXPECT_TRUE(test::names_number(second.what(), getpid())) << second.what();
  EXPECT_FALSE(*second) << "an empty link";
}

TEST_P(CppLink, SlaveGivesUpByItsPolicy) {
  auto slave = eshm::Link::open(config_of(Role::kSlave).max_reconnect_attempts(1));
  EXPECT_EQ(slave.code(), Code::kTimeout);
}

TEST_P(CppLink, EmptyLinkRefusesEveryCall) {
  eshm::Link empty;
  char buffer[8];
  EXPECT_FALSE(empty);
  EXPECT_EQ(empty.write("text"sv).code(), Code::kInvalidParam);
  EXPECT_EQ(empty.read(buffer).code(), Code::kInvalidParam);
  EXPECT_EQ(empty.read_msg(buffer).code(), Code::kInvalidParam);
  EXPECT_EQ(empty.loan(1).code(), Code::kInvalidParam);
  EXPECT_EQ(empty.borrow().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.fd().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.beat().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.hold_heartbeat(true).code(), Code::kInvalidParam);
  EXPECT_EQ(empty.role().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.state().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.stats().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.stats_ex().code(), Code::kInvalidParam);
  EXPECT_EQ(empty.on_event([](Event) {}).code(), Code::kInvalidParam);
  EXPECT_EQ(empty.close().code(), Code::kInvalidParam);
  EXPECT_FALSE(empty.peer_is_alive());
}

TEST_P(CppLink, ForkedChildIsRefusedAndItsCopyEndsWithoutHarm) {
  open_both();
  test::Child child([this](test::Wire&) {
    eshm::Link inherited = std::move(master_);
    CHILD_CHECK(inherited.write("text"sv).code() == Code::kNotInitialized);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
  char buffer[8];
  EXPECT_TRUE(master_.write("text"sv));
  EXPECT_TRUE(slave_.read(buffer, eshm::kNoWait));
}

// ---- talking ----------------------------------------------------------------------

TEST_P(CppLink, CarriesBytesOfEveryKindOfRange) {
  open_both();
  const auto arrives = [this](eshm::Bytes sent) {
    std::vector<unsigned char> got(sent.size() + 1);
    EXPECT_TRUE(master_.write(sent));
    const auto size = slave_.read(got, eshm::kNoWait);
    EXPECT_TRUE(size) << size.what();
    EXPECT_EQ(*size, sent.size());
    return std::memcmp(got.data(), sent.data(), sent.size()) == 0;
  };
  const std::vector<uint32_t> numbers = {1, 2, 3};
  const double doubles[] = {0.5, 1.5};
  const std::array<std::byte, 2> bytes = {std::byte{7}, std::byte{8}};
  const Sample sample = {5, 2.5};
  EXPECT_TRUE(arrives("text"sv));
  EXPECT_TRUE(arrives(std::string("text")));
  EXPECT_TRUE(arrives(numbers));
  EXPECT_TRUE(arrives(doubles));
  EXPECT_TRUE(arrives(bytes));
  EXPECT_TRUE(arrives(eshm::span<const std::byte>(bytes)));
  EXPECT_TRUE(arrives({&sample, sizeof sample}));
  EXPECT_TRUE(arrives(eshm::bytes_of(sample)));
}

TEST_P(CppLink, ReadsIntoAPlainObject) {
  open_both();
  ASSERT_TRUE(slave_.write(eshm::bytes_of(Sample{5, 2.5})));
  Sample got = {};
  const auto size = master_.read(eshm::room_of(got));
  ASSERT_TRUE(size) << size.what();
  EXPECT_EQ(*size, sizeof got);
  EXPECT_EQ(got.number, 5u);
  EXPECT_EQ(got.value, 2.5);
}

TEST_P(CppLink, CarriesAnEmptyMessageAsAnEvent) {
  open_both();
  ASSERT_TRUE(master_.write(nullptr, 0));
  const auto size = slave_.read({nullptr, 0}, eshm::kNoWait);
  EXPECT_TRUE(size) << size.what();
  EXPECT_EQ(*size, 0u);
}

TEST_P(CppLink, TellsTheSizeThatABufferNeedsAndKeepsTheMessage) {
  open_both();
  ASSERT_TRUE(master_.write("twelve bytes"sv));
  std::array<char, 5> small;
  const auto size = slave_.read(small, eshm::kNoWait);
  EXPECT_EQ(size.code(), Code::kBufferTooSmall);
  EXPECT_EQ(*size, 12u);
  const auto info = slave_.read_msg(small, eshm::kNoWait);
  EXPECT_EQ(info.code(), Code::kBufferTooSmall);
  EXPECT_EQ(info->size, 12u);
  std::vector<char> enough(*size);
  EXPECT_TRUE(slave_.read(enough, eshm::kNoWait));
  EXPECT_EQ(std::string(enough.data(), enough.size()), "twelve bytes");
}

TEST_P(CppLink, RefusesWhatIsLargerThanTheChannel) {
  open_both();
  EXPECT_EQ(master_.write(std::vector<char>(ESHM_MAX_DATA_SIZE + 1)).code(), Code::kBufferTooSmall);
}

TEST_P(CppLink, WaitsForTheWholeTimeoutAndNotAtAllForNone) {
  open_both();
  char buffer[8];
  EXPECT_EQ(slave_.read(buffer, eshm::kNoWait).code(), Code::kNoData);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(slave_.read(buffer, 30ms).code(), Code::kTimeout);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
}

TEST_P(CppLink, TellsNumberMissedAndAgeOfAMessage) {
  open_both(config_of(Role::kMaster).flags(ESHM_FLAG_TIMESTAMPS));
  Sample sample = {};
  for (uint64_t number = 1; number <= 3; ++number) {
    ASSERT_TRUE(master_.write(eshm::bytes_of(Sample{number, 0})));
  }
  pause_ms(5);
  const auto info = slave_.read_msg(eshm::room_of(sample), eshm::kNoWait);
  ASSERT_TRUE(info) << info.what();
  EXPECT_EQ(sample.number, 3u);
  EXPECT_EQ(info->sequence, 3u);
  EXPECT_EQ(info->missed, 2u);
  EXPECT_EQ(info->size, sizeof sample);
  EXPECT_GE(info->generation, 1u);
  EXPECT_GE(eshm::age(*info), 5ms);
}

// 0 would mean the struct of the first release, however large this header's is.
TEST_P(CppLink, NamesTheSizeOfEachStructThatTheLibraryFills) {
  open_both();
  char buffer[8];
  ASSERT_TRUE(master_.write("text"sv));
  const auto info = slave_.read_msg(buffer, eshm::kNoWait);
  ASSERT_TRUE(info) << info.what();
  EXPECT_EQ(info->struct_size, sizeof(ESHMMessageInfo));
  const auto stats = slave_.stats_ex();
  ASSERT_TRUE(stats) << stats.what();
  EXPECT_EQ(stats->struct_size, sizeof(ESHMStatsEx));
}

TEST_P(CppLink, AgeIsZeroWithoutTimeStamps) {
  open_both();
  char buffer[8];
  ASSERT_TRUE(master_.write("text"sv));
  const auto info = slave_.read_msg(buffer, eshm::kNoWait);
  ASSERT_TRUE(info) << info.what();
  EXPECT_EQ(eshm::age(*info), 0ns);
}

TEST_P(CppLink, CarriesMessagesWithoutAnAllocation) {
  open_both();
  Sample sample = {};
  uint64_t arrived = 0;
  const uint64_t before = test::allocations();
  for (uint64_t number = 1; number <= 1000; ++number) {
    if (!master_.write(eshm::bytes_of(Sample{number, 0}))) break;
    if (slave_.read(eshm::room_of(sample), 100ms) && sample.number == number) ++arrived;
    if (slave_.read(eshm::room_of(sample), eshm::kNoWait)) break;
  }
  EXPECT_EQ(test::allocations(), before);
  EXPECT_EQ(arrived, 1000u);
}

// ---- life of the object ------------------------------------------------------------

TEST_P(CppLink, GoesOnAfterAMoveAndLeavesAnEmptyOneBehind) {
  open_both();
  eshm::Link moved(std::move(master_));
  char buffer[8];
  EXPECT_FALSE(master_);  // NOLINT: it is empty, that is the point
  ASSERT_TRUE(moved.write("text"sv));
  EXPECT_TRUE(slave_.read(buffer, eshm::kNoWait));
  master_ = std::move(moved);
  EXPECT_TRUE(master_.write("more"sv));
  EXPECT_TRUE(slave_.peer_is_alive()) << "nobody left";
}

TEST_P(CppLink, LeavesWhenItIsAssignedAnotherOne) {
  open_both();
  slave_ = {};
  wait_until([this] { return *master_.state() == PeerState::kLeft; });
}

TEST_P(CppLink, CloseLeavesOnceAndEmptiesTheLink) {
  open_both();
  EXPECT_TRUE(slave_.close());
  EXPECT_FALSE(slave_);
  EXPECT_EQ(slave_.close().code(), Code::kInvalidParam);
  wait_until([this] { return *master_.state() == PeerState::kLeft; });
}

TEST_P(CppLink, KnowsItsRoleItsPeerAndItsCounts) {
  open_both();
  EXPECT_EQ(*master_.role(), Role::kMaster);
  EXPECT_EQ(*slave_.role(), Role::kSlave);
  EXPECT_EQ(*slave_.state(), PeerState::kAlive);
  EXPECT_TRUE(slave_.peer_is_alive());
  char buffer[8];
  ASSERT_TRUE(master_.write("text"sv));
  ASSERT_TRUE(slave_.read(buffer));
  EXPECT_TRUE(master_.beat());
  EXPECT_TRUE(master_.hold_heartbeat(true));
  EXPECT_TRUE(master_.hold_heartbeat(false));
  const auto stats = slave_.stats();
  ASSERT_TRUE(stats) << stats.what();
  EXPECT_EQ(stats->master_pid, getpid());
  EXPECT_EQ(stats->m2s_write_count, 1u);
  const auto more = slave_.stats_ex();
  ASSERT_TRUE(more) << more.what();
  EXPECT_EQ(more->messages_read, 1u);
  EXPECT_EQ(more->max_read_size, uint64_t{ESHM_MAX_DATA_SIZE});
}

// ---- events -------------------------------------------------------------------------

TEST_P(CppLink, TellsEventsToAListenerOfAnyType) {
  std::atomic<int> connected{0}, left{0};
  open_both();
  ASSERT_TRUE(master_.on_event([&, unique = std::make_unique<int>(1)](Event event) {
    if (event == Event::kConnected) connected += *unique;
    if (event == Event::kLeft) left += *unique;
  }));
  wait_until([&] { return connected > 0; });
  slave_ = {};
  wait_until([&] { return left > 0; });
  EXPECT_EQ(connected, 1);
}

TEST_P(CppLink, KeepsItsListenerThroughAMoveAndEndsItWithTheLink) {
  auto left = std::make_shared<std::atomic<bool>>(false);
  open_both();
  ASSERT_TRUE(master_.on_event([left](Event event) {
    if (event == Event::kLeft) *left = true;
  }));
  eshm::Link moved(std::move(master_));
  EXPECT_EQ(left.use_count(), 2);
  slave_ = {};
  wait_until([&] { return left->load(); });
  moved = {};
  EXPECT_EQ(left.use_count(), 1);
}

TEST_P(CppLink, EndsAListenerThatIsExchangedOrTakenAway) {
  auto first = std::make_shared<int>(), second = std::make_shared<int>();
  master_ = eshm::Link(config_of(Role::kMaster));
  ASSERT_TRUE(master_.on_event([first](Event) {}));
  EXPECT_EQ(first.use_count(), 2);
  ASSERT_TRUE(master_.on_event([second](Event) {}));
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(second.use_count(), 2);
  ASSERT_TRUE(master_.no_events());
  EXPECT_EQ(second.use_count(), 1);
}

TEST_P(CppLink, ListenerCanTalkButNotEndTheLinkNorExchangeItself) {
  std::atomic<bool> is_over{false};
  open_both();
  ASSERT_TRUE(master_.on_event([&](Event) {
    EXPECT_EQ(master_.close().code(), Code::kInvalidParam);
    EXPECT_EQ(master_.on_event([](Event) {}).code(), Code::kInvalidParam);
    EXPECT_EQ(master_.no_events().code(), Code::kInvalidParam);
    EXPECT_TRUE(master_.write("from a listener"sv));
    is_over = true;
  }));
  std::array<char, 32> buffer;
  const auto size = slave_.read(buffer, eshm::kForEver);
  ASSERT_TRUE(size) << size.what();
  EXPECT_EQ(std::string_view(buffer.data(), *size), "from a listener");
  wait_until([&] { return is_over.load(); });
  EXPECT_TRUE(master_) << "it stayed";
  EXPECT_TRUE(master_.no_events());
}

TEST(CppWaitAny, RefusesMoreLinksThanTheLibraryAndNamesTheLimit) {
  static_assert(eshm::kMaxLinks == ESHM_MAX_WAIT);
  const std::vector<eshm::Link> links(eshm::kMaxLinks + 1);
  const auto too_many = eshm::wait_any(links, eshm::kNoWait);
  EXPECT_EQ(too_many.code(), Code::kInvalidParam);
  EXPECT_TRUE(test::names_number(too_many.what(), ESHM_MAX_WAIT)) << too_many.what();
  const std::vector<ESHMHandle*> handles(ESHM_MAX_WAIT + 1);
  const auto same = eshm::wait_any(eshm::span<ESHMHandle* const>(handles.data(), handles.size()),
                                   eshm::kNoWait);
  EXPECT_EQ(same.code(), Code::kInvalidParam);
  EXPECT_TRUE(test::names_number(same.what(), ESHM_MAX_WAIT)) << same.what();
  // So many are not too many; here all are empty.
  const std::vector<eshm::Link> most(eshm::kMaxLinks);
  const auto empty = eshm::wait_any(most, eshm::kNoWait);
  EXPECT_EQ(empty.code(), Code::kInvalidParam);
  EXPECT_FALSE(test::names_number(empty.what(), ESHM_MAX_WAIT)) << empty.what();
}

ESHM_ON_BOTH_BACKENDS(CppLink);

}  // namespace
