#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A master that says hello and prints what comes back. The slave may be
simple_slave.py or the C++ demo: eshm_demo slave [shm_name]."""

import time

from common import eshm, make_parser, run


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--messages", type=int, default=0, help="end after so many; 0: never")
    parser.add_argument("--interval-ms", type=int, default=500)
    options = parser.parse_args()

    with eshm.ESHM(options.shm_name, eshm.ESHMRole.MASTER) as link:
        print(f"master of {options.shm_name!r}; Ctrl-C ends it")
        number = 0
        while options.messages == 0 or number < options.messages:
            number += 1
            text = f"Hello from Python master #{number}"
            link.write(text.encode())
            print(f"-> {text}")
            began = time.monotonic()
            try:
                print(f"<- {link.read(timeout_ms=options.interval_ms).decode()}")
            except eshm.Timeout:
                print("   no answer" if link.is_remote_alive() else "   no slave")
            time.sleep(max(0.0, began + options.interval_ms / 1000 - time.monotonic()))


run(main)
