#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Kills master and slave in turn, again and again, and starts each at once; in
# the last round both are dead together, and the slave is started first.
#   scripts/test_full_reconnect.sh [--backend posix|sysv]
. "$(dirname "$0")/stage.sh"

rounds=4
few=5

start master master-0 '1;34'
master=$started
start slave slave-0 '1;32'
slave=$started
await $few "<- ACK [0-9]* from PID $slave " master-0
master_label=master-0

for ((round = 1; round <= rounds; ++round)); do
  say "Round $round of $rounds: the slave (PID $slave) is killed and started"
  kill_hard "$slave"
  start slave "slave-$round" '1;32'
  slave=$started
  await $few "<- ACK [0-9]* from PID $slave " "$master_label"

  say "Round $round of $rounds: the master (PID $master) is killed and started"
  kill_hard "$master"
  master_label=master-$round
  start master "$master_label" '1;34'
  master=$started
  await $few "<- ACK [0-9]* from PID $slave " "$master_label"
done

say "Both are killed; the slave is started first and must read nothing of the dead master"
kill_hard "$master"
kill_hard "$slave"
start slave slave-last '1;32'
slave=$started
await 1 'waits for its master' slave-last
sleep 1
[ "$(count '^<- ' slave-last)" -eq 0 ] || give_up "the slave read what a dead master had written"
start master master-last '1;34'
master=$started
await $few "<- ACK [0-9]* from PID $slave " master-last

end INT "$slave"
end INT "$master"
finish_showing
demand_order
say "$((2 * rounds + 1)) returns of the link, nothing torn."
