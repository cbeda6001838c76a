#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Includes inside src/endpoint point down: endpoint_layers.sh [FOLDER]
# An include counts by its file's name, with or without a folder. The script also fails if
# a file is not in the list, has over 400 lines (that of its licence not counted), or includes
# another one in a form other than "endpoint/NAME.h". At the end it checks itself on copies
# with one such fault each.
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
  file=${path##*/}
  name=${file%.*}
  files=$((files + 1))
  own=${layer[$name]:-}
  [ -n "$own" ] || { complain "$file is not in ${layers##*/}"; continue; }
  [ "$(grep -vc SPDX "$path")" -le $most_lines ] || complain "$file has over $most_lines lines"
  while read -r included; do
    base=${included##*/}
    base=${base%.h}
    if [ "$included" != "endpoint/$base.h" ]; then
      # Of another part or of the system, unless src/endpoint has a file of that name.
      [ -n "${layer[$base]:-}" ] || continue
      complain "$file includes $included, not endpoint/$base.h"
    fi
    [ "$base" != "$name" ] || continue
    includes=$((includes + 1))
    [ "${layer[$base]:-99}" -lt "$own" ] || complain "$file includes $base.h, which is not below it"
  done < <(sed -nE 's|^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]([^">]*)[">].*|\1|p' "$path")
done
[ $includes -gt 0 ] || complain "no include was found in $folder"
for name in "${!layer[@]}"; do
  [ -e "$folder/$name.h" ] || [ -e "$folder/$name.cpp" ] || complain "$name is in the list, and not in the folder"
done
[ $failures -eq 0 ] || exit 1

# must_fail COMPLAINT: on the copy with a fault; then the copy is without it again.
must_fail() {
  if said=$("$0" "$copy" 2>&1) || [[ $said != *"$1"* ]]; then
    complain "not noticed: $1"
    exit 1
  fi
  rm -rf "$copy"/*
  cp "$folder"/*.h "$folder"/*.cpp "$copy"
}

if [ $# -eq 0 ]; then
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  cp "$folder"/*.h "$folder"/*.cpp "$copy"
  "$0" "$copy" >/dev/null
  for form in '#include "endpoint/upkeep.h"' '#include <endpoint/upkeep.h>' \
    '#include "upkeep.h"' '  # include "../endpoint/upkeep.h"'; do
    echo "$form" >>"$copy/service.h"
    must_fail "service.h includes upkeep.h, which is not below it"
  done
  echo '#include "settings.h"' >>"$copy/service.h"
  must_fail "service.h includes settings.h, not endpoint/settings.h"
  lines=$(grep -vc SPDX "$copy/log.h")
  for ((; lines < most_lines + 1; ++lines)); do echo; done >>"$copy/log.h"
  must_fail "log.h has over $most_lines lines"
  touch "$copy/unlisted.h"
  must_fail "unlisted.h is not in"
fi
echo "$files files, $includes includes, all of them down"
