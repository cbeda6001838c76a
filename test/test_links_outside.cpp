// SPDX-License-Identifier: MIT
// eshm_list, eshm_inspect, eshm_get_type_text and eshm_remove: links by their names,
// whatever became of their processes.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fstream>
#include <thread>

#include "eshm.hpp"
#include "support/child.h"
#include "support/link.h"

namespace {

using namespace test;

ESHMLinkInfo inspect(const std::string& name) {
  ESHMLinkInfo info = {};
  info.struct_size = sizeof info;
  EXPECT_EQ(eshm_inspect(name.c_str(), &info), ESHM_SUCCESS) << last_error();
  return info;
}

int collect(const ESHMLinkInfo* link, void* context) {
  static_cast<std::vector<ESHMLinkInfo>*>(context)->push_back(*link);
  return 0;
}

std::vector<ESHMLinkInfo> listed(const std::string& name) {
  std::vector<ESHMLinkInfo> all;
  const int calls = eshm_list(collect, &all);
  EXPECT_EQ(calls, int(all.size())) << last_error();
  all.erase(std::remove_if(all.begin(), all.end(),
                           [&](const ESHMLinkInfo& link) { return name != link.name; }),
            all.end());
  return all;
}

class LinksOutside : public LinkTest {
 protected:
  // A link whose master was killed.
  void make_orphan() const {
    Child master([&](Wire& wire) {
      const Link link = open_link(config(ESHM_ROLE_MASTER));
      CHILD_CHECK(link != nullptr && write_text(link.get(), "last words") == ESHM_SUCCESS);
      wire.say("ready");
      wire.hear();
      return 0;
    });
    ASSERT_EQ(master.hear(), "ready");
    master.kill_now();
  }
  void put_file(const std::string& content) const {
    std::ofstream(path(), std::ios::binary) << content;
    ASSERT_EQ(chmod(path().c_str(), 0600), 0);
  }
};
ESHM_ON_BOTH_BACKENDS(LinksOutside);

TEST_P(LinksOutside, AnAbsentLinkIsAbsentAndSoAreItsRoles) {
  const ESHMLinkInfo info = inspect(name());
  EXPECT_EQ(info.state, ESHM_LINK_ABSENT);
  EXPECT_STREQ(info.name, name().c_str());
  EXPECT_FALSE(info.master.holds_role || info.slave.holds_role);
  EXPECT_GT(info.layout_version, 0u) << "that of the library";
  EXPECT_TRUE(listed(name()).empty());
}

TEST_P(LinksOutside, ALivingLinkShowsBothProcessesItsShapeAndItsCounts) {
  ESHMConfig config = this->config(ESHM_ROLE_MASTER);
  config.m2s.delivery = ESHM_DELIVERY_QUEUE;
  config.flags |= ESHM_FLAG_TIMESTAMPS;
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  config.role = ESHM_ROLE_SLAVE;
  const Link slave = open_link(config);
  ASSERT_TRUE(slave) << last_error();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(write_text(master.get(), "abc"), ESHM_SUCCESS);
  ASSERT_EQ(write_text(slave.get(), "d"), ESHM_SUCCESS);
  ASSERT_EQ(read_text(slave.get(), 1000), "abc");

  const std::vector<ESHMLinkInfo> links = listed(name());
  ASSERT_EQ(links.size(), 1u);
  const ESHMLinkInfo& info = links[0];
  EXPECT_EQ(info.struct_size, sizeof info);
  EXPECT_EQ(info.state, ESHM_LINK_FINE) << info.problem;
  EXPECT_STREQ(info.problem, "");
  EXPECT_EQ(info.backend, GetParam());
  EXPECT_EQ(info.uid, geteuid());
  EXPECT_EQ(info.mode, 0600u);
  EXPECT_TRUE(info.auto_cleanup);
  EXPECT_GT(info.segment_bytes, info.m2s.data_bytes + info.s2m.data_bytes - 1);
  for (const ESHMLinkPeer* peer : {&info.master, &info.slave}) {
    EXPECT_TRUE(peer->holds_role);
    EXPECT_EQ(peer->pid, getpid());
    EXPECT_NE(peer->incarnation, 0u);
    EXPECT_FALSE(peer->has_left);
    EXPECT_EQ(peer->generation, 1u);
  }
  EXPECT_EQ(info.m2s.delivery, ESHM_DELIVERY_QUEUE);
  EXPECT_EQ(info.m2s.written, 3u);
  EXPECT_EQ(info.m2s.read, 1u);
  EXPECT_GT(info.m2s.queued_bytes, 0u);
  EXPECT_EQ(info.s2m.delivery, ESHM_DELIVERY_LATEST);
  EXPECT_EQ(info.s2m.written, 1u);
  EXPECT_GT(info.s2m.newest_ns, 0u);
  const uint64_t beats = info.master.beats;
  wait_until([&] { return inspect(name()).master.beats > beats; });
}

TEST_P(LinksOutside, AnOrphanShowsItsDeadMasterAndLosesNothingByBeingLookedAt) {
  make_orphan();
  for (int i = 0; i < 3; ++i) {
    const ESHMLinkInfo info = inspect(name());
    EXPECT_EQ(info.state, ESHM_LINK_FINE);
    EXPECT_FALSE(info.master.holds_role);
    EXPECT_FALSE(info.master.has_left) << "it was killed";
    EXPECT_GT(info.master.pid, 0);
    EXPECT_EQ(info.m2s.has_counts, GetParam() == ESHM_BACKEND_POSIX);
    EXPECT_EQ(info.m2s.written, GetParam() == ESHM_BACKEND_POSIX ? 1u : 0u);
  }
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_SUCCESS) << last_error();
}

