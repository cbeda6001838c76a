#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds a Release and runs all benchmarks: scripts/bench.sh [--long]
# The figures are ratios to be read by people (bench/README.md), never a test.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=41 kills=200 slices=3 load=5 waits=15 idle=3 looks=7 silent=40 cycles=250
case "${1:-}" in
  "") ;;
  --long) rounds=201 kills=1000 slices=11 load=60 waits=101 idle=10 looks=41 silent=200 cycles=500 ;;
  *) echo "usage: scripts/bench.sh [--long]" >&2; exit 2 ;;
esac

scripts/setup.sh test
out=build-scripts/bench
mkdir -p "$out"
{ cmake -S . -B "$out" -DCMAKE_BUILD_TYPE=Release -DESHM_BUILD_BASIC_TESTS=OFF -DESHM_BUILD_BENCH=ON &&
  cmake --build "$out" -j "$(nproc)"; } >"$out.log" 2>&1 ||
  { cat "$out.log"; echo "bench: the build failed" >&2; exit 1; }

echo "$(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), $(uname -sr)"
if [ -x "$out/bench/bench_calls" ]; then
  "$out/bench/bench_calls"
else
  echo "single calls: left out, google-benchmark is missing"
fi
for backend in posix sysv; do
  for delivery in latest queue; do
    printf '\n-- %s, %s' "$backend" "$delivery"
    "$out/bench/bench_oneway" --rounds "$rounds" --backend "$backend" --delivery "$delivery"
  done
done
"$out/bench/bench_queue_channel" --rounds "$rounds" --messages 100000
"$out/bench/bench_zero_copy" --rounds "$rounds"
"$out/bench/bench_waiting" --rounds "$waits" --idle-seconds "$idle"
for delivery in latest queue; do
  "$out/bench/bench_observers" --slices "$looks" --delivery "$delivery"
done
"$out/bench/bench_realtime" --rounds "$rounds" --cycles "$cycles"
"$out/bench/bench_liveness" --kills "$kills" --silent-deaths "$silent" \
  --slices "$slices" --load "$load"

printf '\n-- Python\n'
py/build_shared_lib.sh
export PYTHONPATH=$PWD/py
python=build-scripts/venv/bin/python
"$python" py/benchmarks/bench.py --cpp "$out/bench/bench_oneway"
"$python" py/benchmarks/bench_frames.py --source "$out/bench/frame_source"
"$python" py/benchmarks/bench_interrupt.py
