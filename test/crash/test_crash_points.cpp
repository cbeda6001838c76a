// SPDX-License-Identifier: MIT
// Every instruction of a write is a crash point: the writer is single-stepped,
// and the memory that it would leave behind is handed to those who survive.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "crash/memory.h"
#include "crash/reporting.h"
#include "crash/stepper.h"
#include "crash/survivors.h"
#include "support/child.h"
#include "support/counts.h"
#include "support/link.h"
#include "support/pattern.h"
#include "support/tally.h"

namespace {

using namespace test;
using namespace eshm;
using channel::ChannelView;
using channel::LatestWriter;
using std::memory_order_relaxed;
using std::memory_order_release;

constexpr size_t kSizes[] = {0, 1, 64, 4096};
constexpr size_t kLong = 4096;

// A write of `size` bytes cannot be done in fewer: its payload by vector
// registers, the widest stores that the library copies short messages by, its
// sequence, the hint, the preparation of the next slot; and the image before it.
uint64_t fewest_images(size_t size) { return size / 16 + 4; }

// ---- the channel alone ------------------------------------------------------

struct Scene {
  size_t size;
  uint64_t before;               // messages written before the one that is stepped
  std::vector<uint32_t> pinned;  // slots that a reader holds meanwhile
};

std::string describe(const Scene& scene) {
  std::string text = "size " + std::to_string(scene.size) + ", after " +
                     std::to_string(scene.before) + " messages, pinned:";
  for (const uint32_t slot : scene.pinned) text += " " + std::to_string(slot);
  return text;
}

layout::ChannelGeometry geometry_for(size_t largest) {
  layout::ChannelShape shape;
  shape.max_borrows = shape.max_loans = 1;
  shape.max_message_bytes = largest == 0 ? 1 : largest;
  return layout::plan_channel(shape);
}

// Empty, first lap, just around, and well beyond; in the long form everything
// up to the third lap.
std::vector<uint64_t> histories() {
  if (!soak()) return {0, 2, 5, 11};
  std::vector<uint64_t> all;
  for (uint64_t before = 0; before <= 3 * geometry_for(0).slot_count; ++before)
    all.push_back(before);
  return all;
}

// Writes like LatestWriter, one plain thing after the other; or with a fault.
class PlainWriter {
 public:
  enum class Fault {
    kNone,
    kPublishesBeforePayload,
    kPublishesBeforeSize,
    kHintsBeforePublishing,
    kHasOneSlot,
    kIgnoresPins,
  };
  explicit PlainWriter(Fault fault) : fault_(fault) {}

  void adopt(const ChannelView& view, uint32_t generation) {
    view_ = view;
    generation_ = generation;
  }

  void write(const void* data, size_t size, uint64_t) {
    const uint64_t number = ++newest_;
    uint32_t index = static_cast<uint32_t>(number % view_.geometry.slot_count);
    while (fault_ != Fault::kIgnoresPins && (is_pinned(index) || index == newest_slot_)) {
      index = (index + 1) % view_.geometry.slot_count;
    }
    if (fault_ == Fault::kHasOneSlot) index = 0;
    newest_slot_ = index;
    auto* const slot = reinterpret_cast<layout::Slot*>(view_.data + layout::kFirstSlotOffset +
                                                       index * view_.geometry.slot_stride);
    const auto hint = [&] {
      reinterpret_cast<layout::DataArea*>(view_.data)
          ->publish.published.store(number << 8 | index, memory_order_release);
    };
    slot->sequence = 2 * number + 1;
    if (fault_ == Fault::kHintsBeforePublishing) hint();
    if (fault_ == Fault::kPublishesBeforePayload) slot->sequence = 2 * number;
    auto* const to = reinterpret_cast<volatile char*>(slot) + view_.geometry.payload_offset;
    for (size_t i = 0; i < size; ++i) to[i] = static_cast<const char*>(data)[i];
    if (fault_ != Fault::kPublishesBeforeSize) slot->size = static_cast<uint32_t>(size);
    slot->generation = generation_;
    slot->sequence = 2 * number;
    hint();
    if (fault_ == Fault::kPublishesBeforeSize) slot->size = static_cast<uint32_t>(size);
  }

 private:
  bool is_pinned(uint32_t index) const {
    for (uint32_t pin = 0; pin < view_.geometry.pin_count; ++pin) {
      if (view_.pins->slot[pin] == index + 1) return true;
    }
    return false;
  }

