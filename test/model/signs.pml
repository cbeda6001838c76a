/* SPDX-License-Identifier: MIT */
/* Signs of life: docs/PROTOCOL.md, section "Signs of life"; Path::mark_call,
 * SegmentFile::signs_of_life, Silence.
 *
 * One role of one segment. Its holder has a service thread, which may starve for ever,
 * and a thread that writes and one that reads, each of which may be stopped between the
 * check of the record and its store. The holder may hang, or lose its lock unnoticed to a
 * successor that hangs from the beginning; then its threads go on calling. A watcher
 * checks. Holder and watcher may be stopped together before any check.
 *
 * Of each word only its change counts, so a word is here whether it has changed since
 * the last check. */

#define SIX 6  /* checks: a sixth of the threshold at most counts between two */

#ifdef JUDGE_ABSENCE
#define ABSENCE SIX
#else
#define ABSENCE 1
#endif

bool has_beaten, has_called[2];
byte holder = 1;        /* in the record: 1, or its successor 2 */
bool is_silent;         /* the holder of the record hangs */
bool made_a_call;       /* since the last check, by the holder of the record */
byte silence;           /* in sixths of the threshold */
byte checks;            /* since the holder of the record is silent */
bool is_stale;

proctype Service() {
  do
  :: d_step { holder == 1 && !is_silent -> has_beaten = true }
  :: break  /* starves */
  od
}

proctype Caller(bit direction) {
  bool is_ours;
  do
  :: !is_silent || holder == 2 ->
#ifdef NO_RECORD_CHECK
     is_ours = true;
#else
     is_ours = holder == 1;
#endif
     /* may be stopped here for as long as it likes */
     d_step {
#ifndef NO_CALL_WORDS
       if :: is_ours -> has_called[direction] = true :: else fi;
#endif
       if :: holder == 1 && !is_silent -> made_a_call = true :: else fi
     }
  :: is_silent && holder == 1 -> break
  od
}

proctype Fate() {
  if
  :: is_silent = true                      /* hangs */
  :: d_step { holder = 2; is_silent = true }  /* has a successor, which hangs */
  :: skip                                  /* lives */
  fi
}

proctype Watcher() {
  bool was_away;
  do
  :: !is_stale && (is_silent || made_a_call || !was_away) ->
     d_step {
       byte gap = 1;
       was_away = !is_silent && !made_a_call;
       if :: was_away -> gap = ABSENCE :: else fi;
       made_a_call = false;
       if
       :: has_beaten || has_called[0] || has_called[1] -> silence = 0
       :: else -> silence = silence + gap
       fi;
       has_beaten = false; has_called[0] = false; has_called[1] = false;
       if :: is_silent -> checks++ :: else fi;
       if :: silence >= SIX -> is_stale = true :: else fi;
       /* A process that calls is never stale, whatever its service thread does. */
       assert(!is_stale || is_silent);
       /* One that is silent is found within six checks, and six more for each store that
        * a stopped call of its forerunner makes late: one a direction. */
       assert(is_stale || checks < SIX * 3 + 1)
     }
  :: is_stale -> break
  od
}

init {
  atomic {
    run Service();
    run Caller(0);
    run Caller(1);
    run Watcher();
    run Fate()
  }
}
