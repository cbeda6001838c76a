# SPDX-License-Identifier: MIT
"""What llvm-cov exports, as a table, and what was not reached without a reason:
coverage_table.py JSON FOLDER REASONS

Exits with 1 where a goal is missed: in GOALS so many per cent of the branches are
run, and of channel each one that is not run has a reason.
"""

from __future__ import annotations

import collections
import json
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass, field

FOLDERS = ["layout", "channel", "endpoint", "os", "api"]
GOALS = {"layout": 95, "channel": 95, "endpoint": 95}
WHOLE = "channel"


@dataclass
class Counts:
    reached: int = 0
    excused: int = 0
    count: int = 0

    def add(self, other: Counts) -> None:
        self.reached += other.reached
        self.excused += other.excused
        self.count += other.count

    def percent(self, with_excused: bool = False) -> float:
        reached = self.reached + (self.excused if with_excused else 0)
        return 100 * reached / self.count if self.count else 100

    def __str__(self) -> str:
        return (f"{self.reached:5}/{self.count:<5}{self.percent():6.1f} %{self.excused:5}"
                f"{self.percent(True):6.1f} %")


@dataclass
class Both:
    lines: Counts = field(default_factory=Counts)
    branches: Counts = field(default_factory=Counts)

    def add(self, other: Both) -> None:
        self.lines.add(other.lines)
        self.branches.add(other.branches)


class Reasons:
    """Places (file, function, text of the line), and behind one or several of them,
    indented, why they are not reached."""

    def __init__(self, path: pathlib.Path) -> None:
        self.all: set[tuple[str, str, str]] = set()
        without_reason = ""
        for line in path.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            if line.startswith(" "):
                without_reason = ""
                continue
            place = re.fullmatch(r"(\S+) (\S+): (.+)", line)
            if place is None:
                sys.exit(f"{path}: neither a place nor a reason: {line}")
            self.all.add((place[1], place[2], place[3]))
            without_reason = line
        if without_reason:
            sys.exit(f"{path}: no reason: {without_reason}")
        self.unused = set(self.all)

    def know(self, file: str, function: str, text: str) -> bool:
        self.unused.discard((file, function, text))
        return (file, function, text) in self.all


def short_name(demangled: str) -> str:
    """eshm::channel::LatestWriter::adopt(...) -> LatestWriter::adopt"""
    name = demangled.replace("(anonymous namespace)::", "").split("(")[0]
    name = re.sub(r"<.*>", "", name).split(" ")[-1]
    return re.sub(r"^eshm::(\w+::)?", "", name)


class Functions:
    """Which function a line belongs to."""

    def __init__(self, functions: list[dict]) -> None:
        names = "\n".join(f["name"].split(":")[-1] for f in functions)
        plain = subprocess.run(["c++filt"], input=names, capture_output=True, text=True,
                               check=True).stdout.splitlines()
        self.ranges: dict[str, dict[tuple[int, int], str]] = collections.defaultdict(dict)
        for function, name in zip(functions, plain):
            if "$_" in name or "{lambda" in name:
                continue  # belongs to what it stands in
            first, _, last, *_ = function["regions"][0]
            self.ranges[function["filenames"][0]][(first, last)] = short_name(name)

    def at(self, file: str, line: int) -> str:
        around = [r for r in self.ranges[file] if r[0] <= line <= r[1]]
        return self.ranges[file][min(around, key=lambda r: r[1] - r[0])] if around else "-"


def runs_of_lines(segments: list[list]) -> dict[int, int]:
    """How often each line ran, as llvm-cov counts it. A segment: line, column,
    count, has a count, begins a region, is a gap."""
    by_line: dict[int, list[list]] = collections.defaultdict(list)
    for segment in segments:
        by_line[segment[0]].append(segment)
    runs: dict[int, int] = {}
    around: list | None = None
    for line in range(segments[0][0], segments[-1][0] + 1) if segments else []:
        here = by_line.get(line, [])
        begun = [s for s in here if s[3] and s[4] and not s[5]]
        is_skipped = bool(here) and not here[0][3] and here[0][4]
        if not is_skipped and (begun or (around is not None and around[3])):
            counts = [s[2] for s in begun]
            if around is not None and around[3]:
                counts.append(around[2])
            runs[line] = max(counts)
        if here:
            around = here[-1]
    return runs


