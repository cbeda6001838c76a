// SPDX-License-Identifier: MIT
// The commands of eshm that look at links and remove them.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "support/child.h"
#include "support/link.h"
#include "support/tool.h"

namespace {

using namespace test;
using testing::AssertionResult;

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ToolTest : public LinkTest {
 protected:
  // A link whose master was killed.
  void make_orphan() const {
    Child master = living_master();
    master.kill_now();
  }
  Child living_master() const {
    Child master([&](Wire& wire) {
      ESHMConfig with = config(ESHM_ROLE_MASTER);
      with.stale_threshold_ms = kHungMs;
      const Link link = open_link(with);
      CHILD_CHECK(link != nullptr && write_text(link.get(), "last words") == ESHM_SUCCESS);
      wire.say("ready");
      wire.hear();
      return 0;
    });
    EXPECT_EQ(master.hear(), "ready");
    return master;
  }
  void put_file(const std::string& content) const {
    std::ofstream(path(), std::ios::binary) << content;
    ASSERT_EQ(chmod(path().c_str(), 0600), 0);
  }
  std::string ls_line() const { return line_of(run_tool({"ls"}).out, name()); }
};
ESHM_ON_BOTH_BACKENDS(ToolTest);

// ---- the command line ---------------------------------------------------------------

TEST_P(ToolTest, EveryCommandHelpsWithAnExample) {
  const ToolRun all = run_tool({"--help"});
  EXPECT_EQ(all.code, 0) << all.err;
  EXPECT_TRUE(holds(all.out, "Exit codes: 0 fine, 1 a finding or not there, 2 wrong usage"));
  for (const char* command : {"ls", "stat", "top", "cat", "plot", "hz", "send", "echo", "ping", "rm",
                              "clean", "doctor", "bench", "metrics", "version"}) {
    const ToolRun run = run_tool({command, "--help"});
    EXPECT_EQ(run.code, 0) << command << run.err;
    EXPECT_TRUE(holds(run.out, "Usage: eshm " + std::string(command))) << run.out;
    EXPECT_TRUE(holds(run.out, "Examples:\n") && holds(run.out, "eshm ")) << command;
    EXPECT_TRUE(holds(all.out, command)) << command;
  }
}

TEST_P(ToolTest, WrongUsageIsCode2AndOneLineWithARemedy) {
  const std::vector<std::vector<std::string>> wrong = {
      {"rm"}, {"stat"}, {"ls", "--no-such-flag"}, {"cat", name(), "--hex", "--raw"},
      {"top", "--sort", "colour"}, {"sta", name()}, {"no such command"}};
  for (const auto& arguments : wrong) {
    const ToolRun run = run_tool(arguments);
    EXPECT_EQ(run.code, 2) << arguments[0];
    EXPECT_EQ(run.err.find("eshm: "), 0u) << run.err;
    EXPECT_EQ(run.err.find('\n'), run.err.size() - 1) << run.err;
    EXPECT_TRUE(holds(run.err, "`eshm ")) << run.err;
    EXPECT_EQ(run.out, "");
  }
  EXPECT_TRUE(holds(run_tool({"sta"}).err, "did you mean `eshm stat`?"));
}

TEST_P(ToolTest, AnUnknownCommandRunsTheProgramOfThatNameFromThePath) {
  char folder[] = "/tmp/eshm_tool_XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string program = std::string(folder) + "/eshm-greet";
  std::ofstream(program) << "#!/bin/sh\necho greets \"$@\"\nexit 7\n";
  ASSERT_EQ(chmod(program.c_str(), 0700), 0);
  const std::string before = getenv("PATH");
  setenv("PATH", (before + ":" + folder).c_str(), 1);
  const ToolRun run = run_tool({"greet", "a b", "--flag"});
  setenv("PATH", before.c_str(), 1);
  unlink(program.c_str());
  rmdir(folder);
  EXPECT_EQ(run.out, "greets a b --flag\n");
  EXPECT_EQ(run.code, 7);
}

TEST_P(ToolTest, AFullDiskIsAnErrorAndAClosedPipeIsNot) {
  EXPECT_EQ(system((std::string(ESHM_TOOL) + " version > /dev/full 2>/dev/null").c_str()) >> 8, 1);
  const Child master = living_master();
  Tool watch({"ls", "--watch", "--interval", "0.01"});
  ASSERT_TRUE(watch.prints("NAME"));
  watch.close_output();
  EXPECT_EQ(watch.finish().code, 0) << "it ends without a word";
  remove_name_of_the_killed();
}

// ---- ls, stat -----------------------------------------------------------------------

TEST_P(ToolTest, LsShowsALivingLinkWithItsProcess) {
  Child master = living_master();
  const std::string line = ls_line();
  EXPECT_TRUE(holds(line, GetParam() == ESHM_BACKEND_SYSV ? " sysv " : " posix ")) << line;
  EXPECT_TRUE(holds(line, std::to_string(master.pid()) + " test_tool")) << line;
  EXPECT_TRUE(holds(line, "no slave")) << line;
  EXPECT_TRUE(holds(line, "latest 4.0K")) << line;
  EXPECT_FALSE(holds(line, "\033")) << "no colour in a pipe";
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(ToolTest, LsMarksOrphansAndStrangersFiles) {
  make_orphan();
  const std::string line = ls_line();
  EXPECT_TRUE(holds(line, " orphan ") && holds(line, " dead ")) << line;
  EXPECT_EQ(run_tool({"rm", name()}).code, 0);
  put_file("hello");
  EXPECT_TRUE(holds(ls_line(), " foreign ")) << ls_line();
  put_file("ESHMLINK");
  EXPECT_TRUE(holds(ls_line(), " corrupt ")) << ls_line();
  unlink(path().c_str());
}

TEST_P(ToolTest, LsJsonIsOneObjectWithEveryMember) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const ToolRun run = run_tool({"ls", "--json"});
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.out.find("{\"schema\":\"eshm.links/1\",\"links\":["), 0u) << run.out;
  EXPECT_TRUE(holds(run.out, "{\"name\":\"" + name() + "\",\"verdict\":\"no slave\"")) << run.out;
  for (const char* member :
       {"orphan", "problem", "owner", "uid", "mode", "inode", "made_unix_s", "bytes",
        "layout_version", "backend", "auto_cleanup", "roles_change", "seat_reserved", "window_ms",
        "master", "slave", "m2s", "s2m", "state", "pid", "program", "user", "command", "silent_ms",
        "stale_threshold_ms", "generation", "incarnation", "beats", "delivery",
        "max_message_bytes", "queue_bytes", "type", "type_fingerprint", "written", "read",
        "rate_per_s", "average_per_s", "newest_age_ms"}) {
    EXPECT_TRUE(holds(run.out, "\"" + std::string(member) + "\":")) << member;
  }
}

