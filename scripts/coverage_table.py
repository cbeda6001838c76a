"""What llvm-cov exports, as tables and a list: coverage_table.py JSON FOLDER"""

from __future__ import annotations

import collections
import json
import pathlib
import sys


def percent(counts: list[int]) -> str:
    covered, count = counts
    return f"{covered:5}/{count:<5} {100 * covered / count if count else 100:6.1f} %"


def main() -> None:
    with open(sys.argv[1]) as export:
        files = json.load(export)["data"][0]["files"]
    source = pathlib.Path(sys.argv[2])
    by_file: dict[str, dict[str, list[int]]] = {}
    by_folder: dict[str, dict[str, list[int]]] = collections.defaultdict(
        lambda: {"lines": [0, 0], "branches": [0, 0]})
    missing: list[str] = []
    for file in files:
        path = pathlib.Path(file["filename"])
        if source not in path.parents:
            continue
        name = str(path.relative_to(source))
        text = path.read_text().splitlines()
        # One line a branch, over all instances of an inline function or template.
        branches: dict[tuple[int, ...], list[int]] = {}
        for branch in file["branches"]:
            counts = branches.setdefault(tuple(branch[:4]), [0, 0])
            counts[0] += branch[4]
            counts[1] += branch[5]
        taken = sum((true > 0) + (false > 0) for true, false in branches.values())
        lines = file["summary"]["lines"]
        by_file[name] = {"lines": [lines["covered"], lines["count"]],
                         "branches": [taken, 2 * len(branches)]}
        for kind, counts in by_file[name].items():
            total = by_folder[name.split("/")[0]][kind]
            total[0] += counts[0]
            total[1] += counts[1]
        for (line, column, *_), (true, false) in sorted(branches.items()):
            if true > 0 and false > 0:
                continue
            never = "true" if true == 0 else "false"
            what = "neither way" if true + false == 0 else f"never {never}"
            missing.append(f"{name}:{line}:{column}: {what}: {text[line - 1].strip()}")
        # A segment: line, column, count, has a count, begins a region, is a gap.
        for segment in file["segments"]:
            if segment[2] == 0 and segment[3] and segment[4] and not segment[5]:
                place = f"{name}:{segment[0]}:{segment[1]}"
                missing.append(f"{place}: never run: {text[segment[0] - 1].strip()}")
    print(f"{'':32} {'lines':>20} {'branches':>20}")
    for folder in ["layout", "channel", "endpoint", "os", "api"]:
        kinds = by_folder[folder]
        print(f"{folder:32} {percent(kinds['lines']):>20} {percent(kinds['branches']):>20}")
        for name, of_file in sorted(by_file.items()):
            if name.startswith(folder + "/"):
                print(f"  {name:30} {percent(of_file['lines']):>20} {percent(of_file['branches']):>20}")
    print("\nnot reached:")
    print("\n".join(missing))


main()
