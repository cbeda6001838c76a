// SPDX-License-Identifier: MIT
// A link at work while one stranger flips bits of its shared bytes and another
// puts old values back: whatever the calls answer, they answer, and destroying
// and starting anew works. For the sanitizers, above all.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>
#include <thread>

#include "layout/segment.h"
#include "support/counts.h"
#include "support/link.h"

namespace {

using namespace test;
using eshm::layout::ChannelGeometry;
using eshm::layout::ControlPage;

using Word = std::atomic<uint64_t>;

// Everything that a link shares, mapped once more, writable.
class SharedWords {
 public:
  explicit SharedWords(const std::string& path) {
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat meta;
    if (file < 0 || fstat(file, &meta) != 0) return;
    bytes_ = size_t(meta.st_size);
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) return;
    file_ = at;
    add(at, bytes_);
    const auto& page = *static_cast<const ControlPage*>(at);
    if (page.identity.backend != ESHM_BACKEND_SYSV) return;
    for (const ChannelGeometry& geometry : page.geometry) {
      void* const data = shmat(geometry.sysv_id, nullptr, 0);
      if (data == reinterpret_cast<void*>(-1)) continue;
      blocks_.push_back(data);
      add(data, geometry.data_bytes);
    }
  }
  ~SharedWords() {
    if (file_ != nullptr) munmap(file_, bytes_);
    for (void* block : blocks_) shmdt(block);
  }
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;

  size_t count() const { return words_.size(); }
  Word& operator[](size_t index) const { return *words_[index]; }

 private:
  void add(void* at, size_t bytes) {
    auto* const first = static_cast<Word*>(at);
    for (size_t i = 0; i < bytes / sizeof(Word); ++i) words_.push_back(first + i);
  }

  void* file_ = nullptr;
  size_t bytes_ = 0;
  std::vector<void*> blocks_;
  std::vector<Word*> words_;
};

struct Dice {
  uint64_t state;
  uint64_t up_to(uint64_t largest) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % (largest + 1);
  }
};

// Most of what matters lies in the first words; most of what is, behind them.
size_t pick(Dice& dice, const SharedWords& words) {
  const size_t control = eshm::layout::kControlBytes / sizeof(Word);
  switch (dice.up_to(3)) {
    case 0:
      return dice.up_to(control - 1);
    case 1:
      return std::min<size_t>(control + dice.up_to(63), words.count() - 1);
    default:
      return dice.up_to(words.count() - 1);
  }
}

class BitFlips : public LinkTest {
 protected:
  ESHMConfig with(ESHMRole role, ESHMDelivery delivery) const {
    ESHMConfig config = at_once(this->config(role));
    config.disconnect_behavior = ESHM_DISCONNECT_IMMEDIATELY;
    config.flags = ESHM_FLAG_TIMESTAMPS;
    for (ESHMChannelConfig* channel : {&config.m2s, &config.s2m}) {
      channel->delivery = delivery;
      channel->max_message_size = 200;
      channel->queue_capacity = 2048;
    }
    return config;
  }

  static const std::set<int>& documented() {
    static const std::set<int> codes = {
        ESHM_SUCCESS,          ESHM_ERROR_NO_DATA,         ESHM_ERROR_TIMEOUT,
        ESHM_ERROR_MASTER_STALE, ESHM_ERROR_BUFFER_FULL,   ESHM_ERROR_BUFFER_TOO_SMALL,
        ESHM_ERROR_INVALID_PARAM, ESHM_ERROR_CORRUPT,      ESHM_ERROR_SUPERSEDED};
    return codes;
  }

