#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long after SIGINT each kind of wait ends with KeyboardInterrupt.

bench_interrupt.py [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import threading
import time
from typing import Callable, Dict, List

import eshm
from eshm import ESHM, Channel, Delivery, ESHMRole

QUEUE = Channel(Delivery.QUEUE, queue_capacity=1 << 16)


def measure(wait: Callable[[], object], rounds: int) -> List[float]:
    times = []
    for _ in range(rounds):
        sent = [0.0]

        def interrupt() -> None:
            sent[0] = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)

        # Not a multiple of the 50 ms after which a wait looks by itself.
        timer = threading.Timer(0.13, interrupt)
        timer.start()
        try:
            wait()
        except KeyboardInterrupt:
            times.append((time.perf_counter() - sent[0]) * 1000)
        timer.join()
    return times


def waits_of(name: str, sender: ESHM) -> Dict[str, Callable[[], object]]:
    """The sender has no room left to write, and nothing to read."""

    def open_slave() -> None:
        ESHM(name + "_nobody", ESHMRole.SLAVE, reconnect_wait_ms=0, max_reconnect_attempts=0)

    def iterate() -> None:
        for _ in sender:
            pass

    async def iterate_async() -> None:
        async for _ in sender.messages():
            pass

    return {
        "constructor without a master": open_slave,
        "read(timeout_ms=-1)": lambda: sender.read(timeout_ms=-1),
        "borrow(-1)": lambda: sender.borrow(-1),
        "for data in link": iterate,
        "wait_any([link], -1)": lambda: eshm.wait_any([sender], -1),
        "write(data, -1), queue full": lambda: sender.write(bytes(1000), -1),
        "await read_async()": lambda: asyncio.run(sender.read_async()),
        "async for data in messages()": lambda: asyncio.run(iterate_async()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    name = f"bench_interrupt_{os.getpid()}"
    with ESHM(name, ESHMRole.MASTER, m2s=QUEUE) as sender, ESHM(name, ESHMRole.SLAVE):
        try:
            while True:
                sender.write(bytes(1000))
        except eshm.QueueFull:
            pass
        print("from SIGINT to KeyboardInterrupt, ms   goal <= 100")
        for what, wait in waits_of(name, sender).items():
            times = measure(wait, rounds)
            print(f"  {what:30} {len(times)} of {rounds}, ", end="")
            print(f"median {statistics.median(times):6.2f}, worst {max(times):6.2f}")


if __name__ == "__main__":
    main()
