/* SPDX-License-Identifier: MIT */
/* Roles and take-over: docs/PROTOCOL.md, section "Roles";
 * src/endpoint/role_seeker.cpp, OutgoingPath::write_locked, Inbox::take,
 * Upkeep::try_to_move, ::free_reserved_seat, clean_up_name.
 *
 * Three processes, each a master or a slave (ROLES), and at the end a fourth
 * that wants to be master. Each may be killed before any step, a bounded number
 * of times in all, and come again as another process. The kernel frees a dead
 * process's locks later, segment by segment. A process that is stopped and goes
 * on is one that the scheduler does not choose for a while. Whether a master
 * hangs is left open: any may be judged to, also one that is about to go on.
 *
 * With LOSSES somebody who knows nothing of links unlinks the name, at any moment,
 * and masters in office renew their link (section "A name that is lost";
 * src/endpoint/renewal.cpp, naming.cpp, reconnection.cpp). Messages are then those
 * of the queue from master to slave: a set for each segment, in which a message is
 * known by its writer. Of a marked segment counts what was written before the mark.
 *
 * A step is one system call or one access to shared bytes; steps are merged
 * where the succession lock keeps everybody else from telling them apart. A
 * publication lies in the writer's store buffer before it is visible.
 *
 * A macro of the list in check.sh takes one order or check away. */

#define MASTER 0
#define SLAVE 1

/* The role of each process: bit i-1 of process i, set: slave. */
#ifndef ROLES
#define ROLES 4      /* master, master, slave */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef RETURNS
#define RETURNS 1    /* so many of those that ended come again */
#endif
#ifndef REPLACEMENTS
#define REPLACEMENTS 1
#endif
#ifndef LEAVES
#define LEAVES 1     /* so many destroy their handle */
#endif

#ifndef LOSSES
#define LOSSES 0     /* so often is the name unlinked from outside */
#endif

#define PROCESSES 4
#define LAST 4       /* comes when all else rests */
#if LOSSES > 0
#define SEGMENTS 7   /* numbered from 1; 0 is none */
#else
#define SEGMENTS 5
#endif

typedef Segment {
  bool marked;
  byte master;         /* who holds which lock */
  byte slave;
  byte succession;
  byte master_record;  /* incarnation; 0: not complete */
  byte slave_record;
  byte seat;           /* incarnation for which the slave's seat is kept */
  bool has_unread;
#if LOSSES > 0
  bool has_successor;
  bool is_renewed;     /* the mark says so: its master is the next segment's, too */
  byte unread;         /* the messages in it, a bit for each */
  byte maker;          /* the incarnation of its first master */
  byte by_adopters;    /* the messages that another one wrote */
  byte consumed;       /* those that its reader is beyond */
#endif

  /* What only the claims know. */
  bool is_due;         /* the message was published by the reigning master */
  byte is_orphan_for;  /* bit of each process that came when both ends were dead */
  byte kept_from;      /* the segment whose slave is to come over */
#if LOSSES > 0
  bool is_given_up;    /* marked by its own master, for another of its own */
#endif
};

Segment segment[SEGMENTS + 1];
byte name;             /* the segment that the name means */
byte waiting;          /* and the successor's name */

/* The segments that a process has open. */
byte here[PROCESSES + 1];
byte fresh[PROCESSES + 1];
byte other[PROCESSES + 1];     /* slave: the one that it leaves; master: the one it replaced or renewed */
#if LOSSES > 0
byte next[PROCESSES + 1];      /* master: has the name, and it does not write there yet */
byte orphan[PROCESSES + 1];    /* has the lost name, and no master */
#endif
byte incarnation[PROCESSES + 1];
byte in_buffer[PROCESSES + 1]; /* the segment into which a message is being published */
bool was_due[PROCESSES + 1];   /* whether it came to be visible while its writer reigned */
bool is_promised[PROCESSES + 1]; /* and the call that wrote it has said SUCCESS */
bool is_killed[PROCESSES + 1];

byte reigning;         /* the master whose messages count; 0: nobody's */
byte kills = KILLS;
byte returns = RETURNS;
byte replacements = REPLACEMENTS;
byte leaves = LEAVES;
#if LOSSES > 0
byte losses = LOSSES;

/* What only the claims know of the messages. */
byte was_read;                 /* by a slave */
byte is_owed[PROCESSES + 1];   /* slave: was published where it has its seat, or its master went ahead */
byte is_wanted[PROCESSES + 1]; /* slave: where one is kept for it; while the writer lives */
#endif

#define HERE segment[here[me]]
#define FRESH segment[fresh[me]]
#define OTHER segment[other[me]]
#define NEXT segment[next[me]]
#define ORPHAN segment[orphan[me]]
#define BIT(who) (1 << (who - 1))
#define MESSAGE_OF(who) (1 << (incarnation[who] - 1))
/* Both ends are dead, and nobody is half-way to a role. */
#define IS_ORPHAN(which) \
  (segment[which].master == 0 && segment[which].slave == 0 && segment[which].succession == 0)
