// SPDX-License-Identifier: MIT
// What lies at the link's name and is no segment of this library is refused,
// in words of its own, and left as it is.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"

namespace {

using namespace test;

constexpr uid_t kStranger = 65534;
constexpr size_t kPage = 4096;

// Where every version of the layout keeps these.
constexpr size_t kLayoutVersionOffset = 8;  // uint32_t
constexpr size_t kFingerprintOffset = 16;   // uint64_t
constexpr size_t kSegmentBytesOffset = 24;  // uint64_t

template <class Number>
Number number_at(const std::string& bytes, size_t offset) {
  Number number;
  std::memcpy(&number, bytes.data() + offset, sizeof number);
  return number;
}

template <class Number>
void set_number_at(std::string& bytes, size_t offset, Number number) {
  std::memcpy(&bytes[offset], &number, sizeof number);
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void make_file(const std::string& path, const std::string& bytes, mode_t mode = 0600) {
  std::ofstream(path, std::ios::binary) << bytes;
  ASSERT_EQ(chmod(path.c_str(), mode), 0);
}

// All of a file that a user could see changed, without following a symlink.
struct Look {
  ino_t inode;
  mode_t mode;
  uid_t owner;
  off_t size;
  std::string bytes;

  bool operator==(const Look& other) const {
    return inode == other.inode && mode == other.mode && owner == other.owner &&
           size == other.size && bytes == other.bytes;
  }
};

Look look_at(const std::string& path) {
  struct stat found = {};
  EXPECT_EQ(lstat(path.c_str(), &found), 0) << path << " is gone";
  const bool has_bytes = S_ISREG(found.st_mode) || S_ISLNK(found.st_mode);
  return {found.st_ino, found.st_mode, found.st_uid, found.st_size,
          has_bytes ? bytes_of(path) : ""};
}

class SegmentFiles : public LinkTest {
 protected:
  void SetUp() override {
    LinkTest::SetUp();
    // What a healthy segment of this build looks like.
    const std::string real = unique_name();
    const Link master = open_link(config_of(real, ESHM_ROLE_MASTER, GetParam()));
    ASSERT_TRUE(master) << last_error();
    ASSERT_EQ(write_text(master.get(), "something"), ESHM_SUCCESS);
    healthy_ = bytes_of(path_of(real));
    ASSERT_GE(healthy_.size(), kPage);
    ASSERT_EQ(number_at<uint64_t>(healthy_, kSegmentBytesOffset), healthy_.size());
  }

  void TearDown() override {
    for (const std::string& extra : extra_files_) unlink(extra.c_str());
    LinkTest::TearDown();
  }

  // The texts of the three roles for what lies at the name, which they leave
  // as it is and the test then removes.
  std::vector<std::string> refusals(const std::string& what) {
    std::vector<std::string> texts;
    const Look before = look_at(path());
    for (ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE, ESHM_ROLE_AUTO}) {
      EXPECT_FALSE(open_link(at_once(config(role)))) << what << ", role " << role;
      const int code = last_error_code();
      EXPECT_TRUE(code == ESHM_ERROR_SHM_ATTACH || code == ESHM_ERROR_PERMISSION ||
                  code == ESHM_ERROR_CORRUPT || code == ESHM_ERROR_TYPE_MISMATCH)
          << what << ", role " << role << ": " << code << " " << last_error();
      EXPECT_NE(last_error().find("eshm_" + name()), std::string::npos) << last_error();
      texts.push_back(last_error());
      EXPECT_TRUE(look_at(path()) == before) << what << " was changed by role " << role;
    }
    if (unlink(path().c_str()) != 0) rmdir(path().c_str());
    return texts;
  }

  void expect_all_name(const std::vector<std::string>& texts, const std::string& word) {
    for (const std::string& text : texts) {
      EXPECT_NE(text.find(word), std::string::npos) << "no " << word << " in: " << text;
    }
  }

  std::string healthy_;
  std::vector<std::string> extra_files_;
};

TEST_P(SegmentFiles, HealthyCopyIsNotRefusedSoThatTheOthersAreForTheirReason) {
  make_file(path(), healthy_);
  const Link master = open_link(config(ESHM_ROLE_MASTER));
  EXPECT_TRUE(master) << last_error();
}

TEST_P(SegmentFiles, AnotherLayoutVersionIsRefusedWithBothNumbers) {
  const auto own = number_at<uint32_t>(healthy_, kLayoutVersionOffset);
  for (uint32_t other : {own + 1, own + 4711, own - 1, UINT32_MAX}) {
    std::string bytes = healthy_;
    set_number_at(bytes, kLayoutVersionOffset, other);
    make_file(path(), bytes);
    for (const std::string& text : refusals("version " + std::to_string(other))) {
      EXPECT_TRUE(names_number(text, own)) << text;
      EXPECT_TRUE(names_number(text, other)) << text;
    }
  }
}

// The rest of another version's header means nothing to this one.
TEST_P(SegmentFiles, AnotherLayoutVersionIsRefusedAsSuchWhateverFollows) {
  const auto own = number_at<uint32_t>(healthy_, kLayoutVersionOffset);
  std::string bytes = healthy_.substr(0, 4096);
  for (size_t i = 12; i < bytes.size(); ++i) bytes[i] = static_cast<char>(mix(i));
  set_number_at(bytes, kLayoutVersionOffset, own + 1);
  make_file(path(), bytes);
  for (const std::string& text : refusals("future version")) {
    EXPECT_TRUE(names_number(text, own + 1)) << text;
  }
}

TEST_P(SegmentFiles, AnotherFingerprintIsRefused) {
  std::string bytes = healthy_;
  set_number_at(bytes, kFingerprintOffset, ~number_at<uint64_t>(bytes, kFingerprintOffset));
  make_file(path(), bytes);
  refusals("fingerprint");
}

TEST_P(SegmentFiles, SizeThatContradictsTheHeaderIsRefusedWithBothNumbers) {
  const size_t size = healthy_.size();
  for (size_t actual : {size / 2, size - 1, size + 1, size + kPage}) {
    std::string bytes = healthy_;
    bytes.resize(actual);
    make_file(path(), bytes);
    for (const std::string& text : refusals("size " + std::to_string(actual))) {
      EXPECT_TRUE(names_number(text, static_cast<long long>(actual))) << text;
      EXPECT_TRUE(names_number(text, static_cast<long long>(size))) << text;
    }
  }
  for (uint64_t claimed :
       {uint64_t{0}, uint64_t{1}, uint64_t{size * 2}, uint64_t{1} << 62, UINT64_MAX}) {
    std::string bytes = healthy_;
    set_number_at(bytes, kSegmentBytesOffset, claimed);
    make_file(path(), bytes);
    refusals("claimed " + std::to_string(claimed));
  }
}

TEST_P(SegmentFiles, FilesTooShortForAHeaderAreRefused) {
  for (size_t size : {0, 1, 8, 31, 63}) {
    make_file(path(), healthy_.substr(0, size));
    refusals("only " + std::to_string(size) + " bytes");
  }
}

TEST_P(SegmentFiles, RandomBytesAreRefused) {
  Random random;
  for (size_t size : {size_t{100}, size_t{4096}, healthy_.size()}) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random.up_to(255));
    make_file(path(), bytes);
    refusals(std::to_string(size) + " random bytes");
  }
}

