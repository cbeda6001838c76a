#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# docs/REAL_TIME.md shows the example as it is compiled, but for the line of its licence.
set -euo pipefail
cd "$(dirname "$0")/.."
diff <(awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/REAL_TIME.md) \
  <(tail -n +2 examples/real_time_loop.cpp)
