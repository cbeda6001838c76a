// SPDX-License-Identifier: MIT
// Every shared byte of a link: what it is, where it lies and who writes it.
//
//   control page (both sides map it read-write)
//   0x000  Identity            written once, before the segment has a name
//   0x040  ChannelGeometry x2  written once, likewise
//   0x140  MarkLine            holder of the succession lock
//   0x180  SeatLine            master
//   0x1C0  RoleRecord master   holder of the master lock
//   0x200  RoleRecord slave    holder of the slave lock
//   0x240  RoleRecord succession   holder of the succession lock
//   0x280  BeatLine master     master
//   0x2C0  BeatLine slave      slave
//   0x300  WakeLine x2         a direction's reader announces, its writer rings
//   0x380  WakeLine x2         a queue's writer announces (waits for room), its reader rings
//   0x400  ReaderLine x2       a direction's reader
//   0x480  CallLine master x2  master: its writing calls, its reading calls
//   0x500  CallLine slave x2   slave: likewise
//   0x800  PinLines x2         a direction's reader
//
//   one data area a direction (its writer maps it read-write, its reader read-only)
//   0x000  DataIdentity        written once
//   0x040  PublishLine         the writer
//   0x080  slots, or ring      the writer
//
// POSIX: control page and data areas follow each other in one file. System V:
// the file holds the control page, each data area is a System V segment.
//
// All bytes zero is a valid empty state of everything that is not written
// once. Numbers are little-endian native; there are no pointers. What two
// processes touch while it changes is a lock-free atomic; what is written once
// is read by a private copy made before it is judged (validate.h), and never
// again from shared memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace eshm::layout {

constexpr uint64_t kMagic = 0x4B4E494C4D485345;  // "ESHMLINK"
constexpr uint32_t kLayoutVersion = 2;
constexpr size_t kLineBytes = 64;
constexpr size_t kControlBytes = 4096;

enum Direction : uint32_t { kMasterToSlave = 0, kSlaveToMaster = 1 };
constexpr Direction kDirections[] = {kMasterToSlave, kSlaveToMaster};

// Bytes of the file that carry a kernel lock. Whoever holds one is it.
enum LockByte : uint64_t { kMasterByte = 0, kSlaveByte = 1, kSuccessionByte = 2 };

// The first four fields keep their place in every layout there will ever be.
struct Identity {
  uint64_t magic;
  uint32_t layout_version;
  uint32_t control_bytes;
  uint64_t fingerprint;    // of this build's layout and of the two geometries
  uint64_t segment_bytes;  // size of the file
  uint64_t nonce;          // random, of this segment
  uint32_t backend;        // ESHMBackend
  uint32_t auto_cleanup;   // the master's eshm_destroy removes the name
  uint64_t page_bytes;     // of the host: areas begin at multiples
  uint64_t reserved;
};

struct ChannelGeometry {
  // Chosen.
  uint32_t delivery;  // ESHMDelivery
  uint32_t flags;     // ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD
  uint32_t max_borrows;
  uint32_t max_loans;
  uint64_t max_message_bytes;
  uint64_t queue_bytes;  // of messages, see ring_bytes; 0 for LATEST
  // Worked out from that by plan_channel, and checked against it on attach.
  uint32_t slot_count;  // 0 for QUEUE
  uint32_t pin_count;   // registers of the reader
  uint64_t slot_stride;
  uint32_t payload_offset;  // in a slot or record
  uint32_t reserved_word;
  uint64_t data_offset;  // in the file; 0 for System V
  uint64_t data_bytes;
  uint64_t ring_bytes;   // 0 for LATEST
  uint64_t hands_bytes;  // of the ring, what the reader may have in hand
  // Of this segment.
  uint64_t data_nonce;  // stands in DataIdentity too
  int32_t sysv_id;
  uint32_t type_text_bytes;
  uint64_t type_text_offset;
  uint64_t type_fingerprint;
  uint64_t reserved;
};

// MarkLine::superseded. Superseded: the name was given, or is about to be given, to
// another file; nothing that is published here from now on counts. Renewed: the master
// writes in the file that it has renewed the link with; it reads here until its slave,
// which has taken its seat there, has come over.
constexpr uint32_t kSuperseded = 1;
constexpr uint32_t kRenewed = 2;

struct MarkLine {
  std::atomic<uint32_t> superseded;     // MK1: succession holder stores, everybody loads; or 0
  std::atomic<int32_t> successor_pid;   // valid once superseded is set
  std::atomic<uint64_t> end_position[2];  // queues: what was committed before the mark
  // The master has given the name to a fresh segment, where a seat is kept for its slave.
  // Both use this one until that seat is taken.
  std::atomic<uint32_t> has_successor;
};

