# SPDX-License-Identifier: MIT
"""The examples as a user runs them, and the package's types as a checker sees them."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"
DEMO = os.environ.get("ESHM_DEMO")


@pytest.fixture
def start():
    running = []

    def start_program(*words):
        process = subprocess.Popen(
            list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start_program
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def example(start):
    return lambda script, *words: start(sys.executable, EXAMPLES / script, *words)


def finished(process):
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), out + err
    return out


def test_simple_master_and_slave_talk(example, name):
    slave = example("simple_slave.py", name, "--messages", 3)
    # The slave misses what is overwritten before it looks, so the master goes on.
    master = example("simple_master.py", name, "--interval-ms", 50)
    out = finished(slave)
    assert out.count("Hello from Python master") == 3
    for line in master.stdout:
        if "ACK from Python slave" in line:
            break
    master.send_signal(signal.SIGINT)
    finished(master)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_waiting_example_ends_in_good_order(example, name, number):
    slave = example("simple_slave.py", name)
    assert "waits for its master" in slave.stdout.readline()
    slave.send_signal(number)
    finished(slave)


def test_advanced_example(example, name):
    out = finished(example("advanced_example.py", name))
    for word in ("MASTER is told: CONNECTED", "newest: b'value 4'", "BUFFER_TOO_SMALL"):
        assert word in out


def test_reconnect_demo(example, name):
    out = finished(example("reconnect_demo.py", name, "--kills", 2))
    assert out.count("** back ") == 2
    assert out.count("** RECONNECTED") == 2


def test_performance_test(example, name):
    out = finished(example("performance_test.py", name, "--count", 1000))
    assert "million a second" in out and "median" in out


def test_default_name_is_the_demos():
    source = (EXAMPLES / "common.py").read_text()
    assert 'DEFAULT_NAME = "eshm_demo"' in source


@pytest.mark.skipif(DEMO is None, reason="ESHM_DEMO names no C++ demo")
def test_cpp_master_and_python_slave(start, example, name):
    master = start(DEMO, "master", name, "--interval-ms", 20)
    out = finished(example("simple_slave.py", name, "--messages", 5))
    assert out.count("<- READING ") == 5
    for line in master.stdout:
        if "ACK from Python slave" in line:
            break
    master.send_signal(signal.SIGINT)
    finished(master)


@pytest.mark.skipif(DEMO is None, reason="ESHM_DEMO names no C++ demo")
def test_python_master_and_cpp_slave(start, example, name):
    slave = start(DEMO, "slave", name)
    master = example("simple_master.py", name, "--interval-ms", 20)
    for line in master.stdout:
        if line.startswith("<- ACK "):
            break
    for line in slave.stdout:
        if "Hello from Python master" in line:
            break
    slave.send_signal(signal.SIGINT)
    finished(slave)
    master.send_signal(signal.SIGINT)
    finished(master)


@pytest.mark.parametrize("folder", ["examples", "benchmarks"])
def test_programs_and_package_pass_the_strict_type_checker(tmp_path, folder):
    pytest.importorskip("mypy")
    folder = EXAMPLES.parent / folder
    sources = [str(path) for path in sorted(folder.glob("*.py"))]
    assert sources
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), *sources],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert result.returncode == 0, result.stdout + result.stderr