TEST_P(ToolTest, StatFindsAStoppedMasterAndSaysForHowLong) {
  Child master = living_master();
  EXPECT_EQ(run_tool({"stat", name()}).code, 0);
  master.stop();
  const ToolRun run = run_tool({"stat", name(), "--look", "0.4"});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.out, "master hung: PID " + std::to_string(master.pid()))) << run.out;
  EXPECT_TRUE(holds(run.out, "which is stopped (SIGCONT continues it)")) << run.out;
  EXPECT_TRUE(holds(run.out, "no sign of life for")) << run.out;
  master.go_on();
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(ToolTest, StatOfADeadLinkTellsWhatIsLeftOfIt) {
  make_orphan();
  const ToolRun run = run_tool({"stat", name()});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.out, "orphan: its master, PID ")) << run.out;
  EXPECT_TRUE(holds(run.out, "`eshm rm " + name() + "` removes it")) << run.out;
  const bool is_posix = GetParam() == ESHM_BACKEND_POSIX;
  EXPECT_TRUE(holds(run.out, is_posix ? "1 message written" : "its data is gone")) << run.out;
  remove_name_of_the_killed();
}

TEST_P(ToolTest, StatOfNothingIsCode1AndOneLine) {
  const ToolRun run = run_tool({"stat", name()});
  EXPECT_EQ(run.code, 1);
  EXPECT_EQ(run.err, "eshm: /dev/shm/eshm_" + name() +
                         ": nothing has this name; `eshm ls` shows the links that there are\n");
}

TEST_P(ToolTest, StatShowsATypeAsATable) {
  ESHMConfig with = config(ESHM_ROLE_MASTER);
  ASSERT_EQ(eshm_type_of("Pose{x:f64@0,in:{a:i8@0,b:u16@2}[2]@8,tag:char[4]@16}24",
                         &with.m2s.type),
            ESHM_SUCCESS);
  const Link master = open_link(with);
  ASSERT_TRUE(master) << last_error();
  const ToolRun run = run_tool({"stat", name()});
  EXPECT_TRUE(holds(run.out, "type Pose, 24 bytes\n")) << run.out;
  EXPECT_TRUE(holds(run.out, "14      2  u16      in[1].b\n")) << run.out;
  EXPECT_TRUE(holds(run.out, "16      4  char[4]  tag\n")) << run.out;
}

