#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Frames of 1920x1080x3 bytes from C++ into a numpy view, without a copy.

    bench_frames.py [--source build/bench/frame_source] [--backend posix|sysv]

From the publication in C++ to the array in hand here, beside a bare futex wake
of the same minute; then a stream of 60 frames a second beside a loop at 1 kHz
in the sending process, whose late periods are counted with and without it.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import struct
import subprocess
import time
from typing import Any, Callable, List, Tuple

import eshm
import numpy
from eshm import ESHM, ESHMRole

SHAPE = (1080, 1920, 3)
BYTE = numpy.dtype("u1")
PATIENCE_MS = 60_000
ROOT = pathlib.Path(__file__).resolve().parents[2]


def mapping_of(address: int) -> str:
    """What the kernel says lies at an address of this process."""
    for line in pathlib.Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(word, 16) for word in line.split()[0].split("-"))
        if begin <= address < end:
            return line.split(maxsplit=5)[-1]
    raise AssertionError(f"nothing is mapped at {address:#x}")


def sent_at(frame: Any) -> int:
    return int.from_bytes(frame[0, :3].tobytes()[:8], "little")


class Viewer:
    """Its loops make an array in one step, numpy.ndarray(shape, dtype, borrowed),
    and look names up before: right after a sleep, the caches being cold, each
    step of numpy.frombuffer(borrowed, "u1").reshape(SHAPE) costs microseconds."""

    def __init__(self, link: ESHM) -> None:
        self.link = link

    def sleep_for_frame(self) -> Tuple[Any, int]:
        """The array, and when it was in hand."""
        borrow, ndarray, now_ns = self.link.borrow, numpy.ndarray, time.monotonic_ns
        shape, dtype = SHAPE, BYTE
        frame: Any = ndarray(shape, dtype, borrow(PATIENCE_MS))  # type: ignore[arg-type]
        return frame, now_ns()

    def poll_for_frame(self) -> Tuple[Any, int]:
        try_borrow, ndarray, now_ns = self.link.try_borrow, numpy.ndarray, time.monotonic_ns
        shape, dtype = SHAPE, BYTE
        while True:
            borrowed = try_borrow()
            if borrowed is not None:
                frame: Any = ndarray(shape, dtype, borrowed)  # type: ignore[arg-type]
                return frame, now_ns()

    def frame_us(self, wait: Callable[[], Tuple[Any, int]]) -> float:
        self.link.write(b"f")
        frame, now = wait()
        return float(now - sent_at(frame)) / 1000

    def futex_us(self) -> float:
        self.link.write(b"w")
        waited_ns: int = struct.unpack("Q", self.link.read(timeout_ms=PATIENCE_MS))[0]
        return waited_ns / 1000

    def where_a_frame_lies(self) -> Tuple[int, str]:
        self.link.write(b"f")
        frame, _ = self.sleep_for_frame()
        address = frame.ctypes.data
        mapping = mapping_of(address)
        assert mapping == mapping_of(address + frame.nbytes - 1)
        # A copy, too, would lie somewhere; not in shared memory.
        assert self.link.name in mapping or "SYSV" in mapping, mapping
        return address, mapping

    def stream(self, seconds: int) -> Tuple[List[float], int, Tuple[int, ...]]:
        """Ages of the frames, how many were missed, the loop's rhythm."""
        self.link.write(bytes((ord("s"), seconds)))
        ages: List[float] = []
        missed = 0
        while True:
            borrowed = self.link.borrow(PATIENCE_MS)
            missed += borrowed.missed
            if borrowed.size != numpy.prod(SHAPE):
                return ages, missed, struct.unpack("3Q", borrowed)
            frame: Any = numpy.ndarray(SHAPE, BYTE, borrowed)  # type: ignore[arg-type]
            now = time.monotonic_ns()
            ages.append((now - sent_at(frame)) / 1000)
            assert (frame[-1] == frame[1, 0, 0]).all(), "a torn frame"

    def loop_alone(self, seconds: int) -> Tuple[int, ...]:
        self.link.write(bytes((ord("l"), seconds)))
        return struct.unpack("3Q", self.link.read(timeout_ms=PATIENCE_MS))


def show_latencies(viewer: Viewer, rounds: int, trips: int) -> None:
    polling: List[float] = []
    parked: List[float] = []
    futex: List[float] = []

    def round_of(call: Callable[[], float]) -> float:
        return statistics.median(call() for _ in range(trips))

    for _ in range(rounds):
        polling.append(round_of(lambda: viewer.frame_us(viewer.poll_for_frame)))
        before = round_of(viewer.futex_us)
        parked.append(round_of(lambda: viewer.frame_us(viewer.sleep_for_frame)))
        futex.append((before + round_of(viewer.futex_us)) / 2)
    over = statistics.median(ours - raw for ours, raw in zip(parked, futex))
    print(f"publish to the array in hand, us, medians of {rounds} rounds of {trips}")
    print(f"  reader polls             {statistics.median(polling):8.1f}   goal <= 5")
    print(f"  reader sleeps            {statistics.median(parked):8.1f}")
    print(f"  a bare futex wake        {statistics.median(futex):8.1f}")
    print(f"  sleeps, over the futex   {over:8.1f}   goal <= 10")


def show_rhythm(word: str, rhythm: Tuple[int, ...]) -> None:
    periods, late, worst_ns = rhythm
    print(f"  loop at 1 kHz, {word:16} {late} of {periods} periods late, ", end="")
    print(f"the worst by {worst_ns / 1000:.0f} us")


def show_stream(viewer: Viewer, seconds: int) -> None:
    alone = viewer.loop_alone(seconds)
    ages, missed, beside = viewer.stream(seconds)
    print(f"60 frames a second for {seconds} s")
    print(f"  frames seen {len(ages)}, missed {missed}; ", end="")
    print(f"publish to the array, us: median {statistics.median(ages):.1f}, most {max(ages):.0f}")
    show_rhythm("no frames", alone)
    show_rhythm("beside them", beside)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", default=str(ROOT / "build/bench/frame_source"))
    parser.add_argument("--backend", choices=["posix", "sysv"], default="posix")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--trips", type=int, default=20)
    parser.add_argument("--seconds", type=int, default=10)
    options = parser.parse_args()
    print(f"eshm {eshm.__version__}, numpy {numpy.__version__}, {os.cpu_count()} cores, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}, {options.backend}")
    words = [options.source, "--backend", options.backend]
    cores = os.sched_getaffinity(0)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as source:
        assert source.stdout is not None
        name = source.stdout.readline().strip()
        with ESHM(name, ESHMRole.SLAVE, spin_us=0, stale_threshold_ms=10_000) as link:
            viewer = Viewer(link)
            address, mapping = viewer.where_a_frame_lies()
            print(f"no copy: the array at {address:#x} lies in {mapping}")
            os.sched_setaffinity(0, {sorted(cores)[1]})
            show_latencies(viewer, options.rounds, options.trips)
            os.sched_setaffinity(0, cores)
            show_stream(viewer, options.seconds)
            link.write(b"q")


if __name__ == "__main__":
    main()
