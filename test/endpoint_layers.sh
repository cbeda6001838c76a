#!/usr/bin/env bash
# Includes inside src/endpoint point down: endpoint_layers.sh [FOLDER]
# Also fails if a file is not in the list, or has grown over 400 lines. At the end it
# checks itself on a copy in which one include points up.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/../src/endpoint}
layers=$here/endpoint_layers.txt
most_lines=400
failures=0
complain() { echo "endpoint_layers: $*" >&2; failures=$((failures + 1)); }

declare -A layer=()
number=0
while read -r line; do
  case $line in '' | '#'*) continue ;; esac
  number=$((number + 1))
  for name in $line; do layer[$name]=$number; done
done <"$layers"

files=0
includes=0
for path in "$folder"/*.h "$folder"/*.cpp; do
  file=$(basename "$path")
  name=${file%.*}
  files=$((files + 1))
  own=${layer[$name]:-}
  [ -n "$own" ] || { complain "$file is not in $(basename "$layers")"; continue; }
  [ "$(wc -l <"$path")" -le $most_lines ] || complain "$file has over $most_lines lines"
  while read -r included; do
    [ "$included" != "$name" ] || continue
    includes=$((includes + 1))
    [ "${layer[$included]:-99}" -lt "$own" ] || complain "$file includes $included.h, which is not below it"
  done < <(sed -n 's|^#include "endpoint/\(.*\)\.h".*|\1|p' "$path")
done
[ $includes -gt 0 ] || complain "no include was found in $folder"
for name in "${!layer[@]}"; do
  [ -e "$folder/$name.h" ] || complain "$name is in the list, and not in the folder"
done
[ $failures -eq 0 ] || exit 1

if [ $# -eq 0 ]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp "$folder"/*.h "$folder"/*.cpp "$copy"
  echo '#include "endpoint/upkeep.h"' >>"$copy/service.h"
  ! "$0" "$copy" 2>/dev/null || { complain "an include that points up was not noticed"; exit 1; }
fi
echo "$files files, $includes includes, all of them down"
