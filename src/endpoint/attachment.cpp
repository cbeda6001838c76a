// SPDX-License-Identifier: MIT
#include "endpoint/attachment.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "endpoint/message_types.h"
#include "os/memory.h"

namespace eshm::endpoint {

using layout::Direction;
using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

namespace {

uint32_t announcer_of(uint64_t incarnation) { return uint32_t(incarnation) | 1; }

layout::DataIdentity& identity_of(std::byte* data) {
  return reinterpret_cast<layout::DataArea*>(data)->identity;
}

Failure cannot_map(const Settings& settings, Direction direction, const std::string& why,
                   int error_number) {
  return fail(ESHM_ERROR_SHM_ATTACH,
              about(settings) + "its " + name_of(direction) + " data " + why, error_number);
}

bool wants_huge_pages(const Settings& settings) {
  return (settings.flags & ESHM_FLAG_HUGE_PAGES) != 0;
}

// Makes huge pages in an area. Only before any other process maps the area: a mapping made
// earlier would lose its pages, prefaulted and locked ones, too.
Failure make_huge_pages(const Settings& settings, const SegmentFile& segment, Direction direction) {
  const layout::ChannelGeometry& geometry = segment.plan().geometry[direction];
  os::Mapping area;
  int failure = os::Mapping::map(segment.file(), geometry.data_offset, geometry.data_bytes, true,
                                 area, os::huge_page_bytes());
  if (failure == 0) failure = os::make_huge_pages(area.data(), area.size());
  if (failure == 0) return success();
  const bool is_refused = failure == EINVAL || failure == EOPNOTSUPP;
  return cannot_map(settings, direction,
                    std::string("gets no huge pages") +
                        (is_refused ? " (Linux 6.1 gives them, unless "
                                      "transparent_hugepage/shmem_enabled is \"deny\"): "
                                    : ": ") +
                        strerror(failure),
                    failure);
}

}  // namespace

std::string sysv_key_of(const std::string& link, Direction direction) {
  return "eshm:" + std::to_string(direction) + ":" + link;
}

Failure DataMapping::map(const Settings& settings, const SegmentFile& segment, Direction direction,
                         bool writable, DataMapping& out) {
  const layout::ChannelGeometry& geometry = segment.plan().geometry[direction];
  DataMapping mapping;
  const bool is_posix = segment.plan().identity.backend == ESHM_BACKEND_POSIX;
  const int failure =
      is_posix ? os::Mapping::map(segment.file(), geometry.data_offset, geometry.data_bytes,
                                  writable, mapping.posix_,
                                  wants_huge_pages(settings) ? os::huge_page_bytes() : 1)
               : os::SysvBlock::attach(geometry.sysv_id, geometry.data_bytes,
                                       segment.meta().st_uid, writable, mapping.sysv_);
  if (failure != 0) {
    return cannot_map(settings, direction, os::why_not_mapped(failure), failure);
  }
  if (identity_of(mapping.data()).nonce != geometry.data_nonce) {
    return cannot_map(settings, direction, "is not the area that its header means", 0);
  }
  out = std::move(mapping);
  return success();
}

Failure DataMapping::apply_memory_flags(const Settings& settings, Direction direction, size_t bytes,
                                        bool writable) const {
  if ((settings.flags & ESHM_FLAG_PREFAULT) != 0) {
    if (const int failure = os::prefault(data(), bytes, writable)) {
      return cannot_map(settings, direction,
                        std::string("cannot be prefaulted: ") + strerror(failure), failure);
    }
  }
  if ((settings.flags & ESHM_FLAG_LOCK_MEMORY) != 0) {
    if (const int failure = os::lock_memory(data(), bytes)) {
      return cannot_map(settings, direction,
                        "of " + std::to_string(bytes) +
                            " bytes cannot be locked, RLIMIT_MEMLOCK is " +
                            std::to_string(os::lock_limit()) + ": " + strerror(failure),
                        failure);
    }
  }
  return success();
}

Failure DataMapping::attach(const Settings& settings, const SegmentFile& segment,
                            Direction direction, bool writable, DataMapping& out) {
  DataMapping mapping;
  if (Failure failure = map(settings, segment, direction, writable, mapping)) return failure;
  const size_t bytes = segment.plan().geometry[direction].data_bytes;
  Failure failure = mapping.apply_memory_flags(settings, direction, bytes, writable);
  if (failure) return failure;
  out = std::move(mapping);
  return success();
}

// Makes a System V area (POSIX ones lie in the file already), writes the first
// line of an area and maps it as this side needs it.
Failure DataMapping::create(const Settings& settings, SegmentFile& segment, Direction direction,
                            bool writable, DataMapping& out) {
  layout::ChannelGeometry& geometry = segment.plan().geometry[direction];
  os::SysvBlock made;  // keeps a System V area alive until it is mapped for good
  os::Mapping first_line;
  if (settings.backend == ESHM_BACKEND_SYSV) {
    const std::string key = sysv_key_of(settings.name, direction);
    const int failure =
        os::SysvBlock::create(key, geometry.data_bytes, settings.permissions,
                              wants_huge_pages(settings), made);
    if (failure == EAGAIN) {
      return cannot_map(settings, direction, os::why_not_mapped(failure), failure);
    }
    if (failure != 0) {
      Failure no_room = fail(ESHM_ERROR_SHM_CREATE,
                             about(settings) + "no System V segment of " +
                                 std::to_string(geometry.data_bytes) + " bytes" +
                                 (wants_huge_pages(settings) ? " in huge pages: " : ": ") +
                                 os::why_not_made(failure),
                             failure);
      no_room.may_pass = failure == ENOSPC;  // it fitted when the segment was begun
      return no_room;
    }
    geometry.sysv_id = made.id();
  } else {
    if (wants_huge_pages(settings)) {
      if (Failure failure = make_huge_pages(settings, segment, direction)) return failure;
    }
    const int failure = os::Mapping::map(segment.file(), geometry.data_offset, os::page_bytes(),
                                         true, first_line);
    if (failure != 0) {
      return cannot_map(settings, direction, os::why_not_mapped(failure), failure);
    }
  }
  identity_of(made.data() != nullptr ? made.data() : first_line.data()).nonce =
      geometry.data_nonce;
  return attach(settings, segment, direction, writable, out);
}

uint64_t DataMapping::messages(const layout::ChannelGeometry& geometry) const {
  const bool is_queue = geometry.delivery == ESHM_DELIVERY_QUEUE;
  return is_queue ? publish_line().messages.load(memory_order_relaxed)
                  : publish_line().published.load(memory_order_acquire) >> 8;
}

Failure Attachment::create(const Settings& settings, std::unique_ptr<Attachment>& out) {
  const layout::Plan plan =
      layout::plan_segment(settings.backend, settings.shape[layout::kMasterToSlave],
                           settings.shape[layout::kSlaveToMaster], settings.auto_cleanup,
                           os::page_bytes());
  std::shared_ptr<SegmentFile> segment;
  if (Failure failure = SegmentFile::create(settings, plan, segment)) return failure;
  auto attachment = std::make_unique<Attachment>(ESHM_ROLE_MASTER, std::move(segment));
  for (const Direction direction : layout::kDirections) {
    Failure failure = DataMapping::create(settings, *attachment->segment_, direction,
                                          direction == attachment->outgoing(),
                                          attachment->data_[direction]);
    if (failure) return failure;
  }
  const int failure = write_type_texts(settings, *attachment->segment_);
  if (failure != 0) {
    return fail(ESHM_ERROR_SHM_CREATE,
                about(settings) + "its types cannot be written: " + strerror(failure), failure);
  }
  attachment->segment_->write_header();
  attachment->assume_role(settings, os::random_nonzero());
  out = std::move(attachment);
  return success();
}

Failure Attachment::map(const Settings& settings, std::shared_ptr<SegmentFile> segment,
                        ESHMRole role, std::unique_ptr<Attachment>& out) {
  auto attachment = std::make_unique<Attachment>(role, std::move(segment));
  for (const Direction direction : layout::kDirections) {
    Failure failure = DataMapping::attach(settings, *attachment->segment_, direction,
                                          direction == attachment->outgoing(),
                                          attachment->data_[direction]);
    if (failure) return failure;
  }
  out = std::move(attachment);
  return success();
}

channel::ChannelView Attachment::view(Direction direction) const {
  return {geometry(direction), data_[direction].data(), &page().pins[direction],
          &page().mark.superseded};
}

void Attachment::set_up(WriteEnd& out, const layout::RoleRecord& role, uint32_t generation) const {
  const layout::ChannelGeometry& shape = geometry(outgoing());
  out.is_queue = shape.delivery == ESHM_DELIVERY_QUEUE;
  out.is_stamped = (shape.flags & ESHM_FLAG_TIMESTAMPS) != 0;
  out.largest = shape.max_message_bytes;
  out.role = &role.incarnation;
  out.incarnation = incarnation_;
  out.announcer = announcer_of(incarnation_);
  out.superseded = &page().mark.superseded;
  out.wake = &outgoing_wake();
  out.room = &page().room_wake[outgoing()].line;
  if (out.is_queue) {
    out.queue.adopt(queue_view(outgoing()), generation);
  } else {
    out.latest.adopt(view(outgoing()), generation);
  }
}

void Attachment::set_up(ReadEnd& in, const layout::RoleRecord& role) const {
  in.is_queue = geometry(incoming()).delivery == ESHM_DELIVERY_QUEUE;
  in.role = &role.incarnation;
  in.incarnation = incarnation_;
  in.announcer = announcer_of(incarnation_);
  in.superseded = &page().mark.superseded;
  in.end_position = &page().mark.end_position[incoming()];
  in.wake = &incoming_wake();
  in.room = &page().room_wake[incoming()].line;
  in.read_count = &page().reader[incoming()].line.messages;
  if (in.is_queue) {
    in.queue.attach(queue_view(incoming()));
  } else {
    in.latest.attach(view(incoming()));
    in.latest.pass(page().reader[incoming()].line.stale_number.load(memory_order_relaxed));
  }
}

void Attachment::assume_role(const Settings& settings, uint64_t incarnation) {
  incarnation_ = incarnation;
  layout::RoleRecord& record = own_record();
  claim_record(record);
  // The dead holder's announcements would cost the peer a wake each.
  incoming_wake().announced.store(0, memory_order_relaxed);
  page().room_wake[outgoing()].line.announced.store(0, memory_order_relaxed);

  set_up(ends_->out, record, record.generation.load(memory_order_relaxed) + 1);
  set_up(ends_->in, record);

  own_beats().fetch_add(1, memory_order_relaxed);
  complete_record(record, incarnation_, settings.stale_threshold_ms);
}

bool Attachment::inherit(const Settings& settings, uint64_t incarnation) {
  // Before the slave's record is cleared, which tells that it was here.
  page().seat.is_renewal.store(0, memory_order_release);
  claim_record(peer_record());  // there is no slave whose death could be reported
  assume_role(settings, incarnation);
  WriteEnd& out = ends_->out;
  ReadEnd& in = ends_->in;
  if ((out.is_queue && out.queue.is_corrupt()) || in.is_corrupt_queue()) return false;
  const auto make_stale = [this](Direction direction, uint64_t number) {
    page().reader[direction].line.stale_number.store(number, memory_order_relaxed);
  };
  if (!out.is_queue) make_stale(outgoing(), out.latest.newest_number());
  if (!in.is_queue) {
    in.latest.pass_newest();
    make_stale(incoming(), in.latest.last_read());
  }
  return true;
}

channel::QueueView Attachment::queue_view(Direction direction) const {
  return {geometry(direction), data_[direction].data(), &page().reader[direction].line,
          &page().mark.superseded};
}

uint64_t Attachment::end_of_queue(Direction direction) const {
  return data_[direction].publish_line().published.load(memory_order_acquire);
}

void Attachment::reserve_seat(const Holder& slave) {
  layout::SeatLine& seat = page().seat;
  seat.reserved_pid.store(slave.process.pid, memory_order_relaxed);
  seat.reserved_for.store(slave.incarnation, memory_order_release);
}

void Attachment::free_reserved_seat(bool slave_came) {
  layout::SeatLine& seat = page().seat;
  if (replaced != nullptr) {
    if (!slave_came && replaced->is_held(layout::kSlaveByte)) return;
  } else if (seat.reserved_for.load(memory_order_relaxed) == 0 ||
             segment_->is_held(layout::kSlaveByte)) {
    return;  // else that slave died on its way, and the master that kept its seat, too
  }
  seat.reserved_for.store(0, memory_order_release);
  replaced.reset();
}

ESHMStats stats_in(const layout::ControlPage& page) {
  ESHMStats stats = {};
  stats.master_heartbeat = page.beat[0].line.beats.load(memory_order_relaxed);
  stats.slave_heartbeat = page.beat[1].line.beats.load(memory_order_relaxed);
  stats.master_pid = read_record(page.master).process.pid;
  stats.slave_pid = read_record(page.slave).process.pid;
  const auto read_count = [&page](Direction direction) {
    return page.reader[direction].line.messages.load(memory_order_relaxed);
  };
  stats.m2s_read_count = read_count(layout::kMasterToSlave);
  stats.s2m_read_count = read_count(layout::kSlaveToMaster);
  return stats;
}

namespace {

// The end positions of the directions that have a publish line here are recorded.
void set_mark(layout::MarkLine& line, uint32_t mark, int32_t successor_pid,
              const layout::PublishLine* const (&queues)[2]) {
  line.successor_pid.store(successor_pid, memory_order_relaxed);
  // MK1 -> R5 (readers drop what they copied), W6 (writers learn it).
  line.superseded.store(mark, memory_order_release);
  // Pairs with the fence behind a publication: a writer that does not see the
  // mark has published what is seen below.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (const Direction direction : layout::kDirections) {
    if (queues[direction] == nullptr || line.end_position[direction].load() != 0) continue;
    const uint64_t end = queues[direction]->published.load(memory_order_acquire);
    line.end_position[direction].store(end + 1, memory_order_release);  // MK2
  }
}

bool is_queue(const layout::ChannelGeometry& geometry) {
  return geometry.delivery == ESHM_DELIVERY_QUEUE;
}

}  // namespace

