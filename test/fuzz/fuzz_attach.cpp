// SPDX-License-Identifier: MIT
// eshm_init, the calls and eshm_destroy on a file with any content at the link's
// name, with locks on it or not, while the content changes between the calls.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "eshm.h"
#include "fuzz/input.h"
#include "layout/validate.h"

using namespace eshm::layout;

namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr size_t kMostBytes = 16 * kPageBytes;

const std::string& name() {
  static const std::string one = "fuzz_attach_" + std::to_string(getpid());
  return one;
}
std::string path() { return "/dev/shm/eshm_" + name(); }

ChannelShape shape(fuzz::Input& input) {
  ChannelShape shape;
  shape.flags = uint32_t(input.up_to(3));
  shape.max_borrows = uint32_t(input.up_to(2));
  shape.max_loans = uint32_t(input.up_to(2));
  shape.max_message_bytes = 1 + input.up_to(199);
  if (input.flip()) {
    shape.delivery = ESHM_DELIVERY_QUEUE;
    shape.queue_bytes = shape.max_message_bytes + input.up_to(1024);
  }
  return shape;
}

ESHMChannelConfig config_of(const ChannelShape& shape) {
  ESHMChannelConfig config = {};
  config.delivery = ESHMDelivery(shape.delivery);
  config.max_borrows = shape.max_borrows;
  config.max_loans = shape.max_loans;
  config.max_message_size = shape.max_message_bytes;
  config.queue_capacity = shape.queue_bytes;
  return config;
}

// The file, seen by whoever damages it. Truncating it is not among that.
class Victim {
 public:
  Victim(const Plan& plan, fuzz::Input& input, bool is_plain)
      : bytes_(is_plain ? std::min<size_t>(1 + input.up_to(kMostBytes), kMostBytes)
                        : plan.identity.segment_bytes),
        file_(open(path().c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600)) {
    fuzz::require(file_ >= 0 && ftruncate(file_, off_t(bytes_)) == 0);
    void* const at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
    fuzz::require(at != MAP_FAILED);
    at_ = static_cast<std::byte*>(at);
    if (is_plain) {
      input.take_into(at_, bytes_);
    } else {
      write_header(plan);
    }
  }
  ~Victim() {
    munmap(at_, bytes_);
    close(file_);
  }
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;

