/* SPDX-License-Identifier: MIT */
/* ESHM: the public types, constants and enums.
 *
 * C99 and C++11. No byte of shared memory is described here: what lies in a
 * segment is private to the library and may change from one release to the
 * next (unlike layouts refuse each other in words).
 *
 * How the structs grow. A program may be compiled with an older or a newer header
 * than the library that it runs with:
 *  - ESHMConfig has 256 bytes in every release, and ESHMChannelConfig 48. New fields
 *    take the place of reserved words, and 0 in them means the default.
 *  - ESHMMessageInfo has 64 bytes in every release. Its new fields, too, take the
 *    place of reserved words.
 *  - ESHMStatsEx and ESHMView may become longer; fields keep their offsets.
 *  - ESHMStats and ESHMType never change.
 * struct_size of a struct that the library fills (ESHMMessageInfo, ESHMView,
 * ESHMStatsEx, ESHMLinkInfo): set it to sizeof before the call; it is the number of bytes that the
 * call may write, at most 4096. The library fills the fields that it knows, as far as
 * that reaches, sets the rest of these bytes to 0 and leaves struct_size as it is.
 * 0 means the size of release 0.1, in every release: 64, 120 and 152 bytes.
 */
#ifndef ESHM_DATA_H
#define ESHM_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The release that this header is of. No other file holds a version: CMake and the
 * Python package read these three lines. eshm_version() gives the library's. */
#define ESHM_VERSION_MAJOR 0
#define ESHM_VERSION_MINOR 1
#define ESHM_VERSION_PATCH 0

/* Largest message, in bytes, of a channel that asks for nothing else. */
#define ESHM_MAX_DATA_SIZE 4096
/* How long a read waits where no time-out is given (eshm_read), in milliseconds. */
#define ESHM_DEFAULT_READ_MS 1000
/* How often a process with use_threads beats, in milliseconds. */
#define ESHM_HEARTBEAT_INTERVAL_MS 1

/* Time-out of a call that shall wait without limit. */
#define ESHM_WAIT_FOREVER UINT32_MAX
/* ESHMConfig.spin_us: spin while it pays, park when it does not. */
#define ESHM_SPIN_ADAPTIVE UINT32_MAX
/* Longest segment name in bytes, a leading '/' not counted. */
#define ESHM_MAX_NAME_BYTES 200
/* Most handles that one eshm_wait_any waits for. */
#define ESHM_MAX_WAIT 1000
/* Most borrows, and most loans, that one channel can be made for. */
#define ESHM_MAX_BORROWS 120
#define ESHM_MAX_LOANS 120

/* Longest ESHMType.text in bytes. */
#define ESHM_MAX_TYPE_BYTES 65535

enum ESHMRole {
  ESHM_ROLE_MASTER = 0,
  ESHM_ROLE_SLAVE = 1,
  ESHM_ROLE_AUTO = 2,    /* master if there is none, else slave; decided once, in eshm_init */
  /* Looks on, read-only: reads both directions, is not felt by the two, and needs
   * neither of them to be there. Of an ESHMConfig it uses shm_name, permissions,
   * stale_threshold_ms, reconnect_retry_interval_ms and interrupt. */
  ESHM_ROLE_OBSERVER = 3
};

/* What a slave does that has lost its master. */
enum ESHMDisconnectBehavior {
  ESHM_DISCONNECT_IMMEDIATELY = 0, /* calls give MASTER_STALE from then on */
  ESHM_DISCONNECT_ON_TIMEOUT = 1,  /* retry by the policy, then MASTER_STALE */
  ESHM_DISCONNECT_NEVER = 2        /* retry for ever */
};