def count_at(segments: list[list], line: int, column: int) -> int:
    count = 0
    for segment in segments:
        if (segment[0], segment[1]) > (line, column):
            break
        count = segment[2]
    return count


def branches_of(file: dict) -> dict[tuple[int, ...], list[int]]:
    """Each branch once, over all instances of an inline function or template, and
    without those whose way is known to the compiler."""
    branches: dict[tuple[int, ...], list[int]] = {}
    for branch in file["branches"]:
        counts = branches.setdefault(tuple(branch[:4]), [0, 0])
        counts[0] += branch[4]
        counts[1] += branch[5]
    return {place: counts for place, counts in branches.items()
            if any(counts) or count_at(file["segments"], place[0], place[1]) == 0}


def judge(file: dict, name: str, text: list[str], functions: Functions, reasons: Reasons,
          missing: list[str]) -> Both:
    result = Both()

    def is_excused(line: int) -> bool:
        return reasons.know(name, functions.at(file["filename"], line), text[line - 1].strip())

    def miss(line: int, what: str) -> None:
        function = functions.at(file["filename"], line)
        missing.append(f"{name} {function}: {text[line - 1].strip()}\n    line {line}, {what}")

    for (line, column, *_), counts in sorted(branches_of(file).items()):
        result.branches.count += 2
        result.branches.reached += sum(count > 0 for count in counts)
        if all(counts):
            continue
        # Every value of an enumeration has its case.
        if text[line - 1].strip().startswith("switch (") and counts[1] > 0:
            result.branches.count -= 1
            continue
        if is_excused(line):
            result.branches.excused += sum(count == 0 for count in counts)
            continue
        never = "true" if counts[0] == 0 else "false"
        miss(line, f"column {column}: " + ("neither way" if not any(counts) else f"never {never}"))
    for line, count in runs_of_lines(file["segments"]).items():
        result.lines.count += 1
        if count > 0:
            result.lines.reached += 1
        elif is_excused(line):
            result.lines.excused += 1
        else:
            miss(line, "never run")
    return result


def main() -> None:
    with open(sys.argv[1]) as export:
        data = json.load(export)["data"][0]
    source = pathlib.Path(sys.argv[2])
    reasons = Reasons(pathlib.Path(sys.argv[3]))
    ours = [f for f in data["files"] if source in pathlib.Path(f["filename"]).parents]
    functions = Functions(data["functions"])
    by_file: dict[str, Both] = {}
    by_folder: dict[str, Both] = collections.defaultdict(Both)
    missing: list[str] = []
    for file in sorted(ours, key=lambda f: f["filename"]):
        path = pathlib.Path(file["filename"])
        name = str(path.relative_to(source))
        by_file[name] = judge(file, name, path.read_text().splitlines(), functions, reasons, missing)
        by_folder[name.split("/")[0]].add(by_file[name])
    titles = f"{'reached':>19} {'excused, with them':>18}"
    print(f"{'':30} {'lines':5}{titles[6:]} | {'branches':8}{titles[9:]}")
    for folder in FOLDERS:
        print(f"{folder:30} {by_folder[folder].lines} | {by_folder[folder].branches}")
        for name, of_file in by_file.items():
            if name.startswith(folder + "/"):
                print(f"  {name:28} {of_file.lines} | {of_file.branches}")
    if missing:
        print("\nneither reached nor excused:")
        print("\n".join(missing))
    if reasons.unused:
        print("\nexcused, and reached:")
        for entry in sorted(reasons.unused):
            print("{} {}: {}".format(*entry))
    missed = [folder for folder, goal in GOALS.items()
              if by_folder[folder].branches.percent() < goal]
    if by_folder[WHOLE].branches.percent(True) < 100 and WHOLE not in missed:
        missed.append(WHOLE)
    if missed:
        sys.exit(f"coverage: the goal is missed in {', '.join(missed)}")


main()
