#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The library exports exactly what test/abi/symbols.txt lists, each function under the
# version of its release: exported_symbols.sh libeshm.so
set -euo pipefail
listed=$(dirname "$0")/abi/symbols.txt
exported=$(nm -D --defined-only --with-symbol-versions "$1" | awk '{print $3}' | LC_ALL=C sort)
if ! diff -u --label symbols.txt --label "$(basename "$1")" "$listed" - <<<"$exported"; then
  echo "the exported symbols differ (-: only listed, +: only exported); src/eshm.map says how to add one" >&2
  exit 1
fi
echo "$(grep -c '^eshm_' "$listed") functions, nothing else"
