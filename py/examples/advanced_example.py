#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Both ends in one process: sizes, time stamps, events, errors, statistics."""

import array
import threading

from common import eshm, make_parser, run


def show_events(name: str) -> None:
    print("-- events")
    seen = threading.Event()

    def on_event(link: eshm.ESHM, event: eshm.Event) -> None:
        print(f"   {link.get_role().name} is told: {event.name}")
        seen.set()

    with eshm.ESHM(name, eshm.ESHMRole.MASTER) as master:
        master.on_event(on_event)
        with eshm.ESHM(name, eshm.ESHMRole.SLAVE):
            seen.wait()
            seen.clear()
        seen.wait()


def show_messages(name: str) -> None:
    print("-- messages")
    large = eshm.Channel(max_message_size=1 << 20)
    flags = eshm.Flag.TIMESTAMPS
    with eshm.ESHM(name, eshm.ESHMRole.MASTER, m2s=large, flags=flags) as master:
        with eshm.ESHM(name, eshm.ESHMRole.SLAVE) as slave:  # takes what is there
            for number in range(5):
                master.write(b"value %d" % number)
            message = slave.read_msg()
            print(f"   newest: {message.data!r}, number {message.sequence}")
            print(f"   {message.age_ns} ns old")

            master.write(array.array("d", [1.0, 2.0, 3.0]))
            room = array.array("d", bytes(8 * 10))
            count = slave.read_into(room) // 8
            print(f"   read in place: {list(room[:count])}")

            master.write(b"")
            print(f"   an empty message is an event: {slave.read()!r}")

            try:
                slave.write(bytes(5000))
            except eshm.MessageTooLarge as error:
                print(f"   refused, code {error.code.name}: {error}")
            try:
                slave.read(timeout_ms=20)
            except eshm.Timeout as error:
                print(f"   {error}")
            print(f"   written {master.get_stats()['m2s_write_count']} to the slave")


def main() -> None:
    options = make_parser(__doc__).parse_args()
    show_events(options.shm_name)
    show_messages(options.shm_name)


run(main)
