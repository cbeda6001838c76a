#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A host unloads (dlclose) a plug-in that has a link open; and both libraries in one
# process talk to each other, as two processes do.
#   plugins.sh unload|both
. "$(dirname "$0")/support.sh"
configure -S "$here/plugins" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix"
quietly cmake --build "$work/build"
cd "$work/build"
runs() { [ "$("$@")" = talked ] || fail "ended with $?: $*"; }
case $1 in
  unload)
    runs ./host ./libwith_shared.so
    runs ./host ./libwith_static.so
    ;;
  both)
    runs ./host ./libwith_shared.so ./libwith_static.so
    runs ./host ./libwith_static.so ./libwith_shared.so
    runs ./host_with_static ./libwith_shared.so ./libwith_static.so
    runs ./host_with_static ./libwith_shared.so
    ;;
esac
