#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Counts the instructions of single calls of the library and compares them with
# counts.txt. Fails where a call takes over 3 % more; reports where one takes over
# 3 % less, so that the file can be renewed.
#   check.sh [PROGRAM]             compares; PROGRAM: `calls`, of the build to count
#   check.sh --update [PROGRAM]    writes counts.txt
# Exits with 77 where nothing can be compared: without valgrind, and with another
# compiler, C library or processor than those of counts.txt.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
recorded=$here/counts.txt
is_update=no
if [ "${1:-}" = --update ]; then is_update=yes; shift; fi
program=${1:-$here/../../build-scripts/test-gcc/test/calls}
skip() { echo "instructions: left out: $*"; exit 77; }
fail() { echo "instructions: $*" >&2; exit 1; }

command -v valgrind >/dev/null || skip "valgrind is missing"
made_by=$("$program" made-by) || fail "cannot run $program"
if [ "$is_update" = no ]; then
  recorded_by=$(sed -n 's/^made by: //p' "$recorded")
  [ "$made_by" = "$recorded_by" ] || skip "the counts are of $recorded_by; this build is of $made_by"
fi

# count CHANNEL CALLS FUNCTION...: instructions of one of that many calls of each of them,
# and of all that they call, in the thread that calls them. Nothing outside them is
# counted: neither the caller nor the library's own thread.
count() {
  local channel=$1 calls=$2 toggles=() log
  shift 2
  for function in "$@"; do toggles+=("--toggle-collect=$function"); done
  # All symbols are bound first: the first call would take thousands more.
  log=$(LD_BIND_NOW=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null "${toggles[@]}" \
    "$program" "$channel" "$calls" 2>&1) || { echo "$log" >&2; fail "$program failed"; }
  awk -v calls="$calls" '/ Collected : / { printf "%.1f", $4 / calls }' <<<"$log"
}

counted=$(
  while read -r label channel calls functions; do
    # shellcheck disable=SC2086  # several functions
    echo "$label $(count "$channel" "$calls" $functions)"
  done <<'END'
write              latest 10000 eshm_write
read               latest 10000 eshm_read_ex
queue_write        queue  10000 eshm_write
queue_read         queue  10000 eshm_read_ex
loan_and_publish   latest 10000 eshm_loan eshm_publish
borrow_and_release latest 10000 eshm_borrow eshm_release
exchange           move   10    eshm::endpoint::DataPath::finish_move*
END
)
[ "$(awk '$2 > 0' <<<"$counted" | wc -l)" -eq 7 ] || fail "a call was not counted: $counted"

if [ "$is_update" = yes ]; then
  {
    sed -n '/^#/p' "$recorded"
    echo "made by: $made_by"
    awk '{ printf "%-20s %s\n", $1, $2 }' <<<"$counted"
  } >"$recorded.new"
  mv "$recorded.new" "$recorded"
  cat "$recorded"
  exit
fi

awk '
  /^#|^made by/ { next }
  NR == FNR { before[$1] = $2; next }
  !($1 in before) { print $1 ": not in counts.txt"; failed = 1; next }
  {
    change = ($2 / before[$1] - 1) * 100
    word = change > 3 ? "  MORE than recorded" : change < -3 ? "  less: renew the file (--update)" : ""
    printf "%-20s recorded %7.1f   now %7.1f   %+5.1f %%%s\n", $1, before[$1], $2, change, word
    if (change > 3) failed = 1
  }
  END { exit failed }
' "$recorded" - <<<"$counted" || fail "a call takes over 3 % more instructions than counts.txt says"
