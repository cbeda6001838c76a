// SPDX-License-Identifier: MIT
// Real processes that are killed, stopped, replaced and begun again in any
// order, more of them busy than there are cores; their messages prove
// themselves, and what each reader gets is checked against what was promised.
// A broken promise is told with the seed; ESHM_EVIDENCE names a folder
// that then gets the segment and the order of events.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "torture/director.h"

namespace {

using namespace test;
using torture::Director;
using torture::Sin;

class Torture : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    alarm(torture::patience_seconds());
  }

  std::unique_ptr<Director> direct(Random& random) {
    return std::make_unique<Director>(name() + std::to_string(links_++), GetParam(),
                                      random.up_to(UINT64_MAX));
  }

  void add(const torture::Deeds& deeds) {
    Child::tell_tally();
    all_.kills += deeds.kills;
    all_.stops += deeds.stops;
    all_.clean_ends += deeds.clean_ends;
    all_.replaced += deeds.replaced;
    all_.reads += deeds.reads;
  }

  void remove_names() {
    for (const std::string& file : files_of(name())) {
      unlink(("/dev/shm/" + file).c_str());
    }
  }

  torture::Deeds all_;
  int links_ = 0;
};

// Some links at once, of two to four processes each; then others.
TEST_P(Torture, NothingTornNothingOldNothingLostWhoeverIsKilledOrStopped) {
  Random random;
  const uint64_t kills = count(100, 27'000);
  while (all_.kills < kills && !HasFailure()) {
    std::vector<std::unique_ptr<Director>> directors;
    for (uint64_t i = 0; i < 4; ++i) directors.push_back(direct(random));
    for (uint64_t steps = count(150, 1000); steps > 0 && !HasFailure(); --steps) {
      Director& one = *directors[random.up_to(directors.size() - 1)];
      EXPECT_TRUE(one.step()) << one.complaint();
      usleep(useconds_t(random.up_to(1000)));
    }
    for (const auto& one : directors) {
      if (!HasFailure()) {
        EXPECT_TRUE(one->finish()) << one->complaint();
      }
      add(one->deeds());
    }
    directors.clear();
    if (HasFailure()) return remove_names();
    ASSERT_EQ(files_of(name()), std::vector<std::string>());
    ASSERT_EQ(sysv_segments_of_ours(), std::vector<int>());
  }
  std::printf("          %llu killed, %llu stopped and continued, %llu replaced, %llu ended "
              "cleanly; %llu messages read\n",
              (unsigned long long)all_.kills, (unsigned long long)all_.stops,
              (unsigned long long)all_.replaced, (unsigned long long)all_.clean_ends,
              (unsigned long long)all_.reads);
  EXPECT_GT(all_.reads, all_.kills);
}

ESHM_ON_BOTH_BACKENDS(Torture);

// ---- it finds what it is for ------------------------------------------------------------

class Sinner : public Torture {
 protected:
  // Until somebody complains, and of what.
  std::string complaint_of(Sin sin, ESHMDelivery delivery) {
    Random random;
    const auto director = direct(random);
    director->tempt(sin);
    director->set_delivery(delivery, delivery);
    while (director->step()) {
    }
    add(director->deeds());
    return director->complaint();
  }
  void expect_found(Sin sin, ESHMDelivery delivery, const char* what) {
    const std::string complaint = complaint_of(sin, delivery);
    EXPECT_NE(complaint.find(what), std::string::npos) << complaint;
    remove_names();
  }
};

TEST_P(Sinner, AWriterThatTearsMessagesIsFound) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    expect_found(Sin::kTearsMessages, delivery, "torn");
  }
}

TEST_P(Sinner, AWriterThatRepeatsIsFound) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    expect_found(Sin::kRepeats, delivery, " after ");
  }
}

TEST_P(Sinner, AWriterThatGoesBackIsFound) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    expect_found(Sin::kGoesBack, delivery, " after ");
  }
}

TEST_P(Sinner, AWriterWhoseMessageDoesNotComeIsFound) {
  expect_found(Sin::kLosesMessages, ESHM_DELIVERY_QUEUE, "is lost");
}

TEST_P(Sinner, AWriterWhoseRefusedMessageComesIsFound) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    expect_found(Sin::kBreaksRefusals, delivery, "refused");
  }
}

ESHM_ON_BOTH_BACKENDS(Sinner);

}  // namespace