// A slave that comes over from the segment that this one replaced: nobody else
// gets the seat meanwhile.
struct SeatLine {
  std::atomic<uint64_t> reserved_for;  // incarnation of that slave; 0: free, or it has come over
  std::atomic<int32_t> reserved_pid;
  // The master of the segment before has renewed it with this one: both go on there, and
  // what is here are copies, until the slave has come.
  std::atomic<uint32_t> is_renewal;
  // The first message that was carried over from the segment before: its number there. By
  // direction; stored by the writer. 0: none was, or the writer does not tell.
  std::atomic<uint64_t> first_carried[2];
  std::atomic<uint64_t> newest_copy[2];  // LATEST: and the number that it has here
  // This segment was given the name with copies of all that was unread for the slave of that
  // incarnation in the segment before; 0: it was not. Stored before it had the name.
  std::atomic<uint64_t> copied_for;
  // And of what that slave had written there, up to this number.
  std::atomic<uint64_t> copied_until;
};

// The holder of a lock: for error texts and exit watches, never a judgement of life.
struct RoleRecord {
  std::atomic<uint64_t> incarnation;  // fresh random of the holder; 0: being filled in
  std::atomic<int32_t> pid;
  std::atomic<uint32_t> stale_threshold_ms;
  std::atomic<uint64_t> start_time;
  std::atomic<uint64_t> pid_namespace;
  std::atomic<uint64_t> time_namespace;
  std::atomic<uint64_t> left;        // incarnation of a holder that destroyed its handle
  std::atomic<uint32_t> generation;  // how many have held this role here
};

struct BeatLine {
  std::atomic<uint64_t> beats;  // the owner adds, the peer compares
};

// Signs of life besides the heartbeat: a process whose service thread starves still
// calls. In lines of their own, since the heartbeat's is another thread's.
struct CallLine {
  std::atomic<uint64_t> calls;  // the owner adds, under its direction's lock; the peer compares
};

// An event count. Two processes change each word, both by read-modify-write,
// but for the announcer's plain store of its own number.
struct WakeLine {
  std::atomic<uint32_t> announced;  // number of the waiting process; the ringer swaps it for 0
  std::atomic<uint32_t> doorbell;   // the futex; grows with each ring
};

struct ReaderLine {
  std::atomic<uint64_t> messages;   // read so far, for statistics
  std::atomic<uint64_t> position;   // queue: everything before it has been consumed
  std::atomic<uint64_t> handed_out;  // queue: behind what was read or borrowed, for error texts
  // LATEST: of a segment that both ends had left when its master came: no value up to this
  // number is new. Stored by that master.
  std::atomic<uint64_t> stale_number;
};

constexpr uint32_t kMaxPins = 128;

struct PinLines {
  std::atomic<uint32_t> slot[kMaxPins];  // slot index + 1; 0: none
};

struct alignas(4096) ControlPage {
  alignas(kLineBytes) Identity identity;
  alignas(kLineBytes) ChannelGeometry geometry[2];
  alignas(kLineBytes) MarkLine mark;
  alignas(kLineBytes) SeatLine seat;
  alignas(kLineBytes) RoleRecord master;
  alignas(kLineBytes) RoleRecord slave;
  alignas(kLineBytes) RoleRecord succession;
  struct alignas(kLineBytes) {
    BeatLine line;
  } beat[2];  // [0] the master's, [1] the slave's
  struct alignas(kLineBytes) {
    WakeLine line;
  } data_wake[2], room_wake[2];
  struct alignas(kLineBytes) {
    ReaderLine line;
  } reader[2];
  struct alignas(kLineBytes) {
    CallLine line;
  } calls[2][2];  // [0] the master's, [1] the slave's; [kWriting], [kReading]
  alignas(0x400) PinLines pins[2];
};
enum CallKind { kWriting = 0, kReading = 1 };

struct DataIdentity {
  uint64_t nonce;
};

struct PublishLine {
  // LATEST: number of the newest message << 8 | its slot. QUEUE: the position
  // behind the last committed record. A hint that follows the publication.
  std::atomic<uint64_t> published;
  std::atomic<uint64_t> messages;  // QUEUE: how many are before that position
  // QUEUE: nothing at or behind this position has been stored. What an observer
  // copied from a ring's length before it or later is whole.
  std::atomic<uint64_t> claimed;
};