void Attachment::mark(uint32_t mark, int32_t successor_pid) const {
  const layout::PublishLine* queues[2] = {};
  for (const Direction direction : layout::kDirections) {
    if (is_queue(geometry(direction))) queues[direction] = &data_[direction].publish_line();
  }
  set_mark(page().mark, mark, successor_pid, queues);
}

void mark_superseded(const Settings& settings, SegmentFile& segment, int32_t successor_pid) {
  DataMapping areas[2];
  const layout::PublishLine* queues[2] = {};
  for (const Direction direction : layout::kDirections) {
    if (!is_queue(segment.plan().geometry[direction])) continue;
    // If this fails, no end position is recorded: the slave reads nothing more of that queue
    // until it has moved, and then up to `published` as it finds it.
    (void)DataMapping::map(settings, segment, direction, false, areas[direction]);
    if (areas[direction].data() != nullptr) queues[direction] = &areas[direction].publish_line();
  }
  set_mark(segment.page().mark, layout::kSuperseded, successor_pid, queues);
}

void wake_all_waiters(SegmentFile& segment) {
  for (const Direction direction : layout::kDirections) {
    channel::ring(segment.page().data_wake[direction].line);
    channel::ring(segment.page().room_wake[direction].line);
  }
}

}  // namespace eshm::endpoint
