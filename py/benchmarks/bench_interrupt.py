#!/usr/bin/env python3
"""How long after SIGINT a wait ends: read(timeout_ms=-1), and the constructor
of a slave that has no master."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from typing import Callable, List

from eshm import ESHM, ESHMRole

ROUNDS = 20


def measure(wait: Callable[[], object]) -> List[float]:
    times = []
    for _ in range(ROUNDS):
        sent = [0.0]

        def interrupt() -> None:
            sent[0] = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)

        timer = threading.Timer(0.13, interrupt)
        timer.start()
        try:
            wait()
        except KeyboardInterrupt:
            times.append((time.perf_counter() - sent[0]) * 1000)
        timer.join()
    return times


def show(what: str, times: List[float]) -> None:
    middle, worst = statistics.median(times), max(times)
    print(f"{what:28} {len(times)} of {ROUNDS}, median {middle:.2f} ms, worst {worst:.2f} ms", end="")
    print("   goal <= 100")


def main() -> None:
    name = f"bench_interrupt_{os.getpid()}"
    with ESHM(name, ESHMRole.MASTER) as link:
        show("read(timeout_ms=-1)", measure(lambda: link.read(timeout_ms=-1)))
    show(
        "constructor without a master",
        measure(lambda: ESHM(name, ESHMRole.SLAVE, reconnect_wait_ms=0, max_reconnect_attempts=0)),
    )


main()
