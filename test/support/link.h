// SPDX-License-Identifier: MIT
// A link of a test's own: its name, its handles, and what it may not leave.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "eshm.h"

namespace test {

// No other test, process or run has this name.
std::string unique_name();

// Where the link of that name lies.
std::string path_of(const std::string& name);

// Whose System V segments count as this test's own; once it is reaped, only those
// that were there by then: its number may be a stranger's soon.
void remember_process(pid_t pid);
void note_reaped(pid_t pid);

// Entries of /dev/shm with that name in theirs.
std::vector<std::string> files_of(const std::string& name);
// System V segments made by this process and its children.
std::vector<int> sysv_segments_of_ours();

struct Destroy {
  void operator()(ESHMHandle* handle) const { eshm_destroy(handle); }
};
using Link = std::unique_ptr<ESHMHandle, Destroy>;

Link open_link(const ESHMConfig& config);

std::string last_error();
int last_error_code();
// All decimal numbers in a text, in order.
std::vector<long long> numbers_in(const std::string& text);
bool names_number(const std::string& text, long long number);

// Long enough that a starved process is not taken for a hung one.
constexpr uint32_t kPatientMs = 10000;
// For tests in which somebody is to be found hung.
constexpr uint32_t kHungMs = 300;

ESHMConfig config_of(const std::string& name, ESHMRole role, ESHMBackend backend);

// One try and no waiting: what a slave says of what it finds.
ESHMConfig at_once(ESHMConfig config);
// A slave that never gives up.
ESHMConfig for_ever(ESHMConfig config);

int write_text(ESHMHandle* link, const std::string& text);
// The text read, or "error N".
std::string read_text(ESHMHandle* link, uint32_t timeout_ms);
// Reads until that text comes.
void read_until(ESHMHandle* link, const std::string& text);
// Lets other processes run while a test polls.
void pause_ms(unsigned ms);
// Polls; the watchdog is its only limit.
template <class Condition>
void wait_until(Condition condition) {
  while (!condition()) pause_ms(1);
}
bool remote_is_alive(ESHMHandle* link);
ESHMPeerState remote_state(ESHMHandle* link);

// A test with a link, under a watchdog, that leaves nothing behind.
class LinkTest : public testing::TestWithParam<ESHMBackend> {
 protected:
  void SetUp() override;
  void TearDown() override;

  const std::string& name() const { return name_; }
  std::string path() const { return path_of(name_); }
  ESHMConfig config(ESHMRole role) const { return config_of(name_, role, GetParam()); }

  // What a process that was killed could not remove: the name.
  void remove_name_of_the_killed() const;

 private:
  const std::string name_ = unique_name();
};

// Use: ESHM_ON_BOTH_BACKENDS(Suite);
std::string backend_name(const testing::TestParamInfo<ESHMBackend>& info);

}  // namespace test

#define ESHM_ON_BOTH_BACKENDS(suite)                                                            \
  INSTANTIATE_TEST_SUITE_P(Both, suite, testing::Values(ESHM_BACKEND_POSIX, ESHM_BACKEND_SYSV), \
                           test::backend_name)

// For what only one of the two can meet.
#define ESHM_ON_BACKEND_ALONE(suite, backend) \
  INSTANTIATE_TEST_SUITE_P(Only, suite, testing::Values(backend), test::backend_name)
