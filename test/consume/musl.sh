#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Built for musl by the zig compiler of PyPI (pip install ziglang) and linked statically, so
# that it runs here. 77 (skipped) where that compiler is not there.
#   musl.sh PYTHON: an interpreter that may have the package
. "$(dirname "$0")/support.sh"
python=$1
"$python" -m ziglang version >/dev/null 2>&1 || { echo "ziglang is missing"; exit 77; }
# What zig has compiled of its own (libc, libc++) serves the next run, too.
export ZIG_GLOBAL_CACHE_DIR=$source/build-scripts/zig ZIG_LOCAL_CACHE_DIR=$source/build-scripts/zig
for language in cc c++; do
  printf '#!/bin/sh\nexec "%s" -m ziglang %s -target x86_64-linux-musl "$@"\n' "$python" $language >"$work/$language"
  chmod +x "$work/$language"
done
export CC=$work/cc CXX=$work/c++
configure -S "$source" -B "$work/build" -DCMAKE_UNITY_BUILD=ON -DESHM_BUILD_BASIC_TESTS=OFF \
  -DESHM_BUILD_EXAMPLES=OFF -DESHM_BUILD_TOOLS=OFF -DESHM_WERROR=ON -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX="$work/prefix"
quietly cmake --build "$work/build" -j 2
quietly cmake --install "$work/build"
quietly "$CXX" -std=c++17 -static "$here/talk.cpp" -I"$work/prefix/include" "$work/prefix/lib/libeshm.a" -o "$work/cpp"
quietly "$CXX" -static -x c "$here/talk.c" -x none -I"$work/prefix/include" "$work/prefix/lib/libeshm.a" -o "$work/c"
talks "$work/c" "$work/cpp"
