#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The two ends of the C++ example talk, and end by themselves.
#   cpp_link_example.sh PROGRAM
set -euo pipefail
name="cpp_link_example_$$"
"$1" slave "$name" &
slave=$!
printed=$("$1" master "$name")
wait "$slave"
grep -qx "10 squared is 100" <<<"$printed"
