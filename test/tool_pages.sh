#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The man page, the completions and docs/TOOL.md name exactly the commands of `eshm --help`.
# tool_pages.sh PROGRAM
set -euo pipefail
cd "$(dirname "$0")/.."
eshm=$1
commands=$("$eshm" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z]\+\) .*/\1/p' | sort)
[ -n "$commands" ] || { echo "no commands in --help"; exit 1; }
failures=0
compare() {  # what is named by $1, in $2
  local found
  found=$(sort -u <<<"$2")
  [ "$found" = "$commands" ] && return
  echo "$1 names other commands than --help:"
  diff <(echo "$commands") <(echo "$found") || true
  failures=1
}
compare "the man page" "$(sed -n '/^.SH COMMANDS/,/^.PP/s/^\.BI\? \([a-z]\+\).*/\1/p; /^.SH COMMANDS/,/^.PP/s/^\.BR \([a-z]\+\) .*/\1/p' tools/man/eshm.1)"
compare "bash" "$(sed -n 's/.*commands="\(.*\)"$/\1/p' tools/completions/eshm.bash | tr ' ' '\n')"
compare "zsh" "$(sed -n "s/^  '\([a-z]*\):.*/\1/p" tools/completions/_eshm)"
compare "fish" "$(sed -n 's/^set -l commands //p' tools/completions/eshm.fish | tr ' ' '\n')"
compare "docs/TOOL.md" "$(sed -n 's/^| `eshm \([a-z]*\).*/\1/p' docs/TOOL.md)"
bash -n tools/completions/eshm.bash
# Completing a command, an option and an option's value.
complete_with() {
  bash -c 'source tools/completions/eshm.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _eshm
           printf "%s\n" "${COMPREPLY[@]}"' eshm "$eshm" "$@"
}
[ "$(complete_with st)" = stat ] || { echo "bash does not complete st to stat"; failures=1; }
[ "$(complete_with ls --js)" = --json ] || { echo "bash does not complete --js"; failures=1; }
[ "$(complete_with send x --role m)" = master ] || { echo "bash does not complete a role"; failures=1; }
exit $failures
