#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# find_package(eshm) in a project of C alone: libeshm.a brings the C++ runtime along.
. "$(dirname "$0")/support.sh"
configure -S "$here/c_alone" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix"
quietly cmake --build "$work/build"
talks "$work"/build/c_shared "$work"/build/c_static