#ifdef NO_LOOK_FOR_MASTER
#define HAS_MASTER(which) (which != 0 && !segment[which].marked)
#else
#define HAS_MASTER(which) (which != 0 && !segment[which].marked && segment[which].master != 0)
#endif
/* A slave's incarnation is another in each segment: here process and segment stand for it. */
#define IS_SEAT_OF(which, who, from) (segment[which].seat == who && segment[which].kept_from == from)
#ifdef NO_SEAT_CHECK
#define IS_KEPT_FOR_OTHERS(which, who, from) false
#else
#define IS_KEPT_FOR_OTHERS(which, who, from) \
  (segment[which].seat != 0 && !IS_SEAT_OF(which, who, from))
#endif
#if LOSSES > 0
/* To its own master's next segment it goes only where a seat is kept for it; to another
 * master's also when its own one stands still. */
#define IS_THE_WAY(which, who, from)                                                \
  (from == 0 || segment[from].marked || segment[from].master == 0 ||                \
   segment[which].master != segment[from].master ||                                 \
   (segment[from].has_successor && IS_SEAT_OF(which, who, from)))
#else
#define IS_THE_WAY(which, who, from) true
#endif
/* A slave tries again only where it may get somewhere: else it would go round for ever. */
#define IS_WORTH_A_TRY(which, who, from)                   \
  (HAS_MASTER(which) && segment[which].slave == 0 &&       \
   !IS_KEPT_FOR_OTHERS(which, who, from) && IS_THE_WAY(which, who, from))
#define LIVES(who)                                                                      \
  (incarnation[1] == who || incarnation[2] == who || incarnation[3] == who || incarnation[LAST] == who)

/* ---- kernel and memory ----------------------------------------------------- */

#if LOSSES > 0
inline want(slave_to_come, seat_kept, who) {
  if
  :: seat_kept != 0 && incarnation[slave_to_come] == seat_kept ->
    is_wanted[slave_to_come] = is_wanted[slave_to_come] | MESSAGE_OF(who)
  :: else
  fi
}
/* Its writer is dead, or was replaced. */
inline want_no_more(messages) {
  is_wanted[1] = is_wanted[1] & ~(messages);
  is_wanted[2] = is_wanted[2] & ~(messages);
  is_wanted[3] = is_wanted[3] & ~(messages)
}

/* What is published behind the mark counts for nobody. */
inline come_to_be_visible(who) {
  d_step {
    in_buffer[who] != 0 ->
    was_due[who] = !segment[in_buffer[who]].marked;
    assert(!is_promised[who] || was_due[who]);
    if
    :: was_due[who] ->
      segment[in_buffer[who]].unread = segment[in_buffer[who]].unread | MESSAGE_OF(who);
      if
      :: segment[in_buffer[who]].maker != incarnation[who] ->
        segment[in_buffer[who]].by_adopters =
          segment[in_buffer[who]].by_adopters | MESSAGE_OF(who)
      :: else
      fi;
      if
      :: segment[in_buffer[who]].slave != 0 ->
        is_owed[segment[in_buffer[who]].slave] =
          is_owed[segment[in_buffer[who]].slave] | MESSAGE_OF(who)
      :: segment[in_buffer[who]].slave == 0 &&
         segment[segment[in_buffer[who]].kept_from].is_renewed ->
        is_owed[segment[segment[in_buffer[who]].kept_from].slave] =
          is_owed[segment[segment[in_buffer[who]].kept_from].slave] | MESSAGE_OF(who)
      :: else ->
        want(1, segment[in_buffer[who]].seat, who);
        want(2, segment[in_buffer[who]].seat, who);
        want(3, segment[in_buffer[who]].seat, who)
      fi
    :: else
    fi;
    in_buffer[who] = 0
  }
}
#else
inline come_to_be_visible(who) {
  d_step {
    in_buffer[who] != 0 ->
    segment[in_buffer[who]].has_unread = true;
    segment[in_buffer[who]].is_due = (reigning == who);
    was_due[who] = (reigning == who);
    assert(!is_promised[who] || was_due[who]);
    in_buffer[who] = 0
  }
}
#endif

active proctype stores_become_visible() {
end:
  do
  :: come_to_be_visible(1)
  :: come_to_be_visible(2)
  :: come_to_be_visible(3)
  :: come_to_be_visible(LAST)
  od
}

#if LOSSES > 0
#define HAS_OPEN(who, which) \
  (here[who] == which || fresh[who] == which || other[who] == which || next[who] == which || \
   orphan[who] == which)
#else
#define HAS_OPEN(who, which) (here[who] == which || fresh[who] == which || other[who] == which)
#endif
#define IS_IN_USE(which)                                                            \
  (name == which || waiting == which || HAS_OPEN(1, which) || HAS_OPEN(2, which) || \
   HAS_OPEN(3, which) || HAS_OPEN(4, which))

/* (Within a d_step.) */
inline clear(which) {
  segment[which].marked = false;
  segment[which].master_record = 0;
  segment[which].slave_record = 0;
  segment[which].seat = 0;
  segment[which].has_unread = false;
#if LOSSES > 0
  segment[which].has_successor = false;
  segment[which].is_renewed = false;
  segment[which].is_given_up = false;
  segment[which].maker = 0;
  segment[which].by_adopters = 0;
  segment[which].unread = 0;
  segment[which].consumed = 0;
#endif
  segment[which].is_due = false;
  segment[which].is_orphan_for = 0;
  segment[which].kept_from = 0;
  which = 1;
  do
  :: which <= SEGMENTS ->
    if
    :: segment[which].kept_from != 0 && !IS_IN_USE(segment[which].kept_from) ->
      segment[which].kept_from = 0
    :: else
    fi;
    which++
  :: else -> break
  od
}

