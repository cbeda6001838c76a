#!/usr/bin/env bash
# Which lines and branches of the library the tests reach: scripts/coverage.sh [NAME...]
# Builds the library with Clang's counters, runs all C++ tests (or those whose
# names hold NAME), and prints lines and branches by folder and by file, then
# what was not reached. The counters are a mapped file: what a process did that
# is killed, or ends by _exit, counts as well.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh test

build=build-scripts/coverage
counters=$PWD/$build/counters
cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DCMAKE_BUILD_TYPE=Debug -DESHM_COVERAGE=ON -DESHM_BUILD_BENCH=OFF -DESHM_MODEL_TESTS=OFF \
  -DESHM_TEST_PATIENCE=3 >/dev/null
cmake --build "$build" -j "$(nproc)" >/dev/null

select=()
if [ $# -gt 0 ]; then
  pattern=$(IFS='|'; echo "$*")
  select=(-R "$pattern")
fi
rm -rf "$counters"
mkdir -p "$counters"
# %c: counted in the file itself, from the beginning.
LLVM_PROFILE_FILE="$counters/%p%c.profraw" ctest --test-dir "$build" -j "$(nproc)" --timeout 900 \
  --output-on-failure --no-tests=error "${select[@]}" >"$build/tests.log" ||
  { tail -n 60 "$build/tests.log"; echo "coverage: tests failed; the figures go on" >&2; }
grep 'tests passed' "$build/tests.log"

# A process that was killed as it began has left half a file.
version=$(clang -dumpversion | cut -d. -f1)
find "$counters" -name '*.profraw' -size +0 >"$build/counters.list"
"llvm-profdata-$version" merge -sparse -failure-mode=all -f "$build/counters.list" \
  -o "$build/all.profdata" 2>/dev/null
"llvm-cov-$version" export -instr-profile="$build/all.profdata" "$build/libeshm.so" \
  >"$build/coverage.json"
python3 scripts/coverage_table.py "$build/coverage.json" "$PWD/src"
rm -rf "$counters"
