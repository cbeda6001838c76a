/* SPDX-License-Identifier: MIT */
/* Carrying queues to the segment that takes another one's name: docs/PROTOCOL.md, section
 * "What outlives its processes"; Inheritance, QueueReader::take_over, carry_messages.
 *
 * Segment 0 has a master that may stand still at any moment and go on later, and a slave.
 * Two more masters, one after the other, give the name to segments 1 and 2. Each of them,
 * and the slave, may be killed between any two steps; a second slave follows one that was
 * killed. At the end all that is left is read where the name is.
 *
 * A message is an id: a queue's place n holds one, and places keep their numbers when a
 * master carries them. Direction 0 is to the slave, 1 to the master. */

#ifndef KILLS
#define KILLS 2
#endif
#ifndef MASTERS
#define MASTERS 2
#endif
#ifndef WRITES
#define WRITES 2
#endif
#define PLACES 7
#define Q(s, d) ((s) * 2 + (d))
#define R(s, d, n) (Q(s, d) * PLACES + (n))

byte ring[42];
byte position[6];    /* consumed up to this place */
byte newest[6];
byte limit[6];       /* MK2: the end, plus 1; 0: not recorded */
bool marked[3];
byte copied_for[3];  /* the slave for which the segment begins with copies; 0: none */
byte copied_until[3];
bool was_seated[3];  /* a slave has been there */
byte named;
byte from, to;       /* of the holder of the succession lock */
bool succession;
byte kills;
byte masters_to_come = MASTERS;
byte slave = 1;      /* that lives, or 0 */
byte ids[2];         /* given so far */
bool is_owed[16];    /* direction * 8 + id: its write told success */
byte got[2];         /* the newest id that was delivered */
byte i;              /* of atomic steps */

/* In order. Nothing that is owed is missing before it; nothing comes twice, but to a reader
 * after a dead one. */
inline deliver(d, id, is_later_reader) {
  if
  :: id > got[d] ->
     i = got[d] + 1;
     do :: i < id -> assert(!is_owed[d * 8 + i]); i++ :: else -> break od;
     got[d] = id
  :: else -> assert(is_later_reader)
  fi;
  is_owed[d * 8 + id] = false
}

inline publish(s, d) {
  ids[d]++;
  newest[Q(s, d)]++;
  ring[R(s, d, newest[Q(s, d)])] = ids[d]
}

proctype First() {
  byte id;
  do
  :: atomic { ids[0] < WRITES && !marked[0] -> publish(0, 0); id = ids[0] }
     /* W6; it may stand still before. */
     if
     :: atomic { !marked[0] -> is_owed[id] = (id > got[0]) }
     :: marked[0] -> break
     fi
  :: break
  od
}

inline mark() {
  marked[from] = true;
  atomic {
    if :: limit[Q(from, 0)] == 0 -> limit[Q(from, 0)] = newest[Q(from, 0)] + 1 :: else fi;
    if :: limit[Q(from, 1)] == 0 -> limit[Q(from, 1)] = newest[Q(from, 1)] + 1 :: else fi
  }
}

inline carry(d) {
  atomic { at = position[Q(from, d)]; position[Q(to, d)] = at; newest[Q(to, d)] = at; last = 0 }
  do
  :: atomic { at + 1 < limit[Q(from, d)] ->
       at++; ring[R(to, d, at)] = ring[R(from, d, at)]; newest[Q(to, d)] = at; last = at }
  :: at + 1 >= limit[Q(from, d)] -> break
  od;
#ifdef LIVE_COUNT
  if :: last == 0 -> last = newest[Q(from, d)] :: else fi
#endif
}

/* Another one follows. */
#define MAY_DIE if :: atomic { kills < KILLS && masters_to_come > 0 -> kills++; succession = false; goto gone } :: skip fi