  Fault fault_;
  ChannelView view_ = {};
  uint64_t newest_ = 0;
  uint32_t newest_slot_ = UINT32_MAX;
  uint32_t generation_ = 0;
};

struct Finding {
  Tally tally;
  std::vector<std::string> faults;
  std::vector<Image> images;  // where they were asked for
};

// Steps one write at channel level, and shows what it leaves to the survivors.
template <class Writer>
Finding step_write(const Scene& scene, Writer writer, const Survivors::Spoil& spoil = {},
                   bool keep_images = false) {
  Arena arena(geometry_for(scene.size));
  Payloads payloads(scene.size);
  Stepper child([&] {
    writer.adopt(arena.view(), 1);
    uint64_t number = 0;
    const auto write_next = [&] {
      writer.write(payloads.make(number, 1), payloads.size_of(number), 0);
    };
    while (++number <= scene.before) write_next();
    payloads.make(number, 1);
    mark();
    writer.write(payloads.made(), payloads.size_of(number), 0);
    mark();
    return 0;
  });
  EXPECT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  for (size_t i = 0; i < scene.pinned.size(); ++i) {
    arena.pins().slot[arena.geometry().pin_count - 1 - i] = scene.pinned[i] + 1;
  }
  Finding finding;
  Survivors survivors({scene.size, scene.before, scene.before + 1}, arena, spoil);
  finding.tally = step_through(child, arena, [&](const Image& image) {
    survivors.look_at(image);
    if (keep_images) finding.images.push_back(image);
  });
  survivors.finish();
  EXPECT_GT(survivors.messages_read(), finding.tally.images);
  EXPECT_EQ(child.finish(), 0);
  finding.faults = survivors.faults();
  return finding;
}

std::vector<Scene> scenes(bool with_pins) {
  std::vector<Scene> all;
  const uint32_t slots = geometry_for(0).slot_count;
  for (const size_t size : kSizes) {
    for (const uint64_t before : histories()) {
      if (!with_pins) {
        all.push_back({size, before, {}});
        continue;
      }
      if (size == kLong && !soak()) continue;
      for (uint32_t first = 0; first < slots; ++first) {
        all.push_back({size, before, {first}});
        for (uint32_t second = first + 1; second < slots; ++second) {
          if (second == first + 1 || soak()) all.push_back({size, before, {first, second}});
        }
      }
    }
  }
  return all;
}

class CrashPoints : public testing::Test {
 protected:
  void SetUp() override { arm_watchdog(); }
  void TearDown() override { alarm(0); }

