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

#define PROCESSES 4
#define LAST 4       /* comes when all else rests */
#define SEGMENTS 5   /* numbered from 1; 0 is none */

typedef Segment {
  bool marked;
  byte master;         /* who holds which lock */
  byte slave;
  byte succession;
  byte master_record;  /* incarnation; 0: not complete */
  byte slave_record;
  byte seat;           /* incarnation for which the slave's seat is kept */
  bool has_unread;

  /* What only the claims know. */
  bool is_due;         /* the message was published by the reigning master */
  byte is_orphan_for;  /* bit of each process that came when both ends were dead */
  byte kept_from;      /* the segment whose slave is to come over */
};

Segment segment[SEGMENTS + 1];
byte name;             /* the segment that the name means */
byte waiting;          /* and the successor's name */

/* The segments that a process has open. */
byte here[PROCESSES + 1];
byte fresh[PROCESSES + 1];
byte other[PROCESSES + 1];     /* slave: the one that it leaves; master: the one it replaced */
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

#define HERE segment[here[me]]
#define FRESH segment[fresh[me]]
#define OTHER segment[other[me]]
#define BIT(who) (1 << (who - 1))
/* Both ends are dead, and nobody is half-way to a role. */
#define IS_ORPHAN(which) \
  (segment[which].master == 0 && segment[which].slave == 0 && segment[which].succession == 0)
#ifdef NO_LOOK_FOR_MASTER
#define HAS_MASTER(which) (which != 0 && !segment[which].marked)
#else
#define HAS_MASTER(which) (which != 0 && !segment[which].marked && segment[which].master != 0)
#endif
#ifdef NO_SEAT_CHECK
#define IS_KEPT_FOR_OTHERS(which, who) false
#else
#define IS_KEPT_FOR_OTHERS(which, who) (segment[which].seat != 0 && segment[which].seat != who)
#endif
/* A slave tries again only where it may get somewhere: else it would go round for ever. */
#define IS_WORTH_A_TRY(which, who) \
  (HAS_MASTER(which) && segment[which].slave == 0 && !IS_KEPT_FOR_OTHERS(which, who))

/* ---- kernel and memory ----------------------------------------------------- */

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

active proctype stores_become_visible() {
end:
  do
  :: come_to_be_visible(1)
  :: come_to_be_visible(2)
  :: come_to_be_visible(3)
  :: come_to_be_visible(LAST)
  od
}

inline kill(who) {
  d_step {
    kills > 0 && incarnation[who] != 0 && !is_killed[who] ->
    kills--;
    is_killed[who] = true
  }
}

active proctype fate() {
end:
  do
  :: kill(1)
  :: kill(2)
  :: kill(3)
  /* From here on nobody ends, nobody comes. */
  :: d_step { kills + returns + leaves > 0 -> kills = 0; returns = 0; leaves = 0 }
  od
}

#define HAS_OPEN(who, which) (here[who] == which || fresh[who] == which || other[who] == which)
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

/* (Within a d_step.) Nobody else's messages count from here on. */
inline begin_reign() {
  assert(reigning == 0);
  reigning = me
}

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
      begin_reign()
    }
  fi
}

inline mark() { d_step { HERE.marked = true; reigning = 0 } }   /* MK1 */

/* The rename has no compare: that it replaces what was judged is a claim. */
inline rename_over() {
  d_step {
    assert(name == here[me]);
    assert(waiting == fresh[me]);
    name = waiting;
    waiting = 0;
    begin_reign()
  }
}

inline install_over() {
  d_step { waiting = 0 };
  d_step { assert(waiting == 0); waiting = fresh[me] };
#if defined(RENAME_BEFORE_MARK)
  rename_over();
  mark();
#elif defined(NO_MARK)
  rename_over();
#else
  mark();
  rename_over();
#endif
  give_back_succession();
  /* A replaced segment is looked at until its slave has come over. */
  d_step {
    if
    :: FRESH.seat != 0 -> other[me] = here[me]
    :: else -> close_segment(here[me])
    fi;
    here[me] = fresh[me];
    fresh[me] = 0
  }
}

/* The slave's seat is kept. Whoever holds the succession lock knows that a held
 * lock has a true record. */
inline keep_the_seat() {
  d_step {
    if
    :: HERE.slave != 0 ->
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
  d_step { assert(HERE.master == 0); HERE.master = me; HERE.master_record = 0; begin_reign() };
  d_step { HERE.master_record = incarnation[me] };
  give_back_succession()
}

inline take_both_bytes() {
  d_step { assert(HERE.master == 0); HERE.master = me };
  d_step { assert(HERE.slave == 0); HERE.slave = me }
}

/* ---- a slave comes --------------------------------------------------------- */

#define MAY_SIT (IS_NAMED && HAS_MASTER(here[me]))
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
    HERE.kept_from = 0
  };
  d_step { HERE.seat = 0; HERE.slave_record = 0 };
#ifdef RECORD_AFTER_SUCCESSION
  give_back_succession();
#endif
  d_step { HERE.slave_record = incarnation[me] };
  give_back_succession()
}

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

/* The slave's message is taken out here only so that it is not read again. */
inline take_copy() {
  HERE.has_unread = false;
  is_due = HERE.is_due
}

/* R3 to R5, and R4 holds. */
#ifdef FLAG_BEFORE_COPY
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
      assert(name == here[me]);
      name = 0;
      if
      :: reigning == me -> reigning = 0
      :: else
      fi
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
    if
    :: reigning == me -> reigning = 0
    :: else
    fi
  };
  do
  :: d_step { here[me] != 0 -> close_segment(here[me]) }
  :: d_step { fresh[me] != 0 -> close_segment(fresh[me]) }
  :: d_step { other[me] != 0 -> close_segment(other[me]) }
  :: here[me] == 0 && fresh[me] == 0 && other[me] == 0 -> break
  od;
  skip;
  d_step { incarnation[me] = 0; is_killed[me] = false }
}

proctype process(byte me; bool role) {
  bool has_lived = false;
  bool has_spoken = false;
  bool is_due = false;
  byte i = 0;

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
    :: HERE.slave == 0 -> goto start_afresh
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
    mark();
    d_step { make_fresh() };
    goto install;

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
    :: d_step { other[me] != 0 && HAS_COME_OVER -> HERE.seat = 0; close_segment(other[me]) }
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
    :: !IS_KEPT_FOR_OTHERS(here[me], PREDECESSOR)
    :: IS_KEPT_FOR_OTHERS(here[me], PREDECESSOR) -> goto no_master
    fi;
    if
    :: sit_down()
    :: HERE.slave != 0 -> goto no_master
    fi;
    /* It has moved: the old seat is free. */
    d_step { close_segment(other[me]) };

slave_rests:
end_slave:
    do
    :: read()
    :: d_step {
        name != here[me] && IS_WORTH_A_TRY(name, incarnation[me]) ->
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
      IS_WORTH_A_TRY(name, 0);
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
  run process(LAST, MASTER);
  timeout;
  d_step {
    assert(name != 0 && !segment[name].marked && segment[name].succession == 0);
    assert(segment[name].master != 0 && segment[name].master == reigning);
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
