#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Searches all states of the models, or shows that each order and each check in
# them is needed:
#   check.sh parking         no wake is lost
#   check.sh word_lock       the lock between threads: no wake is lost, the holder is boosted
#   check.sh roles           one master, one slave, and the name heals
#   check.sh signs           who calls is alive, who hangs is found
#   check.sh carry           unread messages get to the segment that has the name, once
#   check.sh counterproofs   each order and check taken away in turn: the search
#                            must find what that breaks
# Needs spin and a C compiler; a search takes at most 2 GiB, and half a minute on an idle machine.
set -euo pipefail
models=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0

command -v spin >/dev/null || { echo "check: spin is missing (scripts/setup.sh installs it)" >&2; exit 1; }

# search MODEL -DMACRO... : leaves the verifier's words in $folder/said
search() {
  local model=$1
  shift
  (
    cd "$folder"
    rm -f pan* said
    spin -a "$@" "$models/$model.pml" >generated || { cat generated >&2; exit 1; }
    # No reduction: escapes from sequences (kills) do not go together with it.
    ${CC:-cc} ${optimization:--O2} -w -DSAFETY -DCOLLAPSE -DNOREDUCE -DMEMLIM=2048 -o pan pan.c
    ./pan -m1000000 >said || true
  )
}

# For scripts/soak.sh, which adds such lines up.
tally() { [ -z "${ESHM_TALLY:-}" ] || echo "tally: $1 $2" >>"$ESHM_TALLY"; }

found() { grep -E -o '^pan:1: (assertion violated|invalid end state).*' "$folder/said" || true; }
states() { awk '/states, stored/ { print $1 }' "$folder/said"; }
seconds() { awk '/pan: elapsed time/ { print $4 }' "$folder/said"; }
is_complete() {
  grep -q 'errors: 0$' "$folder/said" &&
    ! grep -q -E 'Search not completed|max search depth too small|out of memory' "$folder/said"
}

# proof MODEL -DMACRO... : all states searched, nothing found.
proof() {
  search "$@"
  if is_complete; then
    printf '%-62s %10s states  %6s s\n' "$*" "$(states)" "$(seconds)"
    tally model_states "$(states)"
  else
    printf '%-62s FAILED\n' "$*"
    tail -n 40 "$folder/said"
    failures=$((failures + 1))
  fi
}

# counterproof MODEL MACRO EXPECTED -DMACRO... : the search must find EXPECTED.
counterproof() {
  local model=$1 macro=$2 expected=$3
  shift 3
  optimization=-O1 search "$model" "-D$macro" "$@"  # most of it is compiling
  local what
  what=$(found)
  if [[ $what == *"$expected"* ]]; then
    printf '%-8s %-28s %s\n' "$model" "$macro" "${what#pan:1: }"
    tally weakened_orders_caught 1
  else
    printf '%-8s %-28s NOT CAUGHT (%s states) %s\n' "$model" "$macro" "$(states)" "$what"
    failures=$((failures + 1))
  fi
}

parking() {
  proof parking -DMESSAGES=2
  proof parking -DNO_READER_DIES
  proof parking -DONE_THREAD
}

word_lock() {
  proof word_lock
  proof word_lock -DPLAIN -DTIMEOUTS
  proof word_lock -DALL_PLAIN
}