/* (Within a d_step.) */
inline unlink(a_name) {
  i = a_name;
  a_name = 0;
  if
  :: i != 0 && !IS_IN_USE(i) -> clear(i)
  :: else
  fi;
  i = 0
}

inline kill(who) {
  d_step {
    kills > 0 && incarnation[who] != 0 && !is_killed[who] ->
    kills--;
    is_killed[who] = true
  }
}

active proctype fate() {
#if LOSSES > 0
  byte i = 0;
#endif
end:
  do
  :: kill(1)
  :: kill(2)
  :: kill(3)
#if LOSSES > 0
  :: d_step { losses > 0 && name != 0 -> losses--; reigning = 0; unlink(name) }
  :: d_step { losses > 0 -> losses = 0 }
#endif
  /* From here on nobody ends, nobody comes. */
  :: d_step { kills + returns + leaves > 0 -> kills = 0; returns = 0; leaves = 0 }
  od
}

/* Closing the descriptions frees the locks. (Within a d_step.) */
inline close_segment(which) {
  if
  :: segment[which].master == me -> segment[which].master = 0
  :: else
  fi;
  if
  :: segment[which].slave == me -> segment[which].slave = 0
  :: else
  fi;
  if
  :: segment[which].succession == me -> segment[which].succession = 0
  :: else
  fi;
  i = which;
  which = 0;
  if
  :: i != 0 && !IS_IN_USE(i) -> clear(i)
  :: else
  fi;
  i = 0
}

/* A segment's memory comes from here; nobody has it open, no name means it. */
inline make_fresh() {
  i = 1;
  do
  :: i <= SEGMENTS && IS_IN_USE(i) -> i++
  :: else -> break
  od;
  assert(i <= SEGMENTS);
  fresh[me] = i;
  i = 0;
  FRESH.master = me;
#if LOSSES > 0
  FRESH.maker = incarnation[me];
#endif
  FRESH.master_record = incarnation[me]
}

/* ---- steps of all ---------------------------------------------------------- */

inline open_name() { d_step { close_segment(here[me]); here[me] = name } }
inline let_go() { d_step { close_segment(here[me]) } }

inline try_take_succession(otherwise) {
  if
  :: d_step { HERE.succession == 0 -> HERE.succession = me }
  :: d_step { HERE.succession != 0 -> close_segment(here[me]) }; goto otherwise
  fi
}
inline give_back_succession() {
  d_step {
    if
    :: HERE.succession == me -> HERE.succession = 0
    :: else
    fi
  }
}

/* (Within a d_step.) Nobody else's messages count from here on. Who lost its name
 * reigns no more, though it does not know yet, until it has given it back. */
#if LOSSES > 0
inline begin_reign(which) {
  if
  :: name == which -> assert(reigning == 0); reigning = me
  :: else
  fi
}
#else
inline begin_reign(which) {
  assert(reigning == 0);
  reigning = me
}
#endif

#ifdef NO_NAME_CHECK
#define IS_NAMED true
#else
#define IS_NAMED (name == here[me])
#endif

#ifdef NO_MASTER_CHECK
#define IS_FREE_STILL true
#else
#define IS_FREE_STILL (HERE.master == 0)
#endif

/* ---- a master comes -------------------------------------------------------- */

/* linkat never replaces. */
inline give_birth() {
  d_step { make_fresh() };
  if
#ifndef BIRTH_BY_RENAME
  :: d_step { name != 0 -> close_segment(fresh[me]) };
    goto seek_master
#endif
  :: d_step {
#ifndef BIRTH_BY_RENAME
      name == 0 ->
#endif
      name = fresh[me];
      here[me] = fresh[me];
      fresh[me] = 0;
      begin_reign(here[me])
    }
  fi
}

/* MK1 */
#if LOSSES > 0
inline mark(which) {
  d_step {
    segment[which].marked = true;
    want_no_more(segment[which].unread);
    if
    :: name == which -> reigning = 0
    :: else
    fi
  }
}
#else
inline mark(which) { d_step { segment[which].marked = true; reigning = 0 } }
#endif

inline swap_names() {
  i = name;
  name = waiting;
  waiting = i;
  i = 0
}

/* The exchange of the two names has no compare: what comes out is looked at. While
 * only links change the name, it is what was judged, which is a claim. */
inline exchange(old, otherwise) {
  if
  :: d_step { name == 0 || waiting == 0 -> assert(LOSSES > 0 || name == old) }; goto otherwise
  :: d_step {
      name != 0 && waiting != 0 ->
#if LOSSES == 0
      assert(name == old);
      assert(waiting == fresh[me]);
#endif
      swap_names();
      if
#ifndef EXCHANGE_UNVERIFIED
      :: waiting == old -> begin_reign(fresh[me])
      :: else
#else
      :: true -> begin_reign(fresh[me])
#endif
      fi
    }
  fi
}

