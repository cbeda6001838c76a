# SPDX-License-Identifier: MIT
"""One end of an interoperation play: what eshm_demo does, in Python.

It writes and judges the demo's lines (examples/demo/message.h): number,
sender, time, and a checksum over all of it.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import sys
import time

import eshm

_LINE = re.compile(
    rb"(READING|ACK) (\d+) from=(\d+) to=(\d+) t=(\d+) (.*) #([0-9a-f]{16})", re.DOTALL
)


def checksum(data: bytes) -> bytes:
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return b"%016x" % value


def make_line(word: str, number: int, answers: int, text: str) -> bytes:
    line = f"{word} {number} from={os.getpid()} to={answers} t={time.monotonic_ns()} {text}"
    return line.encode() + b" #" + checksum(line.encode())


class End:
    def __init__(self, link: eshm.ESHM) -> None:
        self.link = link
        self.latency_us: list[float] = []
        self.torn = self.old = self.missed = self.received = 0
        self.started_ns = time.monotonic_ns()
        self.last = (0, 0, 0)  # sender, whom it answers, number

    def receive(self, timeout_ms: int) -> tuple[int, int] | None:
        """Number and sender of one message."""
        try:
            data = self.link.read_msg(timeout_ms).data
        except eshm.Timeout:
            return None
        now = time.monotonic_ns()
        self.received += 1
        match = _LINE.fullmatch(data)
        if match is None or checksum(data[:-18]) != match.group(7):
            self.torn += 1
            print(f"<- TORN {data!r}")
            return None
        number, sender, answers, sent_ns = (int(match.group(i)) for i in (2, 3, 4, 5))
        self.count(sender, answers, number)
        if sent_ns >= self.started_ns:  # others were waiting before this end came
            self.latency_us.append((now - sent_ns) / 1000)
        prefix = f"ACK {number} from PID {sender} " if match.group(1) == b"ACK" else f"{number} "
        print(f"<- {prefix} {match.group(6).decode(errors='replace')}")
        return number, sender

    def count(self, sender: int, answers: int, number: int) -> None:
        """Numbers rise by one within one sender, and with the answers to one."""
        if self.last[:2] == (sender, answers):
            self.old += number <= self.last[2]
            self.missed += max(0, number - self.last[2] - 1)
        self.last = (sender, answers, number)

    def be_master(self) -> None:
        number = 0
        while True:
            number += 1
            self.link.write(make_line("READING", number, 0, "a reading made in Python"))
            end = time.monotonic() + 0.02
            while (rest_s := end - time.monotonic()) > 0:
                self.receive(int(rest_s * 1000) + 1)

    def be_slave(self) -> None:
        while True:
            message = self.receive(100)
            if message is not None:
                try:
                    self.link.write(make_line("ACK", message[0], message[1], "received"))
                except eshm.Timeout:
                    pass  # the master went away meanwhile

    def summarize(self) -> None:
        print(f"  received {self.received}, missed {self.missed}, torn {self.torn}, ", end="")
        print(f"out of order {self.old}")
        if self.latency_us:
            median = statistics.median(self.latency_us)
            print(f"  one way, {len(self.latency_us)} messages: median {median:.1f} us")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["master", "slave"])
    parser.add_argument("name")
    parser.add_argument("--backend", choices=["posix", "sysv"], default="posix")
    parser.add_argument("--delivery", choices=["latest", "queue"], default="latest")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    channel = eshm.Channel(eshm.Delivery[options.delivery.upper()])
    with eshm.ESHM(
        options.name,
        eshm.ESHMRole[options.role.upper()],
        eshm.ESHMDisconnectBehavior.NEVER,
        reconnect_wait_ms=0,
        max_reconnect_attempts=0,
        backend=eshm.Backend[options.backend.upper()],
        m2s=channel,
        s2m=channel,
    ) as link:
        end = End(link)
        try:
            end.be_master() if options.role == "master" else end.be_slave()
        except KeyboardInterrupt:
            pass
        end.summarize()


main()
