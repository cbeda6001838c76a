#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Figures of the Python end, each beside others of the same minute.

    bench.py [--rounds N] [--cpp build/bench/bench_oneway]

Rounds of all candidates are interleaved and medians and ratios shown, since
this class of machine changes by a factor of two within minutes. The goals stand
beside; --cpp gives the C++ figures that those of one way refer to. pyzmq is
left out, in words, where it is not installed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import time
from multiprocessing import shared_memory
from typing import Callable, Dict, List, NamedTuple, Optional

import eshm
from eshm import ESHM, ESHMRole

MESSAGE = b"x" * 64
PAIRS = 20_000


def unique(word: str) -> str:
    return f"bench_{word}_{os.getpid()}"


# ---- one process: a write and a read -------------------------------------------


def eshm_pairs() -> Callable[[int], float]:
    master = ESHM(unique("pair"), ESHMRole.MASTER)
    slave = ESHM(unique("pair"), ESHMRole.SLAVE)

    def run(count: int) -> float:
        write, try_read = master.write, slave.try_read
        began = time.perf_counter_ns()
        for _ in range(count):
            write(MESSAGE)
            try_read()
        return (time.perf_counter_ns() - began) / count

    return run


def shared_memory_pairs() -> Callable[[int], float]:
    memory = shared_memory.SharedMemory(create=True, size=64)
    memory.unlink()
    lock = multiprocessing.Lock()

    def run(count: int) -> float:
        buffer = memory.buf
        assert buffer is not None
        began = time.perf_counter_ns()
        for _ in range(count):
            with lock:
                buffer[:64] = MESSAGE
            with lock:
                bytes(buffer[:64])
        return (time.perf_counter_ns() - began) / count

    return run


def zmq_pairs() -> Optional[Callable[[int], float]]:
    try:
        import zmq
    except ImportError:
        return None
    context = zmq.Context()
    left, right = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    left.bind("inproc://bench")
    right.connect("inproc://bench")

    def run(count: int) -> float:
        began = time.perf_counter_ns()
        for _ in range(count):
            left.send(MESSAGE)
            right.recv()
        return (time.perf_counter_ns() - began) / count

    return run


# ---- two processes: half a round trip --------------------------------------------


# Longer than it takes to fall asleep. Two that answer at once never sleep.
REST_NS = 60_000
PATIENCE_MS = 30_000


def rest() -> None:
    end = time.perf_counter_ns() + REST_NS
    while time.perf_counter_ns() < end:
        pass