# ROLES=4: two masters and a slave; 6: a master and two slaves; 0: three masters.
roles() {
  proof roles -DROLES=4 -DKILLS=2 -DREPLACEMENTS=2 -DRETURNS=0 -DLEAVES=0
  proof roles -DROLES=4 -DRETURNS=0
  proof roles -DROLES=4 -DLEAVES=0
  proof roles -DROLES=6
  proof roles -DROLES=6 -DRETURNS=2 -DLEAVES=0
  proof roles -DROLES=0 -DREPLACEMENTS=2 -DRETURNS=0 -DLEAVES=0
  # And the name is unlinked from outside.
  local lost=(-DLEAVES=0 -DREPLACEMENTS=0)
  proof roles -DROLES=6 -DLOSSES=2 -DRETURNS=0 "${lost[@]}"
  proof roles -DROLES=6 -DLOSSES=1 "${lost[@]}"
  proof roles -DROLES=4 -DLOSSES=1 -DRETURNS=0 "${lost[@]}"
  proof roles -DROLES=4 -DLOSSES=2 -DRETURNS=0 -DKILLS=0 "${lost[@]}"
  proof roles -DROLES=4 -DLOSSES=1 -DRETURNS=0 -DKILLS=0 -DLEAVES=0
  proof roles -DROLES=0 -DLOSSES=1 -DRETURNS=0 -DKILLS=0 -DLEAVES=0
}

signs() {
  proof signs
}

carry() {
  proof carry -DKILLS=2 -DWRITES=1
  [ -n "${ESHM_SOAK:-}" ] || return 0
  proof carry -DKILLS=0 -DWRITES=2
}