TEST_P(SegmentFiles, FifoIsRefusedAndBlocksNobody) {
  ASSERT_EQ(mkfifo(path().c_str(), 0600), 0);
  refusals("FIFO");
}

TEST_P(SegmentFiles, DirectoryIsRefused) {
  ASSERT_EQ(mkdir(path().c_str(), 0700), 0);
  expect_all_name(refusals("directory"), "directory");
}

TEST_P(SegmentFiles, SymlinkIsRefusedAndNotFollowed) {
  const std::string target = path() + "_target";
  extra_files_.push_back(target);
  make_file(target, healthy_);
  const Look before = look_at(target);
  ASSERT_EQ(symlink(target.c_str(), path().c_str()), 0);
  expect_all_name(refusals("symlink"), "sym");
  EXPECT_TRUE(look_at(target) == before);

  ASSERT_EQ(symlink("/nowhere/at/all", path().c_str()), 0);
  refusals("dangling symlink");
}

TEST_P(SegmentFiles, StrangersFileIsRefusedWithItsOwner) {
  if (geteuid() != 0) GTEST_SKIP() << "giving a file away takes root";
  make_file(path(), healthy_);
  ASSERT_EQ(chown(path().c_str(), kStranger, kStranger), 0);
  for (const std::string& text : refusals("stranger's")) {
    EXPECT_TRUE(names_number(text, kStranger) || text.find("nobody") != std::string::npos) << text;
  }
}

TEST_P(SegmentFiles, ModeWithoutAnyRightIsRefused) {
  make_file(path(), healthy_, 0000);
  expect_all_name(refusals("mode 0000"), "mode");
}

TEST_P(SegmentFiles, ModeThatLetsOthersInUnaskedIsRefused) {
  make_file(path(), healthy_, 0666);
  refusals("mode 0666");
}

// One name for all, so that the texts differ by what was found alone.
TEST_P(SegmentFiles, EachKindHasATextOfItsOwn) {
  std::string other_version = healthy_, cut = healthy_, random(healthy_.size(), '\0');
  set_number_at(other_version, kLayoutVersionOffset, uint32_t{4711});
  cut.resize(cut.size() - 1);
  for (size_t i = 0; i < random.size(); ++i) random[i] = static_cast<char>(mix(i));
  std::vector<std::pair<std::string, std::function<void()>>> kinds = {
      {"other version", [&] { make_file(path(), other_version); }},
      {"other size", [&] { make_file(path(), cut); }},
      {"too short", [&] { make_file(path(), "short"); }},
      {"random bytes", [&] { make_file(path(), random); }},
      {"FIFO", [&] { ASSERT_EQ(mkfifo(path().c_str(), 0600), 0); }},
      {"directory", [&] { ASSERT_EQ(mkdir(path().c_str(), 0700), 0); }},
      {"symlink", [&] { ASSERT_EQ(symlink("nowhere", path().c_str()), 0); }},
      {"mode 0000", [&] { make_file(path(), healthy_, 0000); }},
  };
  if (geteuid() == 0) {
    kinds.emplace_back("stranger's", [&] {
      make_file(path(), healthy_);
      ASSERT_EQ(chown(path().c_str(), kStranger, kStranger), 0);
    });
  }
  std::map<std::string, std::string> kind_of_text;
  for (const auto& [kind, plant] : kinds) {
    plant();
    if (HasFatalFailure()) return;
    const std::vector<std::string> texts = refusals(kind);
    for (const std::string& text : texts) {
      const auto place = kind_of_text.emplace(text, kind).first;
      EXPECT_EQ(place->second, kind) << "same text: " << text;
    }
  }
}

ESHM_ON_BOTH_BACKENDS(SegmentFiles);

}  // namespace
