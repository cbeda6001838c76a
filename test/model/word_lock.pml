/* SPDX-License-Identifier: MIT */
/* A lock between threads: docs/PROTOCOL.md, section "Locks between the threads of
 * one process"; src/os/word_lock.cpp.
 *
 * Three threads of one process take and return one lock, each as often as it likes,
 * and stop at any time while they do not have it. Each has a store buffer: its stores
 * become visible later, in their order, and it alone sees them before (total store
 * order). Read-modify-writes and system calls wait for the thread's own buffer to be
 * empty; a membarrier then waits for each thread, in any order, until its buffer has
 * been empty once.
 *
 * A futex call of the kernel is one step. No sleep ends by itself here, unless
 * TIMEOUTS is defined, so a lost wake is an end state in which a thread sleeps. PLAIN: thread 2 may not use priority inheritance. ALL_PLAIN: no thread may.
 *
 * A macro of the list in check.sh takes one order or check away. */

#define THREADS 3
#define ID(thread) (thread + 1)

#define WORD 0        /* 0 or the holder's id */
#define BOOST 1       /* 0 or the owner's id */
#define SLEEPERS 2

typedef Buffer {
  byte where[2];
  byte what[2];
  byte count;
};

byte memory[3];
Buffer buffer[THREADS];
byte queue_owner;               /* only read-modify-writes and the kernel change it */
bool is_queued[THREADS];        /* asleep on queue_ */
byte booster;                   /* the id of the thread asleep on boost_, or 0 */
bool is_asleep[THREADS];        /* on word_, as where nothing is inherited */
byte inside;                    /* threads that have the lock */
bool is_holder[THREADS];        /* from taking it to the end of the call that returns it */

#define EMPTY(who) (buffer[who].count == 0)

#ifdef ALL_PLAIN
#define IS_PLAIN(thread) true
#else
#ifdef PLAIN
#define IS_PLAIN(thread) (thread == 2)
#else
#define IS_PLAIN(thread) false
#endif
#endif
#define MAY_INHERIT (!IS_PLAIN(me))

/* (Within a d_step.) */
inline get(address, into) {
  into = memory[address];
  if
  :: buffer[me].count > 0 && buffer[me].where[0] == address -> into = buffer[me].what[0]
  :: else
  fi;
  if
  :: buffer[me].count > 1 && buffer[me].where[1] == address -> into = buffer[me].what[1]
  :: else
  fi
}

inline store(address, value) {
  d_step {
    buffer[me].count < 2 ->
    buffer[me].where[buffer[me].count] = address;
    buffer[me].what[buffer[me].count] = value;
    buffer[me].count++
  }
}

inline drain(who) {
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
  :: drain(0)
  :: drain(1)
  :: drain(2)
  od
}

inline membarrier() {
  EMPTY(me);
#ifndef NO_MEMBARRIER
  do
  :: d_step { !was_empty[0] && EMPTY(0) -> was_empty[0] = true }
  :: d_step { !was_empty[1] && EMPTY(1) -> was_empty[1] = true }
  :: d_step { !was_empty[2] && EMPTY(2) -> was_empty[2] = true }
  :: was_empty[0] && was_empty[1] && was_empty[2] -> break
  od;
  skip;
  d_step { was_empty[0] = false; was_empty[1] = false; was_empty[2] = false }
#else
  skip
#endif
}

/* WL1 */
inline try_lock() {
  d_step {
    EMPTY(me) ->
    if
    :: memory[WORD] == 0 ->
       memory[WORD] = ID(me);
       has_it = true;
       inside++;
       assert(inside == 1);
       is_holder[me] = true
    :: else
    fi
  }
}

/* ---- the kernel ----------------------------------------------------------- */

inline lock_queue() {
  d_step {
    EMPTY(me) ->
    if
    :: queue_owner == 0 -> queue_owner = ID(me)
    :: queue_owner == ID(me)
    :: queue_owner != 0 && queue_owner != ID(me) -> is_queued[me] = true
    fi
  };
  if
  :: !is_queued[me]
#ifdef TIMEOUTS
  :: d_step { is_queued[me] -> is_queued[me] = false }
#endif
  fi;
  owns_queue = (queue_owner == ID(me))
}

/* The waiter with the highest priority gets it: any. */
inline unlock_queue() {
  if
  :: d_step { EMPTY(me) && is_queued[0] -> is_queued[0] = false; queue_owner = ID(0) }
  :: d_step { EMPTY(me) && is_queued[1] -> is_queued[1] = false; queue_owner = ID(1) }
  :: d_step { EMPTY(me) && is_queued[2] -> is_queued[2] = false; queue_owner = ID(2) }
  :: d_step { EMPTY(me) && !is_queued[0] && !is_queued[1] && !is_queued[2] -> queue_owner = 0 }
  fi
}

