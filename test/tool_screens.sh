#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# eshm top and eshm plot in a terminal (tmux), resized meanwhile: the screens are those kept
# in test/tool_screens. tool_screens.sh [--update] PROGRAM
# Needs tmux, and a namespace with a /dev/shm of its own; else it is skipped (77).
set -euo pipefail
cd "$(dirname "$0")/.."
update=0
if [ "$1" = --update ]; then
  update=1
  shift
fi
if [ "${ESHM_SCREENS_INSIDE:-}" != 1 ]; then
  command -v tmux >/dev/null || { echo "skipped: tmux is not installed"; exit 77; }
  unshare -rmpf --mount-proc true 2>/dev/null || { echo "skipped: no namespaces here"; exit 77; }
  arguments=("$(readlink -f "$1")")
  [ $update = 0 ] || arguments=(--update "${arguments[@]}")
  # In a PID namespace of its own: nothing that runs there outlives the test.
  exec env ESHM_SCREENS_INSIDE=1 unshare -rmpf --mount-proc --kill-child "$0" "${arguments[@]}"
fi
mount -t tmpfs -o size=64m tmpfs /dev/shm
eshm=$1 failures=0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMUX_TMPDIR=$folder LC_ALL=C.UTF-8
in_tmux() { tmux -f /dev/null "$@"; }

# A living link without messages, and an orphan.
mkfifo "$folder/in"
"$eshm" send arm --wait 0 <"$folder/in" &
"$eshm" send cam0 --wait 0 <"$folder/in" & doomed=$!
exec 9>"$folder/in"
until [ -e /dev/shm/eshm_arm ] && [ -e /dev/shm/eshm_cam0 ]; do sleep 0.02; done
kill -9 $doomed
{ wait $doomed; } 2>/dev/null || true
yes '{"x":1,"y":3}' | "$eshm" send typed --type 'P{x:f64@0,y:f64@8}16' --json --rate 500 --wait 0 &

# Numbers that differ from run to run become #, curves become ~, spaces before an end go.
plain() {
  LC_ALL=C sed -E 's/ *(\xe2[\x96\xa0-\xa3][\x80-\xbf])(\xe2[\x96\xa0-\xa3][\x80-\xbf]| )*/~/g
    s/[0-9]+(\.[0-9]+)?[KMGhsmnud]*/#/g; s/#(:#)+/#/g; s/ +#/ #/g; s/ +$//'
}
# Compares a screen with the kept one, as soon as it is the same; or gives up.
expect() {
  local kept=test/tool_screens/$1.txt seen="$folder/seen"
  if [ $update = 1 ]; then
    sleep 1
    in_tmux capture-pane -p | plain >"$kept"
    return
  fi
  for _ in $(seq 100); do
    in_tmux capture-pane -p | plain >"$seen"
    if cmp -s "$kept" "$seen"; then return; fi
    sleep 0.1
  done
  echo "the screen is not that of $kept:"
  diff "$kept" "$seen" || true
  failures=1
}
ended() {
  for _ in $(seq 100); do
    in_tmux has-session 2>/dev/null || return 0
    sleep 0.1
  done
  echo "$1 did not end"
  failures=1
}

in_tmux new-session -d -x 80 -y 24 "'$eshm' top --interval 0.2 --filter a"
expect top_80x24
in_tmux send-keys Enter
expect top_detail_80x24
in_tmux send-keys Enter Down
in_tmux resize-window -x 200 -y 60
expect top_200x60
in_tmux resize-window -x 40 -y 6
expect top_40x6
in_tmux send-keys q
ended "eshm top"
in_tmux new-session -d -x 80 -y 24 "NO_COLOR=1 '$eshm' plot typed x y --span 0.5"
expect plot_80x24
in_tmux resize-window -x 200 -y 60
expect plot_200x60
in_tmux send-keys C-c
ended "eshm plot"
# The terminal is as it was: echo and lines.
in_tmux new-session -d -x 80 -y 24 "stty -a >'$folder/before'; '$eshm' top --interval 0.1 -n 2; stty -a >'$folder/after'"
ended "eshm top -n 2"
cmp "$folder/before" "$folder/after" || failures=1
exit $failures
