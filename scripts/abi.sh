#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Compares the library's ABI, its functions and the types of the public headers, with the
# baseline in test/abi, and prints what changed:
#   scripts/abi.sh            fails on any change but an added function or enumerator
#   scripts/abi.sh --update   renews the baseline: in the commit that changes the ABI
# A struct that grows as eshm_data.h allows fails, too: abidiff cannot tell reserved words
# from others. Read what it prints, then renew the baseline.
#   ESHM_ABI_LIBRARY=path  takes that library, which has debug information, instead of
#                          building one (for the tests)
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  '' | --update) ;;
  *) echo "usage: scripts/abi.sh [--update]" >&2; exit 2 ;;
esac
baseline=test/abi/baseline.xml

library=${ESHM_ABI_LIBRARY:-}
if [ -z "$library" ]; then
  scripts/setup.sh test
  build=build-scripts/abi
  library=$build/libeshm.so
  mkdir -p "$build"
  # GCC, as for the baseline: compilers describe the same types differently.
  { cmake -S . -B "$build" -G Ninja -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ \
      -DCMAKE_BUILD_TYPE=Debug -DESHM_BUILD_BASIC_TESTS=OFF -DESHM_BUILD_EXAMPLES=OFF -DESHM_BUILD_TOOLS=OFF &&
    cmake --build "$build" -j "$(nproc)" --target eshm; } >"$build.log" 2>&1 ||
    { cat "$build.log"; echo "abi: the build failed" >&2; exit 1; }
fi

found=$(mktemp)
trap 'rm -f "$found"' EXIT
# What is neither exported nor in the public headers stays out, and so does all that
# depends on the machine, on the folder and on the lines' numbers.
abidw --headers-dir include --drop-private-types --exported-interfaces-only \
  --no-show-locs --short-locs --no-comp-dir-path --no-corpus-path --no-elf-needed --no-architecture \
  --type-id-style hash --out-file "$found" "$library"
grep -q "class-decl name='ESHMConfig' size-in-bits" "$found" ||
  { echo "abi: $library tells nothing of its types: it needs debug information (-g)" >&2; exit 1; }

if [ "${1:-}" = --update ]; then
  cp "$found" "$baseline"
  echo "abi: renewed $baseline; its difference belongs to the commit"
  exit 0
fi

# Exit code of abidiff: 1 and 2 for its own failures, 4 for a change, 8 for one that is
# surely incompatible.
code=0
abidiff --harmless "$baseline" "$found" || code=$?
[ $((code & 3)) -eq 0 ] || { echo "abi: abidiff failed" >&2; exit 1; }
code=0
abidiff --no-added-syms "$baseline" "$found" >/dev/null || code=$?
if [ "$code" -ne 0 ]; then
  echo "abi: the ABI changed. Programs that were built with an earlier release may break." >&2
  echo "abi: if eshm_data.h allows each change above: scripts/abi.sh --update" >&2
  exit 1
fi
echo "abi: compatible with $baseline"