proctype Next() {
  byte own, at, last;
  atomic { !succession && named < 2 -> succession = true; masters_to_come--;
           from = named; to = named + 1 }
#if !defined(MARK_AFTER_COPY)
  mark();
#else
  atomic { limit[Q(from, 0)] = newest[Q(from, 0)] + 1; limit[Q(from, 1)] = newest[Q(from, 1)] + 1 }
#endif
  MAY_DIE;
#ifdef NAME_BEFORE_COPY
  named = to;
  MAY_DIE;
#endif
  carry(0);
  MAY_DIE;
  carry(1);
#ifdef MARK_AFTER_COPY
  mark();
#endif
  atomic {
    copied_until[to] = last;
    copied_for[to] = slave;
#ifndef FORGET_COPIED_FOR
    if
    :: !was_seated[from] && copied_for[from] == slave -> copied_until[to] = copied_until[from]
    :: else
    fi
#endif
  }
  MAY_DIE;
  atomic { named = to; own = to; succession = false }
  do
  :: atomic { !marked[own] && ids[0] < WRITES + 2 -> publish(own, 0); is_owed[ids[0]] = true }
  :: atomic { !marked[own] && position[Q(own, 1)] < newest[Q(own, 1)] ->
       position[Q(own, 1)]++; deliver(1, ring[R(own, 1, position[Q(own, 1)])], false) }
  :: break
  od;
gone:
  skip
}

/* Where the slave came from; it brings what it has written there, and passes what it read. */
inline move() {
#ifndef NO_PASS
  if
  :: copied_for[next] == me && position[Q(in, 0)] > position[Q(next, 0)] ->
     position[Q(next, 0)] =
         (position[Q(in, 0)] < newest[Q(next, 0)] -> position[Q(in, 0)] : newest[Q(next, 0)])
  :: else
  fi;
#endif
  at = position[Q(in, 1)];
  do
  :: at < newest[Q(in, 1)] ->
     at++;
#ifndef BRING_ALL
     if
     :: copied_for[next] == me && at <= copied_until[next] -> skip
     :: else ->
#endif
        newest[Q(next, 1)]++;
        ring[R(next, 1, newest[Q(next, 1)])] = ring[R(in, 1, at)]
#ifndef BRING_ALL
     fi
#endif
  :: else -> break
  od;
  in = next
}

proctype Slave(byte me) {
  byte in, next, at;
  if
  :: me == 1
  :: atomic { me != 1 && slave == 0 && !succession && !marked[named] -> in = named; slave = me }
  :: me != 1 -> goto absent
  fi;
  was_seated[in] = true;
  do
  /* Of a marked queue up to its end. */
  :: atomic { position[Q(in, 0)] < newest[Q(in, 0)] &&
              (!marked[in] || position[Q(in, 0)] + 1 < limit[Q(in, 0)]) ->
       position[Q(in, 0)]++; deliver(0, ring[R(in, 0, position[Q(in, 0)])], me != 1) }
  /* Behind the mark, too. */
  :: atomic { me == 1 && ids[1] < WRITES -> publish(in, 1); is_owed[8 + ids[1]] = true }
  :: atomic { kills < KILLS && me == 1 -> kills++;
       /* What it wrote behind the mark goes with it. */
       if
       :: marked[in] ->
          at = limit[Q(in, 1)];
          do
          :: at <= newest[Q(in, 1)] && limit[Q(in, 1)] != 0 ->
             is_owed[8 + ring[R(in, 1, at)]] = false; at++
          :: else -> break
          od
       :: else
       fi;
       slave = 0 }
     break
  :: atomic { marked[in] && named != in && !marked[named] -> next = named; was_seated[next] = true }
     /* It may be killed here, in its new seat; then nothing has moved. */
     atomic { move() }
  :: !marked[in] -> break
  od;
absent:
  skip
}

/* All have ended: the next reader finds what is left. */
proctype Rest() {
  byte d, at;
  atomic {
    d = 0;
    do
    :: d < 2 ->
       at = position[Q(named, d)];
       do
       :: at < newest[Q(named, d)] &&
          (!marked[named] || limit[Q(named, d)] == 0 || at + 1 < limit[Q(named, d)]) ->
          at++; deliver(d, ring[R(named, d, at)], true)
       :: else -> break
       od;
       i = 1;
       do :: i < 8 -> assert(!is_owed[d * 8 + i]); i++ :: else -> break od;
       d++
    :: else -> break
    od
  }
}

init {
  atomic { run First(); run Slave(1); run Slave(2); run Next(); run Next()
#if MASTERS > 2
    ; run Next()
#endif
  }
  (_nr_pr == 1) -> run Rest()
}
