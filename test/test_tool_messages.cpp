// SPDX-License-Identifier: MIT
// The commands of eshm that read and write messages.
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <tuple>

#include "eshm_types.hpp"
#include "support/child.h"
#include "support/link.h"
#include "support/tool.h"

namespace {

struct Inner {
  int8_t small;
  uint16_t middle;
};
ESHM_DESCRIBE(Inner, small, middle);

struct Everything {
  double wide;
  float narrow;
  int8_t a;
  int16_t b;
  int32_t c;
  int64_t d;
  uint8_t e;
  uint16_t f;
  uint32_t g;
  uint64_t h;
  bool yes;
  char letter;
  char text[6];
  int16_t grid[2][3];
  Inner one;
  Inner two[2];
};
ESHM_DESCRIBE(Everything, wide, narrow, a, b, c, d, e, f, g, h, yes, letter, text, grid, one, two);

constexpr char kJson[] =
    "{\"wide\":0.1,\"narrow\":0.2,\"a\":-128,\"b\":-32768,\"c\":-2147483648,"
    "\"d\":-9223372036854775808,\"e\":255,\"f\":65535,\"g\":4294967295,"
    "\"h\":18446744073709551615,\"yes\":true,\"letter\":\"q\",\"text\":\"h\\u0001y\","
    "\"grid\":[[1,2,3],[4,5,-6]],\"one\":{\"small\":-1,\"middle\":2},"
    "\"two\":[{\"small\":3,\"middle\":4},{\"small\":5,\"middle\":6}]}";

Everything everything() {
  Everything all = {};
  all.wide = 0.1;
  all.narrow = 0.2f;
  all.a = INT8_MIN, all.b = INT16_MIN, all.c = INT32_MIN, all.d = INT64_MIN;
  all.e = UINT8_MAX, all.f = UINT16_MAX, all.g = UINT32_MAX, all.h = UINT64_MAX;
  all.yes = true;
  all.letter = 'q';
  all.text[0] = 'h', all.text[1] = 1, all.text[2] = 'y';
  const int16_t numbers[] = {1, 2, 3, 4, 5, -6};
  for (int i = 0; i < 6; ++i) all.grid[i / 3][i % 3] = numbers[i];
  all.one = {-1, 2};
  all.two[0] = {3, 4};
  all.two[1] = {5, 6};
  return all;
}

using namespace test;

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ToolMessages : public LinkTest {
 protected:
  ESHMConfig queues(ESHMRole role) const {
    ESHMConfig with = config(role);
    with.m2s.delivery = with.s2m.delivery = ESHM_DELIVERY_QUEUE;
    return with;
  }
  ESHMConfig typed(ESHMRole role) const {
    ESHMConfig with = queues(role);
    with.m2s.type = {eshm::type_text<Everything>.data(), eshm::type_fingerprint<Everything>};
    return with;
  }
};
ESHM_ON_BOTH_BACKENDS(ToolMessages);

// ---- cat ---------------------------------------------------------------------------

TEST_P(ToolMessages, CatPrintsTextAndBytesOfBothDirections) {
  const Link master = open_link(queues(ESHM_ROLE_MASTER));
  const Link slave = open_link(queues(ESHM_ROLE_SLAVE));
  ASSERT_TRUE(master && slave) << last_error();
  ASSERT_EQ(write_text(master.get(), "one"), ESHM_SUCCESS);
  ASSERT_EQ(eshm_write(master.get(), "\x01\xff", 2), ESHM_SUCCESS);
  ASSERT_EQ(eshm_write(master.get(), "two", 4), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "back"), ESHM_SUCCESS);
  EXPECT_EQ(run_tool({"cat", name(), "-n", "3"}).out, "m2s #1 one\nm2s #2 01ff\nm2s #3 two\n");
  EXPECT_EQ(run_tool({"cat", name(), "--s2m", "-n", "1"}).out, "s2m #1 back\n");
  EXPECT_EQ(run_tool({"cat", name(), "-n", "1", "--hex"}).out, "m2s #1 6f6e65\n");
  EXPECT_EQ(run_tool({"cat", name(), "-n", "3", "--raw"}).out, std::string("one\x01\xfftwo\0", 9));
  EXPECT_EQ(run_tool({"cat", name(), "-n", "2", "--text"}).out, "m2s #1 one\nm2s #2 \\x01\\xff\n");
  EXPECT_EQ(run_tool({"cat", name(), "-n", "1", "--json"}).out,
            "{\"direction\":\"m2s\",\"sequence\":1,\"generation\":1,\"missed\":0,\"size\":3,"
            "\"timestamp_ns\":null,\"text\":\"one\"}\n");
}