TEST_P(ToolTest, NamesThatHoldAnythingArePrintedSafely) {
  const std::string strange = name() + " \"q\" \\ ünï 名\x9b\xff";
  ESHMConfig with = config(ESHM_ROLE_MASTER);
  with.shm_name = strange.c_str();
  const Link master = open_link(with);
  ASSERT_TRUE(master) << last_error();
  const std::string shown = name() + " \"q\" \\ ünï 名\\x9b\\xff";
  EXPECT_NE(line_of(run_tool({"ls"}).out, shown), "");
  const std::string in_json = name() + " \\\"q\\\" \\\\ ünï 名\\udc9b\\udcff";
  EXPECT_TRUE(holds(run_tool({"ls", "--json"}).out, "\"name\":\"" + in_json + "\""));
  EXPECT_EQ(run_tool({"stat", strange}).code, 0);
  EXPECT_TRUE(holds(run_tool({"metrics"}).out,
                    "eshm_link_bytes{link=\"" + name() + " \\\"q\\\" \\\\ ünï 名\\\\x9b\\\\xff\"} "));
}

TEST_P(ToolTest, WatchingEndsWithControlC) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"ls", "--watch"}, {"top", "--batch", "--interval", "0.05"}}) {
    const Link master = open_link(config(ESHM_ROLE_MASTER));
    Tool tool(arguments);
    ASSERT_TRUE(tool.prints(name()));
    tool.signal(SIGINT);
    const ToolRun run = tool.finish();
    EXPECT_EQ(run.code, 0) << arguments[0];
    EXPECT_EQ(run.err, "");
  }
}

TEST_P(ToolTest, LooksStayRightWhileLinksComeAndGo) {
  Child comes_and_goes([&](Wire& wire) {
    for (uint64_t i = 0; !wire.has_news(); ++i) {
      const std::string link = name() + "_" + std::to_string(i % 10);
      ESHMConfig with = config(ESHM_ROLE_MASTER);
      with.shm_name = link.c_str();
      CHILD_CHECK(open_link(with) != nullptr);
    }
    return 0;
  });
  for (int i = 0; i < 20; ++i) {
    for (const char* command : {"ls", "metrics"}) {
      const ToolRun run = run_tool({command});
      EXPECT_EQ(run.code, 0) << run.err;
      EXPECT_EQ(run.err, "");
      EXPECT_FALSE(holds(run.out, "corrupt"));
    }
  }
  comes_and_goes.say("end");
  EXPECT_EQ(comes_and_goes.join(), 0);
}

// ---- rm, clean ----------------------------------------------------------------------

TEST_P(ToolTest, RmRefusesALinkInUseAndNamesTheProcess) {
  Child master = living_master();
  const ToolRun run = run_tool({"rm", name()});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.err, "held by PID " + std::to_string(master.pid()))) << run.err;
  EXPECT_TRUE(holds(run.err, "--force")) << run.err;
  EXPECT_EQ(files_of(name()).size(), 1u);
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(ToolTest, RmForceSaysWhatItBreaksAndTheMasterRenewsItsName) {
  Child master = living_master();
  const ToolRun run = run_tool({"rm", "--force", name()});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(holds(run.err, "lives: it gives the name to a new segment within a second"));
  wait_until([&] { return files_of(name()).size() == 1; });
  master.say("end");
  EXPECT_EQ(master.join(), 0);
}

