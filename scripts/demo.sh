#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Shows two processes talking, kills each with -9, starts it again, and says in
# numbers whether the link came back and whether anything was torn.
#   scripts/demo.sh [--backend posix|sysv]
# Exit code 0 only where all of it is true.
. "$(dirname "$0")/stage.sh"

pause=1000 # ms between a kill and the new start
few=15     # messages: one and a half seconds of talk

say "1. A master publishes this machine's readings, a slave answers each"
start master master-1 '1;34'
master=$started
start slave slave-1 '1;32'
slave=$started
await $few "<- ACK [0-9]* from PID $slave " master-1

say "2. kill -9 of the slave (PID $slave); the master goes on alone for a second"
dead_slave=$slave
kill_hard "$slave"
sleep "$((pause / 1000))"

say "   The slave is started again"
start slave slave-2 '1;36'
slave=$started
await $few "<- ACK [0-9]* from PID $slave " master-1
await 1 "slave is back: PID $slave," master-1

say "3. kill -9 of the master (PID $master); the slave waits"
dead_master=$master
answered_by_slave=$(count "<- ACK [0-9]* from PID $slave " master-1)
kill_hard "$master"
sleep "$((pause / 1000))"

say "   The master is started again"
start master master-2 '1;35'
master=$started
await $few "<- ACK [0-9]* from PID $slave " master-2
await 1 "master is back: PID $master," slave-2

say "4. Both are asked to end, by Ctrl-C and by SIGTERM"
end INT "$master"
end TERM "$slave"
finish_showing

answered_by_both=$(count "<- ACK [0-9]* from PID $slave " master-2)
received=$(cat "$logs"/* | grep -c '^<- ')
strange=$(($(number master-2 'other text') + $(number slave-2 'other text')))
disorder=$(($(number master-2 'out of order') + $(number slave-2 'out of order')))
missed=$(($(number master-2 missed) + $(number slave-2 missed)))
slave_gap=$(sed -n "s/.*slave is back: PID $slave, \([0-9]*\) ms.*/\1/p" "$logs/master-1")
master_gap=$(sed -n "s/.*master is back: PID $master, \([0-9]*\) ms.*/\1/p" "$logs/slave-2")

say "Summary"
echo "slave killed:  PID $dead_slave -> $slave, back $slave_gap ms after the last sign of the old one ($pause of them a pause here), $answered_by_slave readings answered since"
echo "master killed: PID $dead_master -> $master, back $master_gap ms after the last sign of the old one ($pause of them a pause here), $answered_by_both readings answered since"
echo "messages received by all four processes: $received, torn $(torn_messages), of unknown form $strange"
echo "the two that ended in order: missed $missed, out of order $disorder"
for end in master slave; do sed -n "s/^ *one way,/one way to the $end,/p" "$logs/$end-2"; done
echo "files left in /dev/shm: $(left_files)"

demand_order
[ "$strange" -eq 0 ] || give_up "$strange messages were not what the other end writes"
[ "$disorder" -eq 0 ] || give_up "$disorder messages came out of order"
echo "The link came back both times, and nothing was torn."
