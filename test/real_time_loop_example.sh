#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The control loop of docs/REAL_TIME.md keeps its cycles while its planner is killed and
# started again, and hears the second one.
#   real_time_loop_example.sh PROGRAM
set -euo pipefail
name="real_time_loop_$$"
printed=$(mktemp)
planner=
trap 'rm -f "$printed"; [ -z "$planner" ] || kill -9 "$planner" 2>/dev/null || true' EXIT
# Long enough that the second planner meets it on a busy machine, too.
"$1" controller "$name" 8 >"$printed" &
controller=$!
"$1" planner "$name" 60 >/dev/null &
planner=$!
sleep 1
kill -9 "$planner"
wait "$planner" 2>/dev/null || true
planner=
second=$("$1" planner "$name" 1)
wait "$controller"
first=$(cat "$printed")
echo "controller: $first"
echo "second planner: $second"
[[ $first =~ ^([0-9]+)\ cycles,\ ([0-9]+)\ commands, ]]
[ "${BASH_REMATCH[1]}" -eq 8000 ]
[ "${BASH_REMATCH[2]}" -gt 0 ]
[[ $second =~ ^([0-9]+)\ states$ ]]
[ "${BASH_REMATCH[1]}" -gt 0 ]
[ -z "$(ls /dev/shm | grep -F "$name" || true)" ]