  void step_all(const std::vector<Scene>& scenes, const std::string& what, const Part& part = {1}) {
    Tally total;
    for (size_t i = part.begin; i < scenes.size(); i += part.stride) {
      const Scene& scene = scenes[i];
      const Finding finding = step_write(scene, LatestWriter());
      total += finding.tally;
      EXPECT_TRUE(finding.faults.empty()) << describe(scene) << all_of(finding.faults);
      const size_t size = Payloads(scene.size).size_of(scene.before + 1);
      EXPECT_GE(finding.tally.images, scene.pinned.empty() ? fewest_images(size) : 4u);
      EXPECT_GT(finding.tally.steps, finding.tally.changes);
    }
    print(what, total);
  }
};

TEST_F(CrashPoints, WriterDeadAtAnyInstructionLeavesTheLastGoodValue) {
  SKIP_WITHOUT_STEPS();
  step_all(scenes(false), "write");
}

TEST_F(CrashPoints, WriterDeadAtAnyInstructionLeavesWhatIsPinned) {
  SKIP_WITHOUT_STEPS();
  const Part part{count(1, 2)};  // of the scenes
  step_all(scenes(true), "write with pins, " + part.text(), part);
}

// The successor dies too, at any of its instructions, on any of the images.
TEST_F(CrashPoints, SuccessorDeadAtAnyInstructionLeavesTheLastGoodValue) {
  SKIP_WITHOUT_STEPS();
  Tally total;
  uint64_t first_images = 0;
  std::vector<Scene> crashes;
  for (const uint64_t before : histories()) {
    crashes.push_back({64, before, {}});
    if (soak()) crashes.push_back({1, before, {}});
  }
  // The slot that this write prepares, for the message after the next.
  crashes.push_back({64, 5, {static_cast<uint32_t>(8 % geometry_for(64).slot_count)}});
  crashes.push_back({64, 11, {0, 1}});
  for (const Scene& scene : crashes) {
    const Finding first = step_write(scene, LatestWriter(), {}, true);
    Arena arena(geometry_for(scene.size));
    Payloads payloads(scene.size);
    for (const Image& image : first.images) {
      ++first_images;
      arena.load(image);
      const uint64_t newest = arena.newest_complete();
      Stepper child([&] {
        LatestWriter successor;
        payloads.make(newest + 1, 2);
        mark();
        successor.adopt(arena.view(), 2);
        successor.write(payloads.made(), payloads.size_of(newest + 1), 0);
        mark();
        return 0;
      });
      ASSERT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
      Survivors survivors({scene.size, newest, newest + 1, newest + 1}, arena);
      const Tally tally =
          step_through(child, arena, [&](const Image& left) { survivors.look_at(left); });
      survivors.finish();
      EXPECT_TRUE(survivors.faults().empty()) << describe(scene) << ", first crash at image "
                                              << first_images << all_of(survivors.faults());
      EXPECT_GE(tally.images, fewest_images(0));
      total += tally;
    }
  }
  std::printf("%llu images adopted; ", static_cast<unsigned long long>(first_images));
  print("adopt and write", total, "second_order_kill_points");
}

// ---- the looks find what they are for -----------------------------------------

TEST_F(CrashPoints, PlainWriterWithoutAFaultPasses) {
  SKIP_WITHOUT_STEPS();
  for (const Scene& scene : {Scene{64, 0, {}}, Scene{64, 3, {}}, Scene{64, 6, {1}}}) {
    const Finding finding = step_write(scene, PlainWriter(PlainWriter::Fault::kNone));
    EXPECT_TRUE(finding.faults.empty()) << describe(scene) << all_of(finding.faults);
  }
}

TEST_F(CrashPoints, BrokenWritersAreFound) {
  SKIP_WITHOUT_STEPS();
  using Fault = PlainWriter::Fault;
  struct Broken {
    Fault fault;
    Scene scene;
    const char* complaint;
  };
  const Broken all[] = {
      {Fault::kPublishesBeforePayload, {64, 6, {}}, "not as it was written"},
      {Fault::kPublishesBeforePayload, {64, 0, {}}, "not as it was written"},
      {Fault::kPublishesBeforeSize, {64, 0, {}}, "not as it was written"},
      {Fault::kHintsBeforePublishing, {64, 6, {}}, "a read gives"},
      {Fault::kHasOneSlot, {64, 6, {}}, "the newest complete message is 0"},
      {Fault::kIgnoresPins, {64, 6, {1}}, "pinned slot 1 has changed"},
  };
  for (const Broken& broken : all) {
    const Finding finding = step_write(broken.scene, PlainWriter(broken.fault));
    EXPECT_NE(all_of(finding.faults).find(broken.complaint), std::string::npos)
        << broken.complaint << " was not found, but:" << all_of(finding.faults);
  }
}

layout::Slot& slot_of(const ChannelView& view, uint32_t index) {
  return *reinterpret_cast<layout::Slot*>(view.data + layout::kFirstSlotOffset +
                                          index * view.geometry.slot_stride);
}

TEST_F(CrashPoints, SuccessorThatBelievesTheHintIsFound) {
  SKIP_WITHOUT_STEPS();
  const Finding finding = step_write({64, 6, {}}, LatestWriter(), [](const ChannelView& view) {
    const uint64_t hinted = reinterpret_cast<layout::DataArea*>(view.data)->publish.published >> 8;
    for (uint32_t index = 0; index < view.geometry.slot_count; ++index) {
      layout::Slot& slot = slot_of(view, index);
      if (slot.sequence / 2 > hinted) slot.sequence = 0;
    }
  });
  EXPECT_FALSE(finding.faults.empty());
}

TEST_F(CrashPoints, SuccessorThatRoundsUnfinishedSlotsUpIsFound) {
  SKIP_WITHOUT_STEPS();
  const Finding finding = step_write({64, 0, {}}, LatestWriter(), [](const ChannelView& view) {
    for (uint32_t index = 0; index < view.geometry.slot_count; ++index) {
      layout::Slot& slot = slot_of(view, index);
      if (slot.sequence % 2 == 1) ++slot.sequence;
    }
  });
  EXPECT_FALSE(finding.faults.empty());
}

// ---- real links ----------------------------------------------------------------

class LinkCrashPoints : public LinkTest {
 protected:
  static uint32_t direction_of(ESHMRole writer) {
    return writer == ESHM_ROLE_MASTER ? layout::kMasterToSlave : layout::kSlaveToMaster;
  }