  // Somebody else's lock, on a description of its own.
  void hold(LockByte byte) const {
    struct flock range = {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = byte;
    range.l_len = 1;
    fuzz::require(fcntl(file_, F_OFD_SETLK, &range) == 0);
  }

  // Pieces of the image: where, how much, what.
  void alter(fuzz::Input& input, size_t pieces) {
    for (size_t piece = 0; piece < pieces && input.left() != 0; ++piece) {
      const size_t at = input.up_to(bytes_ - 1) & ~size_t(7);
      input.take_into(at_ + at, std::min<size_t>(bytes_ - at, 8 * (1 + input.up_to(7))));
    }
  }

  void write_header(const Plan& plan) {
    if (bytes_ < kJudgedBytes) return;
    std::memcpy(at_, &plan.identity, sizeof plan.identity);
    std::memcpy(at_ + offsetof(ControlPage, geometry), &plan.geometry, sizeof plan.geometry);
    for (const ChannelGeometry& geometry : plan.geometry) {
      const bool is_inside = geometry.data_offset + sizeof geometry.data_nonce <= bytes_;
      if (plan.identity.backend != ESHM_BACKEND_POSIX || !is_inside) continue;
      std::memcpy(at_ + geometry.data_offset, &geometry.data_nonce, sizeof geometry.data_nonce);
    }
  }

  std::byte* bytes() const { return at_; }
  size_t size() const { return bytes_; }

 private:
  const size_t bytes_;
  const int file_;
  std::byte* at_;
};

struct Patience {
  int left;
};
// A record may say that its holder is to be watched for an hour.
int run_out(void* context) { return --static_cast<Patience*>(context)->left <= 0; }

void use(ESHMHandle* link, fuzz::Input& script, fuzz::Vandal& vandal) {
  char buffer[256];
  void* loan = nullptr;
  ESHMView view = {};
  while (script.left() != 0) {
    size_t size = 0;
    switch (script.up_to(9)) {
      case 0:
        eshm_write(link, buffer, script.up_to(sizeof buffer));
        break;
      case 1:
        eshm_read_ex(link, buffer, sizeof buffer, &size, uint32_t(script.up_to(1)));
        break;
      case 2:
        if (eshm_loan(link, 1 + script.up_to(199), &loan) == ESHM_SUCCESS) fuzz::sum_of(loan, 1);
        break;
      case 3:
        eshm_publish(link, loan, script.up_to(200));
        break;
      case 4:
        eshm_discard(link, loan);
        break;
      case 5:
        view = {};
        if (eshm_borrow(link, &view, 0) == ESHM_SUCCESS) fuzz::sum_of(view.data, view.size);
        break;
      case 6:
        eshm_release(link, &view);
        break;
      case 7: {
        ESHMStatsEx stats = {};
        ESHMStats old;
        eshm_get_stats_ex(link, &stats);
        eshm_get_stats(link, &old);
        break;
      }
      default:
        vandal.act(script);
        break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const uint8_t how = input.take<uint8_t>();
  const bool is_plain = (how & 3) == 3;
  const ChannelShape m2s = shape(input);
  const ChannelShape s2m = shape(input);
  Plan plan = plan_segment((how & 4) != 0 ? ESHM_BACKEND_SYSV : ESHM_BACKEND_POSIX, m2s, s2m,
                           (how & 8) != 0, kPageBytes);
  if ((how & 4) != 0) plan.geometry[0].sysv_id = input.take<int32_t>();
  const uint8_t patches = input.take<uint8_t>();
  fuzz::Input header_changes = input.part(patches & 63);
  header_changes.take_into(reinterpret_cast<std::byte*>(&plan) + header_changes.up_to(sizeof plan - 8),
                           (patches >> 6) * 2);
  plan.identity.segment_bytes = std::min<uint64_t>(plan.identity.segment_bytes, kMostBytes);
  plan.identity.fingerprint = fingerprint_of(plan);
  // Only what plan_segment gives has its data in the file.
  if (std::max(plan.geometry[0].data_offset, plan.geometry[1].data_offset) >
          kMostBytes - kPageBytes ||
      plan.identity.segment_bytes == 0) {
    return 0;
  }

  ESHMConfig config = eshm_default_config(name().c_str());
  config.role = ESHMRole(input.up_to(2));
  config.disconnect_behavior = ESHMDisconnectBehavior(input.up_to(2));
  config.stale_threshold_ms = 1;
  config.max_reconnect_attempts = 1;
  config.reconnect_retry_interval_ms = 1;
  config.use_threads = false;
  config.spin_us = 0;
  config.m2s = config_of(m2s);
  config.s2m = config_of(s2m);
  Patience patience{4};
  config.interrupt = run_out;
  config.interrupt_context = &patience;

  fuzz::Input script = input.part(input.take<uint8_t>());
  {
    Victim victim(plan, input, is_plain);
    if ((how & 16) != 0) victim.hold(kMasterByte);
    if ((how & 32) != 0) victim.hold(kSlaveByte);
    victim.alter(input, 16);
    if ((how & 64) != 0) victim.write_header(plan);
    fuzz::Vandal vandal(victim.bytes(), victim.size());
    if (ESHMHandle* const link = eshm_init(&config)) {
      use(link, script, vandal);
      eshm_destroy(link);
    } else {
      int code = ESHM_SUCCESS;
      fuzz::require(eshm_last_error(&code)[0] != 0 && code != ESHM_SUCCESS);
    }
  }
  unlink(path().c_str());
  return 0;
}
