# SPDX-License-Identifier: MIT
"""Names, links and watchdogs of the tests.

Nothing here asserts a longest time: a watchdog ends what hangs, and shows
where every thread was.
"""

from __future__ import annotations

import faulthandler
import glob
import itertools
import os
import signal
import subprocess
import sys
import textwrap

import eshm
import pytest

PATIENCE_S = 120 * int(os.environ.get("ESHM_TEST_PATIENCE", 1))
_numbers = itertools.count(1)
_stderr = -1  # the real one, whatever is captured


def pytest_configure(config):
    global _stderr
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        _stderr = os.dup(2)
    # A shell lets its background jobs ignore it, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def watchdog():
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True, file=_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def name():
    """A link's name of its own; at the end nothing of it is left."""
    unique = f"pytest_{os.getpid()}_{next(_numbers)}"
    yield unique
    left = glob.glob(f"/dev/shm/*{unique}*")
    for path in left:
        os.unlink(path)
    assert left == []


@pytest.fixture(params=[eshm.Backend.POSIX, eshm.Backend.SYSV], ids=["posix", "sysv"])
def backend(request):
    return request.param


@pytest.fixture
def make_pair(name, backend):
    """make_pair(**options): a master and its slave, in this process."""
    links = []

    def make(**options):
        # Staleness is not the matter: a busy machine shall not cause it.
        options.setdefault("stale_threshold_ms", 10_000)
        for role in (eshm.ESHMRole.MASTER, eshm.ESHMRole.SLAVE):
            links.append(eshm.ESHM(name, role, backend=backend, **options))
        return links[-2], links[-1]

    yield make
    for link in reversed(links):
        link.close()


@pytest.fixture
def pair(make_pair):
    return make_pair()


class Child:
    """A Python process that speaks by lines."""

    def __init__(self, code: str, *arguments: object, python_options=()) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *python_options, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        text = self.process.stdout.readline()
        if not text:
            raise AssertionError(f"the child ended: {self.process.stderr.read()}")
        return text.rstrip("\n")

    def tell(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate()
        return self.process.returncode, out, err

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_child():
    children = []

    def start(code, *arguments, **options):
        children.append(Child(code, *arguments, **options))
        return children[-1]

    yield start
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()
