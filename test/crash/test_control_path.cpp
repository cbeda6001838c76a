// SPDX-License-Identifier: MIT
// A process that takes, keeps or gives back a role is killed after each of its
// system calls, and after each instruction that changed shared bytes: whoever is
// left, and whoever comes, goes on, and nothing stays behind.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/shm.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "crash/reporting.h"
#include "crash/stage.h"
#include "crash/way.h"
#include "support/counts.h"
#include "support/link.h"

#if defined(__x86_64__)

namespace {

using namespace test;

class ControlPath : public LinkTest {
 protected:
  void kill_everywhere(Change change);
  std::string kill_at(Change change, const Point& point, uint64_t& kills);
};

std::string describe(Change change, const Point& point) {
  return std::string(name_of(change)) + ", killed after " + std::to_string(point.system_calls) +
         " system calls and " + std::to_string(point.changes) + " changes";
}

std::string ControlPath::kill_at(Change change, const Point& point, uint64_t& kills) {
  Stage stage(change, name(), GetParam());
  if (go_to(stage.child(), point)) ++kills;
  stage.child().kill_now();
  return stage.heal();
}

void ControlPath::kill_everywhere(Change change) {
  Way way;
  {
    Stage stage(change, name(), GetParam());
    way = record_way(stage.child());
    stage.child().kill_now();
    ASSERT_EQ(stage.heal(), "") << name_of(change) << ", to its end";
  }
  const Part part{count(9, 1)};
  uint64_t kills = 0;
  uint64_t tried = 0;
  for (size_t i = part.begin; i < way.points.size(); i += part.stride) {
    ++tried;
    ASSERT_EQ(kill_at(change, way.points[i], kills), "") << describe(change, way.points[i])
                                                        << ", ESHM_SEED=" << seed();
  }
  uint64_t system_calls = 0;
  for (const Point& point : way.points) system_calls = std::max(system_calls, point.system_calls);
  std::printf("%s: %llu steps, %llu system calls, %zu points, %llu killed there\n", name_of(change),
              static_cast<unsigned long long>(way.steps),
              static_cast<unsigned long long>(system_calls), way.points.size(),
              static_cast<unsigned long long>(kills));
  tally("real_kills", kills);
  EXPECT_GT(2 * kills, tried) << "most ways were another way";
  EXPECT_GT(way.points.size(), system_calls) << "no shared byte was changed";
}

TEST_P(ControlPath, LinkHealsWhereverItsMasterIsBornAndDies) {
  SKIP_WITHOUT_STEPS();
  kill_everywhere(Change::kBirth);
  kill_everywhere(Change::kInherit);
  kill_everywhere(Change::kCarry);
}

TEST_P(ControlPath, LinkHealsWhereverASlaveDiesOnItsWay) {
  SKIP_WITHOUT_STEPS();
  kill_everywhere(Change::kAttach);
  kill_everywhere(Change::kFollow);
}

TEST_P(ControlPath, SlaveLosesNothingWhereverAnAdopterDies) {
  SKIP_WITHOUT_STEPS();
  kill_everywhere(Change::kAdopt);
}

TEST_P(ControlPath, SlaveLosesNothingWhereverAReplacerDies) {
  SKIP_WITHOUT_STEPS();
  kill_everywhere(Change::kReplace);
}

TEST_P(ControlPath, LinkHealsWhereverOneDiesWhileItLeaves) {
  SKIP_WITHOUT_STEPS();
  for (const Change change : {Change::kMasterLeaves, Change::kSlaveLeaves,
                              Change::kLastMasterLeaves, Change::kLastSlaveLeaves}) {
    kill_everywhere(change);
  }
}

// ---- what is missing or left behind is found -----------------------------------------

TEST_P(ControlPath, MessageThatIsLostIsFound) {
  SKIP_WITHOUT_STEPS();
  Stage stage(Change::kAdopt, name(), GetParam());
  stage.child().kill_now();
  stage.expect_besides("old 2");
  EXPECT_NE(stage.heal().find("the slave reads [old 0] [old 1] [hello]"), std::string::npos);
}

TEST_P(ControlPath, FileThatIsLeftBehindIsFound) {
  SKIP_WITHOUT_STEPS();
  const std::string file = "/dev/shm/." + name();
  Stage stage(Change::kBirth, name(), GetParam());
  stage.child().kill_now();
  close(open(file.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_NE(stage.heal().find("left behind"), std::string::npos);
  unlink(file.c_str());
}

TEST_P(ControlPath, SegmentThatADeadProcessLeftBehindIsFound) {
  Child child([](Wire&) { return shmget(IPC_PRIVATE, 4096, 0600) < 0; });
  EXPECT_EQ(child.join(), 0);
  const std::vector<int> found = sysv_segments_of_ours();
  EXPECT_EQ(found.size(), 1u);
  for (const int id : found) shmctl(id, IPC_RMID, nullptr);
}

ESHM_ON_BOTH_BACKENDS(ControlPath);

}  // namespace

#endif
