# SPDX-License-Identifier: MIT
"""`eshm cat --json` prints what was sent: random types and values, laid out by numpy."""

import json
import os
import random
import shutil
import subprocess
import sys

import eshm
import pytest

numpy = pytest.importorskip("numpy")
TOOL = os.environ.get("ESHM_TOOL") or shutil.which("eshm", path=os.path.dirname(sys.executable))
pytestmark = pytest.mark.skipif(TOOL is None, reason="the command eshm is not there")

KINDS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "?")


def random_struct(dice, depth=0):
    """A structured dtype, aligned as C does it."""
    fields = []
    for number in range(dice.randint(1, 5)):
        dims = tuple(dice.randint(1, 3) for _ in range(dice.choice([0, 0, 1, 2])))
        is_struct = depth < 2 and dice.random() < 0.25
        kind = random_struct(dice, depth + 1) if is_struct else numpy.dtype(dice.choice(KINDS))
        fields.append((f"f{number}", kind, dims) if dims else (f"f{number}", kind))
    return numpy.dtype(fields, align=True)


def fill(dice, array):
    """Random values in every scalar; of floats finite ones."""
    if array.dtype.names:
        for field in array.dtype.names:
            fill(dice, array[field])
    elif array.dtype.kind == "f":
        array[...] = numpy.array(
            [dice.choice([0.0, -0.5, 1e-30, dice.gauss(0, 1e6)]) for _ in range(array.size)]
        ).reshape(array.shape)
    elif array.dtype.kind == "b":
        truths = [dice.random() < 0.5 for _ in range(array.size)]
        array[...] = numpy.array(truths).reshape(array.shape)
    else:
        bytes_needed = array.size * array.itemsize
        raw = numpy.frombuffer(dice.getrandbits(8 * bytes_needed).to_bytes(bytes_needed, "little"), array.dtype)
        array[...] = raw.reshape(array.shape)


def same(printed, sent, dtype):
    return numpy.array_equal(numpy.asarray(printed, dtype), numpy.asarray(sent, dtype))


def check(printed, value, dtype, path):
    if dtype.subdtype is not None:
        inner, shape = dtype.subdtype
        for index in numpy.ndindex(shape):
            part = printed
            for i in index:
                part = part[i]
            check(part, value[index], inner, f"{path}{list(index)}")
    elif dtype.names:
        assert list(printed) == list(dtype.names), path
        for name in dtype.names:
            check(printed[name], value[name], dtype.fields[name][0], f"{path}.{name}")
    else:
        assert same(printed, value, dtype), (path, printed, value)


def test_random_types_and_values_are_printed_as_they_were_sent(name):
    seed = int(os.environ.get("ESHM_SEED", "1"))
    dice = random.Random(seed)
    for round_number in range(200 if os.environ.get("ESHM_SOAK") else 20):
        dtype = random_struct(dice)
        values = numpy.zeros(3, dtype)
        fill(dice, values)
        channel = eshm.Channel(eshm.Delivery.QUEUE, type=dtype)
        with eshm.ESHM(name, role=eshm.ESHMRole.MASTER, m2s=channel) as link:
            for value in values:
                link.write(value.tobytes())
            run = subprocess.run(
                [TOOL, "cat", name, "--json", "-n", "3"], capture_output=True, text=True, check=True
            )
            printed = [json.loads(line)["value"] for line in run.stdout.splitlines()]
            assert len(printed) == 3
            for number in range(3):
                check(printed[number], values[number], dtype, f"seed {seed}, round {round_number}: {dtype}")