TEST_P(ToolTest, RmRemovesAStrangersFileOnlyByForce) {
  put_file("hello");
  const ToolRun refused = run_tool({"rm", name()});
  EXPECT_EQ(refused.code, 1);
  EXPECT_TRUE(holds(refused.err, "`eshm rm --force " + name() + "` removes it")) << refused.err;
  EXPECT_EQ(run_tool({"rm", "--force", name()}).code, 0);
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(ToolTest, CleanRemovesOrphansAlone) {
  make_orphan();
  const std::string used = name() + "_used", pattern = name() + "*";
  ESHMConfig with = config(ESHM_ROLE_MASTER);
  with.shm_name = used.c_str();
  const Link living = open_link(with);
  ASSERT_TRUE(living) << last_error();
  const ToolRun dry = run_tool({"clean", "--dry-run", pattern});
  EXPECT_EQ(dry.code, 0);
  EXPECT_EQ(dry.out.find("would remove " + name() + " (orphan, "), 0u) << dry.out;
  EXPECT_EQ(files_of(name()).size(), 2u);
  const ToolRun run = run_tool({"clean", pattern});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_EQ(run.out.find("removed " + name() + " (orphan, "), 0u) << run.out;
  EXPECT_FALSE(holds(run.out, used)) << run.out;
  EXPECT_EQ(files_of(name()).size(), 1u);
}

// Links that are made, killed and cleaned at once. ESHM_SOAK=1: for a minute.
TEST_P(ToolTest, CleaningUnderFireRemovesNoLivingLinkAndLeavesNoOrphan) {
  const bool is_long = getenv("ESHM_SOAK") != nullptr;
  const auto until = std::chrono::steady_clock::now() +
                     (is_long ? std::chrono::seconds(60) : std::chrono::milliseconds(1500));
  const std::string pattern = name() + "*";
  Child cleaner([&](Wire& wire) {
    while (!wire.has_news()) CHILD_CHECK(run_tool({"clean", pattern}).code == 0);
    return 0;
  });
  uint64_t kills = 0;
  while (std::chrono::steady_clock::now() < until) {
    Child master = living_master();
    struct stat before, after;
    ASSERT_EQ(stat(path().c_str(), &before), 0) << "a living link was removed";
    pause_ms(unsigned(kills % 5));
    ASSERT_EQ(stat(path().c_str(), &after), 0) << "a living link was removed";
    EXPECT_EQ(before.st_ino, after.st_ino) << "it was removed, and renewed";
    master.kill_now();
    ++kills;
  }
  EXPECT_GT(kills, 0u);
  cleaner.say("end");
  EXPECT_EQ(cleaner.join(), 0);
  EXPECT_EQ(run_tool({"clean", pattern}).code, 0);
  EXPECT_TRUE(files_of(name()).empty());
}

// ---- doctor, metrics, version ---------------------------------------------------------

TEST_P(ToolTest, DoctorTellsWhyALinkCannotBeUsed) {
  put_file("hello");
  const ToolRun run = run_tool({"doctor", name()});
  EXPECT_EQ(run.code, 1);
  EXPECT_TRUE(holds(run.out, "BAD  link                  foreign: it has 5 bytes")) << run.out;
  EXPECT_TRUE(holds(run.out, "/dev/shm") && holds(run.out, "RLIMIT_MEMLOCK")) << run.out;
  unlink(path().c_str());
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(holds(run_tool({"doctor", name()}).out, "the role is held by PID " +
                                                          std::to_string(getpid())));
}

TEST_P(ToolTest, VersionNamesLibraryAndLayout) {
  const ToolRun run = run_tool({"version"});
  EXPECT_EQ(run.out.find("eshm " + std::string(eshm_version()) + ", layout version 2\n"), 0u);
  EXPECT_TRUE(holds(run_tool({"version", "--json"}).out, "\"features\":{\"O_TMPFILE\":true"));
}

TEST_P(ToolTest, PromtoolAcceptsTheMetrics) {
  if (system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "promtool is not installed";
  make_orphan();
  const std::string tool = ESHM_TOOL;
  EXPECT_EQ(system((tool + " metrics | promtool check metrics").c_str()), 0);
  EXPECT_TRUE(holds(run_tool({"metrics"}).out, "eshm_link_orphan{link=\"" + name() + "\"} 1\n"));
  remove_name_of_the_killed();
}

std::string fetch(unsigned port, const std::string& request) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(uint16_t(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) == ssize_t(request.size())) {
    char bytes[4096];
    for (ssize_t count; (count = recv(fd, bytes, sizeof bytes, 0)) > 0;) {
      answer.append(bytes, size_t(count));
    }
  }
  close(fd);
  return answer;
}

TEST_P(ToolTest, MetricsAreServedOnLoopback) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  Tool tool({"metrics", "--listen", "0"});
  ASSERT_TRUE(tool.prints("/metrics, until"));
  // "eshm: http://127.0.0.1:PORT/metrics, until Ctrl-C"
  const std::vector<long long> numbers = numbers_in(tool.err());
  ASSERT_GE(numbers.size(), 5u);
  const unsigned port = unsigned(numbers[4]);
  const std::string page = fetch(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(page.find("HTTP/1.1 200 OK\r\n"), 0u) << page;
  EXPECT_TRUE(holds(page, "eshm_role_held{link=\"" + name() + "\",role=\"master\"} 1\n")) << page;
  EXPECT_EQ(fetch(port, "GET /other HTTP/1.1\r\n\r\n").find("HTTP/1.1 404 "), 0u);
  EXPECT_EQ(fetch(port, "POST /metrics HTTP/1.1\r\n\r\n").find("HTTP/1.1 405 "), 0u);
  EXPECT_EQ(fetch(port, std::string(20000, 'x')), "") << "what never ends is cut off";
  tool.signal(SIGINT);
  EXPECT_EQ(tool.finish().code, 0);
}

}  // namespace
