#!/usr/bin/env bash
# docs/REAL_TIME.md shows the example as it is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
diff <(awk '/^```cpp$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/REAL_TIME.md) \
  examples/real_time_loop.cpp
