#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What a user does by hand, without GoogleTest: mkdir build && cd build &&
# cmake .. && make, then the demo as "auto" in two terminals. With GoogleTest the same
# build has the five tests of the README, and no other.
#   plain_build.sh SOURCE_FOLDER
set -euo pipefail
scratch=$(mktemp -d)
name=plain_$$_$(date +%s)
pids=()
cleanup() {
  local pid
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  rm -rf "$scratch" "/dev/shm/eshm_$name"
}
trap cleanup EXIT
fail() { echo "plain build: $*" >&2; cat "$scratch"/*.log >&2 || true; exit 1; }

# A copy, so that the source folder gets no build folder of ours.
mkdir "$scratch/eshm"
(cd "$1" && tar cf - CMakeLists.txt LICENSE src include examples test bench packaging tools) | tar xf - -C "$scratch/eshm"
cd "$scratch/eshm"
mkdir build && cd build
cmake .. -DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON >"$scratch/cmake.log" || fail "cmake failed"
grep -q "GoogleTest not found: the tests are left out" "$scratch/cmake.log" ||
  fail "it does not say that the tests are left out"
grep -q "CMAKE_BUILD_TYPE:STRING=Rel" CMakeCache.txt || fail "a plain build is not optimised"
make >"$scratch/make.log" 2>&1 || fail "make failed"
cd ..
[ -x build/test/test_performance ] || fail "test_performance needs no GoogleTest"
mkdir with-googletest && cd with-googletest
cmake .. >"$scratch/cmake.log" || fail "cmake failed"
if ! grep -q "GoogleTest not found" "$scratch/cmake.log"; then
  programs=$(make help | sed -n 's/^\.\.\. \(test_[a-z_]*\|bench_[a-z_]*\)$/\1/p' | sort | paste -sd' ')
  # Two of them are examples.
  wanted="test_basic test_error_handling test_master_slave test_performance test_reconnect"
  [ "$programs" = "$wanted test_truly_unlimited test_unlimited_config" ] ||
    fail "a plain build makes these programs: $programs"
fi
cd ..

./build/eshm_demo auto "$name" >"$scratch/first.log" & pids+=($!)
for _ in $(seq 1000); do
  [ -e "/dev/shm/eshm_$name" ] && break
  sleep 0.01
done
./build/eshm_demo auto "$name" >"$scratch/second.log" & pids+=($!)
for _ in $(seq 3000); do
  grep -q '^<- ACK' "$scratch/first.log" && break
  sleep 0.01
done
grep -q '^<- ACK' "$scratch/first.log" || fail "the two did not talk"
kill -INT "${pids[0]}"; wait "${pids[0]}" || fail "the first ended with $?"
kill -TERM "${pids[1]}"; wait "${pids[1]}" || fail "the second ended with $?"
pids=()
[ ! -e "/dev/shm/eshm_$name" ] || fail "the name is still there"
echo "built, and the first became the master of the second"
