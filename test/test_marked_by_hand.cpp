// SPDX-License-Identifier: MIT
// Links whose shared control words are changed by hand: what somebody leaves who
// dies between two steps of replacing a master, and what a peer may lie about.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layout/segment.h"
#include "support/player.h"

namespace {

using namespace test;
using eshm::layout::ControlPage;

// The control page of a link, writable.
class Page {
 public:
  explicit Page(const std::string& path) {
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    EXPECT_GE(fd, 0);
    at_ = mmap(nullptr, sizeof(ControlPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    EXPECT_NE(at_, MAP_FAILED);
    close(fd);
  }
  Page(const Page&) = delete;
  ~Page() { munmap(at_, sizeof(ControlPage)); }
  ControlPage* operator->() const { return static_cast<ControlPage*>(at_); }

  void mark() const { operator->()->mark.superseded.store(1); }
  // With the queues' ends, of which the first `records` of 32 bytes count.
  void mark(uint64_t records) const {
    for (auto& end : operator->()->mark.end_position) end.store(32 * records + 1);
    mark();
  }

 private:
  void* at_;
};

class MarkedByHand : public LinkTest {
 protected:
  void TearDown() override {
    slave_.reset();
    master_.reset();
    remove_name_of_the_killed();  // a marked segment is nobody's to remove
    LinkTest::TearDown();
  }
  void open_both(ESHMDelivery delivery, bool slave_uses_threads = true) {
    ESHMConfig config = this->config(ESHM_ROLE_MASTER);
    config.m2s.delivery = config.s2m.delivery = delivery;
    master_ = open_link(config);
    ASSERT_TRUE(master_) << last_error();
    ESHMConfig as_slave = for_ever(config);
    as_slave.role = ESHM_ROLE_SLAVE;
    as_slave.use_threads = slave_uses_threads;
    slave_ = open_link(as_slave);
    ASSERT_TRUE(slave_) << last_error();
  }
  Link open_observer() const {
    Link link = open_link(config(ESHM_ROLE_OBSERVER));
    EXPECT_TRUE(link) << last_error();
    return link;
  }
  ESHMHandle* master() const { return master_.get(); }
  ESHMHandle* slave() const { return slave_.get(); }

  Link master_;
  Link slave_;
};

// Whoever was to replace the master died before the new segment had the name.
TEST_P(MarkedByHand, SlaveReadsItsQueueDryUpToTheMark) {
  open_both(ESHM_DELIVERY_QUEUE);
  for (const char* text : {"a", "b", "c", "late"}) {
    ASSERT_EQ(write_text(master(), text), ESHM_SUCCESS);
  }
  Page(path()).mark(3);
  ESHMHandle* const handles[] = {slave()};
  EXPECT_EQ(read_text(slave(), 0), "a");
  EXPECT_EQ(eshm_wait_any(handles, 1, 0), 0);
  EXPECT_EQ(read_text(slave(), 0), "b");
  ESHMView view = {};
  EXPECT_EQ(eshm_borrow(slave(), &view, 0), ESHM_SUCCESS) << last_error();
  EXPECT_EQ(std::string(static_cast<const char*>(view.data), view.size), "c");
  EXPECT_EQ(eshm_release(slave(), &view), ESHM_SUCCESS);
  EXPECT_EQ(read_text(slave(), 0), error(ESHM_ERROR_NO_DATA));
  EXPECT_EQ(eshm_wait_any(handles, 1, 5), ESHM_ERROR_TIMEOUT);
  EXPECT_EQ(write_text(master(), "x"), ESHM_ERROR_SUPERSEDED);
}

TEST_P(MarkedByHand, SlavesNewestValueIsNotWrittenAndItsQueueIs) {
  for (const ESHMDelivery delivery : {ESHM_DELIVERY_LATEST, ESHM_DELIVERY_QUEUE}) {
    open_both(delivery, false);
    void* loan = nullptr;
    void* masters_loan = nullptr;
    ASSERT_EQ(eshm_loan(master(), 1, &masters_loan), ESHM_SUCCESS);
    ASSERT_EQ(write_text(slave(), "before"), ESHM_SUCCESS);
    ASSERT_EQ(eshm_loan(slave(), 1, &loan), ESHM_SUCCESS);
    Page(path()).mark(0);
    const int expected = delivery == ESHM_DELIVERY_QUEUE ? ESHM_SUCCESS : ESHM_ERROR_TIMEOUT;
    EXPECT_EQ(write_text(slave(), "x"), expected) << last_error();
    EXPECT_EQ(eshm_publish(slave(), loan, 1), expected) << last_error();
    EXPECT_EQ(eshm_publish(master(), masters_loan, 1), ESHM_ERROR_SUPERSEDED);
    EXPECT_EQ(eshm_loan(master(), 1, &loan), ESHM_ERROR_SUPERSEDED);
    EXPECT_EQ(read_text(master(), 0), error(ESHM_ERROR_SUPERSEDED));
    TearDown();
    SetUp();
  }
}

TEST_P(MarkedByHand, ObserverIsShownNothingAndKeepsNothing) {
  open_both(ESHM_DELIVERY_LATEST);
  const Link observer = open_observer();
  ASSERT_EQ(write_text(master(), "unread"), ESHM_SUCCESS);
  Page(path()).mark();
  EXPECT_EQ(read_text(observer.get(), 0), error(ESHM_ERROR_NO_DATA));
  ESHMStatsEx stats = {};
  wait_until([&] {
    EXPECT_EQ(read_text(observer.get(), 0), error(ESHM_ERROR_NO_DATA));
    EXPECT_EQ(eshm_get_stats_ex(observer.get(), &stats), ESHM_SUCCESS);
    return stats.segment_bytes == 0;
  });
  EXPECT_EQ(stats.messages_read, 0u);
}

// ---- a peer that lies ------------------------------------------------------------------

TEST_P(MarkedByHand, WriterIsToldThatItsQueuesReaderLies) {
  open_both(ESHM_DELIVERY_QUEUE);
  const Page page(path());
  page->reader[eshm::layout::kMasterToSlave].line.position.store(8);
  const std::string text(1000, 'x');
  int code;
  while ((code = write_text(master(), text)) == ESHM_SUCCESS) {
  }
  EXPECT_EQ(code, ESHM_ERROR_CORRUPT);
  EXPECT_NE(last_error().find("no healthy process"), std::string::npos) << last_error();
  // Found out, it gives its role back, and each call says why.
  wait_until([&] { return read_text(master(), 0) == error(ESHM_ERROR_CORRUPT); });
  void* loan = nullptr;
  EXPECT_EQ(eshm_loan(master(), 1, &loan), ESHM_ERROR_CORRUPT);
}

TEST_P(MarkedByHand, SlaveWhoseRecordIsAnothersIsSuperseded) {
  open_both(ESHM_DELIVERY_LATEST);
  const Page page(path());
  page->slave.incarnation.fetch_add(1);
  page->slave.pid.store(12345);
  wait_until([&] { return write_text(slave(), "x") == ESHM_ERROR_SUPERSEDED; });
  EXPECT_TRUE(names_number(last_error(), 12345)) << last_error();
  EXPECT_NE(last_error().find("slave's place"), std::string::npos) << last_error();
  EXPECT_EQ(read_text(slave(), 0), error(ESHM_ERROR_SUPERSEDED));
}

// Its tender has not seen it yet: the read itself does.
TEST_P(MarkedByHand, ReadOfASlaveWhoseRecordIsAnothersIsSuperseded) {
  open_both(ESHM_DELIVERY_LATEST, false);
  Page(path())->slave.incarnation.fetch_add(1);
  EXPECT_EQ(read_text(slave(), 0), error(ESHM_ERROR_SUPERSEDED));
}

ESHM_ON_BOTH_BACKENDS(MarkedByHand);

}  // namespace
