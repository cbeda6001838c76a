#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the long forms of the tests, round after round, until the time is over,
# and prints how much of each kind really ran:
#   scripts/soak.sh [minutes] [seed] [NAME...]
# Once: what is the same each time (the models, every interleaving, their
# counter-proofs), and the Python tests. Each round: all other C++ tests, then the
# fuzzers for a fifth of the round's time. With NAMEs one round, or more, of only
# the C++ tests whose names hold one of them.
#
# A round begins only while there is time, and is never cut off: on two idle cores
# it takes half an hour, so the whole lasts up to that much longer; 0 minutes are one
# round. Building does not count. Each round's seed is printed, and each round has the
# next one; the same seed repeats it. Some tests take every so many-th point, from
# one that the seed chooses: they say of how many rounds theirs is a part.
# Stops at the first failure, with the seed that caused it; logs, and segments of
# tests that failed, are in build-scripts/soak/evidence then.
set -euo pipefail
cd "$(dirname "$0")/.."
{  # read as a whole: it may change while it runs
minutes=${1:-60}
seed=${2:-$(date +%s)}
shift $(($# < 2 ? $# : 2))
case $minutes$seed in
  *[!0-9]*) echo "usage: scripts/soak.sh [minutes] [seed] [NAME...]" >&2; exit 2 ;;
esac
scripts/setup.sh test

build=build-scripts/soak
mkdir -p "$build"
export ESHM_SOAK=1
export ESHM_TALLY=$PWD/$build/tally
: >"$ESHM_TALLY"
export ESHM_EVIDENCE=$PWD/$build/evidence
rm -rf "$ESHM_EVIDENCE"
mkdir -p "$ESHM_EVIDENCE"
began=$SECONDS

# A row of totals, and one of what that is a second. Tests without a tally count
# nothing; what is the same each time (a fourth word says whose it is) counts once.
table() {
  local spent=$((SECONDS - began))
  awk -v spent=$((spent > 0 ? spent : 1)) '
    $1 != "tally:" { next }
    NF == 3 { total[$2] += $3 }
    NF == 4 && $3 > most[$2, $4] {
      total[$2] += $3 - most[$2, $4]
      most[$2, $4] = $3
    }
    END {
      split("kill_points second_order_kill_points real_kills stop_continue fuzz_images " \
            "model_states weakened_orders_caught", kinds, " ")
      split("kill points (distinct images)|second-order kill points|real kills|stop/continue|" \
            "fuzz images|model states|weakened orders caught", titles, "|")
      head = "|"; line = "|"; sums = "|"; rates = "|"
      for (i = 1; i <= 7; ++i) {
        head = head sprintf(" %s |", titles[i])
        line = line "---|"
        sums = sums sprintf(" %d |", total[kinds[i]])
        rates = rates sprintf(" %.1f/s |", total[kinds[i]] / spent)
      }
      print head; print line; print sums; print rates
    }' "$ESHM_TALLY"
}
fail() {
  echo "soak: $1" >&2
  table
  exit 1
}

# tests OPTION... : those that ctest selects by them.
tests() {
  local log=$build/Testing/Temporary
  rm -f "$log/LastTestsFailed.log"
  # More at once than there are cores: many of them wait.
  if ! ESHM_SEED=$seed ctest --test-dir "$build" -j "$(($(nproc) * 3 / 2))" --output-on-failure \
    --no-tests=error "$@"; then
    cp "$log/LastTest.log" "$ESHM_EVIDENCE/seed-$seed.log"
    # Of tests that their watchdog ended.
    find /dev/shm -maxdepth 1 -name 'eshm_test_*' -newer "$build/began" \
      -exec cp {} "$ESHM_EVIDENCE" \; || true
    fail "failed, see $ESHM_EVIDENCE; repeat it: scripts/soak.sh 0 $seed $(
      sed 's/^[0-9]*://' "$log/LastTestsFailed.log" 2>/dev/null | paste -s -d ' ')"
  fi
}

scripts/install_package.sh wheel
# The watchdogs wait longer, the counts are larger.
cmake -S . -B "$build" -G Ninja -DESHM_BUILD_TESTS=ON -DESHM_BUILD_BENCH=OFF -DESHM_MODEL_TESTS=ON \
  -DESHM_TEST_PATIENCE=60 -DESHM_TEST_PYTHON="$PWD/build-scripts/venv/bin/python" >/dev/null
cmake --build "$build" -j "$(nproc)" >"$build/log" || { cat "$build/log"; exit 1; }
[ $# -gt 0 ] || scripts/fuzz.sh 0

end=$((SECONDS + minutes * 60))
began=$SECONDS
touch "$build/began"
once='^(model|py)\.|^test_(interleavings|memory_model)\.'
if [ $# -gt 0 ]; then
  select=(-R "$(IFS='|'; echo "$*")")
else
  select=(-E "$once")
  echo "== soak: once"
  tests -R "$once"
fi

rounds=0
while :; do
  echo "== soak: round $((rounds + 1)), seed $seed, after $(((SECONDS - began) / 60)) minutes"
  round_began=$SECONDS
  tests "${select[@]}"
  if [ $# -eq 0 ]; then
    # Four targets, as many at once as there are cores: together a quarter of what
    # the tests took.
    share=$(((SECONDS - round_began) * $(nproc) / 16))
    scripts/fuzz.sh "$((share > 10 ? share : 10))" || fail "a fuzzer found something"
  fi
  rounds=$((rounds + 1))
  seed=$((seed + 1))
  [ $SECONDS -lt $end ] || break
done
table
echo "soak: $rounds rounds without a failure, seeds $((seed - rounds)) to $((seed - 1)), in" \
  "$(((SECONDS - began) / 60)) minutes"
exit
}