TEST_P(ToolMessages, CatDecodesEveryKindAsAnotherProgramWroteIt) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  const Everything all = everything();
  ASSERT_EQ(eshm_write(master.get(), &all, sizeof all), ESHM_SUCCESS);
  const ToolRun run = run_tool({"cat", name(), "-n", "1", "--json"});
  EXPECT_TRUE(holds(run.out, "\"value\":" + std::string(kJson) + "}\n")) << run.out;
  const ToolRun fields = run_tool({"cat", name(), "-n", "1", "--field", "wide", "--field",
                                   "two[1].middle", "--field", "grid[1]"});
  EXPECT_EQ(fields.out, "0.1\t6\t[4,5,-6]\n") << fields.err;
  const ToolRun wrong = run_tool({"cat", name(), "-n", "1", "--field", "two[2].middle"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_TRUE(holds(wrong.err, "the type has no field two[2].middle")) << wrong.err;
}

TEST_P(ToolMessages, CatShowsWhatADeadLinkLeftAndEnds) {
  Child master([&](Wire& wire) {
    const Link link = open_link(queues(ESHM_ROLE_MASTER));
    CHILD_CHECK(link != nullptr && write_text(link.get(), "last words") == ESHM_SUCCESS);
    wire.say("ready");
    wire.hear();
    return 0;
  });
  ASSERT_EQ(master.hear(), "ready");
  master.kill_now();
  const ToolRun run = run_tool({"cat", name()});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out, GetParam() == ESHM_BACKEND_POSIX ? "m2s #1 last words\n" : "");
  remove_name_of_the_killed();
}

TEST_P(ToolMessages, CatOfNothingIsCode1AndFollowWaitsForIt) {
  const ToolRun run = run_tool({"cat", name()});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.err, "nothing has this name; --follow waits for it")) << run.err;
  Tool follower({"cat", "--follow", name(), "-n", "1"});
  const Link master = open_link(queues(ESHM_ROLE_MASTER));
  ASSERT_EQ(write_text(master.get(), "came"), ESHM_SUCCESS);
  EXPECT_EQ(follower.finish().out, "m2s #1 came\n");
}

TEST_P(ToolMessages, CatEndsWithControlCAndWithItsReader) {
  const Link master = open_link(queues(ESHM_ROLE_MASTER));
  ASSERT_EQ(write_text(master.get(), "one"), ESHM_SUCCESS);
  Tool first({"cat", name()});
  ASSERT_TRUE(first.prints("one"));
  first.signal(SIGINT);
  EXPECT_EQ(first.finish().code, 0);
  Tool second({"cat", name()});
  ASSERT_TRUE(second.prints("one"));
  second.close_output();
  ASSERT_EQ(write_text(master.get(), "two"), ESHM_SUCCESS);
  EXPECT_EQ(second.finish().code, 0);
}

// ---- send --------------------------------------------------------------------------

TEST_P(ToolMessages, SendSendsEachLineInOrder) {
  const Link slave_side = open_link(queues(ESHM_ROLE_MASTER));
  Tool tool({"send", name(), "--role", "slave"});
  tool.type("one\n\nthree\nwithout an end");
  tool.end_input();
  EXPECT_EQ(read_text(slave_side.get(), 10000), "one");
  EXPECT_EQ(read_text(slave_side.get(), 10000), "");
  EXPECT_EQ(read_text(slave_side.get(), 10000), "three");
  EXPECT_EQ(read_text(slave_side.get(), 10000), "without an end");
  const ToolRun run = tool.finish();
  EXPECT_EQ(run.code, 0) << run.err;
}

TEST_P(ToolMessages, SendEncodesJsonByTheLinksType) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER));
  ASSERT_TRUE(master) << last_error();
  ESHMConfig other = queues(ESHM_ROLE_MASTER);
  const std::string back = name() + "_back";
  other.shm_name = back.c_str();
  other.s2m.type = {eshm::type_text<Everything>.data(), eshm::type_fingerprint<Everything>};
  const Link reader = open_link(other);
  ASSERT_TRUE(reader) << last_error();
  Tool tool({"send", back, "--json"});
  tool.type(std::string(kJson) + "\n");
  tool.end_input();
  Everything got = {};
  const Everything sent = everything();
  ASSERT_EQ(eshm_read_ex(reader.get(), &got, sizeof got, nullptr, 10000), ESHM_SUCCESS);
  // Field by field: what is between them is nobody's.
  EXPECT_EQ(std::tie(got.wide, got.narrow, got.a, got.b, got.c, got.d, got.e, got.f, got.g, got.h),
            std::tie(sent.wide, sent.narrow, sent.a, sent.b, sent.c, sent.d, sent.e, sent.f, sent.g,
                     sent.h));
  EXPECT_EQ(std::tie(got.yes, got.letter), std::tie(sent.yes, sent.letter));
  EXPECT_EQ(std::memcmp(got.text, sent.text, sizeof got.text), 0);
  EXPECT_EQ(std::memcmp(got.grid, sent.grid, sizeof got.grid), 0);
  EXPECT_EQ(got.two[1].middle, 6);
  EXPECT_EQ(tool.finish().code, 0);
}