TEST_P(LinksOutside, WhatIsNoSegmentIsNamed) {
  put_file("not a segment, but long enough for its first bytes to be looked at");
  EXPECT_EQ(inspect(name()).state, ESHM_LINK_FOREIGN);
  put_file("hello");
  EXPECT_EQ(inspect(name()).state, ESHM_LINK_FOREIGN);
  put_file("ESHMLINK");
  EXPECT_EQ(inspect(name()).state, ESHM_LINK_CORRUPT) << "part of one";
  std::string other("ESHMLINK");
  other += std::string("\x63\0\0\0", 4) + std::string(4084, '\0');
  put_file(other);
  const ESHMLinkInfo info = inspect(name());
  EXPECT_EQ(info.state, ESHM_LINK_OTHER_VERSION);
  EXPECT_EQ(info.layout_version, 99u);
  EXPECT_NE(std::string(info.problem).find("99"), std::string::npos) << info.problem;
  unlink(path().c_str());
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  EXPECT_EQ(inspect(name()).state, ESHM_LINK_FOREIGN) << "and it did not wait";
  unlink(path().c_str());
  ASSERT_EQ(symlink("/etc/passwd", path().c_str()), 0);
  EXPECT_EQ(inspect(name()).state, ESHM_LINK_FOREIGN);
  unlink(path().c_str());
}

