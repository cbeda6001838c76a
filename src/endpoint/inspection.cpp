// SPDX-License-Identifier: MIT
#include "endpoint/inspection.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "endpoint/attachment.h"
#include "endpoint/message_types.h"

namespace eshm::endpoint {

using layout::Direction;
using layout::Finding;
using std::memory_order_relaxed;

namespace {

// The control page as it was at one moment, in private memory.
struct PageCopy {
  alignas(layout::ControlPage) unsigned char bytes[layout::kControlBytes];
  size_t count = 0;

  const layout::ControlPage& page() const {
    return *reinterpret_cast<const layout::ControlPage*>(bytes);
  }
};

struct Look {
  Found found;
  os::LockFile locks;
  PageCopy copy;

  bool is_held(layout::LockByte byte) const {
    bool held = false;
    return locks.is_held_elsewhere(byte, held) == 0 && held;
  }
};

void put_text(const std::string& text, char* to, size_t room) {
  const size_t bytes = std::min(text.size(), room - 1);
  std::memcpy(to, text.data(), bytes);
  to[bytes] = 0;
}

ESHMLinkState state_of(Finding finding) {
  switch (finding) {
    case Finding::kAbsent:
      return ESHM_LINK_ABSENT;
    case Finding::kFine:
      return ESHM_LINK_FINE;
    case Finding::kSuperseded:
      return ESHM_LINK_SUPERSEDED;
    case Finding::kOtherVersion:
      return ESHM_LINK_OTHER_VERSION;
    case Finding::kForeign:
      return ESHM_LINK_FOREIGN;
    case Finding::kTooShort:
    case Finding::kOtherSizes:
    case Finding::kCorrupt:
      break;
  }
  return ESHM_LINK_CORRUPT;
}

void describe_file(const struct stat& meta, ESHMLinkInfo& info) {
  info.uid = meta.st_uid;
  info.mode = meta.st_mode & 07777;
  info.inode = meta.st_ino;
  info.segment_bytes = uint64_t(meta.st_size);
  // Allocating the file set it; stores into its mappings do not.
  info.made_ns = uint64_t(meta.st_mtim.tv_sec) * 1'000'000'000 + uint64_t(meta.st_mtim.tv_nsec);
}

// Opens the file, copies its control page and judges that.
void look(const std::string& name, Look& out, ESHMLinkInfo& info) {
  const std::string path = os::object_path(name);
  const int failure = os::open_named(path, false, out.found.file);
  if (failure != 0) {
    if (failure == ENOENT) return;
    if (lstat(path.c_str(), &out.found.meta) != 0) return;  // gone by now
    describe_file(out.found.meta, info);
    const bool is_plain = S_ISREG(out.found.meta.st_mode);
    info.state = is_plain ? ESHM_LINK_UNREADABLE : ESHM_LINK_FOREIGN;
    const std::string owner = os::user_name(out.found.meta.st_uid);
    put_text(is_plain ? "it belongs to " + owner + ": " + std::strerror(failure)
                      : std::string("it is no regular file: ") + std::strerror(failure),
             info.problem, sizeof info.problem);
    return;
  }
  if (fstat(out.found.file.get(), &out.found.meta) != 0) return;
  describe_file(out.found.meta, info);
  if (!S_ISREG(out.found.meta.st_mode)) {
    info.state = ESHM_LINK_FOREIGN;
    put_text("it is no regular file", info.problem, sizeof info.problem);
    return;
  }
  const ssize_t count =
      pread(out.found.file.get(), out.copy.bytes, sizeof out.copy.bytes, 0);
  out.copy.count = size_t(std::max<ssize_t>(count, 0));
  const layout::Judgement judgement = layout::judge(
      out.copy.bytes, out.copy.count, uint64_t(out.found.meta.st_size), os::page_bytes());
  out.found.finding = judgement.finding;
  out.found.plan = judgement.plan;
  info.state = state_of(judgement.finding);
  const bool begins_as_one = std::memcmp(out.copy.bytes, &layout::kMagic,
                                         std::min(out.copy.count, sizeof layout::kMagic)) == 0;
  if (judgement.finding == Finding::kTooShort && !begins_as_one) info.state = ESHM_LINK_FOREIGN;
  put_text(judgement.reason, info.problem, sizeof info.problem);
  (void)os::LockFile::reopen(out.found.file, false, out.locks);
}

void describe_peer(const Look& seen, ESHMRole role, ESHMLinkPeer& peer) {
  const layout::ControlPage& page = seen.copy.page();
  const bool is_master = role == ESHM_ROLE_MASTER;
  const int index = is_master ? 0 : 1;
  const Direction incoming = is_master ? layout::kSlaveToMaster : layout::kMasterToSlave;
  const Direction outgoing = is_master ? layout::kMasterToSlave : layout::kSlaveToMaster;
  const layout::RoleRecord& record = is_master ? page.master : page.slave;
  const Holder holder = read_record(record);
  peer.pid = holder.process.pid;
  peer.has_left = holder.incarnation != 0 && holder.left == holder.incarnation;
  peer.waits_for_message = page.data_wake[incoming].line.announced.load(memory_order_relaxed) != 0;
  peer.waits_for_room = page.room_wake[outgoing].line.announced.load(memory_order_relaxed) != 0;
  peer.stale_threshold_ms = uint32_t(holder.stale_threshold_ns / os::kNsPerMs);
  peer.generation = holder.generation;
  peer.incarnation = holder.incarnation;
  peer.start_time = holder.process.start_time;
  peer.pid_namespace = holder.process.pid_namespace;
  peer.time_namespace = holder.process.time_namespace;
  peer.beats = page.beat[index].line.beats.load(memory_order_relaxed);
  peer.calls_writing = page.calls[index][layout::kWriting].line.calls.load(memory_order_relaxed);
  peer.calls_reading = page.calls[index][layout::kReading].line.calls.load(memory_order_relaxed);
}

// A few words of a direction's data, from whichever backend.
class DataBytes {
 public:
  DataBytes(const Look& seen, Direction direction)
      : file_(seen.found.file), geometry_(seen.found.plan.geometry[direction]) {
    is_posix_ = seen.found.plan.identity.backend == ESHM_BACKEND_POSIX;
    if (is_posix_) return;
    (void)os::SysvBlock::attach(geometry_.sysv_id, geometry_.data_bytes, seen.found.meta.st_uid,
                                false, block_);
  }

