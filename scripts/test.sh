#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds with GCC, with Clang, with the address and undefined sanitizers and
# with the thread sanitizer, runs all tests of all of them, and ends with
# ctest's closing line. The Python tests run beside the GCC build, on the wheel
# as pip installs it, and beside the address sanitizer's, on a sanitized one.
#   scripts/test.sh                 everything
#   scripts/test.sh NAME...         the tests whose names hold one of these
#   scripts/test.sh --quick [NAME...]   GCC alone, C++ alone, without the long tests
#   ESHM_BUILDS="gcc tsan" scripts/test.sh   some of the builds alone
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
case ${1:-} in
  --quick) quick=yes; shift ;;
  -*) echo "usage: scripts/test.sh [--quick] [NAME...]" >&2; exit 2 ;;
esac
scripts/setup.sh test

out=build-scripts
jobs=$(nproc)
builds=${ESHM_BUILDS:-gcc clang asan tsan}
[ -z "$quick" ] || builds=quick

mkdir -p "$out/test-all"

# configure NAME, and CMake's arguments
configure() {
  local name=$1
  shift
  # Half of a build's time is the tests' own code: lines for stack traces are enough
  # (-g1), and what it is optimized for does not matter where it only calls eshm.h.
  # The library is compiled as for its users.
  # Benchmarks are compiled once, by GCC; their figures mean nothing elsewhere.
  # Models do not depend on the build.
  cmake -S . -B "$out/test-$name" -G Ninja --no-warn-unused-cli \
    -DESHM_TEST_PREFIX="$name." -DESHM_BUILD_TESTS=ON -DESHM_BUILD_BENCH=OFF -DESHM_MODEL_TESTS=OFF \
    -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O2 -g1 -DNDEBUG" -DESHM_TEST_PCH=ON "$@" >"$out/test-$name.log" ||
    { cat "$out/test-$name.log"; echo "test: configuring the $name build failed" >&2; exit 1; }
}

build() {
  echo "== building: $1"
  cmake --build "$out/test-$1" -j "$jobs" >"$out/test-$1.log" ||
    { cat "$out/test-$1.log"; echo "test: the $1 build failed" >&2; exit 1; }
}

install_sanitized_package() {
  rm -rf "$out/py-sanitized"
  scripts/install_package.sh asan --target "$PWD/$out/py-sanitized" \
    --config-settings=cmake.build-type=RelWithDebInfo --config-settings=install.strip=false \
    --config-settings=cmake.define.ESHM_SANITIZE=address,undefined
}

# GCC's warnings want some optimization.
gcc=(-DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ -DESHM_TEST_OPTIMIZATION=-O1)
clang=(-DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DESHM_TEST_OPTIMIZATION=-O0)
for name in $builds; do
  case $name in
    quick) configure quick "${gcc[@]}" -DESHM_WERROR=ON -DESHM_LONG_TESTS=OFF ;;
    gcc)
      echo "== building: the Python package"
      scripts/install_package.sh wheel
      configure gcc "${gcc[@]}" -DESHM_WERROR=ON -DESHM_BUILD_BENCH=ON -DESHM_MODEL_TESTS=ON \
        -DESHM_PLAIN_BUILD_TEST=ON -DESHM_CONSUME_TEST=ON -DESHM_ABI_TEST=ON -DESHM_INSTRUCTIONS_TEST=ON \
        -DESHM_TEST_PYTHON="$PWD/$out/venv/bin/python"
      ;;
    # Nothing precompiled: a header that a test forgot is missed here.
    clang) configure clang "${clang[@]}" -DESHM_WERROR=ON -DESHM_FUZZ=ON -DESHM_TEST_PCH=OFF ;;
    asan)
      echo "== building: the Python package, sanitized"
      install_sanitized_package
      configure asan "${gcc[@]}" -DESHM_TEST_OPTIMIZATION=-O0 -DESHM_SANITIZE=address,undefined -DESHM_TEST_PATIENCE=3 \
        -DESHM_TEST_PYTHON="$PWD/$out/venv/bin/python" -DESHM_TEST_PYTHON_PATH="$PWD/$out/py-sanitized"
      ;;
    # By Clang: GCC's thread sanitizer does not take fences.
    tsan) configure tsan "${clang[@]}" -DESHM_SANITIZE=thread -DESHM_TEST_PATIENCE=5 ;;
    *) echo "test: no such build: $name (gcc, clang, asan, tsan)" >&2; exit 1 ;;
  esac
  build "$name"
done

# One ctest over all builds: a file that leads into each.
for name in $builds; do echo "subdirs(\"../test-$name\")"; done >"$out/test-all/CTestTestfile.cmake"

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

select=()
if [ $# -gt 0 ]; then
  pattern=$(IFS='|'; echo "$*")
  select=(-R "$pattern")
fi
cd "$out/test-all"
# Many tests wait: three for two processors.
exec ctest -j $((jobs + jobs / 2)) --output-on-failure --no-tests=error --timeout 300 "${select[@]}"