enum ESHMError {
  ESHM_SUCCESS = 0,
  ESHM_ERROR_INVALID_PARAM = -1, /* an argument is out of its range; nothing was done */
  ESHM_ERROR_SHM_CREATE = -2,    /* the segment could not be created, or memory is short */
  ESHM_ERROR_SHM_ATTACH = -3,    /* it exists, but cannot be opened, mapped or understood */
  ESHM_ERROR_SHM_DETACH = -4,   /* reserved: nothing returns it */
  ESHM_ERROR_SHM_DELETE = -5,   /* the segment's name could not be removed */
  ESHM_ERROR_MUTEX_INIT = -6,   /* reserved: nothing returns it */
  ESHM_ERROR_MUTEX_LOCK = -7,   /* reserved: nothing returns it */
  ESHM_ERROR_MUTEX_UNLOCK = -8, /* reserved: nothing returns it */
  ESHM_ERROR_NO_DATA = -9,      /* nothing unread, and the call was not to wait */
  ESHM_ERROR_TIMEOUT = -10,     /* the wait is over; or a write while the master is away */
  ESHM_ERROR_MASTER_STALE = -11, /* the master is gone and the retry policy is spent */
  ESHM_ERROR_BUFFER_FULL = -12,
  ESHM_ERROR_BUFFER_TOO_SMALL = -13, /* message larger than the channel, or than the buffer */
  ESHM_ERROR_NOT_INITIALIZED = -14,  /* the handle is not usable in this process */
  ESHM_ERROR_ROLE_MISMATCH = -15,    /* the role is taken, or the call is not for this role */
  ESHM_ERROR_CORRUPT = -16,          /* the segment holds what no healthy peer writes */
  ESHM_ERROR_SUPERSEDED = -17,       /* another process has taken this one's role over */
  ESHM_ERROR_INTERRUPTED = -18,      /* ESHMConfig.interrupt ended the wait */
  ESHM_ERROR_TYPE_MISMATCH = -19,    /* the two ends use different message types */
  ESHM_ERROR_PERMISSION = -20,       /* owner, mode, or a limit of the process forbid it */
  ESHM_ERROR_UNSUPPORTED = -21       /* this kernel or this handle cannot do it */
};

/* Where a channel's bytes live. Everything that holds on one holds on the other. */
enum ESHMBackend {
  ESHM_BACKEND_POSIX = 0, /* all in /dev/shm/eshm_<name> */
  ESHM_BACKEND_SYSV = 1   /* messages in two System V segments, the rest in the file */
};

/* What a channel does with a message that nobody has read yet. */
enum ESHMDelivery {
  ESHM_DELIVERY_LATEST = 0, /* the newest value replaces it */
  /* It is kept, in order, until it is read, though both processes may end meanwhile: as long
   * as the link's name is there (and, with System V, one of the two lives). */
  ESHM_DELIVERY_QUEUE = 1
};

/* What eshm_init of a master does with the former processes' unread queue messages that
 * do not fit: larger than max_message_size or, together, than the queue; of another type; or
 * the direction is not a queue any more. */
enum ESHMUnread {
  ESHM_UNREAD_KEEP = 0, /* it fails with SHM_CREATE, says how many there are, and keeps them */
  ESHM_UNREAD_DROP = 1  /* it drops them, and the log says how many */
};

/* Which way a message goes. */
enum ESHMDirection { ESHM_M2S = 0 /* master to slave */, ESHM_S2M = 1 };

enum ESHMPeerState {
  ESHM_PEER_NEVER_SEEN = 0, /* nobody has come yet */
  ESHM_PEER_ALIVE = 1,
  ESHM_PEER_STALE = 2, /* its heartbeat stands still: hung, stopped, starved or exiting */
  ESHM_PEER_DEAD = 3,  /* its process has ended, the kernel says so */
  ESHM_PEER_LEFT = 4   /* it destroyed its handle */
};

enum ESHMEvent {
  ESHM_EVENT_CONNECTED = 0,   /* the first peer came (and may have gone again already) */
  ESHM_EVENT_STALE = 1,
  ESHM_EVENT_ALIVE = 2,       /* after STALE: the same peer beats again */
  ESHM_EVENT_DEAD = 3,
  ESHM_EVENT_LEFT = 4,
  ESHM_EVENT_RECONNECTED = 5, /* after DEAD or LEFT, or at a take-over: a new peer is there */
  ESHM_EVENT_SUPERSEDED = 6,  /* this handle's role was taken over by another process */
  ESHM_EVENT_GAVE_UP = 7,     /* slave: the retry policy is spent */
  ESHM_EVENT_RENEWED = 8      /* master: the link's name was gone, or meant another file; the
                               * link has it again. Loans of before cannot be published */
};

