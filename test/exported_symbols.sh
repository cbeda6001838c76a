#!/usr/bin/env bash
# The library exports eshm_* and nothing else: exported_symbols.sh libeshm.so
set -euo pipefail
exported=$(nm -D --defined-only "$1" | awk '{print $3}' | sed 's/@.*//' | sort -u)
count=$(grep -c '^eshm_' <<<"$exported")
# The version script's own name stands among them.
strange=$(grep -v -e '^eshm_' -e '^ESHM_[0-9.]*$' <<<"$exported" || true)
[ "$count" -ge 25 ] || { echo "only $count functions are exported" >&2; exit 1; }
[ -z "$strange" ] || { echo "exported besides: $strange" >&2; exit 1; }
echo "$count functions, nothing else"
