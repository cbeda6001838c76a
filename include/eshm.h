/* SPDX-License-Identifier: MIT */
/* ESHM: two processes on one host, linked through shared memory.
 *
 *   ESHMConfig config = eshm_default_config("cam0");
 *   ESHMHandle* link = eshm_init(&config);
 *   eshm_write(link, "hello", 6);
 *   int bytes = eshm_read(link, buffer, sizeof buffer);
 *   eshm_destroy(link);
 *
 * What holds for every function:
 *  - Threads: any number may use one handle at once, except that
 *    eshm_destroy must be the last call on it.
 *  - Never call in from a signal handler.
 *  - After fork() a child's calls on an inherited handle give NOT_INITIALIZED;
 *    it may open handles of its own.
 *  - A call that fails leaves a sentence for eshm_last_error().
 *  - The library writes to no stream and installs no signal handler.
 *  - A process of the same user that truncates the segment's file on purpose
 *    is outside what the library can survive (SIGBUS); whatever else a broken
 *    peer does to it gives an error here.
 */
#ifndef ESHM_H
#define ESHM_H

#include "eshm_data.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- opening and closing ------------------------------------------------ */

/* The defaults for a link of that name: AUTO, 100 ms stale threshold, 50
 * attempts each 100 ms and 5000 ms in all, 4096-byte messages, newest value
 * wins. The name is not copied: it must live until eshm_init returns. */
ESHMConfig eshm_default_config(const char* name);

/* The memory that a link of this configuration takes, in bytes: what its creator
 * allocates in /dev/shm and, with ESHM_BACKEND_SYSV, in System V segments. (What the
 * shape of a channel costs: docs/MEMORY.md.) 0 where the configuration is one that eshm_init
 * refuses; eshm_last_error() says why. Allocates nothing that stays; any thread. */
uint64_t eshm_segment_size(const ESHMConfig* config);

/* Opens a link. A master never waits for a slave, but watches a silent holder
 * of its name for up to the stale threshold before it takes the role over. A
 * slave waits for its master by the retry policy (interval, attempts, total
 * time) and attaches the moment that one appears. An observer never waits: it
 * looks at whatever segment has the name, now or later, from a read-only mapping.
 * By default the library's threads run with the CPU set of the caller of eshm_init and
 * SCHED_OTHER, whatever the caller's policy is; ESHMConfig.thread_cpus, thread_policy and
 * thread_priority choose otherwise.
 * A segment that does not fit is refused before any of it is taken: its size is compared
 * with the room in /dev/shm and, above 1 MiB, with the memory that can be had and the
 * limits of the control groups. The text of SHM_CREATE has these numbers. While only
 * what others use is in the way, eshm_init tries again for a second. Signals are served
 * while a large segment is allocated, and ESHMConfig.interrupt can end that, too.
 * Returns NULL on failure; the code and the reason are in eshm_last_error():
 * INVALID_PARAM, ROLE_MISMATCH (names the holder's PID), TIMEOUT (no master),
 * SHM_CREATE (also unread messages that do not fit: ESHMConfig.unread_policy),
 * SHM_ATTACH, PERMISSION, CORRUPT, TYPE_MISMATCH, INTERRUPTED. Of the
 * service thread: PERMISSION (thread_policy and thread_priority), INVALID_PARAM (none
 * of thread_cpus can be used), SHM_CREATE (a limit of memory or of threads). */
ESHMHandle* eshm_init(const ESHMConfig* config);

/* Leaves the link and frees the handle; the peer is told that this side left.
 * With auto_cleanup the last one out removes the name, and what is unread with it; the
 * master of a link without a queue removes it although its slave stays.
 * Every other call on the handle must have returned.
 * Returns SUCCESS; INVALID_PARAM for NULL or inside a callback;
 * SHM_DELETE where the name could not be removed (the handle is gone then too). */
int eshm_destroy(ESHMHandle* handle);

/* The message type with this canonical text (eshm_data.h, ESHMType): computes its
 * fingerprint. The text is not copied: it must live until eshm_init returns.
 * Returns SUCCESS; INVALID_PARAM for NULL and for a text that is not canonical:
 * eshm_last_error() says at which byte and what is wanted there. Threads: any. */
int eshm_type_of(const char* text, struct ESHMType* type);

/* ---- talking ------------------------------------------------------------ */

