# SPDX-License-Identifier: MIT
# Sourced by the scripts that put the demo's processes on a stage: builds the
# demo, starts and ends masters and slaves on a link of their own, shows what
# they print, and leaves nothing behind. Ends only what it started, by PID.
#   ESHM_DEMO=path  takes that demo instead of building one (for the tests)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

play=$(basename "$0" .sh)
options=("$@")
case ${1:-} in
  '' | --backend) ;;
  *) echo "usage: scripts/$play.sh [--backend posix|sysv]" >&2; exit 2 ;;
esac

demo=${ESHM_DEMO:-}
if [ -z "$demo" ]; then
  scripts/setup.sh demo
  build=build-scripts/demo
  demo=$build/eshm_demo
  echo "== building"
  mkdir -p "$build"
  { cmake -S . -B "$build" -DESHM_BUILD_BASIC_TESTS=OFF &&
    cmake --build "$build" -j "$(nproc)" --target eshm_demo; } >"$build.log" 2>&1 ||
    { cat "$build.log"; echo "$play: the build failed" >&2; exit 1; }
fi

name=${play}_$$_$(date +%s)
logs=$(mktemp -d)
running=()     # PIDs of the demo's processes
viewers=()     # what shows their output
bad_ends=()    # who did not end as asked
patience_s=60  # far above what any step needs

cleanup() {
  local pid
  for pid in "${running[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${running[@]}" "${viewers[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$logs" "/dev/shm/eshm_$name"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n== %s\n' "$*"; }

give_up() {
  echo "$play: FAILED: $*" >&2
  exit 1
}

# start ROLE LABEL COLOUR: the PID is left in $started, the output in $logs/LABEL.
start() {
  local role=$1 label=$2 colour=$3 prefix
  prefix="[$label] "
  [ -t 1 ] && prefix=$(printf '\033[%sm[%s]\033[0m ' "$colour" "$label")
  : >"$logs/$label"
  "$demo" "$role" "$name" "${options[@]}" >"$logs/$label" 2>&1 &
  started=$!
  running+=("$started")
  tail -n +1 -f -s 0.05 --pid="$started" "$logs/$label" 2>/dev/null | sed -u "s|^|$prefix|" &
  viewers+=($!)
}

# count PATTERN LABEL: lines of that output that match.
count() { grep -c -e "$1" "$logs/$2" || true; }

# The load per processor, at least 1 and at most 10: an overloaded machine gets more time.
load() {
  local load
  read -r load _ </proc/loadavg
  load=$((${load%.*} / $(nproc)))
  echo $((load < 1 ? 1 : load > 10 ? 10 : load))
}

# await COUNT PATTERN LABEL: until so many lines of that output match.
await() {
  local begin=$SECONDS
  until [ "$(count "$2" "$3")" -ge "$1" ]; do
    [ $((SECONDS - begin)) -lt "$patience_s" ] || [ $((SECONDS - begin)) -lt $((patience_s * $(load))) ] || give_up "'$2' did not appear $1 times in the output of $3"
    sleep 0.05
  done
}

# number LABEL WORDS: the number behind these words in a summary.
number() { sed -n "s/.*$2 \([0-9][0-9]*\).*/\1/p" "$logs/$1" | tail -n 1; }

forget() {
  local pid kept=()
  for pid in "${running[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
  running=("${kept[@]}")
}

kill_hard() {
  kill -KILL "$1"
  { wait "$1" || true; } 2>/dev/null
  forget "$1"
}

# end SIGNAL PID: an exit code other than 0 is noted in $bad_ends.
end() {
  local code=0
  kill "-$1" "$2"
  wait "$2" || code=$?
  forget "$2"
  [ $code -eq 0 ] || bad_ends+=("PID $2 ended with code $code after SIG$1")
}

# Until all that was printed has been shown.
finish_showing() {
  local viewer
  for viewer in "${viewers[@]}"; do wait "$viewer" || true; done
  viewers=()
}

torn_messages() { cat "$logs"/* | grep -c '^<- TORN' || true; }
left_files() { find /dev/shm -maxdepth 1 -name "*$name*" | wc -l; }

# What must be true at the end of any play.
demand_order() {
  [ "$(torn_messages)" -eq 0 ] || give_up "$(torn_messages) messages were torn"
  [ ${#bad_ends[@]} -eq 0 ] || give_up "${bad_ends[*]}"
  [ "$(left_files)" -eq 0 ] || give_up "something was left in /dev/shm"
}
