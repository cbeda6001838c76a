// SPDX-License-Identifier: MIT
// Writes the images that the fuzzers begin with: make_seeds FOLDER
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "channel/latest.h"
#include "channel/queue.h"
#include "fuzz/input.h"
#include "layout/validate.h"

using namespace eshm;

namespace {

class Seed {
 public:
  template <class Number>
  Seed& add(Number number) {
    bytes_.append(reinterpret_cast<const char*>(&number), sizeof number);
    return *this;
  }
  // As Input::up_to and Input::flip read them.
  Seed& number(uint16_t value) { return add(value); }
  Seed& flag(bool value) { return add(uint8_t(value)); }
  Seed& bytes(const void* data, size_t count) {
    bytes_.append(static_cast<const char*>(data), count);
    return *this;
  }
  Seed& shape(const layout::ChannelShape& shape) {
    return number(uint16_t(shape.flags))
        .number(uint16_t(shape.max_borrows))
        .number(uint16_t(shape.max_loans))
        .number(uint16_t(shape.max_message_bytes - 1));
  }
  const std::string& text() const { return bytes_; }
  void write(const std::string& path) const {
    std::ofstream(path, std::ios::binary).write(bytes_.data(), std::streamsize(bytes_.size()));
  }

 private:
  std::string bytes_;
};

layout::ChannelShape shape(bool is_queue, uint32_t flags) {
  layout::ChannelShape shape;
  shape.flags = flags;
  shape.max_borrows = shape.max_loans = 1;
  shape.max_message_bytes = 40;
  if (is_queue) {
    shape.delivery = ESHM_DELIVERY_QUEUE;
    shape.queue_bytes = shape.max_message_bytes + 256;
  }
  return shape;
}

void judge_seed(const std::string& path, const layout::Plan& plan) {
  layout::ControlPage page = {};
  page.identity = plan.identity;
  page.geometry[0] = plan.geometry[0];
  page.geometry[1] = plan.geometry[1];
  Seed()
      .add(uint8_t(0))
      .add(plan.identity.segment_bytes)
      .bytes(&page, layout::kJudgedBytes)
      .write(path);
}

// Calls in turn: those of fuzz_latest and fuzz_queue have the same numbers.
Seed script() {
  Seed steps;
  steps.number(2).number(20).number(3).number(40).number(4).number(7);
  steps.number(5).number(7).number(0).flag(true).number(6).flag(false).number(7).number(0);
  steps.number(11).number(17).number(1).number(5).number(2).number(9).number(3).number(40).flag(true);
  return steps;
}

void latest_seed(const std::string& path, uint32_t flags) {
  const layout::ChannelShape wanted = shape(false, flags);
  const layout::ChannelGeometry geometry = layout::plan_channel(wanted);
  fuzz::SharedBytes area(layout::kFirstSlotOffset + geometry.slot_count * geometry.slot_stride);
  layout::PinLines pins = {};
  std::atomic<uint32_t> superseded{0};
  channel::LatestWriter writer;
  writer.adopt({geometry, area.data(), &pins, &superseded}, 1);
  for (int message = 0; message < 9; ++message) writer.write("sixteen letters", 16, 7);
  const std::string steps = script().text();
  Seed()
      .shape(wanted)
      .number(0)
      .add(uint8_t(steps.size()))
      .bytes(steps.data(), steps.size())
      .bytes(area.data(), area.size())
      .write(path);
}

void queue_seed(const std::string& path, uint32_t flags) {
  const layout::ChannelShape wanted = shape(true, flags);
  const layout::ChannelGeometry geometry = layout::plan_channel(wanted);
  fuzz::SharedBytes area(layout::kFirstSlotOffset + geometry.ring_bytes);
  layout::ReaderLine line = {};
  std::atomic<uint32_t> superseded{0};
  channel::QueueWriter writer;
  writer.adopt({geometry, area.data(), &line, &superseded}, 1);
  for (int message = 0; message < 3; ++message) writer.try_write("sixteen letters", 16, 7);
  const std::string steps = script().text();
  Seed()
      .shape(wanted)
      .number(256)
      .number(0)
      .flag(false)
      .number(0)
      .add(uint8_t(steps.size()))
      .bytes(steps.data(), steps.size())
      .bytes(area.data(), area.size())
      .write(path);
}

// A segment of two channels of one kind, asked for in `role`, held by `locks`.
void attach_seed(const std::string& path, bool is_queue, uint8_t locks, uint16_t role) {
  Seed seed;
  seed.add(uint8_t(locks << 4 | 8));
  for (int direction = 0; direction < 2; ++direction) {
    seed.shape(shape(is_queue, 0)).flag(is_queue);
    if (is_queue) seed.number(256);
  }
  const std::string steps = script().text();
  seed.add(uint8_t(0)).number(0);  // the header as it is
  seed.number(role).number(1);
  seed.add(uint8_t(steps.size())).bytes(steps.data(), steps.size());
  seed.write(path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: make_seeds FOLDER\n", stderr), 2;
  const std::string folder = argv[1];
  for (const char* target : {"", "/judge", "/latest", "/queue", "/attach"}) {
    mkdir((folder + target).c_str(), 0777);
  }
  for (uint32_t flags = 0; flags < 4; ++flags) {
    const std::string number = std::to_string(flags);
    latest_seed(folder + "/latest/flags_" + number, flags);
    queue_seed(folder + "/queue/flags_" + number, flags);
    for (uint32_t backend : {0u, 1u}) {
      layout::Plan plan = layout::plan_segment(backend, shape(false, flags), shape(true, flags),
                                               true, layout::kSmallestPageBytes);
      plan.identity.fingerprint = layout::fingerprint_of(plan);
      judge_seed(folder + "/judge/backend_" + std::to_string(backend) + "_flags_" + number, plan);
    }
  }
  for (uint8_t locks = 0; locks < 4; ++locks) {
    for (uint16_t role = 0; role < 3; ++role) {
      for (bool is_queue : {false, true}) {
        attach_seed(folder + "/attach/" + (is_queue ? "queue" : "latest") + "_locks_" +
                        std::to_string(locks) + "_role_" + std::to_string(role),
                    is_queue, locks, role);
      }
    }
  }
  return 0;
}
