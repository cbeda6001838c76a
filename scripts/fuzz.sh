#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Feeds hostile bytes to the library, with Clang's address and undefined
# sanitizers: scripts/fuzz.sh [SECONDS] [TARGET...]
# Each target (judge, latest, queue, attach) runs so long, as many at once as there
# are cores; 0 SECONDS only build them. What they learn is kept in
# build-scripts/fuzz-learned, and used the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
case $seconds in
  *[!0-9]*) echo "usage: scripts/fuzz.sh [SECONDS] [TARGET...]" >&2; exit 2 ;;
esac
shift $(($# < 1 ? $# : 1))
targets=("$@")
[ $# -gt 0 ] || targets=(judge latest queue attach)
scripts/setup.sh test

build=build-scripts/fuzz
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DESHM_FUZZ=ON -DESHM_BUILD_TESTS=ON -DESHM_BUILD_BENCH=OFF >/dev/null
cmake --build "$build" -j "$(nproc)" --target "${targets[@]/#/fuzz_}" >/dev/null
[ "$seconds" -gt 0 ] || exit 0
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} \
  test/fuzz/run.sh "$build/test/fuzz_{}" "$seconds" build-scripts/fuzz-learned/{}
