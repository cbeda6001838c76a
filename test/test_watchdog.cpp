// SPDX-License-Identifier: MIT
// The tests' own watchdog: it ends a hang, and has more patience where the machine is
// overloaded.
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "support/child.h"
#include "support/counts.h"
#include "support/player.h"

namespace {

using namespace test;

class Watchdog : public testing::Test {
 protected:
  void SetUp() override { arm_watchdog(); }
  void TearDown() override {
    alarm(0);
    unlink(load_file_.c_str());
  }
  // A file as /proc/loadavg with this load for each processor.
  const char* machine_with_load(long per_processor) {
    std::ofstream(load_file_) << per_processor * sysconf(_SC_NPROCESSORS_ONLN) << ".00 0 0 1/1 1\n";
    return load_file_.c_str();
  }

 private:
  const std::string load_file_ = testing::TempDir() + "eshm_watchdog_" + std::to_string(getpid());
};

int hang(unsigned seconds, const char* load_file) {
  arm_watchdog(seconds, load_file);
  for (;;) pause();
}

TEST_F(Watchdog, EndsAHang) {
  const char* idle = machine_with_load(0);
  Child child([idle](Wire&) { return hang(1, idle); });
  EXPECT_EQ(child.join(), 128 + SIGALRM);
}

TEST_F(Watchdog, GivesAnOverloadedMachineMoreTime) {
  const char* overloaded = machine_with_load(30);
  Child child([overloaded](Wire&) {
    arm_watchdog(1, overloaded);
    const uint64_t begin = now_ms();
    while (now_ms() - begin < 2000) usleep(20000);
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
}

TEST_F(Watchdog, EndsAHangOfAnOverloadedMachineLater) {
  const char* overloaded = machine_with_load(3);
  const uint64_t begin = now_ms();
  Child child([overloaded](Wire&) { return hang(1, overloaded); });
  EXPECT_EQ(child.join(), 128 + SIGALRM);
  EXPECT_GE(now_ms() - begin, 1900u);
}

}  // namespace
