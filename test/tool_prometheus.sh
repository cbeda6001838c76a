#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A real Prometheus fetches the page of `eshm metrics --listen` and shows its series.
# tool_prometheus.sh PROGRAM. Skipped (77) without prometheus (Debian: prometheus).
set -euo pipefail
eshm=$1
command -v prometheus >/dev/null && command -v promtool >/dev/null ||
  { echo "skipped: prometheus is not installed"; exit 77; }
folder=$(mktemp -d) link="test_prometheus_$$"
processes=()
cleanup() {
  [ ${#processes[@]} -eq 0 ] || kill "${processes[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
mkfifo "$folder/in"
"$eshm" send "$link" --wait 0 <"$folder/in" & processes+=($!)
exec 9>"$folder/in"
echo hello >&9
"$eshm" metrics --listen 0 2>"$folder/address" 9>&- & processes+=($!)
until grep -q metrics "$folder/address"; do sleep 0.05; done
target=$(sed -n 's,.*http://\(.*\)/metrics.*,\1,p' "$folder/address")
cat >"$folder/prometheus.yml" <<END
scrape_configs:
  - job_name: eshm
    scrape_interval: 1s
    static_configs: [{targets: ['$target']}]
END
# A port that nobody has; it may be taken before prometheus has it, then another is tried.
ask() { promtool query instant "http://127.0.0.1:$port" "$1" 2>/dev/null; }
for attempt in 1 2 3 4 5; do
  port=$((20000 + (RANDOM + $$ + attempt * 7919) % 10000))
  prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/data" \
    --web.listen-address="127.0.0.1:$port" >"$folder/log" 2>&1 9>&- & server=$!
  processes+=($server)
  while kill -0 $server 2>/dev/null; do
    if ask "eshm_messages_written_total{link=\"$link\",direction=\"m2s\"}" | grep -q '=> 1 @'; then
      ask "eshm_role_held{link=\"$link\",role=\"master\"}" | grep -q '=> 1 @'
      ask 'up{job="eshm"}' | grep -q '=> 1 @'
      exit 0
    fi
    sleep 0.2
  done
done
cat "$folder/log"
exit 1