/* An observer (ESHM_ROLE_OBSERVER) reads with eshm_read, _read_ex and _read_msg
 * the messages of both directions, in turn; which one it was stands in
 * ESHMMessageInfo. Of a LATEST direction it gets the newest that it has not yet
 * read; of a QUEUE every message that it can keep up with, beginning with what
 * the queue's reader has not consumed (with the first of all in a segment that
 * is made while it looks on). It jumps to what is not consumed when it was
 * lapped. `missed` counts what it did not get of its segment. It follows a link
 * through restarts to new segments; reads give TIMEOUT or NO_DATA meanwhile, and
 * CORRUPT in a segment that no healthy process wrote, until another has the name.
 * What a dead link left at the name is shown too. It looks by a timer, each
 * millisecond at the latest, in its own calls; it starts no thread.
 * Writing, loans, borrows and heartbeats give ROLE_MISMATCH. The two never
 * notice an observer, whatever becomes of it; only the memory of a segment that
 * is over stays with one that is not called any more. */

/* Publishes one message of `size` bytes: 0 .. the channel's max_message_size;
 * data may be NULL for 0 bytes. Never waits.
 * Returns SUCCESS; BUFFER_TOO_SMALL (larger than the channel's messages);
 * BUFFER_FULL (queue); TIMEOUT or MASTER_STALE (slave whose master is away:
 * still trying, or given up); SUPERSEDED; NOT_INITIALIZED; CORRUPT.
 * On any error but SUPERSEDED nothing was written; with SUPERSEDED the slave
 * has it from before this master was replaced (it may be in its queue still), or
 * nobody ever reads it. What is written after that is read by nobody.
 * Visibility: what this thread wrote before the call is visible to whoever
 * has read the message. */
int eshm_write(ESHMHandle* handle, const void* data, size_t size);

/* As eshm_write; waits up to timeout_ms for room in a queue (0 never,
 * UINT32_MAX for ever), then TIMEOUT; 0 gives BUFFER_FULL at once. The sentence of either
 * says how many messages are unread, or in the reader's hands, and when it last took one
 * (seen to 10 ms, or a quarter of a shorter stale threshold). */
int eshm_write_ex(ESHMHandle* handle, const void* data, size_t size, uint32_t timeout_ms);

/* Reads the newest message not yet read on this handle (of a queue: the next
 * one), waiting for it at most ESHM_DEFAULT_READ_MS.
 * Returns its size in bytes (0 for an empty message, used as an event), or a
 * negative code as eshm_read_ex. */
int eshm_read(ESHMHandle* handle, void* buffer, size_t buffer_size);

/* As eshm_read with a time-out: 0 never waits and gives NO_DATA; UINT32_MAX
 * waits without limit. bytes_read may be NULL.
 * Returns SUCCESS; NO_DATA; TIMEOUT; BUFFER_TOO_SMALL (the size needed stands
 * in *bytes_read, the message is kept); MASTER_STALE (slave, given up);
 * SUPERSEDED; INTERRUPTED; CORRUPT; NOT_INITIALIZED; INVALID_PARAM (NULL
 * buffer with a size other than 0). */
int eshm_read_ex(ESHMHandle* handle, void* buffer, size_t buffer_size, size_t* bytes_read,
                 uint32_t timeout_ms);

/* As eshm_read_ex, with all that is known of the message. info may be NULL; set
 * info->struct_size before the call (eshm_data.h). It is filled on SUCCESS and on
 * BUFFER_TOO_SMALL. INVALID_PARAM also for a struct_size above 4096: nothing was read. */
int eshm_read_msg(ESHMHandle* handle, void* buffer, size_t buffer_size, ESHMMessageInfo* info,
                  uint32_t timeout_ms);

/* ---- talking without a copy --------------------------------------------- */

/* Lends room for a message of up to `size` bytes (0 .. the channel's
 * max_message_size) in the segment; *data is aligned to 16 bytes, with
 * ESHM_FLAG_ALIGN_PAYLOAD to 64. Fill it, then eshm_publish or eshm_discard;
 * until then nobody sees it. Never waits.
 * Returns SUCCESS; BUFFER_FULL (max_loans are out); else as eshm_write.
 * Loans may be published in any order, by any thread; each gets its number
 * then. Every loan must have been returned before eshm_destroy. */
int eshm_loan(ESHMHandle* handle, size_t size, void** data);

/* Publishes a loan; `size` may be smaller than loaned. Never waits.
 * Returns as eshm_write; INVALID_PARAM for what is not out on loan (published,
 * discarded, or never lent); BUFFER_TOO_SMALL for more than was loaned;
 * SUPERSEDED where the link has moved to another segment since the loan was
 * made (write it again), or this master was replaced meanwhile: the loan may be
 * gone then. On every other error it is still out. */
