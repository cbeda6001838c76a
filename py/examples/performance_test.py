#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a second, the pair of a write and a read, and the way to another
process and back. See py/benchmarks for figures beside other packages."""

import argparse
import statistics
import subprocess
import sys
import time

from common import eshm, make_parser, run

MESSAGE = b"x" * 64


def measure_calls(name: str, count: int) -> None:
    with eshm.ESHM(name, eshm.ESHMRole.MASTER) as master:
        with eshm.ESHM(name, eshm.ESHMRole.SLAVE) as slave:
            began = time.perf_counter()
            for _ in range(count):
                master.write(MESSAGE)
            seconds = time.perf_counter() - began
            print(f"write, 64 bytes:            {count / seconds / 1e6:8.2f} million a second")
            began = time.perf_counter()
            for _ in range(count):
                master.write(MESSAGE)
                slave.try_read()
            seconds = time.perf_counter() - began
            print(f"write and try_read:         {seconds / count * 1e9:8.0f} ns a pair")


def answer(name: str) -> None:
    with eshm.ESHM(name, eshm.ESHMRole.SLAVE, reconnect_wait_ms=30_000) as link:
        while True:
            message = link.read(timeout_ms=10_000)
            if not message:
                return
            link.write(message)


def measure_round_trips(name: str, count: int) -> None:
    with eshm.ESHM(name, eshm.ESHMRole.MASTER) as link:
        peer = subprocess.Popen([sys.executable, __file__, name, "--answer"])
        link.write(MESSAGE)
        link.read(timeout_ms=30_000)
        trips = []
        for _ in range(count):
            began = time.perf_counter_ns()
            link.write(MESSAGE)
            link.read()
            trips.append(time.perf_counter_ns() - began)
        link.write(b"")
        peer.wait()
    trips.sort()
    print(
        f"there and back, two processes: median {statistics.median(trips) / 1000:.1f} us, ", end=""
    )
    print(f"99 % below {trips[count * 99 // 100] / 1000:.1f} us")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.shm_name)
        return
    measure_calls(options.shm_name, options.count)
    measure_round_trips(options.shm_name, max(100, options.count // 20))


run(main)