inline verify(old, otherwise) {
  if
#ifndef EXCHANGE_UNVERIFIED
  :: d_step {
      waiting != old && waiting != 0 ->
      assert(LOSSES > 0 || waiting == old);
      if
      :: name != 0 -> swap_names()
      :: else
      fi
    };
    d_step { unlink(waiting) };
    goto otherwise
  :: d_step { waiting == old || waiting == 0 -> unlink(waiting) }
#else
  :: d_step { unlink(waiting) }
#endif
  fi
}

/* From its name until nothing is left under the successor's, nobody else takes a role
 * in the fresh one, or gives its name to another: who looked late would look at that. */
inline give_name_over(old, otherwise) {
  d_step {
    unlink(waiting);
#ifndef EXCHANGE_WITHOUT_SUCCESSION
    FRESH.succession = me
#endif
  };
  if
  :: d_step { waiting == 0 -> waiting = fresh[me] }
  :: d_step { waiting != 0 -> assert(LOSSES > 0 || waiting == 0) }; goto otherwise
  fi;
#if defined(RENAME_BEFORE_MARK)
  exchange(old, otherwise);
  mark(old);
#elif defined(NO_MARK)
  exchange(old, otherwise);
#else
  mark(old);
  exchange(old, otherwise);
#endif
  verify(old, otherwise)
}

inline install_over() {
  give_name_over(here[me], install_failed);
  give_back_succession();
  /* A replaced segment is looked at until its slave has come over. */
  d_step {
    if
    :: FRESH.seat != 0 -> other[me] = here[me]
    :: else -> close_segment(here[me])
    fi;
    if
    :: FRESH.succession == me -> FRESH.succession = 0
    :: else
    fi;
    here[me] = fresh[me];
    fresh[me] = 0
  }
}

/* Its master saw its death in another segment, and cleared the record. */
#if LOSSES > 0
#define IS_SEEN_DEAD(which) (segment[which].slave_record == 0 && is_killed[segment[which].slave])
#else
#define IS_SEEN_DEAD(which) false
#endif

/* The slave's seat is kept. Whoever holds the succession lock knows that a held
 * lock has a true record. */
inline keep_the_seat() {
  d_step {
    if
    :: HERE.slave != 0 && !IS_SEEN_DEAD(here[me]) ->
      assert(HERE.slave_record == incarnation[HERE.slave]);
#ifndef NO_SEAT
      FRESH.seat = HERE.slave_record;
#endif
      FRESH.kept_from = here[me]
    :: else
    fi
  }
}

inline adopt() {
  /* A lock that was free stays free, for all others look for the succession. */
  d_step { assert(HERE.master == 0); HERE.master = me; HERE.master_record = 0; begin_reign(here[me]) };
  d_step { HERE.master_record = incarnation[me] };
  give_back_succession()
}

inline take_both_bytes() {
  d_step { assert(HERE.master == 0); HERE.master = me };
  d_step { assert(HERE.slave == 0); HERE.slave = me }
}

/* ---- a slave comes --------------------------------------------------------- */

#define MAY_SIT (IS_NAMED && HAS_MASTER(here[me]) && IS_THE_WAY(here[me], PREDECESSOR, other[me]))
#define PREDECESSOR (other[me] != 0 -> incarnation[me] : 0)
/* The claim: the slave of the replaced segment, if it lives, is this one. */
inline sit_down() {
  d_step {
    HERE.slave == 0 ->
    if
    :: HERE.kept_from != 0 ->
      assert(segment[HERE.kept_from].slave == 0 || segment[HERE.kept_from].slave == me)
    :: else
    fi;
    assert((HERE.is_orphan_for & BIT(me)) == 0);
    HERE.slave = me;
    if
    :: HERE.seat == 0 -> HERE.kept_from = 0
    :: else
    fi;
    note_whether_expected();
#ifdef SEAT_ENDED_WHEN_SITTING_DOWN
    HERE.seat = 0;
#endif
    HERE.slave_record = 0
  };
#ifdef RECORD_AFTER_SUCCESSION
  give_back_succession();
#endif
  d_step { HERE.slave_record = incarnation[me] };
  give_back_succession()
}

/* (Within a d_step.) The exchange: the reservation ends before the old lock falls. */
inline come_over() {
  if
  :: other[me] != 0 ->
    pass_copies();
    HERE.seat = 0;
    HERE.kept_from = 0;
    close_segment(other[me])
  :: else
  fi
}

#if LOSSES > 0
/* (Within a d_step.) */
inline note_whether_expected() { is_expected = (other[me] != 0 && HERE.seat != 0) }

/* (Within a d_step.) Each message is read once. */
inline read_dry(which) {
  assert((segment[which].unread & was_read) == 0);
  was_read = was_read | segment[which].unread;
  segment[which].consumed = segment[which].consumed | segment[which].unread;
  is_owed[me] = is_owed[me] & ~segment[which].unread;
  is_wanted[me] = is_wanted[me] & ~segment[which].unread;
  segment[which].unread = 0
}

/* (Within a d_step.) */
inline pass(which, messages) {
  segment[which].consumed = segment[which].consumed | (segment[which].unread & (messages));
  segment[which].unread = segment[which].unread & ~(messages)
}

#ifdef PASS_ADOPTERS_MESSAGES
#define COPIES HERE.unread
#else
#define COPIES (HERE.unread & ~HERE.by_adopters)
#endif
/* (Within a d_step.) From a renewed segment all is in the next one; if its master died
 * or was replaced half-way, some copies and nothing else of its own. */
