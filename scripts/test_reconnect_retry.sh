#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A slave without limits outlives what the default policy allows: its master is
# away for longer than 5 seconds and 50 attempts, and the link comes back.
#   scripts/test_reconnect_retry.sh [--backend posix|sysv]
. "$(dirname "$0")/stage.sh"

away_s=7
few=10

say "A slave starts first and waits for its master"
start slave slave '1;32'
slave=$started
await 1 'waits for its master' slave
start master master-1 '1;34'
master=$started
await $few "<- ACK [0-9]* from PID $slave " master-1

say "kill -9 of the master (PID $master); it stays away for $away_s s"
kill_hard "$master"
sleep $away_s
kill -0 "$slave" 2>/dev/null || give_up "the slave did not wait"

say "The master is started again"
start master master-2 '1;35'
master=$started
await $few "<- ACK [0-9]* from PID $slave " master-2
await 1 "master is back: PID $master," slave

end TERM "$slave"
end TERM "$master"
finish_showing
demand_order
say "The slave (PID $slave) waited $away_s s, and the link came back."
