// SPDX-License-Identifier: MIT
// What another thread may do while one stands at any instruction of a call: fork,
// ask for that thread's end, or turn the process into another program. The child of
// the fork is refused at once, the process itself goes on; so does whoever is left
// when the thread has ended; and what became another program has lost its role.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "crash/reporting.h"
#include "crash/stepper.h"
#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/player.h"

namespace {

using namespace test;

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() { EXPECT_EQ(pipe(ends), 0); }
  ~Pipe() {
    close(ends[0]);
    close(ends[1]);
  }
  void say(char word) const { EXPECT_EQ(write(ends[1], &word, 1), 1); }
  char hear() const {
    char word = 0;
    return read(ends[0], &word, 1) == 1 ? word : 0;
  }
  bool has_news() const {
    pollfd news = {ends[0], POLLIN, 0};
    return poll(&news, 1, 20) == 1;
  }
};

enum class Call { kWrite, kRead, kReadWaiting, kSleepFirst };
constexpr Call kCalls[] = {Call::kWrite, Call::kRead, Call::kReadWaiting};
constexpr char kYes = 'y', kNo = 'n';
const Part kPart{count(601, 16)};

class ForkedInACall : public LinkTest {
 protected:
  ESHMConfig quiet(ESHMRole role) const {
    ESHMConfig quiet = for_ever(config(role));
    quiet.use_threads = false;
    quiet.spin_us = 0;
    quiet.stale_threshold_ms = 600'000;
    quiet.m2s.delivery = quiet.s2m.delivery = ESHM_DELIVERY_QUEUE;
    quiet.m2s.queue_capacity = quiet.s2m.queue_capacity = 1024;
    quiet.m2s.max_message_size = quiet.s2m.max_message_size = 48;
    return quiet;
  }
  bool fork_at(Call call, uint64_t step, bool has_a_fault);
  // Whether it stood in the call; the thread must return from it, and be told so.
  bool cancel_at(Call call, uint64_t step, bool& returns);
  // `keeps_role`: the new program inherits what holds the role.
  bool exec_at(Call call, uint64_t step, bool keeps_role);

  uint64_t points_ = 0;
};

int make(Call call, ESHMHandle* link) {
  if (call == Call::kSleepFirst) pause_ms(1);  // where a thread may end
  if (call == Call::kWrite || call == Call::kSleepFirst) return write_text(link, "word");
  char buffer[48];
  return eshm_read_ex(link, buffer, sizeof buffer, nullptr, call == Call::kRead ? 0 : 1);
}

bool is_fine(Call call, int code) {
  return code == (call == Call::kRead          ? ESHM_ERROR_NO_DATA
                  : call == Call::kReadWaiting ? ESHM_ERROR_TIMEOUT
                                               : ESHM_SUCCESS);
}

bool refuses_all(ESHMHandle* link) {
  char buffer[48];
  void* loan = nullptr;
  ESHMView view = {};
  return write_text(link, "x") == ESHM_ERROR_NOT_INITIALIZED &&
         eshm_read_ex(link, buffer, sizeof buffer, nullptr, 1) == ESHM_ERROR_NOT_INITIALIZED &&
         eshm_loan(link, 8, &loan) == ESHM_ERROR_NOT_INITIALIZED &&
         eshm_borrow(link, &view, 1) == ESHM_ERROR_NOT_INITIALIZED &&
         eshm_update_heartbeat(link) == ESHM_ERROR_NOT_INITIALIZED;
}

