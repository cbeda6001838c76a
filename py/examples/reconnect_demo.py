#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A slave whose master is killed with -9 and started again, three times. It
calls nothing to reconnect: it reads, and the link comes back."""

import argparse
import subprocess
import sys
import time

from common import eshm, make_parser, run


def be_master(name: str) -> None:
    with eshm.ESHM(name, eshm.ESHMRole.MASTER) as link:
        number = 0
        while True:
            number += 1
            link.write(b"message %d" % number)
            time.sleep(0.05)


def start_master(name: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, __file__, name, "--as-master"])


def follow(link: eshm.ESHM, count: int) -> None:
    for _ in range(count):
        message = link.read_msg(-1)
        print(f"<- {message.data.decode()} (sender number {message.generation})")


def be_slave(options: argparse.Namespace) -> None:
    master = start_master(options.shm_name)
    try:
        with eshm.ESHM(
            options.shm_name,
            eshm.ESHMRole.SLAVE,
            eshm.ESHMDisconnectBehavior.NEVER,
            reconnect_wait_ms=0,
            max_reconnect_attempts=0,
        ) as link:
            link.on_event(lambda _, event: print(f"** {event.name}"))
            follow(link, 3)
            for _ in range(options.kills):
                print(f"** kill -9 {master.pid}")
                master.kill()
                master.wait()
                killed = time.monotonic()
                time.sleep(0.3)
                link.try_read()  # what the killed one had published last
                master = start_master(options.shm_name)
                follow(link, 1)
                print(f"** back {(time.monotonic() - killed) * 1000:.0f} ms after the kill")
                follow(link, 2)
    finally:
        master.terminate()
        master.wait()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--as-master", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_master:
        be_master(options.shm_name)
    else:
        be_slave(options)


run(main)