inline pass_copies() {
  if
#ifdef PASS_NOTHING
  :: is_expected && OTHER.is_renewed
#else
  :: is_expected && OTHER.is_renewed -> pass(here[me], OTHER.consumed)
#endif
#ifndef UNFINISHED_IS_NOTHING
  :: is_expected && !OTHER.is_renewed && OTHER.has_successor ->
    pass(here[me], COPIES);
    read_dry(other[me])
#endif
  :: else -> read_dry(other[me])
  fi;
  if
  :: is_expected ->
    is_owed[me] = is_owed[me] | (is_wanted[me] & HERE.unread);
    is_wanted[me] = is_wanted[me] & ~HERE.unread
  :: else -> is_wanted[me] = 0
  fi;
  is_expected = false
}

/* Its own master writes here already, or never will. Another master's seat is taken only
 * to come over. */
#ifdef COME_OVER_WHEN_STALE
#define IS_DUE true
#else
#define IS_DUE \
  (OTHER.marked || OTHER.master == 0 || HERE.marked || HERE.master != OTHER.master)
#endif
/* N4 to N8: it stands in both. Nobody may fence a master that has just two segments. */
inline stay_until_due() {
  do
  :: d_step { OTHER.unread != 0 -> read_dry(other[me]) }
  :: IS_DUE -> break
  od;
  if
  :: OTHER.marked
  :: !OTHER.marked ->
    d_step {
      assert(OTHER.marked || OTHER.master == 0 || is_killed[OTHER.master] ||
             (!HERE.is_given_up && (HERE.marked || HERE.master != OTHER.master)));
      OTHER.marked = true;
      OTHER.is_renewed = false
    }
  fi
}
#else
inline note_whether_expected() { skip }
inline pass_copies() { skip }
#endif

#ifdef FREE_SEAT_EARLY
#define HAS_COME_OVER true
#else
#define HAS_COME_OVER (OTHER.slave == 0)
#endif

/* ---- in office ------------------------------------------------------------- */

inline publish() {
  d_step {                                                                       /* W4 */
    HERE.master_record == incarnation[me] ->
    in_buffer[me] = here[me];
    has_spoken = true
  };
#ifndef NO_F1
  in_buffer[me] == 0;                                                            /* F1 */
#endif
  d_step {                                                                       /* W6 */
    if
#ifndef NO_W6
    :: HERE.marked
#endif
    :: else ->
      /* The call says SUCCESS: then it is published before the mark. */
      is_promised[me] = (in_buffer[me] != 0);
      assert(in_buffer[me] != 0 || was_due[me])
    fi
  }
}

/* ---- a lost name is given back --------------------------------------------- */

#if LOSSES > 0
#define IS_WITHOUT_MASTER(which)                                                        \
  (segment[which].marked || (segment[which].master == 0 && segment[which].slave == 0))
/* Of the own segments the one that has the name, or should. */
#define NAMED (next[me] != 0 -> next[me] : here[me])
#ifdef GIVE_UP_OCCUPIED
#define IS_OCCUPIED false
#else
#define IS_OCCUPIED (next[me] != 0 && NEXT.slave != 0)
#endif
#define MAY_RENEW                                                                       \
  (name != NAMED && !HERE.marked && !segment[NAMED].marked && !IS_OCCUPIED &&           \
   (name == 0 || IS_WITHOUT_MASTER(name)))
#define HAS_RIVAL \
  (name != NAMED && name != 0 && !segment[name].marked && segment[name].master != 0)
/* From N6 on, until its slave has come over or is dead. */
#define AWAITS_SLAVE (other[me] != 0 && OTHER.master == me)

/* N1: no other process knows it yet. The slave lives here, or is to come from the one
 * that this process replaced. */
inline make_next() {
  d_step {
    make_fresh();
    if
#ifndef SEAT_FOR_REPLACED_FIRST
    :: HERE.slave != 0 && !IS_SEEN_DEAD(here[me]) ->
#else
    :: HERE.slave != 0 && !IS_SEEN_DEAD(here[me]) && !(other[me] != 0 && !AWAITS_SLAVE && OTHER.slave != 0) ->
#endif
      assert(HERE.slave_record == incarnation[HERE.slave]);
#ifndef NO_SEAT_IN_RENEWAL
      FRESH.seat = HERE.slave_record;
#endif
      FRESH.kept_from = here[me]
#ifndef SEAT_FOR_REPLACED_FIRST
    :: HERE.slave == 0 && other[me] != 0 && !AWAITS_SLAVE && OTHER.slave != 0 ->
#else
    :: other[me] != 0 && !AWAITS_SLAVE && OTHER.slave != 0 ->
#endif
#ifndef NO_SEAT_IN_RENEWAL
      FRESH.seat = OTHER.slave_record;
#endif
      FRESH.kept_from = other[me]
    :: else
    fi
  }
}

/* Behind a mark nothing counts. What a first pass copied, a newcomer may have read. */
inline copy_unread() {
  if
  :: !NEXT.marked -> NEXT.unread = NEXT.unread | (HERE.unread & ~NEXT.consumed)
  :: else
  fi
}

