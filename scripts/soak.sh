#!/usr/bin/env bash
# Runs the long forms of the tests, round after round, until the time is over:
#   scripts/soak.sh [minutes] [seed] [NAME...]
# Each round's seed is printed; the same seed repeats it. Stops at the first
# failure, with the seed that caused it.
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
scripts/install_package.sh wheel
# The watchdogs wait longer, the counts are larger.
cmake -S . -B "$build" -G Ninja -DESHM_BUILD_BENCH=OFF -DESHM_MODEL_TESTS=OFF \
  -DESHM_TEST_PATIENCE=60 -DESHM_TEST_PYTHON="$PWD/build-scripts/venv/bin/python" >/dev/null
cmake --build "$build" -j "$(nproc)"

select=()
if [ $# -gt 0 ]; then
  pattern=$(IFS='|'; echo "$*")
  select=(-R "$pattern")
fi
end=$((SECONDS + minutes * 60))
rounds=0
while :; do
  echo "== soak: round $((rounds + 1)), seed $seed"
  if ! ESHM_SOAK=1 ESHM_SEED=$seed ctest --test-dir "$build" -j "$(nproc)" \
    --output-on-failure --no-tests=error "${select[@]}"; then
    echo "soak: failed in round $((rounds + 1)); repeat it: scripts/soak.sh 0 $seed $*" >&2
    exit 1
  fi
  rounds=$((rounds + 1))
  seed=$((seed + 1))
  [ $SECONDS -lt $end ] || break
done
echo "soak: $rounds rounds without a failure, seeds $((seed - rounds)) to $((seed - 1))"
