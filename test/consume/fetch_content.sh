#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# FetchContent of an archive, in a project of C alone: both libraries, shared and static.
. "$(dirname "$0")/support.sh"
copy_source "$work/eshm"
tar -C "$work" -czf "$work/eshm.tar.gz" eshm
configure -S "$here/fetch_content" -B "$work/build" -DESHM_ARCHIVE="$work/eshm.tar.gz" -DCMAKE_UNITY_BUILD=ON
quietly cmake --build "$work/build" -j 2
talks "$work/build/c_shared" "$work/build/c_static"