TEST_P(LinksOutside, AnotherUsersLinkIsUnreadableAndNamesItsOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "being somebody else takes root";
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  Child stranger([&](Wire&) {
    CHILD_CHECK(setgid(1000000) == 0 && setuid(1000000) == 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const ESHMLinkInfo info = inspect(name());
    CHILD_CHECK(info.state == ESHM_LINK_UNREADABLE && info.uid == 0);
    CHILD_CHECK(std::string(info.problem).find("root") != std::string::npos);
    CHILD_CHECK(eshm_remove(name().c_str(), 0) == ESHM_ERROR_PERMISSION);
    CHILD_CHECK(eshm_remove(name().c_str(), ESHM_REMOVE_FORCE) == ESHM_ERROR_PERMISSION);
    return 0;
  });
  EXPECT_EQ(stranger.join(), 0);
}

TEST_P(LinksOutside, OlderAndNewerProgramsGetAsMuchAsTheyHaveRoomFor) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  union {
    ESHMLinkInfo info;
    unsigned char bytes[4096];
  } room;
  for (const uint32_t size : {16u, 0u, uint32_t(sizeof(ESHMLinkInfo)), 4096u}) {
    std::memset(room.bytes, 0xaa, sizeof room.bytes);
    room.info.struct_size = size;
    ASSERT_EQ(eshm_inspect(name().c_str(), &room.info), ESHM_SUCCESS);
    EXPECT_EQ(room.info.struct_size, size);
    EXPECT_EQ(room.info.state, ESHM_LINK_FINE);
    const size_t written = size == 0 ? 1056 : size;
    if (written < sizeof room.bytes) { EXPECT_EQ(room.bytes[written], 0xaa) << size; }
    if (written > sizeof room.info) { EXPECT_EQ(room.bytes[sizeof room.info], 0) << size; }
  }
  room.info.struct_size = 4097;
  EXPECT_EQ(eshm_inspect(name().c_str(), &room.info), ESHM_ERROR_INVALID_PARAM);
}

TEST_P(LinksOutside, TypeTextIsCopiedWholeOrNotAtAll) {
  ESHMConfig config = this->config(ESHM_ROLE_MASTER);
  ASSERT_EQ(eshm_type_of("P{x:f64@0}8", &config.m2s.type), ESHM_SUCCESS);
  const Link master = open_link(config);
  ASSERT_TRUE(master) << last_error();
  char text[32];
  size_t bytes = 99;
  EXPECT_EQ(eshm_get_type_text(name().c_str(), ESHM_M2S, text, 11, &bytes),
            ESHM_ERROR_BUFFER_TOO_SMALL);
  EXPECT_EQ(bytes, 11u);
  EXPECT_EQ(eshm_get_type_text(name().c_str(), ESHM_M2S, text, 12, &bytes), ESHM_SUCCESS);
  EXPECT_STREQ(text, "P{x:f64@0}8");
  EXPECT_EQ(eshm_get_type_text(name().c_str(), ESHM_S2M, text, sizeof text, nullptr),
            ESHM_ERROR_NO_DATA);
  EXPECT_EQ(eshm_get_type_text("no such link", ESHM_M2S, text, sizeof text, nullptr),
            ESHM_ERROR_NO_DATA);
  EXPECT_EQ(eshm_get_type_text(name().c_str(), ESHM_M2S, nullptr, 1, nullptr),
            ESHM_ERROR_INVALID_PARAM);
}

// ---- removing ----------------------------------------------------------------------

TEST_P(LinksOutside, RemoveRefusesAHeldRoleAndNamesItsProcess) {
  Link master = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_ERROR_ROLE_MISMATCH);
  EXPECT_TRUE(names_number(last_error(), getpid())) << last_error();
  EXPECT_NE(last_error().find("master"), std::string::npos) << last_error();
  EXPECT_EQ(files_of(name()).size(), 1u);
}

TEST_P(LinksOutside, RemoveRefusesALinkWhoseSlaveAloneLives) {
  ESHMConfig with = config(ESHM_ROLE_MASTER);
  with.auto_cleanup = false;
  Link master = open_link(with);
  const Link slave = open_link(for_ever(config(ESHM_ROLE_SLAVE)));
  ASSERT_TRUE(slave) << last_error();
  master.reset();
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_ERROR_ROLE_MISMATCH);
  EXPECT_NE(last_error().find("slave"), std::string::npos) << last_error();
  EXPECT_EQ(eshm_remove(name().c_str(), ESHM_REMOVE_FORCE), ESHM_SUCCESS) << last_error();
}

TEST_P(LinksOutside, RemoveOfAnOrphanLeavesNothingAndTheNameIsFree) {
  make_orphan();
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_SUCCESS) << last_error();
  EXPECT_TRUE(files_of(name()).empty());
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_ERROR_NO_DATA);
  const Link next = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(next) << last_error();
}