int eshm_publish(ESHMHandle* handle, void* data, size_t size);

/* Gives a loan back unpublished. SUCCESS, or INVALID_PARAM as above. */
int eshm_discard(ESHMHandle* handle, void* data);

/* Reads as eshm_read_msg, but in place: until eshm_release nothing overwrites
 * the view->size bytes at view->data (read-only), however fast the writer is,
 * and whatever becomes of it or of the link.
 * Set view->struct_size before the call (eshm_data.h).
 * Returns as eshm_read_msg; BUFFER_FULL (max_borrows are out); INVALID_PARAM also for a
 * struct_size of 1 .. 119 or above 4096: nothing was borrowed. */
int eshm_borrow(ESHMHandle* handle, ESHMView* view, uint32_t timeout_ms);

/* Gives a borrowed message back; view->data must not be used any more.
 * SUCCESS, or INVALID_PARAM for a view that is not borrowed (any more). */
int eshm_release(ESHMHandle* handle, ESHMView* view);

/* ---- event loops -------------------------------------------------------- */

/* Waits until a read of one of the handles would answer something other than
 * NO_DATA (a message, or why none will come: SUPERSEDED, MASTER_STALE, ...),
 * at most timeout_ms: 0 never, UINT32_MAX for ever. Nothing is read.
 * Takes 1 .. ESHM_MAX_WAIT handles; entries that are NULL are passed over, but
 * keep their index; a handle may stand there twice.
 * Returns the index of such a handle; each call begins to look at another
 * place, so that a busy handle does not hide the others. Or NO_DATA (time-out
 * 0), TIMEOUT, INTERRUPTED (each handle's hook is asked), INVALID_PARAM (no
 * handle, or too many), UNSUPPORTED (an observer's), NOT_INITIALIZED.
 * Threads: any number may wait for the same handle; all are woken, and one
 * reads. Up to 128 handles are waited for by the caller alone; for more the
 * library starts a thread for each 127 (they sleep, and end with the handles).
 * Before Linux 5.16, more than one handle is looked at each millisecond. */
int eshm_wait_any(ESHMHandle* const* handles, size_t count, uint32_t timeout_ms);

/* A descriptor for poll, select, epoll and event loops. It polls readable
 * while a read would answer something other than NO_DATA, as in eshm_wait_any;
 * now and then, after a change of the peer's state, also when there is nothing.
 * After it polled readable, read or borrow until NO_DATA, or once each time:
 * the read that leaves nothing unread takes the signal away. Watch it level- or
 * edge-triggered (then read until NO_DATA). It is the handle's own, the same at
 * each call, and goes with eshm_destroy: only poll it, never read, write or
 * close it. (Closed by mistake it is lost; another call makes a new one.)
 * From the first call on a library thread listens for up to 127 such handles,
 * and each read that empties the handle costs two or three system calls more.
 * Returns the descriptor; INVALID_PARAM (use_threads is false: it needs a
 * thread); UNSUPPORTED (an observer's, or no descriptor or thread to be had);
 * NOT_INITIALIZED. */
int eshm_get_fd(ESHMHandle* handle);

/* ---- watching ----------------------------------------------------------- */

/* Beats now. Needed only with use_threads = false and no other call for a
 * while: at least twice in each stale threshold of the peer. */
int eshm_update_heartbeat(ESHMHandle* handle);

/* hold true: hides from the peer that this process lives, until hold is false. Neither the
 * library's thread nor calls show it then; only eshm_update_heartbeat does. For programs
 * that relay the life of another process (a bridge), and for tests. The peer reports this
 * side stale after its threshold, and another master may take a master's role.
 * Returns SUCCESS; INVALID_PARAM for NULL; ROLE_MISMATCH (an observer's);
 * NOT_INITIALIZED. Threads: any. Waits for the library's thread, for microseconds. */
int eshm_hold_heartbeat(ESHMHandle* handle, bool hold);

/* *is_alive: the peer (for an observer: the master) is there and beats. */
int eshm_check_remote_alive(ESHMHandle* handle, bool* is_alive);

/* The whole truth about the peer; for an observer about the master, judged at
 * the calls that it makes. Of the slave eshm_get_stats tells. */
int eshm_get_remote_state(ESHMHandle* handle, enum ESHMPeerState* state);

