#!/usr/bin/env python3
"""Figures of the Python end, each beside others of the same minute.

    bench.py [--rounds N] [--cpp build/bench/bench_oneway]

Rounds of all candidates are interleaved and medians shown, since this class of
machine changes by a factor of two within minutes. pyzmq is left out, in words,
where it is not installed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from multiprocessing import shared_memory
from typing import Callable, Dict, List, Optional

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


def receive(link: ESHM, polling: bool) -> bytes:
    if not polling:
        return link.read(timeout_ms=10_000)
    try_read = link.try_read
    while True:
        data = try_read()
        if data is not None:
            return data


def pin(core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})


def echo(name: str, polling: bool) -> None:
    pin(1)
    with ESHM(name, ESHMRole.SLAVE, spin_us=0, stale_threshold_ms=10_000) as link:
        link.write(b"there")
        while True:
            data = receive(link, polling)
            if not data:
                return
            link.write(data)


def one_way_us(polling: bool, rounds: int) -> float:
    name = unique("way")
    with ESHM(name, ESHMRole.MASTER, spin_us=0, stale_threshold_ms=10_000) as link:
        peer = multiprocessing.get_context("spawn").Process(target=echo, args=(name, polling))
        peer.start()
        link.read(timeout_ms=30_000)
        before = os.sched_getaffinity(0)
        pin(0)
        medians = []
        for _ in range(rounds):
            trips = []
            for _ in range(2000 if polling else 200):
                began = time.perf_counter_ns()
                link.write(MESSAGE)
                receive(link, polling)
                trips.append((time.perf_counter_ns() - began) / 2000)
            medians.append(statistics.median(trips))
        os.sched_setaffinity(0, before)
        link.write(b"")
        peer.join()
    return statistics.median(medians)


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=21)
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
    print("64 bytes, write and read in one process, ns a pair")
    for name, values in figures.items():
        if values:
            middle, best = statistics.median(values), min(values)
            print(f"  {name:24} median {middle:6.0f}   best {best:6.0f}")
        else:
            print(f"  {name:24} not installed")

    print("64 bytes, one way between two processes, us")
    print(f"  both poll                {one_way_us(True, options.rounds):8.2f}")
    print(f"  both sleep (spin_us=0)   {one_way_us(False, options.rounds):8.2f}")
    if options.cpp:
        print(
            subprocess.run([options.cpp, "--rounds", "11"], capture_output=True, text=True).stdout
        )
    print(f"import eshm, over a bare interpreter: {import_ms(options.rounds):.1f} ms")


if __name__ == "__main__":
    main()