/* N2 */
inline give_name_back() {
  if
#ifndef RENEW_BY_RENAME
  :: d_step { name == 0 -> name = fresh[me]; begin_reign(fresh[me]) }
#else
  :: d_step { i = name; unlink(i); name = fresh[me]; begin_reign(fresh[me]) }
#endif
  :: d_step { name != 0 -> orphan[me] = name };
    if
    :: d_step { ORPHAN.succession == 0 -> ORPHAN.succession = me }
    :: d_step { ORPHAN.succession != 0 -> skip }; goto renewal_failed
    fi;
    if
    :: d_step { name == orphan[me] && IS_WITHOUT_MASTER(orphan[me]) -> skip }
    :: d_step { !(name == orphan[me] && IS_WITHOUT_MASTER(orphan[me])) -> skip };
      goto renewal_failed
    fi;
    give_name_over(orphan[me], renewal_failed);
    d_step { close_segment(orphan[me]) }
  fi
}

inline renew() {
  make_next();
  give_name_back();
  d_step {                                                                       /* N3 */
    if
    :: orphan[me] != 0 -> close_segment(orphan[me])
    :: else
    fi;
    if
    :: segment[NAMED].succession == me -> segment[NAMED].succession = 0
    :: else
    fi;
    if
    :: FRESH.succession == me -> FRESH.succession = 0
    :: else
    fi;
    if
    :: next[me] != 0 ->
      NEXT.marked = true;
      NEXT.is_given_up = true;
      close_segment(next[me])
    :: else
    fi;
    next[me] = fresh[me];
    fresh[me] = 0;
    HERE.has_successor = true
  };
  assert_few_live()
}

/* N6: its master reigns on. */
inline mark_renewed() { HERE.marked = true; HERE.is_renewed = true }

#ifdef MASTER_GOES_FIRST
#define MAY_MOVE (next[me] != 0 && !NEXT.marked && !AWAITS_SLAVE)
#else
#define MAY_MOVE \
  (next[me] != 0 && !NEXT.marked && !AWAITS_SLAVE && (HERE.slave == 0 || NEXT.slave_record != 0))
#endif
/* Only the slave of this moment counts: of a later death the former segment tells. */
inline move() {
  d_step { MAY_MOVE -> has_slave = (HERE.slave != 0) };
  if
  :: d_step { copy_unread() }                                                    /* N5 */
  :: skip                       /* a loan is open there */
  fi;
  if
  :: !has_spoken -> publish()
  :: skip
  fi;
#ifdef MARK_BEFORE_COPIES
  d_step { mark_renewed() };
#endif
  d_step { copy_unread() };                                                      /* N6 */
#ifndef MARK_RENEWED_UNSEEN
  /* What was copied behind its mark nobody reads. */
  if
  :: NEXT.marked -> d_step { HERE.marked = true }; goto gone
  :: !NEXT.marked
  fi;
#endif
  d_step {
#ifndef MARK_BEFORE_COPIES
    mark_renewed();
#endif
    if
    :: has_slave ->
      if
      :: other[me] != 0 -> close_segment(other[me])   /* it came from there */
      :: else
      fi;
      other[me] = here[me];
      here[me] = 0
    :: else ->
      close_segment(here[me]);
      if
      :: other[me] == 0 -> free_seat(next[me])
      :: else
      fi
    fi;
    here[me] = next[me];
    next[me] = 0;
    has_slave = false
  };
  assert_few_live()
}

/* (Within a d_step.) The slave that it was kept for is dead. It may have sat down there. */
inline free_seat(which) {
  if
  :: segment[which].seat != 0 -> segment[which].slave_record = 0; segment[which].seat = 0
  :: else
  fi
}

/* No more than two segments of a link are live; three while its slave stands in two. */
inline assert_few_live() {
  d_step {
    i = 1;
    do
    :: i <= SEGMENTS ->
      assert(segment[i].master != me || i == here[me] || i == other[me] || i == next[me]);
      i++
    :: else -> break
    od;
    i = 0;
    assert(next[me] == 0 || !AWAITS_SLAVE || HERE.slave == OTHER.slave || HERE.slave == 0 ||
           OTHER.slave == 0)
  }
}
#endif

/* ---- reading ---------------------------------------------------------------- */

/* The slave's message is taken out here only so that it is not read again. */
inline take_copy() {
  HERE.has_unread = false;
  is_due = HERE.is_due
}

/* R3 to R5, and R4 holds. */
#if LOSSES > 0
inline read() { d_step { HERE.unread != 0 -> read_dry(here[me]) } }
#elif defined(FLAG_BEFORE_COPY)
inline read() {
  d_step { !HERE.marked -> skip };
  d_step {
    if
    :: HERE.has_unread -> take_copy(); assert(is_due)
    :: else
    fi;
    is_due = false
  }
}
#else
inline read() {
  d_step { HERE.has_unread -> take_copy() };
  d_step {
    if
    :: !HERE.marked -> assert(is_due)
    :: else
    fi;
    is_due = false
  }
}
#endif

#define IS_LOST (HERE.marked || HERE.master == 0)
#ifdef UNLINK_UNSEEN
#define MAY_UNLINK true
#else
/* A marked segment has lost its master, though that one may hang and hold its lock. */
#define MAY_UNLINK (IS_NAMED && (HERE.marked || HERE.master == me || HERE.master == 0))
#endif