def pin(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def echo(name: str, polling: bool) -> None:
    """Sends back what comes, until an empty message."""
    pin(1)
    with ESHM(name, ESHMRole.SLAVE, spin_us=0, stale_threshold_ms=10_000) as link:
        link.write(b"there")
        write, try_read = link.write, link.try_read
        while True:
            data = try_read() if polling else link.read(timeout_ms=PATIENCE_MS)
            if data is None:
                continue
            if not data:
                return
            if not polling:
                rest()
            write(data)


def polling_ns(link: ESHM, trips: int) -> float:
    """Of a batch, with nothing but the two calls between: one look at the clock
    takes half as long as a message."""
    write, try_read = link.write, link.try_read
    began = time.perf_counter_ns()
    for _ in range(trips):
        write(MESSAGE)
        while try_read() is None:
            pass
    return (time.perf_counter_ns() - began) / trips / 2


def parked_ns(link: ESHM) -> float:
    """Less the time that each side lets go by."""
    began = time.perf_counter_ns()
    rest()
    link.write(MESSAGE)
    link.read(timeout_ms=PATIENCE_MS)
    return (time.perf_counter_ns() - began) / 2 - REST_NS


def one_way_us(polling: bool) -> float:
    """Half a round trip."""
    name = unique("way")
    with ESHM(name, ESHMRole.MASTER, spin_us=0, stale_threshold_ms=10_000) as link:
        peer = multiprocessing.get_context("spawn").Process(target=echo, args=(name, polling))
        peer.start()
        link.read(timeout_ms=PATIENCE_MS)
        before = os.sched_getaffinity(0)
        pin(0)
        if polling:
            ways = [polling_ns(link, 200) for _ in range(100)]
        else:
            ways = [parked_ns(link) for _ in range(1000)]
        os.sched_setaffinity(0, before)
        link.write(b"")
        peer.join()
    return statistics.median(ways) / 1000


class OneWay(NamedTuple):
    """Microseconds."""

    polling: float
    parked: float


def cpp_one_way(program: str) -> OneWay:
    words = [program, "--rounds", "5"]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def figure(row: str) -> float:
        found = re.search(rf"^{row} +([0-9.]+)", text, re.MULTILINE)
        if found is None:
            raise SystemExit(f"{program} shows no row {row}:\n{text}")
        return float(found.group(1))

    return OneWay(figure(r"both poll, 64 B \(ns\)") / 1000, figure(r"reader parked, 64 B \(us\)"))


def show_one_way(cpp: Optional[str], passes: int, pair_us: float) -> None:
    ours, theirs = [], []
    for _ in range(passes):
        if cpp:
            theirs.append(cpp_one_way(cpp))
        ours.append(OneWay(one_way_us(True), one_way_us(False)))
    print(f"64 bytes, one way between two processes, us, medians of {passes} passes")
    for what, at in (("both poll", 0), ("the reader sleeps", 1)):
        print(f"  {what:24} {statistics.median(way[at] for way in ours):8.2f}", end="")
        if theirs:
            least = [way[at] + (pair_us if at == 0 else 0) for way in theirs]
            ratio = statistics.median(way[at] / base for way, base in zip(ours, least))
            beside, goal = (("C++ and a pair", 1), ("C++", 1.15))[at]
            print(f"   {beside} {statistics.median(least):.2f}, ratio {ratio:.2f}", end="")
            print(f"   goal <= {goal:.2f}", end="")
        print()
    if not theirs:
        print("  no C++ beside it: --cpp names no bench_oneway")


# ---- import ------------------------------------------------------------------------


def run_ms(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began) * 1000


def import_ms(rounds: int) -> float:
    with_import, bare = [], []
    for _ in range(rounds):
        with_import.append(run_ms("import eshm"))
        bare.append(run_ms("pass"))
    return statistics.median(with_import) - statistics.median(bare)


def show_pairs(figures: Dict[str, List[float]]) -> float:
    """Our own figure."""
    print("64 bytes, write and read in one process, ns a pair")
    own = figures["eshm"]
    for name, values in figures.items():
        if not values:
            print(f"  {name:24} not installed")
            continue
        middle, best = statistics.median(values), min(values)
        print(f"  {name:24} median {middle:6.0f}   best {best:6.0f}", end="")
        if values is own:
            print("   goal <= 200")
        else:
            ratio = statistics.median(theirs / ours for theirs, ours in zip(values, own))
            print(f"   {ratio:.1f} x eshm")
    return statistics.median(own)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--passes", type=int, default=3, help="of the figures of one way")
    parser.add_argument("--cpp", help="bench_oneway, run between the Python figures")
    options = parser.parse_args()
    print(
        f"eshm {eshm.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} cores, ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}; numpy loaded: {'numpy' in sys.modules}")

    candidates: Dict[str, Optional[Callable[[int], float]]] = {
        "eshm": eshm_pairs(),
        "pyzmq inproc": zmq_pairs(),
        "shared_memory and Lock": shared_memory_pairs(),
    }
    figures: Dict[str, List[float]] = {name: [] for name in candidates}
    for _ in range(options.rounds):
        for name, run in candidates.items():
            if run is not None:
                figures[name].append(run(PAIRS))
    pair_ns = show_pairs(figures)
    show_one_way(options.cpp, options.passes, pair_ns / 1000)
    ms = import_ms(options.rounds)
    print(f"import eshm, over a bare interpreter: {ms:.1f} ms   goal <= 30")


if __name__ == "__main__":
    main()
