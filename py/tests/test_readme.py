# SPDX-License-Identifier: MIT
"""The code blocks of py/README.md run as they stand."""

import pathlib
import re
import subprocess
import sys

import pytest

README = pathlib.Path(__file__).resolve().parent.parent / "README.md"
# What rests on calls with a test file of their own stands there.
ELSEWHERE = {"Without a copy", "Queues", "Records", "asyncio and selectors"}


def blocks():
    """(heading, number, code) of each Python block."""
    heading, number, code = "", 0, None
    for line in README.read_text().splitlines():
        if code is not None:
            if line == "```":
                number += 1
                yield heading, number, "\n".join(code)
                code = None
            else:
                code.append(line)
        elif line == "```python":
            code = []
        elif line.startswith("#"):
            heading = line.lstrip("# ")


def run_blocks_of(heading, suffix):
    """Under link names of its own, warnings being errors."""
    ran = 0
    for where, _, code in blocks():
        if where != heading:
            continue
        # "cam0" as a link's name, wherever it is the first argument.
        unique = re.sub(r'((?:ESHM|Sender|Receiver)\(\s*")(\w+)"', rf'\1\2_{suffix}"', code)
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", unique], capture_output=True, text=True
        )
        assert result.returncode == 0, f"{heading}:\n{code}\n{result.stderr}"
        ran += 1
    assert ran > 0


@pytest.mark.parametrize(
    "heading", sorted({where for where, _, _ in blocks()} - ELSEWHERE), ids=lambda h: h
)
def test_blocks_run(name, heading):
    run_blocks_of(heading, name)


def test_every_method_is_in_the_table():
    import eshm

    text = README.read_text()
    for method in dir(eshm.ESHM):
        if not method.startswith("_") and method not in ("name", "m2s", "s2m"):
            assert f"`{method}" in text or f", `{method}" in text, method
