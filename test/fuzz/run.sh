#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs one fuzzer for some seconds, from the corpus in the tree:
#   run.sh PROGRAM SECONDS [FOLDER]
# FOLDER keeps what it learns. Prints how many inputs it tried, and at what rate.
set -euo pipefail
shopt -s nullglob
program=$1
seconds=$2
target=${program##*/fuzz_}
corpus=$(cd "$(dirname "$0")" && pwd)/corpus/$target
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
learned=${3:-$work/learned}
mkdir -p "$learned"

began=$(date +%s%N)
# An input that takes 10 s hangs. Leaks are looked for in test_resources.
if ! "$program" "$learned" "$corpus" -max_total_time="$seconds" -max_len=16384 -timeout=10 \
  -detect_leaks=0 -print_final_stats=1 -artifact_prefix="$learned/finding_" \
  -verbosity=1 >"$work/log" 2>&1; then
  tail -n 60 "$work/log"
  echo "fuzz: $target found something; the input is in hexadecimal:" >&2
  for finding in "$learned"/finding_*; do od -An -tx1 -v "$finding" | tr -d ' \n'; echo; done
  exit 1
fi
tried=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
took=$((($(date +%s%N) - began) / 1000000))
echo "fuzz: $target: $tried inputs in $((took / 1000)) s, $((tried * 1000 / took)) a second, no finding"
[ -z "${ESHM_TALLY:-}" ] || echo "tally: fuzz_images $tried" >>"$ESHM_TALLY"