  // `offset` is less than data_bytes - bytes.
  bool read(uint64_t offset, void* to, size_t bytes) const {
    if (is_posix_) {
      return pread(file_.get(), to, bytes, off_t(geometry_.data_offset + offset)) ==
             ssize_t(bytes);
    }
    if (block_.data() == nullptr) return false;
    std::memcpy(to, block_.data() + offset, bytes);
    return true;
  }

 private:
  const os::Fd& file_;
  const layout::ChannelGeometry& geometry_;
  bool is_posix_;
  os::SysvBlock block_;
};

// Time stamp of the message that the hint names, or 0: its slot may be in use again.
uint64_t newest_stamp(const DataBytes& data, const layout::ChannelGeometry& geometry,
                      uint64_t published) {
  const uint64_t index = published & 0xff, number = published >> 8;
  if ((geometry.flags & ESHM_FLAG_TIMESTAMPS) == 0 || number == 0 || index >= geometry.slot_count) {
    return 0;
  }
  uint64_t words[3];
  static_assert(sizeof words == sizeof(layout::StampedSlot), "the stamp is the third word");
  const uint64_t offset = layout::kFirstSlotOffset + index * geometry.slot_stride;
  return data.read(offset, words, sizeof words) && words[0] == 2 * number ? words[2] : 0;
}

void describe_channel(const Look& seen, Direction direction, ESHMLinkChannel& channel) {
  const layout::ChannelGeometry& geometry = seen.found.plan.geometry[direction];
  channel.delivery = ESHMDelivery(geometry.delivery);
  channel.flags = geometry.flags;
  channel.max_borrows = geometry.max_borrows;
  channel.max_loans = geometry.max_loans;
  channel.max_message_size = geometry.max_message_bytes;
  channel.queue_capacity = geometry.queue_bytes;
  channel.data_bytes = geometry.data_bytes;
  channel.type_fingerprint = geometry.type_fingerprint;
  channel.type_text_bytes = geometry.type_text_bytes;
  channel.slot_count = geometry.slot_count;

  const DataBytes data(seen, direction);
  uint64_t words[layout::kFirstSlotOffset / sizeof(uint64_t)];
  if (!data.read(0, words, sizeof words) || words[0] != geometry.data_nonce) return;
  const uint64_t* const line = words + offsetof(layout::DataArea, publish) / sizeof(uint64_t);
  const uint64_t published = line[0];
  const layout::ReaderLine& reader = seen.copy.page().reader[direction].line;
  const bool is_queue = geometry.delivery == ESHM_DELIVERY_QUEUE;
  channel.has_counts = true;
  channel.read = reader.messages.load(memory_order_relaxed);
  if (is_queue) {
    channel.written = line[offsetof(layout::PublishLine, messages) / sizeof(uint64_t)];
    // Copied at another moment than the position: the difference is kept within its bounds.
    const uint64_t position = reader.position.load(memory_order_relaxed);
    const uint64_t behind = published > position ? published - position : 0;
    channel.queued_bytes = std::min(behind, geometry.ring_bytes);
  } else {
    channel.written = published >> 8;
    channel.newest_ns = newest_stamp(data, geometry, published);
  }
}

}  // namespace

void inspect_link(const std::string& name, ESHMLinkInfo& info) {
  info = {};
  info.struct_size = sizeof info;
  put_text(name, info.name, sizeof info.name);
  info.layout_version = layout::kLayoutVersion;
  info.has_leftover = os::exists(os::successor_path(name));
  Look seen;
  look(name, seen, info);
  if (info.state != ESHM_LINK_ABSENT) info.layout_version = 0;  // not known yet
  if (!seen.locks.is_open()) return;
  info.master.holds_role = seen.is_held(layout::kMasterByte);
  info.slave.holds_role = seen.is_held(layout::kSlaveByte);
  info.roles_change = seen.is_held(layout::kSuccessionByte);
  if (info.state == ESHM_LINK_OTHER_VERSION) {
    std::memcpy(&info.layout_version,
                seen.copy.bytes + offsetof(layout::Identity, layout_version),
                sizeof info.layout_version);
  }
  if (info.state != ESHM_LINK_FINE && info.state != ESHM_LINK_SUPERSEDED) return;
  if (seen.copy.count < sizeof seen.copy.bytes) return;  // truncated between two looks
  const layout::Identity& identity = seen.found.plan.identity;
  info.layout_version = identity.layout_version;
  info.backend = ESHMBackend(identity.backend);
  info.auto_cleanup = identity.auto_cleanup != 0;
  info.seat_for = seen.copy.page().seat.reserved_for.load(memory_order_relaxed);
  describe_peer(seen, ESHM_ROLE_MASTER, info.master);
  describe_peer(seen, ESHM_ROLE_SLAVE, info.slave);
  describe_channel(seen, layout::kMasterToSlave, info.m2s);
  describe_channel(seen, layout::kSlaveToMaster, info.s2m);
  if (info.backend == ESHM_BACKEND_SYSV) {
    info.segment_bytes += info.m2s.data_bytes + info.s2m.data_bytes;
  }
}

Failure list_links(std::vector<std::string>& names) {
  std::vector<std::string> files;
  if (const int failure = os::list_names(files)) {
    return fail(failure == EACCES ? ESHM_ERROR_PERMISSION : ESHM_ERROR_SHM_ATTACH,
                std::string("/dev/shm cannot be listed: ") + std::strerror(failure), failure);
  }
  std::set<std::string> found;
  for (const std::string& file : files) {
    std::string link = os::link_of_object(file);
    if (link.empty()) link = os::link_of_successor(file);
    if (!link.empty()) found.insert(std::move(link));
  }
  names.assign(found.begin(), found.end());
  return success();
}

bool read_type_text(const std::string& name, ESHMDirection direction, std::string& text) {
  ESHMLinkInfo info = {};
  Look seen;
  look(name, seen, info);
  if (info.state != ESHM_LINK_FINE && info.state != ESHM_LINK_SUPERSEDED) return false;
  const layout::ChannelGeometry& geometry =
      seen.found.plan.geometry[direction == ESHM_M2S ? layout::kMasterToSlave
                                                     : layout::kSlaveToMaster];
  if (geometry.type_text_bytes == 0) return false;
  text = type_text_in(seen.found.file, geometry);
  return true;
}

}  // namespace eshm::endpoint
