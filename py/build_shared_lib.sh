#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the extension for the python3 that is on the PATH and puts it beside
# the package's Python files, so that py/ on sys.path is all that it needs:
#   cd py && ./build_shared_lib.sh
# Needs CMake, a C++17 compiler and Python's headers (python3-dev); no pip, no
# virtual environment.
set -euo pipefail
cd "$(dirname "$0")"

python=$(python3 -c 'import sys; print(sys.executable)')
tag=$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
if ! python3 -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; then
  echo "build_shared_lib: $python has no headers; install python3-dev (or what is called so here)" >&2
  exit 1
fi

build=../build-scripts/py-$tag
mkdir -p "$build"
{ cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$python" &&
  cmake --build "$build" -j "$(nproc)" --target _native &&
  cmake --install "$build" --component python --prefix .; } >"$build.log" 2>&1 ||
  { cat "$build.log"; echo "build_shared_lib: the build failed" >&2; exit 1; }
python3 -c 'import sys; sys.path.insert(0, "."); import eshm
print(f"eshm {eshm.__version__} for Python {sys.version.split()[0]}: {eshm._native.__file__}")'