// `has_a_fault`: the fork's child asks the link of its own, which is not refused.
char answer_of_a_fork(ESHMHandle* link, bool has_a_fault) {
  const pid_t pid = fork();
  if (pid == 0) {
    arm_watchdog();
    _exit(refuses_all(link) && !has_a_fault ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? kYes : kNo;
}

bool ForkedInACall::fork_at(Call call, uint64_t step, bool has_a_fault) {
  const Pipe order, answer;
  Stepper child([&] {
    const Link link = open_link(quiet(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    std::thread other([&] {
      if (order.hear() == kYes) answer.say(answer_of_a_fork(link.get(), has_a_fault));
    });
    mark();
    const int code = make(call, link.get());
    mark();
    other.join();
    CHILD_CHECK(is_fine(call, code));
    CHILD_CHECK(write_text(link.get(), "last") == ESHM_SUCCESS);
    return 0;
  });
  EXPECT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  bool is_inside = true;
  const auto go_on = [&] {
    if (is_inside) is_inside = child.step() == Stepper::Stop::kStepped;
  };
  for (uint64_t i = 0; i < step && is_inside; ++i) go_on();
  const bool was_inside = is_inside;
  order.say(kYes);
  // A fork may wait for what the thread that stands still holds.
  while (!answer.has_news()) go_on();
  EXPECT_EQ(answer.hear(), has_a_fault ? kNo : kYes) << "the fork's child is not refused";
  EXPECT_EQ(child.finish(), 0);
  return was_inside && !HasFailure();
}

// Where a thread's end has unwound everything below, it stays: above are frames
// of the test's framework, which would keep it from ending.
class EndOfAThread {
 public:
  explicit EndOfAThread(std::atomic<bool>& is_reached) : is_reached_(is_reached) {}
  ~EndOfAThread() {
    is_reached_ = true;
    for (;;) pause();
  }

 private:
  std::atomic<bool>& is_reached_;
};

bool ForkedInACall::cancel_at(Call call, uint64_t step, bool& returns) {
  const Pipe order, answer;
  Stepper child([&]() -> int {
    static Link link;  // of the process, not of the thread that ends
    link = open_link(quiet(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    const pthread_t first = pthread_self();
    static std::atomic<bool> has_ended{false};
    std::thread([&order, &answer, first] {
      order.hear();
      pthread_cancel(first);
      answer.say(kYes);
      order.hear();
      while (!has_ended) pause_ms(1);
      const bool goes_on = write_text(link.get(), "last") == ESHM_SUCCESS;
      link.reset();
      _exit(goes_on ? 0 : 1);
    }).detach();
    const EndOfAThread end(has_ended);
    mark();
    const int code = make(call, link.get());
    mark();
    CHILD_CHECK(is_fine(call, code));
    pthread_testcancel();
    child_failed(__FILE__, __LINE__, "the thread ends");
  });
  EXPECT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  bool is_inside = true;
  for (uint64_t i = 0; i < step && is_inside; ++i) {
    is_inside = child.step() == Stepper::Stop::kStepped;
  }
  order.say(kYes);
  answer.hear();
  order.say(kYes);  // the last one ends the process
  returns = !is_inside || child.run_to_mark() == Stepper::Stop::kMarked;
  EXPECT_EQ(child.finish(), 0);
  return is_inside && !HasFailure();
}

void keep_all_descriptors() {
  for (int fd = 3; fd < 64; ++fd) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags >= 0) fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
  }
}

std::string program_of(pid_t pid) {
  std::string name;
  std::getline(std::ifstream("/proc/" + std::to_string(pid) + "/comm"), name);
  return name;
}

bool ForkedInACall::exec_at(Call call, uint64_t step, bool keeps_role) {
  const Pipe order;
  auto input = std::make_unique<Pipe>();
  Stepper child([&] {
    const Link link = open_link(quiet(ESHM_ROLE_MASTER));
    CHILD_CHECK(link);
    std::thread other([&] {
      if (order.hear() != kYes) return;
      if (keeps_role) keep_all_descriptors();
      dup2(input->ends[0], STDIN_FILENO);
      close(input->ends[0]);
      close(input->ends[1]);
      execlp("cat", "cat", nullptr);
      child_failed(__FILE__, __LINE__, "exec");
    });
    mark();
    const int code = make(call, link.get());
    mark();
    other.join();
    CHILD_CHECK(is_fine(call, code));
    return 1;
  });
  EXPECT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  const Link slave = open_link(at_once(quiet(ESHM_ROLE_SLAVE)));
  EXPECT_TRUE(slave) << last_error();
  bool is_inside = true;
  for (uint64_t i = 0; i < step && is_inside; ++i) {
    is_inside = child.step() == Stepper::Stop::kStepped;
  }
  order.say(kYes);
  wait_until([&] { return program_of(child.pid()) == "cat"; });
  if (keeps_role) {
    for (int look = 0; look < 50; ++look) {
      EXPECT_NE(remote_state(slave.get()), ESHM_PEER_DEAD) << "the role was free";
      pause_ms(1);
    }
  } else {
    wait_for_state(slave.get(), ESHM_PEER_DEAD);
    const Link next = open_link(at_once(quiet(ESHM_ROLE_MASTER)));
    EXPECT_TRUE(next) << last_error();
    EXPECT_EQ(write_text(next.get(), "from the next"), ESHM_SUCCESS);
    // What the call had written before counts.
    std::string text = read_text(slave.get(), UINT32_MAX);
    if (text == "word") text = read_text(slave.get(), UINT32_MAX);
    EXPECT_EQ(text, "from the next");
    EXPECT_EQ(program_of(child.pid()), "cat") << "all this beside the living process";
  }
  input.reset();  // the end of what it copies
  EXPECT_EQ(child.finish(), 0);
  return is_inside && !HasFailure();
}

TEST_P(ForkedInACall, ChildIsRefusedAndTheParentGoesOn) {
  SKIP_WITHOUT_STEPS();
  for (const Call call : kCalls) {
    for (uint64_t step = kPart.begin; fork_at(call, step, false); step += kPart.stride) ++points_;
    ASSERT_FALSE(HasFailure()) << "call " << static_cast<int>(call) << ", ESHM_SEED=" << seed();
  }
  std::printf("%s: %llu forks\n", kPart.text().c_str(), static_cast<unsigned long long>(points_));
  EXPECT_GT(points_, 5u);
}

TEST_P(ForkedInACall, AChildThatIsNotRefusedIsFound) {
  SKIP_WITHOUT_STEPS();
  EXPECT_TRUE(fork_at(Call::kWrite, 50, true));
}

TEST_P(ForkedInACall, ThreadThatIsToEndLeavesTheLinkToTheOthers) {
  SKIP_WITHOUT_STEPS();
  for (const Call call : kCalls) {
    bool returns = true;
    for (uint64_t step = kPart.begin; cancel_at(call, step, returns); step += kPart.stride) {
      ASSERT_TRUE(returns) << "ended in call " << static_cast<int>(call) << " at instruction "
                           << step;
      ++points_;
    }
    ASSERT_FALSE(HasFailure()) << "call " << static_cast<int>(call) << ", ESHM_SEED=" << seed();
  }
  std::printf("%s: %llu requests\n", kPart.text().c_str(), static_cast<unsigned long long>(points_));
  EXPECT_GT(points_, 5u);
}

TEST_P(ForkedInACall, ThreadThatEndsInItsCallIsFound) {
  SKIP_WITHOUT_STEPS();
  bool returns = true;
  EXPECT_TRUE(cancel_at(Call::kSleepFirst, 3, returns));
  EXPECT_FALSE(returns);
}

TEST_P(ForkedInACall, ProcessThatBecomesAnotherProgramIsSucceeded) {
  SKIP_WITHOUT_STEPS();
  for (const Call call : kCalls) {
    for (uint64_t step = kPart.begin; exec_at(call, step, false); step += kPart.stride) ++points_;
    ASSERT_FALSE(HasFailure()) << "call " << static_cast<int>(call) << ", ESHM_SEED=" << seed();
  }
  std::printf("%s: %llu programs\n", kPart.text().c_str(), static_cast<unsigned long long>(points_));
  EXPECT_GT(points_, 5u);
}

TEST_P(ForkedInACall, ProgramThatInheritsTheRoleIsFound) {
  SKIP_WITHOUT_STEPS();
  exec_at(Call::kWrite, 50, true);
  remove_name_of_the_killed();
}

ESHM_ON_BOTH_BACKENDS(ForkedInACall);

}  // namespace