struct DataArea {
  alignas(kLineBytes) DataIdentity identity;
  alignas(kLineBytes) PublishLine publish;
};

constexpr size_t kFirstSlotOffset = 2 * kLineBytes;
constexpr uint32_t kMaxSlots = 255;  // eight bits of PublishLine::published

// A message of a LATEST channel. 48 payload bytes share its first line.
struct Slot {
  std::atomic<uint64_t> sequence;    // 2n: message n; odd: prepared or on loan; 0: empty
  std::atomic<uint32_t> size;        // payload bytes
  std::atomic<uint32_t> generation;  // RoleRecord::generation of the writer
};

struct StampedSlot {
  Slot slot;
  std::atomic<uint64_t> timestamp_ns;
};

// The ring of a QUEUE begins where a LATEST channel has its first slot. Records
// follow each other without gaps, none wraps: padding fills the end.
//
//   position p, index p mod ring_bytes
//   +---------------+-------------------+---------------------+------
//   | RecordHeader  | time stamp, if    | payload, filled up  | next
//   | commit | tag  | asked for         | to kRecordUnit      | header
//   +---------------+-------------------+---------------------+------
//   0               16                  payload_offset
struct RecordHeader {
  // 0: nothing here yet. Otherwise, from bit 0: 31 bits of size (padding: of the
  // whole record, in 16 bytes), 3 of RecordKind, 30 of the writer's generation.
  std::atomic<uint64_t> commit;
  std::atomic<uint64_t> tag;  // a message's number; a padding's own position
};

enum class RecordKind : uint32_t {
  kNone = 0,
  kMessage = 1,
  kPadding = 2,
  kLoan = 3,  // its place is taken, its content is not there yet
  kHeld = 4,  // complete, and not visible: a loan before it is open
};

struct StampedRecord {
  RecordHeader header;
  std::atomic<uint64_t> timestamp_ns;
};

// Measured: 64 bytes cross in 29 ns a message; in records of whole lines, in 46.
constexpr size_t kRecordUnit = 16;  // 64 where payloads are aligned

static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared words must be lock-free");
static_assert(std::atomic<uint32_t>::is_always_lock_free, "shared words must be lock-free");
static_assert(sizeof(Identity) == 64, "layout");
static_assert(offsetof(Identity, layout_version) == 8, "fixed for ever");
static_assert(offsetof(Identity, control_bytes) == 12, "fixed for ever");
static_assert(offsetof(Identity, fingerprint) == 16, "fixed for ever");
static_assert(offsetof(Identity, segment_bytes) == 24, "fixed for ever");
static_assert(sizeof(ChannelGeometry) == 128, "layout");
static_assert(sizeof(RoleRecord) <= kLineBytes, "layout");
static_assert(offsetof(ControlPage, geometry) == 0x040, "layout");
static_assert(offsetof(ControlPage, mark) == 0x140, "layout");
static_assert(offsetof(ControlPage, seat) == 0x180, "layout");
static_assert(offsetof(ControlPage, master) == 0x1C0, "layout");
static_assert(offsetof(ControlPage, slave) == 0x200, "layout");
static_assert(offsetof(ControlPage, succession) == 0x240, "layout");
static_assert(offsetof(ControlPage, beat) == 0x280, "layout");
static_assert(offsetof(ControlPage, data_wake) == 0x300, "layout");
static_assert(offsetof(ControlPage, room_wake) == 0x380, "layout");
static_assert(offsetof(ControlPage, reader) == 0x400, "layout");
static_assert(offsetof(ControlPage, calls) == 0x480, "layout");
static_assert(offsetof(ControlPage, pins) == 0x800, "layout");
static_assert(offsetof(WakeLine, announced) == 0 && offsetof(WakeLine, doorbell) == 4, "layout");
static_assert(offsetof(ReaderLine, messages) == 0 && offsetof(ReaderLine, position) == 8 &&
                  offsetof(ReaderLine, handed_out) == 16 && offsetof(ReaderLine, stale_number) == 24,
              "layout");
static_assert(offsetof(RoleRecord, pid) == 8 && offsetof(RoleRecord, stale_threshold_ms) == 12 &&
                  offsetof(RoleRecord, start_time) == 16 &&
                  offsetof(RoleRecord, pid_namespace) == 24 &&
                  offsetof(RoleRecord, time_namespace) == 32 && offsetof(RoleRecord, left) == 40 &&
                  offsetof(RoleRecord, generation) == 48,
              "layout");
