/* SPDX-License-Identifier: MIT */
/* Park and wake: docs/PROTOCOL.md, section "Parking"; src/channel/wakeup.cpp,
 * Path::announce_and_park, OutgoingPath::write_locked.
 *
 * One writer that may die before any step, and may have a successor. A reading
 * process of two threads that may die before any step, and then has a successor.
 * Each has a store buffer: its stores become visible later, in their order, and
 * it alone sees them before (total store order). Fences and read-modify-writes
 * wait for the buffer to be empty.
 *
 * A park ends by itself (its piece is over) only here where no writer is left:
 * otherwise nothing but a wake ends it, so that a lost wake is an end state in
 * which a thread sleeps on something unread. A writer that is stopped and goes
 * on is one that the scheduler does not choose for a while; one that is stopped
 * for ever leaves the same bytes as a dead one.
 *
 * A macro of the list in check.sh takes one order or check away. */

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef SPURIOUS
#define SPURIOUS 1
#endif

#define DATA 0       /* number of the newest message */
#define ANNOUNCED 1
#define DOORBELL 2

/* Who has a store buffer. Threads 0 and 1 are one process, 2 is its successor. */
#define SUCCESSOR 2
#define WRITER 3
#define PROCESS_OF(thread) (thread == SUCCESSOR)
#define ANNOUNCER_OF(thread) (PROCESS_OF(thread) + 1)

typedef Buffer {
  byte where[2];
  byte what[2];
  byte count;
};

byte memory[3];
Buffer buffer[4];

bool asleep[3];       /* in the futex's queue */
bool locked[2];       /* each process's own lock of its reading end */
byte last_read[2];
bool has_ended[3];

bool reader_is_killed;
bool writer_is_killed;
bool writer_is_done;  /* alive, and has nothing more to say */
bool writer_is_gone;  /* dead, without a successor */

byte spurious = SPURIOUS;
byte unrung;          /* announcements less rings, at most MESSAGES are of interest */

#define EMPTY(who) (buffer[who].count == 0)
#define NOTHING_WILL_COME(process) \
  ((writer_is_done || writer_is_gone) && EMPTY(WRITER) && memory[DATA] == last_read[process])

/* (Within a d_step.) */
inline get(who, address, into) {
  into = memory[address];
  if
  :: buffer[who].count > 0 && buffer[who].where[0] == address -> into = buffer[who].what[0]
  :: else
  fi;
  if
  :: buffer[who].count > 1 && buffer[who].where[1] == address -> into = buffer[who].what[1]
  :: else
  fi
}

#define HAS_ROOM(who) (buffer[who].count < 2)

/* (Within a d_step.) */
inline put(who, address, value) {
  buffer[who].where[buffer[who].count] = address;
  buffer[who].what[buffer[who].count] = value;
  buffer[who].count++
}

inline store(who, address, value) {
  d_step { HAS_ROOM(who) -> put(who, address, value) }
}

inline full_fence(who) { EMPTY(who) }

inline show_oldest_store(who) {
  d_step {
    !EMPTY(who) ->
    memory[buffer[who].where[0]] = buffer[who].what[0];
    buffer[who].where[0] = buffer[who].where[1];
    buffer[who].what[0] = buffer[who].what[1];
    buffer[who].where[1] = 0;
    buffer[who].what[1] = 0;
    buffer[who].count--
  }
}

active proctype stores_become_visible() {
end:
  do
  :: show_oldest_store(0)
  :: show_oldest_store(1)
  :: show_oldest_store(SUCCESSOR)
  :: show_oldest_store(WRITER)
  od
}

active proctype kill_the_reader() {
end:
#ifndef NO_READER_DIES
  if
  :: reader_is_killed = true
  :: false
  fi
#else
  false
#endif
}

active proctype kill_the_writer() {
end:
  if
  :: !writer_is_done -> writer_is_killed = true
  :: false
  fi
}

/* ---- the writer ---------------------------------------------------------- */

/* B2, and the wake behind it. */
inline ring_doorbell(announcements) {
  d_step {
    EMPTY(WRITER) ->
    memory[DOORBELL]++;
    /* An announcement, a dead reader's too, costs one ring at most. */
    assert(unrung >= announcements);
    unrung = unrung - announcements
  }
}
inline wake_all() {
#ifdef WAKE_ONE
  if
  :: d_step { asleep[0] -> asleep[0] = false }
  :: d_step { asleep[1] -> asleep[1] = false }
  :: d_step { asleep[2] -> asleep[2] = false }
  :: d_step { !asleep[0] && !asleep[1] && !asleep[2] -> skip }
  fi
#else
  d_step { asleep[0] = false; asleep[1] = false; asleep[2] = false }
#endif
}

inline ring(announcements) {
#ifdef DOORBELL_AFTER_WAKE
  wake_all();
  ring_doorbell(announcements)
#else
  ring_doorbell(announcements);
  wake_all()
#endif
}

/* A3 */
inline take_announcement() {
  d_step { get(WRITER, ANNOUNCED, announcer) };
  attempts = 0;
  do
  :: announcer == 0 || attempts == 3 -> break
  :: else ->
    d_step {
      EMPTY(WRITER) ->
      if
      :: memory[ANNOUNCED] == announcer -> memory[ANNOUNCED] = 0; announcer = 0
      :: else -> announcer = memory[ANNOUNCED]
      fi;
      attempts++
    }
  od;
  skip;
  d_step { attempts = 0; announcer = 0 }
}