/* ESHMConfig.flags */
#define ESHM_FLAG_TIMESTAMPS 1u     /* every message carries its time of publication */
#define ESHM_FLAG_ALIGN_PAYLOAD 2u  /* payloads begin on a cache line (64 bytes) */
#define ESHM_FLAG_LOCK_MEMORY 4u    /* mlock the segment */
#define ESHM_FLAG_PREFAULT 8u       /* touch every page in eshm_init */
/* Whoever creates the segment makes it of huge pages, or its eshm_init fails and
 * says why; who attaches with the flag uses those that there are. POSIX: what fills
 * whole huge pages (2 MiB on x86; none may fit into a direction of less than two),
 * from Linux 6.1. System V: SHM_HUGETLB, from the pool that vm.nr_hugepages makes. */
#define ESHM_FLAG_HUGE_PAGES 16u
/* Calls never do the work of a library thread that is late. Without the flag a call does
 * it when that thread has not run for half the stale threshold: then a call may make
 * system calls, and once in a while moves the link to another segment, which takes 32 KiB
 * of stack and as long as the segment needs. With it calls
 * make no system call but wakes and waits, and a starved process hears late of its peer. */
#define ESHM_FLAG_NO_UPKEEP_IN_CALLS 32u

/* What the messages of a channel are. NULL and 0: untyped, anything fits. Two
 * ends with unlike fingerprints refuse each other, and the texts tell where they
 * differ. The text is copied into the segment; a fingerprint without one is
 * compared alone.
 * Canonical text: name{field:kind@offset,...}size with kinds i8 .. i64, u8 ..
 * u64, f32, f64, bool, char, arrays kind[N], structs in place {...}; offsets and
 * sizes in bytes. Its fingerprint: FNV-1a, 64 bits. */
struct ESHMType {
  const char* text;     /* 1 .. ESHM_MAX_TYPE_BYTES bytes, or NULL */
  uint64_t fingerprint; /* that of the text, where there is one: see eshm_type_of */
};

/* One direction of a link. */
struct ESHMChannelConfig {
  enum ESHMDelivery delivery;
  uint32_t max_borrows;      /* messages borrowed at once, 0 .. ESHM_MAX_BORROWS. A loop that
                              * takes the next one before it lets the last one go needs 2,
                              * the default (a default link takes up to 72 KiB of memory) */
  uint32_t max_loans;        /* messages loaned at once, 0 .. ESHM_MAX_LOANS */
  uint32_t reserved;         /* 0; the only room for new fields */
  uint64_t max_message_size; /* bytes, 1 .. INT32_MAX */
  /* Of a QUEUE, in bytes: max_message_size .. 2^46. So many messages of the largest size can
   * be unread at once as it holds of them, whatever the reader has in hand. */
  uint64_t queue_capacity;
  struct ESHMType type;
};

/* What eshm_init is asked for; start from eshm_default_config(name), the only place
 * that knows the defaults. The process that creates the segment chooses the channels'
 * shape, and each process that attaches to it adopts that shape. */
