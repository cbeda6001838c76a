#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# C++ and Python in every pairing, both deliveries and backends, each end killed
# with -9 and started again; writes what was seen into docs/INTEROP_TEST_RESULTS.md.
#   ESHM_DEMO=path     takes that demo instead of building one
#   ESHM_PYTHON=path   takes a python that has eshm installed, and builds none
#   ESHM_RESULTS=path  writes there
set -euo pipefail
cd "$(dirname "$0")/.."

demo=${ESHM_DEMO:-}
if [ -z "$demo" ]; then
  scripts/setup.sh demo
  build=build-scripts/demo
  demo=$build/eshm_demo
  mkdir -p "$build"
  { cmake -S . -B "$build" -DESHM_BUILD_BASIC_TESTS=OFF &&
    cmake --build "$build" -j "$(nproc)" --target eshm_demo; } >"$build.log" 2>&1 ||
    { cat "$build.log"; echo "test_interop: the build failed" >&2; exit 1; }
fi
python=${ESHM_PYTHON:-}
if [ -z "$python" ]; then
  py/build_shared_lib.sh
  export PYTHONPATH=$PWD/py
  python=python3
fi
"$python" py/tests/interop/play.py "$demo" "${ESHM_RESULTS:-docs/INTEROP_TEST_RESULTS.md}"
echo "Every pairing talked, and came back after both kills; nothing torn, nothing out of order, nothing lost in a queue."
