# SPDX-License-Identifier: MIT
"""Random operations of two processes, of which either is killed again and again."""

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("numpy")
DICE = pathlib.Path(__file__).with_name("dice.py")


@pytest.mark.parametrize("delivery", ["LATEST", "QUEUE"])
def test_random_operations_under_kill_9_crash_nobody(name, backend, delivery):
    operations = 1_000_000 if os.environ.get("ESHM_SOAK") else 20_000
    if "ESHM_TEST_SANITIZED" in os.environ:
        operations //= 10  # each fork copies the sanitizer's tables, too
    words = [name, backend.name, delivery, os.environ.get("ESHM_SEED", "1"), str(operations)]
    result = subprocess.run([sys.executable, DICE, *words], capture_output=True, text=True)
    told = f"dice.py {' '.join(words)}\n{result.stdout}{result.stderr}"
    assert (result.returncode, result.stderr) == (0, ""), told
    counts = dict(zip(*[iter(result.stdout.split())] * 2))
    assert all(int(counts[what]) > 0 for what in ("kills", "messages", "views", "loans")), told
    print(result.stdout)
    if "ESHM_TALLY" in os.environ:  # scripts/soak.sh adds such lines up
        with open(os.environ["ESHM_TALLY"], "a") as tally:
            tally.write(f"tally: real_kills {counts['kills']}\n")
