#!/usr/bin/env bash
# Runs the long forms of the tests, round after round, until the time is over,
# and prints how much of each kind really ran:
#   scripts/soak.sh [minutes] [seed] [NAME...]
# Once: the models, their counter-proofs and the Python tests. Each round: all C++
# tests, then the fuzzers for a quarter of the round's time. With NAMEs only the
# C++ tests whose names hold one of them. Each round's seed is printed; the same
# seed repeats it. Stops at the first failure, with the seed that caused it.
set -euo pipefail
cd "$(dirname "$0")/.."
minutes=${1:-60}
seed=${2:-$(date +%s)}
shift $(($# < 2 ? $# : 2))
case $minutes$seed in
  *[!0-9]*) echo "usage: scripts/soak.sh [minutes] [seed] [NAME...]" >&2; exit 2 ;;
esac
scripts/setup.sh test

build=build-scripts/soak
mkdir -p "$build"
export ESHM_TALLY=$PWD/$build/tally
: >"$ESHM_TALLY"
export ESHM_TORTURE_EVIDENCE=$PWD/$build/evidence
mkdir -p "$ESHM_TORTURE_EVIDENCE"
began=$SECONDS

# A row of totals, and one of what that is a second. Tests without a tally count nothing.
table() {
  local spent=$((SECONDS - began))
  awk -v spent=$((spent > 0 ? spent : 1)) '
    $1 == "tally:" { total[$2] += $3 }
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

scripts/install_package.sh wheel
# The watchdogs wait longer, the counts are larger.
cmake -S . -B "$build" -G Ninja -DESHM_BUILD_BENCH=OFF -DESHM_MODEL_TESTS=OFF \
  -DESHM_TEST_PATIENCE=60 -DESHM_TEST_PYTHON="$PWD/build-scripts/venv/bin/python" >/dev/null
cmake --build "$build" -j "$(nproc)" >"$build/log" || { cat "$build/log"; exit 1; }

select=()
if [ $# -gt 0 ]; then
  pattern=$(IFS='|'; echo "$*")
  select=(-R "$pattern")
fi
end=$((SECONDS + minutes * 60))
began=$SECONDS

if [ $# -eq 0 ]; then
  for search in parking roles counterproofs; do
    echo "== soak: model $search"
    test/model/check.sh "$search" || fail "model $search failed"
  done
fi

rounds=0
while :; do
  echo "== soak: round $((rounds + 1)), seed $seed"
  round_began=$SECONDS
  ESHM_SOAK=1 ESHM_SEED=$seed ctest --test-dir "$build" -j "$(nproc)" --output-on-failure \
    --no-tests=error "${select[@]}" ||
    fail "failed in round $((rounds + 1)); repeat it: scripts/soak.sh 0 $seed $*"
  if [ $# -eq 0 ]; then
    # Four targets, each a twelfth of what the tests took: a quarter of the whole.
    share=$(((SECONDS - round_began) / 12))
    scripts/fuzz.sh "$((share > 10 ? share : 10))" || fail "a fuzzer found something"
  fi
  rounds=$((rounds + 1))
  seed=$((seed + 1))
  [ $SECONDS -lt $end ] || break
done
table
echo "soak: $rounds rounds without a failure, seeds $((seed - rounds)) to $((seed - 1))"
