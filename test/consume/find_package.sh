#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# find_package(eshm): shared and static, from C and from C++.
. "$(dirname "$0")/support.sh"
configure -S "$here/find_package" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix"
quietly cmake --build "$work/build"
talks "$work"/build/c_shared "$work"/build/c_static "$work"/build/cpp_shared "$work"/build/cpp_static
readelf -d "$work/build/c_static" | grep -q libeshm && fail "c_static needs libeshm.so"
echo "find_package: four programs talked"