inline try_take_succession_or_wait() {
#ifndef LEAVE_WITHOUT_SUCCESSION
  d_step { HERE.succession == 0 -> HERE.succession = me }
#else
  skip
#endif
}

/* The last one out takes the name along. */
inline leave() {
  try_take_succession_or_wait();
  if
  :: MAY_UNLINK ->
    d_step {
#if LOSSES > 0
      /* It may take another's along: a loss like any other. */
      reigning = 0;
      unlink(name)
#else
      assert(name == here[me]);
      name = 0;
      if
      :: reigning == me -> reigning = 0
      :: else
      fi
#endif
    }
  :: else
  fi;
  give_back_succession()
}

inline be_born() {
  d_step {
    incarnation[me] = (has_lived -> me + PROCESSES : me);
    has_lived = true;
    i = 1;
    do
    :: i <= SEGMENTS ->
      if
      :: IS_IN_USE(i) && IS_ORPHAN(i) ->
        segment[i].is_orphan_for = segment[i].is_orphan_for | BIT(me)
      :: else
      fi;
      i++
    :: else -> break
    od;
    i = 0
  }
}

/* Killed, or gone by itself: the stores come through, then the locks fall. */
inline end_of_process() {
  d_step {
    in_buffer[me] == 0 ->
    was_due[me] = false;
    is_promised[me] = false;
    has_spoken = false;
    is_due = false;
#if LOSSES > 0
    is_expected = false;
    has_slave = false;
    want_no_more(MESSAGE_OF(me));
#endif
    if
    :: reigning == me -> reigning = 0
    :: else
    fi
  };
  do
  :: d_step { here[me] != 0 -> close_segment(here[me]) }
  :: d_step { fresh[me] != 0 -> close_segment(fresh[me]) }
  :: d_step { other[me] != 0 -> close_segment(other[me]) }
#if LOSSES > 0
  :: d_step { next[me] != 0 -> close_segment(next[me]) }
  :: d_step { orphan[me] != 0 -> close_segment(orphan[me]) }
  :: here[me] == 0 && fresh[me] == 0 && other[me] == 0 && next[me] == 0 && orphan[me] == 0 ->
    break
#else
  :: here[me] == 0 && fresh[me] == 0 && other[me] == 0 -> break
#endif
  od;
  skip;
  d_step {
#if LOSSES > 0
    is_owed[me] = 0;
    is_wanted[me] = 0;
#endif
    incarnation[me] = 0;
    is_killed[me] = false
  }
}