typedef struct ESHMConfig {
  const char* shm_name; /* 1 .. ESHM_MAX_NAME_BYTES bytes; one leading '/' is dropped, no other */
  enum ESHMRole role;
  enum ESHMDisconnectBehavior disconnect_behavior;
  uint32_t stale_threshold_ms;          /* 1 .. 3,600,000: heartbeat still for so long is STALE */
  uint32_t reconnect_wait_ms;           /* in all; 0: no limit */
  uint32_t reconnect_retry_interval_ms; /* 1 .. 3,600,000 */
  uint32_t max_reconnect_attempts;      /* 0: no limit */
  bool auto_cleanup; /* the name is removed in eshm_destroy; see there, by whom */
  bool use_threads;  /* false: no thread is started, calls do its work as they come */

  /* Everything from here on is new against the original nine fields. */
  /* 256, as eshm_default_config sets it; or 0: only the nine fields above are filled in,
   * and eshm_init takes the defaults of all others. Nothing else. */
  uint32_t struct_size;
  enum ESHMBackend backend;
  struct ESHMChannelConfig m2s; /* master to slave */
  struct ESHMChannelConfig s2m; /* slave to master */
  uint32_t spin_us;     /* how long a wait polls before it parks; 0: at once */
  uint32_t permissions; /* mode of the segment; the umask has no say */
  uint32_t flags;       /* ESHM_FLAG_... */
  enum ESHMUnread unread_policy;
  /* Called on a signal and each 50 ms of any wait, eshm_init's included, and
   * while eshm_init allocates a large segment; an answer other than 0 ends that
   * with INTERRUPTED. May be NULL. */
  int (*interrupt)(void* interrupt_context);
  void* interrupt_context;
  /* The next three fields say how the library's threads run: the service thread, and
   * those of eshm_get_fd and eshm_wait_any. All handles of a process share one service
   * thread, and the first handle with use_threads decides. A later one takes the same
   * values or the defaults, else eshm_init returns INVALID_PARAM. When the last such
   * handle is destroyed the thread ends, and the next handle decides again. With
   * use_threads = false the fields are for threads of eshm_wait_any alone. The nice value
   * is always that of the thread that starts them.
   *
   * CPUs by number, as in taskset -c: "2,4-7". The threads run on those of them that the
   * process may use; if it may use none, eshm_init returns INVALID_PARAM. NULL or "": the
   * CPU set of the caller of eshm_init. Must live until eshm_init returns. */
  const char* thread_cpus;
  int32_t thread_policy;   /* of <sched.h>: 0 SCHED_OTHER, 1 SCHED_FIFO, 2 SCHED_RR */
  int32_t thread_priority; /* 1 .. 99 with SCHED_FIFO and SCHED_RR, 0 with SCHED_OTHER */
  uint64_t reserved[8];    /* 0; room for new fields */
} ESHMConfig;

typedef struct ESHMStats {
  uint64_t master_heartbeat;
  uint64_t slave_heartbeat;
  pid_t master_pid; /* 0: none yet */
  pid_t slave_pid;
  bool master_alive;
  bool slave_alive;
  uint32_t stale_threshold;        /* ms */
  uint64_t master_heartbeat_delta; /* since this handle's last call */
  uint64_t slave_heartbeat_delta;
  uint64_t m2s_write_count; /* messages in this segment */
  uint64_t m2s_read_count;
  uint64_t s2m_write_count;
  uint64_t s2m_read_count;
} ESHMStats;

/* What came with a message. */
typedef struct ESHMMessageInfo {
  uint32_t struct_size; /* bytes that the call may write, 1 .. 4096, or 0 (means 64); the
                         * library does not use that of an ESHMView's info */
  uint32_t generation; /* rises when the sender was restarted or replaced; begins at 1 */
  uint64_t sequence;   /* number of the message in its segment, from 1, without gaps */
  uint64_t missed;     /* messages overwritten between the last read one (of that direction) and
                        * this one */
  uint64_t size;       /* bytes; also set on BUFFER_TOO_SMALL: the size that is needed */
  uint64_t timestamp_ns; /* writer's CLOCK_MONOTONIC at publication; 0 without ESHM_FLAG_TIMESTAMPS */
  uint32_t direction;    /* enum ESHMDirection: a master reads S2M, a slave M2S, an observer both */
  uint32_t reserved_word; /* room for new fields; set to 0 */
  uint64_t reserved[2];   /* likewise */
} ESHMMessageInfo;

