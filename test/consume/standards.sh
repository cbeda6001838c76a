#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The headers in every standard that they are for, without exceptions and RTTI too,
# without a warning.
. "$(dirname "$0")/support.sh"
strict=(-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -isystem "$prefix/include" -I"$prefix/include" -fsyntax-only)
takes() { $1 "-std=$2" -fsyntax-only -x "$3" /dev/null 2>/dev/null; }
tried=0
for standard in c99 c11 c17 c2x c23 gnu99; do
  takes "$CC" $standard c || continue
  quietly $CC -std=$standard "${strict[@]}" -Wstrict-prototypes "$source/test/header_c99.c"
  tried=$((tried + 1))
done
for standard in c++11 c++14 c++17 c++20 c++2b; do
  takes "$CXX" $standard c++ || continue
  quietly $CXX -std=$standard "${strict[@]}" "$source/test/header_cpp11.cpp"
  quietly $CXX -std=$standard -fno-exceptions -fno-rtti "${strict[@]}" "$source/test/header_cpp11.cpp"
  tried=$((tried + 2))
done
for standard in c++17 c++20 c++2b; do
  takes "$CXX" $standard c++ || continue
  quietly $CXX -std=$standard "${strict[@]}" "$source/test/header_cpp17.cpp"
  quietly $CXX -std=$standard -fno-exceptions -fno-rtti "${strict[@]}" "$source/test/header_cpp17.cpp"
  tried=$((tried + 2))
done
[ "$tried" -ge 13 ] || fail "only $tried standards were tried"
echo "$tried compilations"