TEST_P(LinksOutside, ALivingMasterRenewsAForciblyRemovedName) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  const uint64_t before = inspect(name()).inode;
  EXPECT_EQ(eshm_remove(name().c_str(), ESHM_REMOVE_FORCE), ESHM_SUCCESS) << last_error();
  wait_until([&] { return inspect(name()).state == ESHM_LINK_FINE; });
  EXPECT_NE(inspect(name()).inode, before);
  EXPECT_TRUE(inspect(name()).master.holds_role);
}

TEST_P(LinksOutside, RemoveLeavesWhatIsNoSegmentUnlessForced) {
  put_file("hello");
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_ERROR_SHM_ATTACH) << last_error();
  EXPECT_EQ(files_of(name()).size(), 1u);
  EXPECT_EQ(eshm_remove(name().c_str(), ESHM_REMOVE_FORCE), ESHM_SUCCESS) << last_error();
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(LinksOutside, RemoveTakesALeftoverAlone) {
  const std::string leftover = "/dev/shm/.eshm-next_" + name();
  std::ofstream(leftover) << "half a segment";
  EXPECT_TRUE(inspect(name()).has_leftover);
  EXPECT_EQ(listed(name()).size(), 1u);
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_SUCCESS) << last_error();
  EXPECT_TRUE(files_of(name()).empty());
}

TEST_P(LinksOutside, RemoveWaitsForAProcessThatIsChangingTheRoles) {
  make_orphan();
  const int fd = open(path().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  struct flock succession = {};
  succession.l_type = F_WRLCK;
  succession.l_whence = SEEK_SET;
  succession.l_start = 2;
  succession.l_len = 1;
  ASSERT_EQ(fcntl(fd, F_OFD_SETLK, &succession), 0);
  EXPECT_TRUE(inspect(name()).roles_change);
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_ERROR_SHM_DELETE) << last_error();
  close(fd);
  EXPECT_EQ(eshm_remove(name().c_str(), 0), ESHM_SUCCESS) << last_error();
}

TEST_P(LinksOutside, RemoveNeverTakesALinkThatSomebodyHasJustOpened) {
  std::atomic<bool> is_over{false};
  std::atomic<uint64_t> removed{0};
  std::thread remover([&] {
    while (!is_over) removed += eshm_remove(name().c_str(), 0) == ESHM_SUCCESS;
  });
  ESHMConfig with = config(ESHM_ROLE_MASTER);
  with.auto_cleanup = false;  // each leaves an orphan
  uint64_t opened = 0;
  while (opened < 20 || removed < 5) {
    const Link master = open_link(with);
    ASSERT_TRUE(master) << last_error();
    const ESHMLinkInfo info = inspect(name());
    EXPECT_EQ(info.state, ESHM_LINK_FINE) << "the name of a living master is gone";
    EXPECT_TRUE(info.master.holds_role);
    ++opened;
  }
  is_over = true;
  remover.join();
  const int last = eshm_remove(name().c_str(), 0);
  EXPECT_TRUE(last == ESHM_SUCCESS || last == ESHM_ERROR_NO_DATA) << last_error();
}

TEST_P(LinksOutside, CppSeesTheSameLinks) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  int found = 0;
  const auto count = [&](const eshm::LinkInfo& link) { found += name() == link.name; };
  const auto all = eshm::for_each_link(count);
  EXPECT_TRUE(all && *all >= 1);
  EXPECT_EQ(found, 1);
  EXPECT_TRUE(eshm::inspect_link(name().c_str())->master.holds_role);
  EXPECT_EQ(eshm::remove_link(name().c_str()).code(), eshm::Code::kRoleMismatch);
}

TEST_P(LinksOutside, TheCallbackEndsTheListing) {
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  int calls = 0;
  const auto stop = [](const ESHMLinkInfo*, void* context) { return ++*static_cast<int*>(context); };
  EXPECT_EQ(eshm_list(stop, &calls), 1);
  EXPECT_EQ(calls, 1);
}

}  // namespace
