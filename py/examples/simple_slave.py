#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A slave that prints what it receives and answers each message. The master
may be simple_master.py or the C++ demo: eshm_demo master [shm_name]."""

from common import eshm, make_parser, run


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--messages", type=int, default=0, help="end after so many; 0: never")
    options = parser.parse_args()

    print(f"slave of {options.shm_name!r} waits for its master; Ctrl-C ends it")
    with eshm.ESHM(
        options.shm_name,
        eshm.ESHMRole.SLAVE,
        # However long the master stays away, this slave waits for it.
        eshm.ESHMDisconnectBehavior.NEVER,
        reconnect_wait_ms=0,
        max_reconnect_attempts=0,
    ) as link:
        received = 0
        while options.messages == 0 or received < options.messages:
            try:
                text = link.read().decode(errors="replace")
            except eshm.Timeout:
                print(f"   nothing came; the master is {link.get_remote_state().name}")
                continue
            received += 1
            print(f"<- {text}")
            try:
                link.write(f"ACK from Python slave #{received}".encode())
            except eshm.Timeout:
                pass  # the master went away meanwhile


run(main)
