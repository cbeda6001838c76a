#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Which lines and branches of the library the tests reach: scripts/coverage.sh [NAME...]
# Builds the library with Clang's counters, runs the C++ tests (or those whose names
# hold NAME), and prints lines and branches by folder and by file, then what was
# neither reached nor has a reason in scripts/coverage_reasons.txt. Exits with 1
# where a goal is missed (scripts/coverage_table.py). The counters are a mapped file:
# what a process did that is killed, or ends by _exit, counts as well.
#
# Without a NAME the tests that step instructions (test_crash_*) are left out: each
# counter is instructions of its own, and they add next to nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test

build=build-scripts/coverage
counters=$PWD/$build/counters
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_BUILD_TYPE=RelWithDebInfo -DESHM_COVERAGE=ON -DESHM_BUILD_TESTS=ON -DESHM_BUILD_BENCH=OFF -DESHM_MODEL_TESTS=OFF \
  -DESHM_TEST_PATIENCE=3 >/dev/null
cmake --build "$build" -j "$(nproc)" >/dev/null

select=(-E '^test_crash_')
if [ $# -gt 0 ]; then
  pattern=$(IFS='|'; echo "$*")
  select=(-R "$pattern")
fi
rm -rf "$counters"
mkdir -p "$counters"
# %p: one process; %m: one program or library in it, and a number that another
# process had before (as in a namespace of its own) is counted on; %c: counted in the
# file itself, from the beginning.
LLVM_PROFILE_FILE="$counters/%p%m%c.profraw" ctest --test-dir "$build" -j "$(nproc)" --timeout 900 \
  --output-on-failure --no-tests=error "${select[@]}" >"$build/tests.log" ||
  { tail -n 60 "$build/tests.log"; echo "coverage: tests failed; the figures go on" >&2; }
grep 'tests passed' "$build/tests.log"

# A process that was killed as it began has left half a file.
version=$(clang -dumpversion | cut -d. -f1)
find "$counters" -name '*.profraw' -size +0 >"$build/counters.list"
"llvm-profdata-$version" merge -sparse -failure-mode=all -f "$build/counters.list" \
  -o "$build/all.profdata" 2>/dev/null
# Tests that link the library statically, or compile its sources once more, have the
# inline functions that they call; what is counted in several is added up.
objects=()
for program in "$build"/test/test_*; do
  if [ -f "$program" ] && [ -x "$program" ] && [ -n "$(objdump -h "$program" | grep llvm_covfun)" ]; then
    objects+=(-object "$program")
  fi
done
"llvm-cov-$version" export -instr-profile="$build/all.profdata" "$build/libeshm.so" \
  "${objects[@]}" >"$build/coverage.json" 2>/dev/null
rm -rf "$counters"
python3 scripts/coverage_table.py "$build/coverage.json" "$PWD/src" scripts/coverage_reasons.txt