TEST_P(ToolMessages, SendRefusesAValueThatDoesNotFit) {
  for (const char* wrong : {"{\"a\":128}", "{\"a\":1.5}", "{\"a\":\"1\"}", "{}", "{\"a\":1,\"b\":2}",
                            "{\"a\":1", "[]", "{\"a\":1}x"}) {
    Tool tool({"send", name(), "--wait", "0", "--json", "--type", "T{a:i8@0}1"});
    tool.type(std::string(wrong) + "\n");
    const ToolRun run = tool.finish();
    EXPECT_EQ(run.code, 1) << wrong;
    EXPECT_EQ(run.err.find("eshm: line 1: "), 0u) << run.err;
  }
}

TEST_P(ToolMessages, SendWithoutAnotherSideSaysSoAndLeavesNothing) {
  const ToolRun run = run_tool({"send", name(), "--wait", "0.05"}, "x\n");
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.err, "no slave came; --wait 0 sends without one")) << run.err;
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(ToolMessages, SendLeavesItsLinkOnControlC) {
  Tool tool({"send", name(), "--wait", "0"});
  tool.type("x\n");
  wait_until([&] { return !files_of(name()).empty(); });
  tool.signal(SIGINT);
  EXPECT_EQ(tool.finish().code, 0);
  EXPECT_TRUE(files_of(name()).empty()) << "it left the link";
}

TEST_P(ToolMessages, SendKeepsItsRate) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(run_tool({"send", name(), "--wait", "0", "--rate", "20"}, "1\n2\n3\n4\n5\n").code, 0);
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(200));
}

// ---- echo, ping, hz, plot, bench ---------------------------------------------------------

TEST_P(ToolMessages, PingMeasuresAgainstEcho) {
  Tool echo({"echo", name()});
  wait_until([&] { return !files_of(name()).empty(); });
  const ToolRun run = run_tool({"ping", name(), "-n", "20", "--interval", "0"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out.find("20 of 20 came back\nround trip min "), 0u) << run.out;
  EXPECT_TRUE(holds(run.out, "#")) << "a histogram";
  EXPECT_TRUE(holds(run_tool({"ping", name(), "-n", "3", "--json"}).out, "\"count\":3,"));
  echo.signal(SIGTERM);
  EXPECT_EQ(echo.finish().code, 0);
}

TEST_P(ToolMessages, PingWithoutEchoSaysHowToStartIt) {
  const ToolRun run = run_tool({"ping", name(), "-n", "1", "--wait", "0.05"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.err, "start `eshm echo " + name() + "`")) << run.err;
}

TEST_P(ToolMessages, HzCountsEveryMessage) {
  ESHMConfig with = queues(ESHM_ROLE_MASTER);
  with.flags |= ESHM_FLAG_TIMESTAMPS;
  const Link master = open_link(with);
  Tool tool({"hz", name(), "--json"});
  wait_until([&] {  // it looks on
    std::ifstream maps("/proc/" + std::to_string(tool.pid()) + "/maps");
    const std::string all(std::istreambuf_iterator<char>(maps), {});
    return all.find(path()) != std::string::npos;
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(write_text(master.get(), "x"), ESHM_SUCCESS);
    pause_ms(2);
  }
  pause_ms(200);
  tool.signal(SIGINT);
  const ToolRun run = tool.finish();
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(holds(run.out, "\"schema\":\"eshm.hz/1\"")) << run.out;
  EXPECT_TRUE(holds(run.out, "\"timestamps\":true")) << run.out;
  EXPECT_TRUE(holds(run_tool({"hz", name(), "--for", "0.1"}).out, "m2s: 0 messages/s")) << run.out;
}

TEST_P(ToolMessages, PlotInAPipeIsPlainText) {
  const Link master = open_link(typed(ESHM_ROLE_MASTER));
  const Everything all = everything();
  ASSERT_EQ(eshm_write(master.get(), &all, sizeof all), ESHM_SUCCESS);
  const ToolRun run = run_tool({"plot", name(), "wide", "-n", "1"});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out.find(name() + "  wide=0.1 "), 0u) << run.out;
  EXPECT_FALSE(holds(run.out, "\033"));
  const ToolRun wrong = run_tool({"plot", name(), "text"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_TRUE(holds(wrong.err, "no field text that is a number")) << wrong.err;
}

}  // namespace