/* A message read in place. Between eshm_borrow and eshm_release only. */
typedef struct ESHMView {
  uint32_t struct_size; /* bytes that eshm_borrow may write: 0 (means 120), or 120 .. 4096 */
  uint32_t reserved;    /* room for a new field; set to 0 */
  const void* data;     /* first byte of the message; read-only */
  size_t size;          /* of the message, in bytes */
  ESHMMessageInfo info;
  uint64_t internal[4]; /* the library's; eshm_release needs it unchanged */
} ESHMView;

/* What ESHMStats, which is frozen, cannot say. */
typedef struct ESHMStatsEx {
  uint32_t struct_size; /* bytes that the call may write, 1 .. 4096, or 0 (means 152) */
  enum ESHMPeerState peer_state; /* of the peer; for an observer, of the master */
  uint32_t peer_generation;  /* number of senders that this handle has read from */
  uint32_t reconnects;       /* number of times that this handle found a new peer */
  uint64_t messages_written; /* by this handle; 0 for an observer */
  uint64_t messages_read;    /* by this handle */
  uint64_t messages_missed;  /* overwritten before this handle read them */
  uint64_t parks;            /* waits that went to sleep */
  uint64_t wakes;            /* writes that woke a sleeping reader */
  uint64_t stale_reports;    /* number of times that the peer became STALE */
  uint64_t segment_bytes;    /* memory of the link, both directions, in bytes */
  uint64_t max_write_size;   /* largest message it may write, in bytes; 0 for an observer */
  uint64_t max_read_size;    /* largest message it may get, in bytes */
  uint64_t reserved[8];    /* room for new fields; set to 0 */
} ESHMStatsEx;

/* ---- links as they look from outside (eshm_list, eshm_inspect) ---- */

/* What is at a link's name. */
enum ESHMLinkState {
  ESHM_LINK_ABSENT = 0,        /* nothing */
  ESHM_LINK_FINE = 1,          /* a segment that this library understands */
  ESHM_LINK_SUPERSEDED = 2,    /* one that does not count any more: the process that was to
                                * replace it died before it gave the name away */
  ESHM_LINK_UNREADABLE = 3,    /* the file may not be opened by this process */
  ESHM_LINK_OTHER_VERSION = 4, /* a segment of another layout */
  ESHM_LINK_CORRUPT = 5,       /* a segment whose header no healthy process wrote, or part of one */
  ESHM_LINK_FOREIGN = 6        /* something else: a stranger's file, a directory, a FIFO */
};

/* One role of a link. Only holds_role is the kernel's word; the rest is what the last
 * holder wrote into the segment. */
typedef struct ESHMLinkPeer {
  pid_t pid;                   /* of the last holder, in its own PID namespace; 0: none yet */
  bool holds_role;             /* a process holds the role now */
  bool has_left;               /* the last holder destroyed its handle */
  bool waits_for_message;      /* the holder sleeps until a message comes */
  bool waits_for_room;         /* the holder sleeps until a queue has room */
  uint32_t stale_threshold_ms; /* the holder's own */
  uint32_t generation;         /* number of processes that have had the role in this segment */
  uint64_t incarnation;        /* random, one for each holder; 0: the record is incomplete */
  uint64_t start_time;         /* field 22 of /proc/PID/stat; 0: unknown */
  uint64_t pid_namespace;      /* inode of /proc/PID/ns/pid */
  uint64_t time_namespace;
  uint64_t beats;              /* heartbeats; a living process's grow, or its calls do */
  uint64_t calls_writing;      /* calls that wrote or lent, as far as they showed life */
  uint64_t calls_reading;
  uint64_t reserved[4];        /* room for new fields; set to 0 */
} ESHMLinkPeer;