int eshm_get_stats(ESHMHandle* handle, ESHMStats* stats);
/* Set stats->struct_size before the call (eshm_data.h).
 * Returns SUCCESS; INVALID_PARAM (NULL, or a struct_size above 4096); NOT_INITIALIZED. */
int eshm_get_stats_ex(ESHMHandle* handle, ESHMStatsEx* stats);

/* One direction of the link as the process that created the segment chose it, whatever
 * this process asked for. type.fingerprint is 0 where it is untyped; type.text is NULL.
 * Returns SUCCESS; NO_DATA (an observer that has not found a segment); INVALID_PARAM
 * (NULL, or no such direction); NOT_INITIALIZED. Threads: any. */
int eshm_get_channel(ESHMHandle* handle, enum ESHMDirection direction,
                     struct ESHMChannelConfig* channel);

/* MASTER, SLAVE or OBSERVER; never AUTO. */
int eshm_get_role(ESHMHandle* handle, enum ESHMRole* role);

/* One callback a handle; NULL takes it away, and returns only when no call of
 * the former one is running (unless called from inside it). UNSUPPORTED for an
 * observer, like eshm_wait_any and eshm_get_fd: it has no thread that would call. */
int eshm_set_event_callback(ESHMHandle* handle, ESHMEventCallback callback, void* context);

/* ---- links of this host, from outside ------------------------------------- */

/* For tools and supervisors. Links are found by their names in /dev/shm, whatever became of
 * their processes. Listing and inspecting take no lock, write nothing and wait for nothing:
 * the two processes of a link never notice. */

/* Calls `visit` for each link, in no order; each was inspected as by eshm_inspect just
 * before. A link that goes while the listing runs may be missing or ABSENT.
 * Returns the number of calls made; INVALID_PARAM (NULL); PERMISSION or SHM_ATTACH (/dev/shm
 * cannot be read). */
int eshm_list(ESHMLinkCallback visit, void* context);

/* Fills `info` with what is at a link's name. Whatever is found there is SUCCESS: see
 * info->state and info->problem.
 * Returns SUCCESS; INVALID_PARAM (NULL, a name that no link can have, or a struct_size
 * above 4096). */
int eshm_inspect(const char* name, ESHMLinkInfo* info);

/* Copies the text of a direction's message type, with a 0 at its end. `bytes`, which may be
 * NULL, gets its length. Control characters in it become '?'.
 * Returns SUCCESS; NO_DATA (there is no such segment, or it names no type);
 * BUFFER_TOO_SMALL (the length is in *bytes); INVALID_PARAM. */
int eshm_get_type_text(const char* name, enum ESHMDirection direction, char* buffer,
                       size_t buffer_size, size_t* bytes);

/* Removes a link's name, and what killed processes left of it: the file of an unfinished
 * replacement, System V segments. It holds both roles and the succession lock meanwhile,
 * so no process can come to a role of it. Waits up to 1000 ms for a process that is
 * changing the roles.
 * flags: 0, or ESHM_REMOVE_FORCE. With force a living master gives the name to a new segment
 * within a second, and a slave without a master waits for one that has the name.
 * Returns SUCCESS; NO_DATA (nothing has the name); ROLE_MISMATCH (a role is held: the sentence
 * names the process); CORRUPT or SHM_ATTACH (what has the name is no segment that
 * this library understands; force removes it unless it is a directory); PERMISSION (the
 * owner alone may do that); SHM_DELETE (it could not be removed, or the roles are being
 * changed); INVALID_PARAM. */
int eshm_remove(const char* name, uint32_t flags);

/* ---- errors and the library itself --------------------------------------- */

/* A short text for a code; never NULL. Static. */
const char* eshm_error_string(int code);

/* The last failure of this thread: a sentence, and its code in *code (may be
 * NULL). A success does not clear it. Valid until the thread's next failure. */
const char* eshm_last_error(int* code);

/* Who hears what the library has to tell; NULL (the default): nobody. It is
 * called like an event callback, on the service thread or (without threads)
 * inside a call, and may call everything but eshm_init and eshm_destroy. */
void eshm_set_log_callback(ESHMLogCallback callback, void* context);

/* "major.minor.patch" of the library in use; ESHM_VERSION_MAJOR, _MINOR and _PATCH
 * name the release of the header that the program was compiled with. Static. */
const char* eshm_version(void);

#ifdef __cplusplus
}
#endif

#endif /* ESHM_H */