counterproofs() {
  local owed='is_owed' twice='assertion violated'
  counterproof carry MARK_AFTER_COPY "$owed" -DWRITES=1
  counterproof carry NAME_BEFORE_COPY "$owed" -DWRITES=1
  counterproof carry LIVE_COUNT "$owed" -DWRITES=1
  counterproof carry NO_PASS "$twice" -DWRITES=1
  counterproof carry BRING_ALL "$twice" -DWRITES=1
  counterproof carry FORGET_COPIED_FOR "$twice" -DWRITES=1 -DKILLS=0

  counterproof signs NO_CALL_WORDS is_silent
  counterproof signs NO_RECORD_CHECK checks
  counterproof signs JUDGE_ABSENCE is_silent

  local lost='invalid end state'
  counterproof parking NO_F1 "$lost" -DONE_THREAD
  counterproof parking NO_AF "$lost" -DONE_THREAD
  counterproof parking NO_SECOND_LOOK "$lost" -DONE_THREAD
  counterproof parking NO_COMPARE "$lost" -DONE_THREAD
  counterproof parking KEY_AFTER_ANNOUNCEMENT "$lost" -DONE_THREAD
  counterproof parking SWAP_AFTER_DOORBELL "$lost" -DONE_THREAD
  counterproof parking DOORBELL_AFTER_WAKE "$lost" -DONE_THREAD
  counterproof parking WAKE_ONE "$lost" -DNO_READER_DIES
  counterproof parking KEEP_ANNOUNCEMENT unrung -DONE_THREAD
  counterproof parking NO_PIECE "$lost" -DONE_THREAD
  counterproof parking NO_RING_AT_TAKEOVER "$lost" -DONE_THREAD

  local unboosted='is_holder'
  counterproof word_lock NO_MEMBARRIER "$unboosted"
  counterproof word_lock NO_MEMBARRIER "$lost" -DALL_PLAIN
  counterproof word_lock BOOST_AFTER_BARRIER "$unboosted"
  counterproof word_lock NO_RECHECK "$unboosted"
  counterproof word_lock LOOK_BEFORE_STORE "$lost"
  counterproof word_lock LOOK_BEFORE_STORE "$lost" -DALL_PLAIN
  counterproof word_lock COUNT_LATE "$unboosted"
  counterproof word_lock COUNT_LATE "$lost" -DALL_PLAIN
  counterproof word_lock UNCOUNT_EARLY "$unboosted"
  counterproof word_lock NO_QUEUE "$unboosted"
  counterproof word_lock KEEP_QUEUE "$lost"
  counterproof word_lock STORE_BOOST "$unboosted"
  counterproof word_lock NO_WAKE "$lost" -DALL_PLAIN

  local few=(-DRETURNS=0 -DLEAVES=0)
  local leaving=(-DRETURNS=0 -DKILLS=0)
  local two_slaves=(-DROLES=6 "${few[@]}")
  counterproof roles SUCCEED_WITHOUT_SUCCESSION violated "${few[@]}"
  counterproof roles RENAME_WITHOUT_SUCCESSION violated "${few[@]}"
  counterproof roles SIT_WITHOUT_SUCCESSION violated "${few[@]}"
  counterproof roles LEAVE_WITHOUT_SUCCESSION name== "${leaving[@]}"
  counterproof roles NO_NAME_CHECK name== "${leaving[@]}"
  counterproof roles UNLINK_UNSEEN name== "${leaving[@]}"
  counterproof roles NO_MASTER_CHECK master==0 -DLEAVES=0
  counterproof roles BIRTH_BY_RENAME reigning==0 "${few[@]}"
  counterproof roles NO_MARK reigning==0 "${few[@]}"
  counterproof roles RENAME_BEFORE_MARK violated "${few[@]}"
  counterproof roles NO_F1 is_promised "${few[@]}"
  counterproof roles NO_W6 was_due "${few[@]}"
  counterproof roles FLAG_BEFORE_COPY is_due "${few[@]}"
  counterproof roles RECORD_AFTER_SUCCESSION slave_record "${few[@]}"
  counterproof roles NO_SEAT kept_from "${two_slaves[@]}"
  counterproof roles NO_SEAT_CHECK kept_from "${two_slaves[@]}"
  counterproof roles FREE_SEAT_EARLY kept_from "${two_slaves[@]}"
  counterproof roles ADOPT_ORPHAN is_orphan_for "${two_slaves[@]}"
  counterproof roles NO_LOOK_FOR_MASTER is_orphan_for "${two_slaves[@]}"

  local lost=(-DLOSSES=1 "${few[@]}")
  local killing=(-DROLES=4 "${lost[@]}" -DREPLACEMENTS=0)
  local replacing=(-DROLES=4 "${lost[@]}" -DKILLS=0)
  local renewing_twice=(-DROLES=6 -DLOSSES=2 "${few[@]}" -DREPLACEMENTS=0)
  counterproof roles RENEW_BY_RENAME reigning==0 "${killing[@]}"
  counterproof roles RENEW_WITHOUT_SUCCESSION slave_record "${replacing[@]}"
  counterproof roles EXCHANGE_WITHOUT_SUCCESSION waiting== -DROLES=0 "${few[@]}" -DREPLACEMENTS=2 -DKILLS=0
  counterproof roles EXCHANGE_UNVERIFIED reigning==0 -DROLES=0 "${lost[@]}" -DKILLS=0
  counterproof roles MARK_BEFORE_COPIES is_owed "${killing[@]}"
  counterproof roles MARK_RENEWED_UNSEEN is_owed "${replacing[@]}"
  counterproof roles MASTER_GOES_FIRST is_owed "${killing[@]}"
  counterproof roles COME_OVER_WHEN_STALE is_given_up "${killing[@]}"
  counterproof roles PASS_NOTHING was_read "${killing[@]}"
  counterproof roles PASS_ADOPTERS_MESSAGES is_owed "${killing[@]}"
  counterproof roles UNFINISHED_IS_NOTHING was_read "${killing[@]}"
  counterproof roles MASTER_PASSES_NOTHING was_read "${renewing_twice[@]}"
  counterproof roles GIVE_UP_OCCUPIED is_given_up "${renewing_twice[@]}"
  counterproof roles NO_SEAT_IN_RENEWAL name== "${renewing_twice[@]}"
  counterproof roles SEAT_FOR_REPLACED_FIRST name== "${replacing[@]}"
  counterproof roles SEAT_ENDED_WHEN_SITTING_DOWN kept_from "${renewing_twice[@]}"
  counterproof roles KEEP_SEAT_OF_DEAD seat==0 "${killing[@]}" -DKILLS=2
}

case ${1:-} in
  parking | word_lock | roles | signs | carry | counterproofs) "$1" ;;
  *) echo "usage: check.sh parking|word_lock|roles|signs|counterproofs" >&2; exit 2 ;;
esac
[ "$failures" -eq 0 ] || { echo "check: $failures failed" >&2; exit 1; }
