#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The blocks of README.md and of docs/QUICK_START.md, typed in their order into one shell:
# from the sources to programs that talk. Shortened where the meaning is the same: each
# part is compiled as one file and not optimized, the demo ends after a moment, and the tests,
# which run elsewhere, only list their cases.
. "$(dirname "$0")/support.sh"

# block FILE LANGUAGE HEADING NUMBER: the numbered block of that language under it.
block() {
  awk -v language="$2" -v heading="$3" -v wanted="$4" '
    in_code && $0 == "```" { in_code = wanted_one = 0; next }
    wanted_one { print }
    in_code { next }
    /^#/ { under = $0 == heading }
    /^```/ { in_code = 1; wanted_one = under && $0 == "```" language && ++seen == wanted }' "$1" >"$work/block"
  [ -s "$work/block" ] || fail "$1: no block $4 of $2 under '$3'"
  cat "$work/block"
}
readme=$source/README.md
guide=$source/docs/QUICK_START.md
name=readme_$$
copy_source "$work/eshm"
cp "$here"/talk.c "$work/app.c"

cmake() {
  case $1 in
    ..) command cmake -DCMAKE_UNITY_BUILD=ON -DESHM_BUILD_TOOLS=OFF -DCMAKE_BUILD_TYPE=Debug "$@" ;;
    *) command cmake "$@" ;;
  esac
}
# type_in BLOCK: in this shell, since a block may change the folder.
type_in() {
  set +u
  eval "$1" >"$work/typed" 2>&1 || { cat "$work/typed"; fail "failed: $1"; }
  set -u
}

cd "$work/eshm"
type_in "$(block "$readme" bash "## Building by hand" 1)"
demo=$(block "$readme" bash "## Building by hand" 2 | sed "s/my_shm.*/$name/")
slave=$(block "$readme" bash "## Building by hand" 3 | sed "s/my_shm.*/$name/")
timeout --signal=INT 20 $demo >"$work/master" 2>&1 &
master=$!
timeout --signal=INT 3 $slave >"$work/slave" 2>&1 || true
kill -INT "$master"
wait "$master" || true
grep -q '^<-' "$work/slave" || { cat "$work/master" "$work/slave"; fail "the demo did not talk"; }
if [ -x build/test/test_basic ]; then
  type_in "$(block "$readme" bash "## Building by hand" 4 | sed -E '/test_performance/s|\./|test -x ./|; s|^(\./test/test_[a-z_]*)|\1 --gtest_list_tests|')"
fi
[ "$PWD" = "$work/eshm" ] || fail "the README's blocks end in $PWD"
block "$readme" bash "## Performance" 1 | while read -r program _; do [ -x "$program" ] || exit 1; done ||
  fail "the program under Performance is not there"

# The first program of the README, and the guide's two, each as its text says.
block "$readme" c "# ESHM: two processes, one piece of memory" 1 >first.c
quietly $CC -std=c99 -Wall -Wextra -Werror first.c -Iinclude -Lbuild -leshm -o first
block "$guide" c "## 3. A program of your own" 1 >sender.c
block "$guide" c "## 3. A program of your own" 2 >receiver.c
type_in "$(block "$guide" bash "## 3. A program of your own" 1 | sed '/receiver$/s|& ./receiver|\& ./receiver >received|')"
[ "$(wc -l <received)" -gt 90 ] || fail "the guide's receiver got only: $(cat received)"

# Installed, and used by each way that it shows.
type_in "cmake --install build --prefix '$work/prefix'"
cd "$work"
export PKG_CONFIG_PATH CMAKE_PREFIX_PATH="$work/prefix" LD_LIBRARY_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name eshm.pc)")
LD_LIBRARY_PATH=$(dirname "$(find "$work/prefix" -name libeshm.so)")
if command -v pkg-config >/dev/null; then
  type_in "$(block "$readme" bash "## Using it in a project" 1)"
  talks ./app
fi
for number in 1 2; do
  project=$work/project$number
  mkdir -p "$project/third_party"
  ln -s "$work/eshm" "$project/third_party/eshm"
  { echo "cmake_minimum_required(VERSION 3.14)
project(app C)
add_executable(app ../app.c)"
    block "$readme" cmake "## Using it in a project" $number; } >"$project/CMakeLists.txt"
  configure -S "$project" -B "$project/build"
  [ $number = 2 ] || { quietly cmake --build "$project/build" && talks "$project/build/app"; }
done
