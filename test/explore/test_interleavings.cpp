// SPDX-License-Identifier: MIT
// The channels' own sources, explored (explorer.h): no run breaks a claim, and
// with any order or check taken away one does.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

#include "explore/counterproofs.h"
#include "explore/scenarios.h"
#include "support/counts.h"
#include "support/tally.h"

namespace explore {

void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }
void PrintTo(const Counterproof& proof, std::ostream* out) { *out << proof.label; }

}  // namespace explore

namespace {

using explore::Counterproof;
using explore::explorer;
using explore::Outcome;
using explore::Scenario;
using explore::Site;

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  for (const auto* some :
       {&explore::latest_scenarios, &explore::queue_scenarios, &explore::parking_scenarios}) {
    all.insert(all.end(), some->begin(), some->end());
  }
  return all;
}

class Interleavings : public testing::TestWithParam<Scenario> {};

TEST_P(Interleavings, BreakNoClaim) {
  const Scenario& scenario = GetParam();
  const Outcome outcome = scenario.run(test::soak());
  std::printf("%s: %ld runs, %ld more like one of them, %ld cut off%s\n", scenario.name,
              outcome.runs, outcome.redundant, outcome.cut,
              outcome.is_complete ? "" : "; a part, ESHM_SOAK=1 searches all");
  EXPECT_EQ(outcome.fault, "") << outcome.story;
  EXPECT_TRUE(outcome.is_complete || (scenario.is_part_if_short && !test::soak()));
  EXPECT_GT(outcome.runs, 0);
}

INSTANTIATE_TEST_SUITE_P(, Interleavings, testing::ValuesIn(all_scenarios()),
                         [](const auto& info) { return std::string(info.param.name); });

// ---- counter-proofs ---------------------------------------------------------

class Weakened : public testing::TestWithParam<Counterproof> {
 protected:
  void TearDown() override { explorer().sites().weaken(nothing_); }
  const std::vector<explore::Change> nothing_ = {};
};

TEST_P(Weakened, IsCaught) {
  const Counterproof& proof = GetParam();
  explorer().sites().weaken(proof.changes);
  bool is_run = false;
  for (const Scenario& scenario : all_scenarios()) {
    if (scenario.name != proof.scenario) continue;
    is_run = true;
    const Outcome outcome = scenario.run(false);
    std::printf("%s without %s: %s\n", proof.label.c_str(), proof.what.c_str(),
                outcome.fault.c_str());
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    test::tally("weakened_orders_caught", outcome.fault.empty() ? 0 : 1, name);
    EXPECT_NE(outcome.fault, "") << "not noticed by " << scenario.name;
    // A search ends with the first fault; what it has not come to, a whole one does.
    if (!explorer().sites().are_known(proof.changes)) {
      explorer().sites().weaken(nothing_);
      scenario.run(false);
    }
    EXPECT_TRUE(explorer().sites().are_known(proof.changes)) << "no such statement was reached";
  }
  EXPECT_TRUE(is_run) << proof.scenario;
}

std::string name_of(const Counterproof& proof, size_t index) {
  std::string name = proof.label + "_" + proof.what + "_" + std::to_string(index);
  for (char& letter : name) {
    if (!std::isalnum(static_cast<unsigned char>(letter))) letter = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(, Weakened, testing::ValuesIn(explore::counterproofs),
                         [](const auto& info) { return name_of(info.param, info.index); });

// ---- completeness -----------------------------------------------------------

// Definitions begin at the margin.
std::string function_around(const std::vector<std::string>& lines, size_t line) {
  for (;; --line) {
    const std::string& text = lines[line];
    const size_t end = text.find('(');
    if (text.empty() || !std::isalpha(static_cast<unsigned char>(text[0])) ||
        end == std::string::npos) {
      if (line == 0) return "";
      continue;
    }
    const size_t begin = text.find_last_of(" :*&", end) + 1;
    return text.substr(begin, end - begin);
  }
}

bool is_strong(const std::string& code) {
  return code.find("using ") == std::string::npos &&
         (code.find("memory_order_acquire") != std::string::npos ||
          code.find("memory_order_release") != std::string::npos ||
          code.find("memory_order_seq_cst") != std::string::npos);
}

bool has_row(const Site& site) {
  for (const Counterproof& proof : explore::counterproofs) {
    for (const explore::Change& change : proof.changes) {
      if (site.is_among(change.sites)) return true;
    }
  }
  for (const explore::Uncaught& reason : explore::uncaught) {
    if (site.is_among(reason.sites)) return true;
  }
  return false;
}

TEST(Orders, OfTheChannelsHaveACounterproofOrAReasonEach) {
  int orders = 0;
  for (const char* file : {"latest.cpp", "latest_path.h", "latest.h", "queue.cpp", "queue_path.h",
                           "queue.h", "queue_observer.cpp", "wakeup.cpp", "wakeup.h", "copy.h"}) {
    const std::string path = std::string(ESHM_CHANNEL_SOURCES "/") + file;
    std::ifstream in(path);
    ASSERT_TRUE(in) << path;
    std::vector<std::string> lines;
    for (std::string text; std::getline(in, text);) lines.push_back(text);
    for (size_t line = 0; line < lines.size(); ++line) {
      if (!is_strong(lines[line].substr(0, lines[line].find("//")))) continue;
      ++orders;
      const std::string function = function_around(lines, line);
      const Site site = explore::site_at({path.c_str(), int(line) + 1, function.c_str()});
      EXPECT_TRUE(has_row(site)) << file << ":" << line + 1 << " " << function << ": "
                                 << lines[line];
    }
  }
  std::printf("%d places\n", orders);
  EXPECT_GT(orders, 30);
}

}  // namespace