proctype process(byte me; bool role) {
  bool has_lived = false;
  bool has_spoken = false;
  bool is_due = false;
  byte i = 0;
#if LOSSES > 0
  bool is_expected = false;    /* slave: its seat was kept for it */
  bool has_slave = false;      /* master: the segment that it leaves has one */
#endif

new_life:
  be_born();
  {
    if
    :: role == MASTER
    :: role == SLAVE -> goto seek_slave
    fi;

seek_master:
    skip;
    open_name();
    if
    :: here[me] == 0 -> give_birth(); goto master_rests
    :: here[me] != 0 && (HERE.marked || HERE.master == 0) -> goto succeed
    :: here[me] != 0 && !(HERE.marked || HERE.master == 0) -> goto challenge
    fi;

succeed:
#ifndef SUCCEED_WITHOUT_SUCCESSION
    try_take_succession(seek_master);
#endif
    if
    :: d_step { !IS_NAMED || (!HERE.marked && !IS_FREE_STILL) -> skip }; goto seek_master
    :: d_step { IS_NAMED && HERE.marked -> make_fresh() }; goto install
    :: IS_NAMED && !HERE.marked && IS_FREE_STILL
    fi;
    if
#ifndef ADOPT_ORPHAN
    :: HERE.slave == 0 -> goto start_afresh    /* it may have waited for long enough */
    :: HERE.slave != 0
#else
    :: true
#endif
    fi;
    if
    :: adopt(); goto master_rests
    :: goto supersede           /* it has other sizes */
    fi;

start_afresh:
    skip;
    take_both_bytes();
    mark(here[me]);
    d_step { make_fresh() };
    goto install;

#if LOSSES > 0
renewal_failed:
    skip;
    d_step {
      close_segment(orphan[me]);
      close_segment(fresh[me]);
      if
      :: segment[NAMED].succession == me -> segment[NAMED].succession = 0
      :: else
      fi
    };
    goto master_rests;
#endif

install_failed:
    skip;
    d_step { close_segment(fresh[me]) };
    goto seek_master;

challenge:
    if
    :: goto gone                /* it beats: refused */
    :: d_step { replacements > 0 -> replacements-- }
    fi;
#ifndef RENAME_WITHOUT_SUCCESSION
    try_take_succession(seek_master);
#endif
    if
    :: d_step { !IS_NAMED || HERE.marked || HERE.master == 0 -> skip }; goto seek_master
    :: d_step { IS_NAMED && !HERE.marked && HERE.master != 0 -> skip }
    fi;

supersede:
    skip;
    d_step { make_fresh() };
    keep_the_seat();

install:
    install_over();

master_rests:
end_master:
    do
    :: !has_spoken -> publish()
    :: d_step {
#if LOSSES > 0
        other[me] != 0 && !AWAITS_SLAVE && HAS_COME_OVER ->
#else
        other[me] != 0 && HAS_COME_OVER ->
#endif
        HERE.seat = 0;
        close_segment(other[me])
      }
#if LOSSES > 0
    :: d_step { AWAITS_SLAVE && HERE.seat == 0 -> close_segment(other[me]) }             /* N9 */
    /* It died in between. */
    :: d_step {
        AWAITS_SLAVE && HERE.seat != 0 && OTHER.slave == 0 ->
#ifndef MASTER_PASSES_NOTHING
        pass(here[me], OTHER.consumed);
#endif
        free_seat(here[me]);
        close_segment(other[me])
      }
#endif
#ifndef KEEP_SEAT_OF_DEAD
    /* It died on its way, and the master that kept its seat, too. */
    :: d_step {
        other[me] == 0 && HERE.seat != 0 && HERE.slave == 0 ->
        HERE.seat = 0;
#if LOSSES > 0
        was_read = was_read & ~HERE.unread   /* nobody knows what it had read */
#endif
      }
#endif
#if LOSSES > 0
#ifndef RENEW_WITHOUT_SUCCESSION
    :: d_step { MAY_RENEW && segment[NAMED].succession == 0 -> segment[NAMED].succession = me };
#else
    :: MAY_RENEW ->
#endif
      renew()
    :: move()
    /* Another process is the link's master by now. */
    :: d_step {
        (HAS_RIVAL || (next[me] != 0 && NEXT.marked)) && HERE.succession == 0 ->
        HERE.marked = true
      };
      goto gone
#endif
    :: HERE.marked -> goto gone
    :: d_step { leaves > 0 -> leaves-- }; leave(); goto gone
    od;

seek_slave:
    skip;
    open_name();
    if
    :: HAS_MASTER(here[me]) && HERE.slave == 0 -> goto take_seat
    :: else -> goto no_master
    fi;

take_seat:
#ifndef SIT_WITHOUT_SUCCESSION
    try_take_succession(seek_slave);
#endif
    if
    :: MAY_SIT
    :: d_step { !(MAY_SIT) -> skip }; goto no_master
    fi;
    if
    :: !IS_KEPT_FOR_OTHERS(here[me], PREDECESSOR, other[me])
    :: IS_KEPT_FOR_OTHERS(here[me], PREDECESSOR, other[me]) -> goto no_master
    fi;
    if
    :: sit_down()
    :: HERE.slave != 0 -> goto no_master
    fi;
#if LOSSES > 0
    if
    :: other[me] != 0 -> stay_until_due()
    :: other[me] == 0
    fi;
#endif
    /* It has moved: the old seat is free. */
    d_step { come_over() };

slave_rests:
end_slave:
    do
    :: read()
    :: d_step {
        name != here[me] && IS_WORTH_A_TRY(name, incarnation[me], here[me]) ->
        other[me] = here[me];
        here[me] = 0
      };
      goto seek_slave
    :: d_step { leaves > 0 && IS_LOST -> leaves-- }; leave(); goto gone
    od;

no_master:
    let_go();
    if
    :: d_step { other[me] != 0 -> here[me] = other[me]; other[me] = 0 }; goto slave_rests
    :: other[me] == 0 -> goto gone
    :: other[me] == 0 ->
end_waiting_slave:
      IS_WORTH_A_TRY(name, 0, 0);
      goto seek_slave
    fi;

gone:
    skip
  } unless {
    is_killed[me]
  };
  end_of_process();
end_of_life:
  d_step { returns > 0 && me != LAST -> returns-- };
  goto new_life
}

#if LOSSES > 0
/* When all rests: whoever is master of the link has its name, and all that a slave
 * was to read has been read. */
inline assert_rest() {
  d_step {
    i = 1;
    do
    :: i <= PROCESSES ->
      assert(is_owed[i] == 0 && is_wanted[i] == 0);
      if
      :: here[i] != 0 && segment[here[i]].master == i ->
        /* A slave that has the name has no master yet. */
        assert(name == here[i] || (segment[name].master == 0 && segment[name].slave != 0))
      :: else
      fi;
      i++
    :: else -> break
    od;
    i = 0
  }
}
#else
inline assert_rest() { skip }
#endif

init {
  byte i = 0;
  atomic {
    run process(1, ROLES & 1);
    run process(2, (ROLES >> 1) & 1);
    run process(3, (ROLES >> 2) & 1)
  };
  /* The name heals: whatever they left, one that comes now finds or becomes a
   * master, and a slave that lives gets to it, if no other one has. */
  timeout;
  assert_rest();
  run process(LAST, MASTER);
  timeout;
  assert_rest();
  d_step {
    assert(name != 0 && !segment[name].marked && segment[name].succession == 0);
    assert(segment[name].master != 0 && segment[name].master == reigning);
    assert(segment[name].seat == 0 || LIVES(segment[name].seat));
    i = 1;
    do
    :: i <= 3 ->
      if
      :: here[i] != 0 && segment[here[i]].slave == i ->
        assert(here[i] == name || segment[name].slave != 0)
      :: else
      fi;
      i++
    :: else -> break
    od
  }
}
