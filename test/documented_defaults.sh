#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The defaults that documents name are those of the library:
# documented_defaults.sh PROGRAM, where PROGRAM is print_defaults. Other documents
# refer to eshm_default_config. At the end the script checks itself: without its true
# value each default is complained of.
set -euo pipefail
cd "$(dirname "$0")/.."
failures=0
complain() { failures=$((failures + 1)); [ -n "${quiet:-}" ] || echo "documented_defaults: $*" >&2; }

declare -A value=()
defaults=$("$1")
while IFS='=' read -r name text; do value[$name]=$text; done <<<"$defaults"

declare -A text_of=()  # each document as one line, without the stars of a C comment
for file in README.md docs/RECONNECTION_GUIDE.md include/eshm.h py/README.md py/eshm/_link.py; do
  text_of[$file]=$(sed 's/^ \* / /' "$file" | tr -s '\n ' ' ')
done

# says FILE TEXT
says() { [[ ${text_of[$1]} == *"$2"* ]] || complain "$1 does not say: $2"; }
# row FILE FIELDS VALUE: of a table whose last column is the default.
row() { grep -qE "^\| $2 \|.*\| $3 \|\$" "$1" || complain "$1, default of $2: not $3"; }

check_all() {
  local field
  for field in shm_name role disconnect_behavior stale_threshold_ms reconnect_retry_interval_ms \
    max_reconnect_attempts reconnect_wait_ms auto_cleanup use_threads backend spin_us permissions \
    flags interrupt; do
    row README.md "\`$field\`" "${value[$field]}"
  done
  row README.md '`m2s`, `s2m`' "${value[m2s]}"
  [ "${value[m2s]}" = "${value[s2m]}" ] || complain "the directions' defaults differ"

  for field in reconnect_retry_interval_ms max_reconnect_attempts reconnect_wait_ms; do
    says docs/RECONNECTION_GUIDE.md "| \`$field\` | ${value[$field]} |"
  done
  says docs/RECONNECTION_GUIDE.md "${value[disconnect_behavior]/\`_/\`ESHM_DISCONNECT_} (default)"

  says include/eshm.h "${value[stale_threshold_ms]} ms stale threshold, ${value[max_reconnect_attempts]} attempts \
each ${value[reconnect_retry_interval_ms]} ms and ${value[reconnect_wait_ms]} ms in all, \
${value[max_message_size]}-byte messages, ${value[m2s]%%,*} wins"

  says py/README.md "waits up to ${value[read_ms]} ms"
  for field in py/README.md py/eshm/_link.py; do
    says "$field" "waits ${value[read_ms]} ms, "
  done
}

check_all
if grep -nE 'default:? [0-9]' include/*.h include/*.hpp; then
  complain "these name a number; eshm_default_config's comment and README.md have them"
fi
[ $failures -eq 0 ] || exit 1

quiet=yes
for name in "${!value[@]}"; do
  failures=0
  kept=${value[$name]}
  value[$name]=other
  check_all
  value[$name]=$kept
  [ $failures -gt 0 ] || { echo "documented_defaults: $name is compared nowhere" >&2; exit 1; }
done
echo "${#value[@]} defaults, each as documented"