inline ring_announced() {
#ifdef SWAP_AFTER_DOORBELL
  ring(1);
  take_announcement()
#else
#ifndef KEEP_ANNOUNCEMENT
  take_announcement();
#endif
  ring(1)
#endif
}

inline write() {
  store(WRITER, DATA, number);           /* W4 */
  atomic {
#ifndef NO_F1
    full_fence(WRITER);                  /* F1 */
#endif
    d_step { get(WRITER, ANNOUNCED, announcer) };   /* A2 */
    if
    :: announcer != 0
    :: else -> goto written
    fi
  };
  ring_announced();
written:
  skip
}

active proctype writer() {
  byte number = 0;
  byte announcer = 0;
  byte attempts = 0;
  bool is_successor = false;

one_life:
  {
    if
    :: is_successor ->
#ifndef NO_RING_AT_TAKEOVER
      ring(0)
#else
      skip
#endif
    :: else
    fi;
    do
    :: number < MESSAGES -> number++; write()
    :: break
    od;
    full_fence(WRITER);
    writer_is_done = true
  } unless {
    writer_is_killed && !is_successor && !writer_is_done
  };

  if
  :: writer_is_done
  :: else ->
    /* What it stored comes through before its lock falls. */
    full_fence(WRITER);
    if
    :: writer_is_gone = true
    :: d_step { is_successor = true; number = memory[DATA]; announcer = 0; attempts = 0 };
       goto one_life
    fi
  fi
}

/* ---- the readers --------------------------------------------------------- */

/* What the lock guards is done in two steps: up to A1, and from AF on. Nothing
 * else waits for it in between. */
#define LOCK_IS_FREE (!locked[PROCESS_OF(me)] && EMPTY(me))

/* Is there something new? Then it is taken. (Within a d_step.) */
inline look() {
  get(me, DATA, seen);
  is_new = seen > last_read[PROCESS_OF(me)];
  if
  :: is_new -> last_read[PROCESS_OF(me)] = seen
  :: else
  fi;
  seen = 0
}

/* (Within a d_step.) */
inline say_it() {
  put(me, ANNOUNCED, ANNOUNCER_OF(me));
  if
  :: unrung < MESSAGES + 1 -> unrung++
  :: else
  fi
}

inline announce() {
#ifdef KEY_AFTER_ANNOUNCEMENT
  d_step { LOCK_IS_FREE -> locked[PROCESS_OF(me)] = true; say_it() };
  d_step { get(me, DOORBELL, key) }
#else
  d_step { LOCK_IS_FREE -> locked[PROCESS_OF(me)] = true; get(me, DOORBELL, key) };   /* B1 */
  d_step { say_it() }                                                            /* A1 */
#endif
}

inline look_once_more() {
  d_step {
#ifndef NO_AF
    EMPTY(me) ->                         /* AF */
#else
    true ->
#endif
#ifndef NO_SECOND_LOOK
    look();
#endif
    locked[PROCESS_OF(me)] = false
  }
}

inline futex_wait() {
  d_step {
#ifdef NO_COMPARE
    asleep[me] = true;
#else
    asleep[me] = (memory[DOORBELL] == key);
#endif
    key = 0
  };
  if
  :: !asleep[me]
  :: d_step { spurious > 0 && asleep[me] -> spurious--; asleep[me] = false }
#ifndef NO_PIECE
  :: d_step { writer_is_gone && asleep[me] -> asleep[me] = false }
#endif
  :: NOTHING_WILL_COME(PROCESS_OF(me)) -> break
  fi
}

/* Having read something it may turn to something else for ever. */
#define READ_SOMETHING is_new -> if :: break :: is_new = false fi

/* A new slave's process. The seat is free when the old one is gone, with all
 * that it stored. The newest message is unread. */
inline take_the_seat() {
  skip;
end: reader_is_killed && has_ended[0] && has_ended[1] && EMPTY(0) && EMPTY(1);
  store(me, ANNOUNCED, 0);
  d_step {
    get(me, DATA, seen);
    last_read[1] = (seen > 0 -> seen - 1 : 0);
    seen = 0
  }
}

proctype reader(byte me) {
  byte key = 0;
  byte seen = 0;
  bool is_new = false;

  if
  :: me == SUCCESSOR -> take_the_seat()
  :: else
  fi;
  {
    do
    :: atomic {
        d_step { LOCK_IS_FREE -> look() };
        if
        :: READ_SOMETHING
        :: else -> goto park
        fi
      }
      goto look_again;
park:
      announce();
      atomic {
        look_once_more();
        if
        :: READ_SOMETHING
        :: else -> goto sleep
        fi
      }
      goto look_again;
sleep:
      futex_wait();
look_again:
      skip
    od;
    skip
  } unless {
    reader_is_killed && me != SUCCESSOR
  };
  d_step { asleep[me] = false; has_ended[me] = true; key = 0; seen = 0; is_new = false }
}

init {
  atomic {
    run reader(0);
#ifndef ONE_THREAD
    run reader(1);
#else
    has_ended[1] = true;
#endif
#ifndef NO_READER_DIES
    run reader(SUCCESSOR)
#endif
  }
}