inline lock_boost() {
  d_step {
    EMPTY(me) ->
    if
    :: memory[BOOST] == 0 -> memory[BOOST] = ID(me)
    :: else ->
       assert(memory[BOOST] != ID(me));
       /* The boosted thread will end this sleep, if it may. */
       assert(is_holder[memory[BOOST] - 1] || IS_PLAIN(memory[BOOST] - 1));
       assert(booster == 0);
       booster = ID(me)
    fi
  };
  if
  :: booster != ID(me)
#ifdef TIMEOUTS
  :: d_step { booster == ID(me) -> booster = 0 }
#endif
  fi
}

/* Without an effect unless the caller is the owner. */
inline unlock_boost() {
  d_step {
    EMPTY(me) ->
    if
    :: memory[BOOST] == ID(me) -> memory[BOOST] = booster; booster = 0
    :: else
    fi
  }
}

inline wake_one() {
  if
  :: d_step { EMPTY(me) && is_asleep[0] -> is_asleep[0] = false }
  :: d_step { EMPTY(me) && is_asleep[1] -> is_asleep[1] = false }
  :: d_step { EMPTY(me) && is_asleep[2] -> is_asleep[2] = false }
  :: d_step { EMPTY(me) && !is_asleep[0] && !is_asleep[1] && !is_asleep[2] -> skip }
  fi
}

/* ---- the lock ------------------------------------------------------------- */

inline sleep_unboosted() {
  membarrier();
  d_step { EMPTY(me) && !is_asleep[me] -> is_asleep[me] = (memory[WORD] == holder) };
  if
  :: !is_asleep[me]
#ifdef TIMEOUTS
  :: d_step { is_asleep[me] -> is_asleep[me] = false }
#endif
  fi
}

inline say_whom_to_boost() {
  store(BOOST, holder)                               /* WL4 */
}

inline sleep_on_boost() {
#ifdef BOOST_AFTER_BARRIER
  membarrier();
  say_whom_to_boost();
#else
  say_whom_to_boost();
  membarrier();                                      /* WLF */
#endif
#ifndef NO_RECHECK
  if
  :: memory[WORD] == holder -> lock_boost()          /* WL5 */
  :: memory[WORD] != holder
  fi
#else
  lock_boost()
#endif
}

inline lock_contended() {
#ifndef COUNT_LATE
  d_step { EMPTY(me) -> memory[SLEEPERS]++ };        /* WL3 */
#endif
  do
  :: try_lock();
     if
     :: has_it -> break
     :: else
     fi;
     d_step { get(WORD, holder) };
     if
     :: holder == 0
     :: holder != 0 && !MAY_INHERIT -> sleep_unboosted()
#ifndef NO_QUEUE
     :: holder != 0 && MAY_INHERIT && !owns_queue -> lock_queue()
     :: holder != 0 && MAY_INHERIT && owns_queue -> sleep_on_boost()
#else
     :: holder != 0 && MAY_INHERIT -> sleep_on_boost()
#endif
     fi;
     holder = 0
  od;
  skip;
#ifdef COUNT_LATE
  d_step { EMPTY(me) -> memory[SLEEPERS]++ };
#endif
  if
  :: owns_queue -> store(BOOST, 0)
  :: !owns_queue -> d_step { EMPTY(me) -> memory[SLEEPERS]-- }
  fi
#ifdef UNCOUNT_EARLY
  ;
  if
  :: owns_queue -> d_step { EMPTY(me) -> memory[SLEEPERS]-- }
  :: !owns_queue
  fi
#endif
}

inline unlock_contended() {
  if
#ifndef KEEP_QUEUE
  :: queue_owner == ID(me) ->
     unlock_queue();
     d_step { EMPTY(me) -> memory[SLEEPERS]-- }
  :: queue_owner != ID(me) ->
#else
  :: true ->
#endif
     d_step { get(BOOST, seen) };                    /* WL6 */
     if
     :: seen == ID(me) && MAY_INHERIT ->
#ifdef STORE_BOOST
        store(BOOST, 0)
#else
        unlock_boost()
#endif
     :: seen != ID(me) || !MAY_INHERIT ->
#ifndef NO_WAKE
        wake_one()
#else
        skip
#endif
     fi
  fi
}

inline unlock() {
  inside--;
#ifdef LOOK_BEFORE_STORE
  d_step { get(SLEEPERS, seen) };
  store(WORD, 0);
#else
  store(WORD, 0);                                    /* WL2 */
  d_step { get(SLEEPERS, seen) };                    /* WL6 */
#endif
  if
  :: seen != 0 -> unlock_contended()
  :: seen == 0
  fi;
  d_step { seen = 0; has_it = false; owns_queue = false; is_holder[me] = false }
}

proctype thread(byte me) {
  byte holder = 0;
  byte seen = 0;
  bool has_it = false;
  bool owns_queue = false;
  bool was_empty[THREADS];

  do
  :: try_lock();
     if
     :: has_it
     :: !has_it -> lock_contended()
     fi;
     unlock()
  :: break
  od
}

init {
  atomic { run thread(0); run thread(1); run thread(2) }
}