  // Nothing but the calls themselves may change the memory.
  ESHMConfig quiet(ESHMRole role) const {
    ESHMConfig quiet = config(role);
    quiet.use_threads = false;
    return quiet;
  }

  ESHMConfig sized(ESHMRole role, size_t largest) const {
    ESHMConfig sized = quiet(role);
    sized.m2s.max_message_size = sized.s2m.max_message_size = largest == 0 ? 1 : largest;
    return sized;
  }

  Tally step_api_write(ESHMRole role, size_t size, uint64_t before, bool is_awaited);

  // A process that opens the link, writes `before` messages and is stepped
  // through one more.
  std::unique_ptr<Stepper> writer(const ESHMConfig& config, uint64_t first, uint64_t before);
  uint64_t read_newest(ESHMHandle* link, uint64_t last, uint32_t timeout_ms);
  void kill_at_steps(ESHMRole role);
};

// `is_awaited`: the peer has announced that it sleeps, so that the write rings.
Tally LinkCrashPoints::step_api_write(ESHMRole role, size_t size, uint64_t before,
                                      bool is_awaited) {
  Link master;
  if (role == ESHM_ROLE_SLAVE) master = open_link(sized(ESHM_ROLE_MASTER, size));
  Payloads payloads(size);
  Stepper child([&] {
    const Link link = open_link(sized(role, size));
    CHILD_CHECK(link);
    for (uint64_t number = 1; number <= before; ++number) {
      CHILD_CHECK(eshm_write(link.get(), payloads.make(number, 1), payloads.size_of(number)) ==
                  ESHM_SUCCESS);
    }
    payloads.make(before + 1, 1);
    mark();
    const int code = eshm_write(link.get(), payloads.made(), payloads.size_of(before + 1));
    mark();
    CHILD_CHECK(code == ESHM_SUCCESS);
    return 0;
  });
  EXPECT_EQ(child.run_to_mark(), Stepper::Stop::kMarked);
  const LinkMemory memory(path(), direction_of(role));
  if (is_awaited) memory.wake().announced = 1;
  const uint32_t doorbell = memory.wake().doorbell;
  Survivors survivors({size, before, before + 1}, memory);
  const Tally tally =
      step_through(child, memory, [&](const Image& image) { survivors.look_at(image); });
  survivors.finish();
  EXPECT_EQ(memory.wake().doorbell - doorbell, is_awaited ? 1u : 0u);
  EXPECT_TRUE(survivors.faults().empty()) << all_of(survivors.faults());
  EXPECT_GT(survivors.messages_read(), tally.images);
  EXPECT_GE(tally.images, fewest_images(payloads.size_of(before + 1)));
  EXPECT_GT(tally.steps, 2 * tally.changes / 3);
  EXPECT_EQ(child.finish(), 0);
  return tally;
}

TEST_P(LinkCrashPoints, WriteDeadAtAnyInstructionLeavesTheLastGoodValue) {
  SKIP_WITHOUT_STEPS();
  Tally total;
  for (const ESHMRole role : {ESHM_ROLE_MASTER, ESHM_ROLE_SLAVE}) {
    for (const size_t size : kSizes) {
      for (const uint64_t before : histories()) {
        const bool is_short = size == kLong && !soak();
        if (is_short && (before < 6 || role == ESHM_ROLE_SLAVE)) continue;
        for (const bool is_awaited : {false, true}) {
          if (is_short && is_awaited) continue;
          SCOPED_TRACE(describe({size, before, {}}) + (is_awaited ? ", awaited" : "") +
                       (role == ESHM_ROLE_SLAVE ? ", slave" : ", master"));
          total += step_api_write(role, size, before, is_awaited);
        }
      }
    }
  }
  print("eshm_write", total);
}

constexpr size_t kKilledSize = 100;

// What a real reader is sent: the number first, then the pattern.
std::vector<char> numbered(uint64_t number) {
  std::vector<char> message(kKilledSize);
  std::memcpy(message.data(), &number, sizeof number);
  fill_pattern(message.data() + sizeof number, kKilledSize - sizeof number, number);
  return message;
}

std::unique_ptr<Stepper> LinkCrashPoints::writer(const ESHMConfig& config, uint64_t first,
                                                 uint64_t before) {
  return std::make_unique<Stepper>([=] {
    const Link link = open_link(config);
    CHILD_CHECK(link);
    uint64_t number = first;
    for (; number < first + before; ++number) {
      CHILD_CHECK(eshm_write(link.get(), numbered(number).data(), kKilledSize) == ESHM_SUCCESS);
    }
    const std::vector<char> last = numbered(number);
    mark();
    const int code = eshm_write(link.get(), last.data(), kKilledSize);
    mark();
    return code == ESHM_SUCCESS ? 0 : 1;
  });
}

// Reads all that is unread: each message proves itself and is newer than the
// last. The number of the last one; `last` when there was none.
uint64_t LinkCrashPoints::read_newest(ESHMHandle* link, uint64_t last, uint32_t timeout_ms) {
  for (;; timeout_ms = 0) {
    char buffer[kKilledSize];
    size_t bytes = 0;
    const int code = eshm_read_ex(link, buffer, sizeof buffer, &bytes, timeout_ms);
    if (code == ESHM_ERROR_NO_DATA) return last;
    EXPECT_EQ(code, ESHM_SUCCESS) << last_error();
    if (code != ESHM_SUCCESS) return last;
    uint64_t number = 0;
    std::memcpy(&number, buffer, sizeof number);
    EXPECT_EQ(bytes, kKilledSize);
    EXPECT_EQ(std::memcmp(buffer, numbered(number).data(), kKilledSize), 0) << number;
    EXPECT_GT(number, last);
    last = number;
  }
}

// One writer after the other is killed in its write, at step after step; the
// peer is the same all the time, and each writer takes over from a dead one.
void LinkCrashPoints::kill_at_steps(ESHMRole role) {
  constexpr uint64_t kBefore = 2;
  const ESHMRole peer_role = role == ESHM_ROLE_MASTER ? ESHM_ROLE_SLAVE : ESHM_ROLE_MASTER;
  const ESHMConfig config = sized(role, kKilledSize);
  ESHMConfig peer_config = sized(peer_role, kKilledSize);
  peer_config.use_threads = true;
  peer_config.disconnect_behavior = ESHM_DISCONNECT_NEVER;
  Link peer;
  if (peer_role == ESHM_ROLE_MASTER) peer = open_link(peer_config);

  uint64_t first = 1;
  uint64_t last_read = 0;
  uint64_t kills = 0, published = 0;
  bool is_over = false;
  for (uint64_t kill_at = 0; !is_over; kill_at += count(7, 1)) {
    const std::unique_ptr<Stepper> child = writer(config, first, kBefore);
    ASSERT_EQ(child->run_to_mark(), Stepper::Stop::kMarked);
    if (!peer) peer = open_link(at_once(peer_config));
    ASSERT_TRUE(peer) << last_error();
    // The successor's write is read, whatever its predecessor left.
    const uint64_t newest = first + kBefore - 1;
    const bool reads_before = kills % 2 == 0;
    if (reads_before) {
      last_read = read_newest(peer.get(), last_read, UINT32_MAX);
      ASSERT_EQ(last_read, newest) << "before a kill at step " << kill_at;
    }
    const LinkMemory memory(path(), direction_of(role));
    const uint64_t complete = memory.newest_complete();
    for (uint64_t step = 0; step < kill_at && !is_over; ++step) {
      is_over = child->step() != Stepper::Stop::kStepped;
    }
    child->kill_now();
    ++kills;
    const bool is_published = memory.newest_complete() > complete;
    if (is_published) ++published;
    last_read = read_newest(peer.get(), last_read, 0);
    ASSERT_EQ(last_read, newest + (is_published ? 1 : 0)) << "killed at step " << kill_at;
    first = newest + 2;
  }
  std::printf("%llu writers killed, %llu of them after the publication\n",
              static_cast<unsigned long long>(kills), static_cast<unsigned long long>(published));
  tally("real_kills", kills);
  EXPECT_GT(published, 1u);
  EXPECT_GT(kills, published + 5);
  peer.reset();
  remove_name_of_the_killed();
}

TEST_P(LinkCrashPoints, SlaveGoesOnWithTheSuccessorOfAMasterKilledInItsWrite) {
  SKIP_WITHOUT_STEPS();
  kill_at_steps(ESHM_ROLE_MASTER);
}

TEST_P(LinkCrashPoints, MasterGoesOnWithTheSuccessorOfASlaveKilledInItsWrite) {
  SKIP_WITHOUT_STEPS();
  kill_at_steps(ESHM_ROLE_SLAVE);
}

ESHM_ON_BOTH_BACKENDS(LinkCrashPoints);

}  // namespace
