// os::Fd: a descriptor that a forked child does not keep, and that is not closed
// after the application has given its number to a file of its own.
#include "os/fd.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include <gtest/gtest.h>

#include "support/child.h"

namespace {

using eshm::os::Fd;

int open_null() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

bool is_open(int number) { return fcntl(number, F_GETFD) >= 0; }

TEST(Fd, HighNumberTakesNoMoreMemoryThanALowOne) {
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit before = limit;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1'000'000);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  {
    Fd low;
    ASSERT_EQ(Fd::open(open_null, low), 0);
    const size_t heap_before = mallinfo2().uordblks;
    Fd high;
    ASSERT_EQ(Fd::open([&] { return fcntl(low.get(), F_DUPFD_CLOEXEC, int(limit.rlim_cur) - 1); },
                       high),
              0);
    EXPECT_EQ(high.get(), int(limit.rlim_cur) - 1);
    EXPECT_LT(mallinfo2().uordblks, heap_before + 512);
    EXPECT_TRUE(high.is_still_ours());
  }
  EXPECT_FALSE(is_open(int(limit.rlim_cur) - 1));
  setrlimit(RLIMIT_NOFILE, &before);
}

TEST(Fd, RecordsOfManyDescriptorsGoWithThem) {
  { Fd warming; ASSERT_EQ(Fd::open(open_null, warming), 0); }
  const size_t heap_before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) {
    Fd one, other;
    ASSERT_EQ(Fd::open(open_null, one), 0);
    ASSERT_EQ(Fd::open(open_null, other), 0);
    one = std::move(other);
  }
  EXPECT_LE(mallinfo2().uordblks, heap_before);
}

// The same file at the same number: only the registration tells them apart.
TEST(Fd, KnowsThatALaterOneHasItsNumber) {
  Fd former;
  ASSERT_EQ(Fd::open(open_null, former), 0);
  const int number = former.get();
  close(number);
  Fd later;
  ASSERT_EQ(Fd::open(open_null, later), 0);
  ASSERT_EQ(later.get(), number);
  EXPECT_FALSE(former.is_still_ours());
  EXPECT_TRUE(later.is_still_ours());
  former.reset();
  EXPECT_TRUE(later.is_still_ours());
  Fd third;
  close(number);
  ASSERT_EQ(Fd::open(open_null, third), 0);
  ASSERT_EQ(third.get(), number);
  EXPECT_FALSE(later.is_still_ours()) << "the record of the later one went with the former";
  third.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(Fd, ForkedChildHasTheNumberForItsOwn) {
  Fd parents;
  ASSERT_EQ(Fd::open(open_null, parents), 0);
  const int number = parents.get();
  test::Child child([&](test::Wire&) {
    CHILD_CHECK(!is_open(number));
    CHILD_CHECK(!parents.is_still_ours());
    Fd own;
    CHILD_CHECK(Fd::open(open_null, own) == 0);
    CHILD_CHECK(own.get() == number);
    parents.reset();
    CHILD_CHECK(own.is_still_ours());
    return 0;
  });
  EXPECT_EQ(child.join(), 0);
  EXPECT_TRUE(parents.is_still_ours());
}

}  // namespace
