#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every source file, script and build file names its licence in one of its first two
# lines; what can hold no comment is listed in REUSE.toml.
#   licence.sh          names the files that do not
#   licence.sh --add    adds the line to them
set -euo pipefail
cd "$(dirname "$0")/.."
tag="SPDX-License-""Identifier: MIT"
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  files() { git ls-files --cached --others --exclude-standard; }
else
  files() { find . -path './build*' -prune -o -type f -print | sed 's|^\./||'; }
fi

# How the line looks in this file; empty: REUSE.toml speaks for it.
line_for() {
  case $1 in
    test/abi/headers-*) ;;
    *.c | *.pml | include/eshm.h | include/eshm_data.h) echo "/* $tag */" ;;
    *.cpp | *.h | *.hpp) echo "// $tag" ;;
    *.sh | *.py | *.pyi | *.cmake | *.cmake.in | *.pc.in | *.map | *.toml | */CMakeLists.txt | CMakeLists.txt | .ci/run | \
      .clang-format | .clang-tidy | .editorconfig | .gitignore) echo "# $tag" ;;
  esac
}

missing=0
while read -r file; do
  [ -f "$file" ] || continue
  line=$(line_for "$file")
  if [ -z "$line" ] || head -n 2 "$file" | grep -qxF "$line"; then continue; fi
  if [ "${1:-}" = --add ]; then
    if head -n 1 "$file" | grep -q '^#!'; then sed -i "1a $line" "$file"; else sed -i "1i $line" "$file"; fi
  else
    echo "$file: no '$line' in its first two lines"
    missing=$((missing + 1))
  fi
done < <(files)
if [ "$missing" -gt 0 ]; then
  echo "$missing files do not name their licence: test/licence.sh --add" >&2
  exit 1
fi
for file in LICENSE README.md pyproject.toml; do
  grep -q MIT "$file" || { echo "$file does not name the licence" >&2; exit 1; }
done
