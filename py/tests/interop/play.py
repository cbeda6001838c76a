# SPDX-License-Identifier: MIT
"""Plays every pairing of the two languages and writes the table of what was seen into RESULTS.

    play.py DEMO RESULTS

In each play a master and a slave talk; the slave is killed with -9 and started
again, then the master; then both are asked to end. Ends only what it started.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time

FEW = 20  # messages each way between two kills
PATIENCE_S = 60
END = pathlib.Path(__file__).with_name("end.py")
LANGUAGES = {"C++": [], "Python": [sys.executable, str(END)]}


class Process:
    def __init__(self, words: list[str], log: pathlib.Path) -> None:
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        self.pid = self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def await_lines(self, pattern: str, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(re.findall(pattern, self.output(), re.MULTILINE)) < count:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"{pattern} did not come {count} times:\n{self.output()}")
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        if self.process.wait(PATIENCE_S) != 0:
            raise AssertionError(f"ended with {self.process.returncode}:\n{self.output()}")


class Play:
    def __init__(
        self, master: str, slave: str, backend: str, delivery: str, folder: pathlib.Path
    ) -> None:
        self.languages = {"master": master, "slave": slave}
        self.backend = backend
        self.delivery = delivery
        self.folder = folder
        self.name = f"interop_{os.getpid()}_{time.monotonic_ns()}"
        self.processes: list[Process] = []

    def start(self, role: str) -> Process:
        words = [*LANGUAGES[self.languages[role]], role, self.name]
        words += ["--backend", self.backend, "--delivery", self.delivery]
        if self.languages[role] == "C++" and role == "master":
            words += ["--interval-ms", "20"]
        log = self.folder / f"{len(self.processes)}_{role}"
        self.processes.append(Process(words, log))
        return self.processes[-1]

    def talk(self, master: Process, slave: Process) -> None:
        """Until this master has answers of this very slave, and so both have heard."""
        seen = len(re.findall(rf"^<- ACK \d+ from PID {slave.pid} ", master.output(), re.M))
        master.await_lines(rf"^<- ACK \d+ from PID {slave.pid} ", seen + FEW)

    def replace(self, victim: Process, role: str) -> tuple[Process, float]:
        victim.kill()
        killed = time.monotonic()
        return self.start(role), killed

    def run(self) -> dict[str, str]:
        try:
            master, slave = self.start("master"), self.start("slave")
            self.talk(master, slave)
            slave, killed = self.replace(slave, "slave")
            master.await_lines(rf"^<- ACK \d+ from PID {slave.pid} ", 1)
            slave_back = time.monotonic() - killed
            self.talk(master, slave)
            master, killed = self.replace(master, "master")
            master.await_lines(rf"^<- ACK \d+ from PID {slave.pid} ", 1)
            master_back = time.monotonic() - killed
            self.talk(master, slave)
            master.end()
            slave.end()
            return self.judge(master, slave, slave_back, master_back)
        finally:
            for process in self.processes:
                if process.process.poll() is None:
                    process.kill()

    @staticmethod
    def sum_of(pattern: str, text: str) -> int:
        found = re.findall(pattern, text)
        if not found:
            raise AssertionError(f"nobody told {pattern}")
        return sum(map(int, found))

    def judge(
        self, master: Process, slave: Process, slave_back: float, master_back: float
    ) -> dict[str, str]:
        whole = "".join(process.output() for process in self.processes)
        torn = len(re.findall(r"^<- TORN", whole, re.M))
        disorder = self.sum_of(r"out of order (\d+)", whole)
        missed = self.sum_of(r"missed (\d+)", whole)
        left = [entry for entry in os.listdir("/dev/shm") if self.name in entry]
        lost = missed if self.delivery == "queue" else 0
        if torn or disorder or lost or left:
            raise AssertionError(
                f"torn {torn}, out of order {disorder}, lost {lost}, left {left}:\n{whole}"
            )
        medians = [
            re.findall(r"one way, .*median ([0-9.]+) us", end.output())[-1]
            for end in (slave, master)
        ]
        return {
            "master": self.languages["master"],
            "slave": self.languages["slave"],
            "backend": self.backend,
            "delivery": self.delivery,
            "received": str(len(re.findall(r"^<- ", whole, re.M))),
            "missed": str(missed),
            "torn": str(torn),
            "out of order": str(disorder),
            "slave back, ms": f"{slave_back * 1000:.0f}",
            "master back, ms": f"{master_back * 1000:.0f}",
            "to slave, us": medians[0],
            "to master, us": medians[1],
        }


def write_results(path: pathlib.Path, rows: list[dict[str, str]]) -> None:
    lines = [
        "# Results of the interoperation test",
        "",
        "Written by `scripts/test_interop.sh`, which plays every pairing of the C++ demo and its",
        "counterpart in Python: they talk, the slave is killed with -9 and started again, then the",
        "master, and both end in good order. Every message bears a checksum that the other",
        "language verifies. *Back* is the time from the kill to the first answer over the restored",
        "link, the start of the new process included. *To slave* and *to master* are median times",
        "one way, the reader sleeping. *Missed* counts the numbers that the last two processes did",
        "not see between those that they saw; it must be 0 in a queue.",
        "",
        f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python"
        f" {platform.python_version()}, load {os.getloadavg()[0]:.1f}.",
        "",
        "| " + " | ".join(rows[0]) + " |",
        "|" + "---|" * len(rows[0]),
    ]
    lines += ["| " + " | ".join(row.values()) + " |" for row in rows]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    demo, results = sys.argv[1:]
    LANGUAGES["C++"].append(demo)
    # A shell lets its background jobs ignore it, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows = []
    pairings = (("C++", "Python"), ("Python", "C++"), ("Python", "Python"), ("C++", "C++"))
    for delivery, backend, pairing in itertools.product(
        ("latest", "queue"), ("posix", "sysv"), pairings
    ):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(Play(*pairing, backend, delivery, pathlib.Path(folder)).run())
        print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
    write_results(pathlib.Path(results), rows)


main()
