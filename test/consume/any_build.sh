#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the libraries in one way, and lets a program of each talk.
#   any_build.sh unity|lto|space
# unity: one file a part. lto: optimized as a whole when it is linked. space: the paths of
# the sources and of the build have a space, and GNU make builds.
. "$(dirname "$0")/support.sh"
tree=$work/eshm
build=$work/build
options=()
case $1 in
  unity) options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=0) ;;
  lto) options=(-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON -DCMAKE_POLICY_DEFAULT_CMP0069=NEW -DCMAKE_UNITY_BUILD=ON) ;;
  space)
    tree="$work/the sources" build="$work/the build"
    generator="Unix Makefiles"
    options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_UNITY_BUILD=ON)
    ;;
esac
copy_source "$tree"
configure -S "$tree" -B "$build" -DESHM_WERROR=ON -DESHM_BUILD_BASIC_TESTS=OFF -DESHM_BUILD_EXAMPLES=OFF -DESHM_BUILD_TOOLS=OFF \
  -DCMAKE_INSTALL_PREFIX="$work/a prefix" "${options[@]}"
quietly cmake --build "$build" -j 2
quietly cmake --install "$build"
configure -S "$here/find_package" -B "$work/consumer" -DCMAKE_PREFIX_PATH="$work/a prefix"
quietly cmake --build "$work/consumer"
cd "$work/consumer"
talks ./c_shared ./c_static ./cpp_shared ./cpp_static
bash "$source/test/exported_symbols.sh" "$build/libeshm.so"

# What was installed, and nothing else, goes by `uninstall`.
touch "$work/a prefix/include/other.h"
quietly cmake --build "$build" --target uninstall
left=$(cd "$work/a prefix" && find . -type f -o -type l)
[ "$left" = ./include/other.h ] || fail "uninstall left: $left"
