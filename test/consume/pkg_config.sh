#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# pkg-config: flags for libeshm.so; with --static for libeshm.a, from C and for a program
# without any shared library. 77 (skipped) without pkg-config.
. "$(dirname "$0")/support.sh"
command -v pkg-config >/dev/null || { echo "pkg-config is missing"; exit 77; }
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name eshm.pc)")
version=$(sed -n 's/^#define ESHM_VERSION_[A-Z]* //p' "$source/include/eshm_data.h" | paste -sd.)
[ "$(pkg-config --modversion eshm)" = "$version" ] || fail "wrong version"
libdir=$(dirname "$(find "$prefix" -name libeshm.so)")
# eval: pkg-config escapes the space of the prefix for a shell.
build() { eval "quietly $*"; }
build $CC "$here/talk.c" "$(pkg-config --cflags --libs eshm)" -o "$work/shared" "'-Wl,-rpath,$libdir'"
build $CXX -std=c++17 "$here/talk.cpp" "$(pkg-config --cflags --libs eshm)" -o "$work/cpp" "'-Wl,-rpath,$libdir'"
build $CC -static "$here/talk.c" "$(pkg-config --static --cflags --libs eshm)" -o "$work/all_static"
talks "$work/shared" "$work/cpp" "$work/all_static"