static_assert(offsetof(MarkLine, successor_pid) == 4 && offsetof(MarkLine, end_position) == 8,
              "layout");
static_assert(offsetof(MarkLine, has_successor) == 24, "layout");
static_assert(offsetof(SeatLine, reserved_pid) == 8 && offsetof(SeatLine, first_carried) == 16 &&
                  offsetof(SeatLine, is_renewal) == 12 && offsetof(SeatLine, newest_copy) == 32 &&
                  offsetof(SeatLine, copied_for) == 48 && sizeof(SeatLine) == 64,
              "layout");
static_assert(sizeof(ControlPage) == kControlBytes, "layout");
static_assert(offsetof(DataArea, publish) == 0x40, "layout");
static_assert(sizeof(DataArea) == kFirstSlotOffset, "layout");
static_assert(sizeof(Slot) == 16 && offsetof(Slot, size) == 8 && offsetof(Slot, generation) == 12,
              "layout");
static_assert(offsetof(StampedSlot, timestamp_ns) == 16, "layout");
static_assert(offsetof(PublishLine, published) == 0 && offsetof(PublishLine, messages) == 8 &&
                  offsetof(PublishLine, claimed) == 16,
              "layout");
static_assert(sizeof(RecordHeader) == 16 && offsetof(RecordHeader, tag) == 8, "layout");
static_assert(offsetof(StampedRecord, timestamp_ns) == 16, "layout");
static_assert(kRecordUnit >= sizeof(RecordHeader), "a header fits wherever a record may begin");

// What a channel is asked for. The defaults are eshm_default_config's; here everything
// begins at 0, which is no usable shape.
struct ChannelShape {
  uint32_t delivery = 0;           // ESHMDelivery
  uint32_t flags = 0;              // ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD
  uint32_t max_borrows = 0;        // 0 .. ESHM_MAX_BORROWS
  uint32_t max_loans = 0;          // 0 .. ESHM_MAX_LOANS
  uint64_t max_message_bytes = 0;  // 1 .. INT32_MAX
  uint64_t queue_bytes = 0;        // of a QUEUE, at least max_message_bytes; else 0
  uint64_t type_fingerprint = 0;   // 0: untyped
  uint32_t type_text_bytes = 0;
};

ChannelShape shape_of(const ChannelGeometry& geometry);
// All but the type.
bool operator==(const ChannelShape& a, const ChannelShape& b);
// An end that names no type takes any.
inline bool types_fit(uint64_t a, uint64_t b) { return a == b || a == 0 || b == 0; }

constexpr uint64_t kSmallestPageBytes = 4096;  // of any host

// Works out slots and sizes, which fill whole pages. The shape's numbers are in range (the API's
// documentation names the ranges); 64-bit arithmetic cannot overflow then.
ChannelGeometry plan_channel(const ChannelShape& shape,
                             uint64_t page_bytes = kSmallestPageBytes);

// Of a QUEUE: what a message takes up in the ring.
uint64_t record_unit(const ChannelGeometry& geometry);
uint64_t record_bytes(const ChannelGeometry& geometry, uint64_t message_bytes);
// ChannelGeometry::ring_bytes is more than what unread messages may take up in it, so that these always
// find room, whatever the reader has in hand and wherever the ring ends:
//
//   +-------------------------+------------------+-----------------+
//   | net_bytes: unread       | hands_bytes      | one record      |
//   +-------------------------+------------------+-----------------+
//                               the reader's       padding at the
//                               hands              ring's end, and a
//                                                  header behind all
//
// net_bytes holds queue_bytes / max_message_bytes messages of the largest size.
uint64_t net_bytes(const ChannelGeometry& geometry);
// Messages that threads of the reader have in hand by copying; each thread has one.
constexpr uint64_t kMaxHands = 64;
constexpr uint64_t kMostQueueBytes = uint64_t(1) << 46;

// The part of a segment that is written once.
struct Plan {
  Identity identity;
  ChannelGeometry geometry[2];
};

// Works out a whole segment, without nonces and System V ids. `page_bytes` is
// the host's, since areas are mapped by themselves.
Plan plan_segment(uint32_t backend, const ChannelShape& m2s, const ChannelShape& s2m,
                  bool auto_cleanup, uint64_t page_bytes);

// Of the file and, with System V, of the two blocks.
uint64_t memory_bytes(const Plan& plan);

// Of this build's layout and of all that a plan holds; must be computed last.
uint64_t fingerprint_of(const Plan& plan);

}  // namespace eshm::layout