  // One end of the link, busy with everything for a while.
  static uint64_t work(ESHMHandle* link, uint64_t seed, uint64_t calls) {
    Dice dice{seed};
    char buffer[200] = "";
    void* loan = nullptr;
    ESHMView view = {};
    uint64_t good = 0;
    for (uint64_t i = 0; i < calls; ++i) {
      size_t size = 0;
      int code = ESHM_SUCCESS;
      switch (dice.up_to(7)) {
        case 0:
        case 1:
          code = eshm_write(link, buffer, dice.up_to(sizeof buffer));
          break;
        case 2:
        case 3:
          code = eshm_read_ex(link, buffer, sizeof buffer, &size, 0);
          EXPECT_LE(size, size_t(INT32_MAX));
          break;
        case 4:
          code = eshm_loan(link, 100, &loan);
          if (code == ESHM_SUCCESS) {
            std::memset(loan, 1, 100);
            code = eshm_publish(link, loan, dice.up_to(100));
          }
          break;
        case 5:
          view = {};
          code = eshm_borrow(link, &view, 0);
          if (code == ESHM_SUCCESS) {
            uint64_t sum = 0;
            for (size_t at = 0; at < view.size; ++at) {
              sum += static_cast<const volatile unsigned char*>(view.data)[at];
            }
            buffer[0] = char(sum);
            code = eshm_release(link, &view);
          }
          break;
        case 6:
          code = eshm_read_ex(link, buffer, sizeof buffer, &size, 1);
          break;
        default: {
          ESHMStatsEx stats = {};
          ESHMStats old;
          code = eshm_get_stats_ex(link, &stats);
          eshm_get_stats(link, &old);
          break;
        }
      }
      EXPECT_EQ(documented().count(code), 1u) << code;
      good += code == ESHM_SUCCESS;
    }
    return good;
  }
};

TEST_P(BitFlips, CallsEndWithDocumentedAnswersAndTheNameWorksAgain) {
  Random random;
  uint64_t good = 0;
  for (uint64_t round = 0; round < count(40, 1000); ++round) {
    const ESHMDelivery delivery = round % 2 == 0 ? ESHM_DELIVERY_LATEST : ESHM_DELIVERY_QUEUE;
    Link master = open_link(with(ESHM_ROLE_MASTER, delivery));
    ASSERT_TRUE(master) << last_error();
    Link slave = open_link(with(ESHM_ROLE_SLAVE, delivery));
    ASSERT_TRUE(slave) << last_error();
    {
      SharedWords words(path());
      ASSERT_GT(words.count(), eshm::layout::kControlBytes / sizeof(Word));
      std::atomic<bool> over{false};
      std::atomic<uint32_t> ready{0};
      const uint64_t seed = random.up_to(UINT64_MAX);
      // Rare in some rounds, so that the link lives for a while.
      const uint64_t pause = random.up_to(3) * 300;
      const auto stranger = [&](uint64_t own_seed, auto act) {
        Dice dice{own_seed};
        ready.fetch_add(1);
        while (!over.load(std::memory_order_relaxed)) {
          act(dice, words[pick(dice, words)]);
          for (uint64_t i = 0; i < pause; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
          if (pause != 0) std::this_thread::yield();
        }
      };
      std::thread flipper(stranger, seed, [](Dice& dice, Word& word) {
        word.fetch_xor(uint64_t(1) << dice.up_to(63), std::memory_order_relaxed);
      });
      std::vector<uint64_t> old(words.count());
      for (size_t i = 0; i < old.size(); ++i) old[i] = words[i].load(std::memory_order_relaxed);
      std::thread replayer([&] {
        Dice dice{~seed};
        while (!over.load(std::memory_order_relaxed)) {
          const size_t index = pick(dice, words);
          const uint64_t now = words[index].load(std::memory_order_relaxed);
          words[index].store(old[index], std::memory_order_relaxed);
          if (dice.up_to(7) == 0) old[index] = now;
          std::this_thread::yield();
        }
      });
      while (ready.load() != 1) std::this_thread::yield();
      std::atomic<uint64_t> good_of_slave{0};
      std::thread other([&] { good_of_slave = work(slave.get(), seed + 1, 400); });
      good += work(master.get(), seed + 2, 400);
      other.join();
      good += good_of_slave;
      over = true;
      flipper.join();
      replayer.join();
    }
    slave.reset();
    master.reset();
    unlink(path().c_str());  // what was flipped may say that it stays
    if (HasFailure()) return;
  }
  EXPECT_GT(good, 1000u);
  const Link master = open_link(with(ESHM_ROLE_MASTER, ESHM_DELIVERY_LATEST));
  ASSERT_TRUE(master) << last_error();
  EXPECT_EQ(write_text(master.get(), "works"), ESHM_SUCCESS);
}

ESHM_ON_BOTH_BACKENDS(BitFlips);

}  // namespace