/* One direction of a link. */
typedef struct ESHMLinkChannel {
  enum ESHMDelivery delivery;
  uint32_t flags;              /* ESHM_FLAG_TIMESTAMPS, ESHM_FLAG_ALIGN_PAYLOAD */
  uint32_t max_borrows;
  uint32_t max_loans;
  uint64_t max_message_size;   /* bytes */
  uint64_t queue_capacity;     /* bytes; 0 for LATEST */
  uint64_t data_bytes;         /* memory of this direction */
  uint64_t type_fingerprint;   /* 0: untyped */
  uint32_t type_text_bytes;    /* what eshm_get_type_text needs, less the final 0 */
  uint32_t slot_count;         /* 0 for QUEUE */
  bool has_counts;             /* false: the data cannot be read (any more), so the next four are 0 */
  uint8_t reserved_bytes[7];   /* set to 0 */
  uint64_t written;            /* messages in this segment */
  uint64_t read;               /* of those, read by the reader */
  uint64_t queued_bytes;       /* QUEUE: used by what is unread */
  uint64_t newest_ns;          /* LATEST with time stamps: that of the newest message; else 0 */
  uint64_t reserved[4];        /* room for new fields; set to 0 */
} ESHMLinkChannel;

#define ESHM_MAX_PROBLEM_BYTES 255

/* A link, as eshm_list and eshm_inspect see it. It may become longer; fields keep their offsets. */
typedef struct ESHMLinkInfo {
  uint32_t struct_size; /* eshm_inspect: bytes that the call may write, 1 .. 4096, or 0 (means
                         * 1056). In eshm_list's callback: the bytes that there are */
  enum ESHMLinkState state;
  char name[ESHM_MAX_NAME_BYTES + 8];          /* ends with 0 */
  char problem[ESHM_MAX_PROBLEM_BYTES + 1];    /* why the state is not FINE; "" if it is */
  uint32_t uid;           /* owner of the file */
  uint32_t mode;          /* permissions of the file */
  uint64_t inode;         /* another one at the same name is another segment */
  uint64_t made_ns;       /* CLOCK_REALTIME of its making, in ns since 1970; 0: unknown */
  uint64_t segment_bytes; /* memory of the link: the file, and System V segments */
  uint32_t layout_version; /* 0: unknown; of an ABSENT one, what this library would make */
  enum ESHMBackend backend;
  bool auto_cleanup;      /* its master's eshm_destroy removes the name */
  bool roles_change;      /* a process holds the succession lock: roles or name change now */
  bool has_leftover;      /* a file is there that a process left which was killed while it
                           * gave the name to a new segment */
  uint8_t reserved_bytes[5]; /* set to 0 */
  uint64_t seat_for;      /* the slave's seat is kept for this incarnation; 0: for none */
  ESHMLinkPeer master;
  ESHMLinkPeer slave;
  ESHMLinkChannel m2s;
  ESHMLinkChannel s2m;
  uint64_t reserved[8];   /* room for new fields; set to 0 */
} ESHMLinkInfo;

/* Called by eshm_list for each link. An answer other than 0 ends the listing. It may call
 * any function of the library. */
typedef int (*ESHMLinkCallback)(const ESHMLinkInfo* link, void* context);

/* Flags of eshm_remove. */
#define ESHM_REMOVE_FORCE 1u /* also what is in use, or is no segment of this library */

typedef struct ESHMHandle ESHMHandle;

/* Called on the library's service thread (with use_threads = false: inside
 * the call that noticed). Keep it short, the heartbeat waits for it. Any call
 * on the handle is allowed in it but eshm_destroy and eshm_init.
 * Stack: the service thread leaves it at least 128 KiB (131,072 bytes). */
typedef void (*ESHMEventCallback)(ESHMHandle* handle, enum ESHMEvent event, void* context);

enum ESHMLogLevel { ESHM_LOG_DEBUG = 0, ESHM_LOG_INFO = 1, ESHM_LOG_WARNING = 2, ESHM_LOG_ERROR = 3 };

/* One finished line without an end of line. Called on whatever thread has
 * something to tell, several at once. Stack: as ESHMEventCallback. */
typedef void (*ESHMLogCallback)(enum ESHMLogLevel level, const char* text, void* context);

#ifdef __cplusplus
}
#endif

#endif /* ESHM_DATA_H */
